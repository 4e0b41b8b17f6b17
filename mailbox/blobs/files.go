package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht/boltfile"
)

const (
	indexName  = "blobs.db"
	filesName  = "blobs"
	comingName = "new" // files that have no name yet
	folderMode = 0o700
	fileMode   = 0o600
	folders    = 256
)

func (s *Store) indexPath() string  { return filepath.Join(s.dir, indexName) }
func (s *Store) comingPath() string { return filepath.Join(s.dir, filesName, comingName) }

// folder is where a chunk's file lies: by the first byte of its digest.
func (s *Store) folder(d Digest) string {
	return filepath.Join(s.dir, filesName, hex.EncodeToString(d[:1]))
}

func (s *Store) chunkPath(d Digest) string {
	return filepath.Join(s.folder(d), hex.EncodeToString(d[:]))
}

// makeFolders makes the folders that every store has, durably, and forgets the
// files that were coming when the store was left.
func (s *Store) makeFolders() error {
	if err := os.RemoveAll(s.comingPath()); err != nil {
		return err
	}
	if err := os.MkdirAll(s.comingPath(), folderMode); err != nil {
		return err
	}
	return errors.Join(boltfile.SyncFolder(s.dir), boltfile.SyncFolder(filepath.Dir(s.dir)))
}

// name gives the file of a chunk that came its name. The folder is made with
// its first chunk; whoever calls syncs it.
func (s *Store) name(file string, d Digest) error {
	err := os.Rename(file, s.chunkPath(d))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(s.folder(d), folderMode); err != nil {
		return err
	}
	if err := boltfile.SyncFolder(filepath.Dir(s.folder(d))); err != nil {
		return err
	}
	return os.Rename(file, s.chunkPath(d))
}

// buffers are what transfers go through.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, copyBuffer)
	return &b
}}

// incoming is a chunk on its way into the store. It holds its room until end.
type incoming struct {
	s     *Store
	d     Digest
	size  int64
	claim claim
	owes  int64 // held of the owner's room
	takes Usage // held of the store's room
	sound bool  // the bytes are known to hash to d
}

// begin takes room for a chunk before a byte of it has come; receive may and
// end has to follow. It returns nil when the chunk is here already: then the
// claim is stored.
func (s *Store) begin(d Digest, size int64, c claim) (*incoming, error) {
	if size <= 0 || size > blob.MaxChunk {
		return nil, ErrInvalid
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	in := &incoming{s: s, d: d, size: size, claim: c, owes: costOf(size), takes: Usage{1, size}}
	here := false
	err := s.view(func(ix index) error {
		if r := ix.row(d); r != nil {
			here, in.takes = true, Usage{}
			if r.claimed(c.owner) {
				in.owes = 0
			}
		}
		return nil
	})
	if err == nil {
		err = in.reserve()
	}
	if err != nil {
		s.leave()
		return nil, err
	}
	if here {
		if here, err = s.sound(d); here {
			err = in.claimHere()
		}
		if err != nil && !errors.Is(err, ErrNotHere) || here && err == nil {
			in.end()
			return nil, err
		}
	}
	return in, nil
}

// reserve holds the room of a chunk, or says what is full.
func (in *incoming) reserve() error {
	s := in.s
	free := s.free()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.o.OwnerBytes > 0 && in.owes > 0 && s.owners[in.claim.owner]+in.owes > s.o.OwnerBytes:
		return fmt.Errorf("%w: bytes of the owner", ErrFull)
	case s.o.MaxBytes > 0 && in.takes != (Usage{}) && s.total.cost()+s.coming.cost()+in.takes.cost() > s.o.MaxBytes:
		return fmt.Errorf("%w: bytes of the store", ErrFull)
	case free < uint64(s.o.Floor+s.coming.Bytes+in.size):
		return fmt.Errorf("%w: disk", ErrFull)
	}
	s.coming.add(in.takes)
	s.owe(in.claim.owner, in.owes)
	return nil
}

// end gives the room back; what the store holds by now is counted on its own.
func (in *incoming) end() {
	in.s.mu.Lock()
	in.s.coming.add(Usage{-in.takes.Chunks, -in.takes.Bytes})
	in.s.owe(in.claim.owner, -in.owes)
	in.s.mu.Unlock()
	in.s.leave()
}

func (s *Store) free() uint64 {
	if s.ctl.free != nil {
		return s.ctl.free()
	}
	return boltfile.FreeBytes(s.dir)
}

// claimHere adds the claim to a chunk that is here; ErrNotHere: it is not any more.
func (in *incoming) claimHere() error {
	return in.s.do(&change{rows: func(ix index, c *change) error {
		r := ix.row(in.d)
		if r == nil {
			c.err = ErrNotHere
			return nil
		}
		return in.add(ix, c, r)
	}})
}

func (in *incoming) add(ix index, c *change, r *row) error {
	if !r.claim(in.claim) {
		c.err = fmt.Errorf("%w: owners of the chunk", ErrFull)
		return nil
	}
	return ix.put(c, in.d, r)
}

// receive reads the chunk and stores it. Whatever fails leaves nothing behind.
func (in *incoming) receive(from io.Reader) error {
	path, err := in.write(from)
	if path != "" {
		defer func() { _ = os.Remove(path) }() // unless it has its name by then
	}
	if err != nil {
		return err
	}
	err = in.s.do(&change{d: in.d, file: path, rows: func(ix index, c *change) error {
		r := ix.row(in.d)
		if r == nil {
			r = &row{size: uint32(in.size)}
		}
		return in.add(ix, c, r)
	}})
	if err == nil {
		in.s.counts.put.Add(1)
	}
	return err
}

// write copies the chunk to a file of its own and checks its digest. A chunk
// that is known to be sound is in memory, and is written as it lies there.
func (in *incoming) write(from io.Reader) (path string, err error) {
	path = filepath.Join(in.s.comingPath(), strconv.FormatUint(in.s.serial.Add(1), 16))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", boltfile.Classify(err)
	}
	if in.sound {
		_, err = io.Copy(f, from)
	} else {
		err = in.copy(f, from)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); errors.Is(boltfile.Classify(err), boltfile.ErrFull) {
		err = fmt.Errorf("%w: disk: %w", ErrFull, err)
	}
	return path, err
}

// copy reads a chunk that somebody sends.
func (in *incoming) copy(to io.Writer, from io.Reader) error {
	sum := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left := in.size; left > 0; {
		b := (*buf)[:min(left, copyBuffer)]
		if _, err := io.ReadFull(from, b); err != nil {
			return err
		}
		sum.Write(b)
		if _, err := to.Write(b); err != nil {
			return err
		}
		left -= int64(len(b))
	}
	if Digest(sum.Sum(nil)) != in.d {
		return ErrInvalid
	}
	return nil
}

// read copies a chunk to where to says, once its size is known. Its last bytes
// are held back until the digest is known to fit: who gets all of a chunk gets
// the right one. ErrNotHere: there is none, or it was damaged and is dropped.
func (s *Store) read(d Digest, to func(size int64) (io.Writer, error)) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var r *row
	if err := s.view(func(ix index) error { r = ix.row(d); return nil }); err != nil {
		return err
	}
	if r == nil {
		return ErrNotHere
	}
	f, err := os.Open(s.chunkPath(d))
	if err != nil {
		return s.spoilt(d)
	}
	defer func() { _ = f.Close() }()
	dst, err := to(int64(r.size))
	if err != nil {
		return err
	}
	sum := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left := int64(r.size); left > 0; {
		b := (*buf)[:min(left, copyBuffer)]
		if _, err := io.ReadFull(f, b); err != nil {
			return s.spoilt(d)
		}
		sum.Write(b)
		if left -= int64(len(b)); left == 0 && Digest(sum.Sum(nil)) != d {
			return s.spoilt(d)
		}
		if _, err := dst.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// sound says whether the file of a chunk hashes to its name; a place of the
// disk that cannot be read does not. Any other error says that nobody knows:
// then nothing is dropped.
func (s *Store) sound(d Digest) (bool, error) {
	f, err := os.Open(s.chunkPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := f.Read(*buf)
		sum.Write((*buf)[:n])
		if errors.Is(err, io.EOF) {
			return Digest(sum.Sum(nil)) == d, nil
		}
		if errors.Is(err, syscall.EIO) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// spoilt drops a chunk whose file is missing or damaged. It may have come again
// meanwhile, so the writer, beside whom none comes, looks once more.
func (s *Store) spoilt(d Digest) error {
	err := s.do(&change{rows: func(ix index, c *change) error {
		r := ix.row(d)
		if r == nil {
			return nil
		}
		if sound, err := s.sound(d); sound || err != nil {
			c.err = err
			return nil
		}
		s.counts.damaged.Add(1)
		s.o.Log.Error("blobs: a chunk was damaged and is dropped", "chunk", d)
		r.claims = nil
		return ix.put(c, d, r)
	}})
	if err != nil {
		return err
	}
	return ErrNotHere
}
