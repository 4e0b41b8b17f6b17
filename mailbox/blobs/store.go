package blobs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht/boltfile"
)

// Digest names a chunk: the SHA-256 of its bytes.
type Digest = blob.Digest

// Errors of a store; all are found with errors.Is.
var (
	ErrNotHere = errors.New("blobs: not here")
	ErrFull    = errors.New("blobs: full") // a quota or the disk
	ErrInvalid = errors.New("blobs: invalid")
	ErrClosed  = errors.New("blobs: closed")
	ErrDamaged = boltfile.ErrDamaged // the index; a chunk that is damaged is not here
	ErrLocked  = boltfile.ErrLocked
)

// Options of a store; Log may be nil.
type Options struct {
	MaxBytes   int64 // that all chunks may cost (ChunkCost); 0: no limit but the disk
	OwnerBytes int64 // that the claims of one owner may cost; 0: no limit
	Floor      int64 // bytes of the disk that are left to others; 0: DefaultFloor
	Log        *slog.Logger
}

// Store keeps chunks as files, and who claims them until when in an index. All
// methods may be called from any goroutine.
type Store struct {
	dir    string
	o      Options
	db     *bolt.DB
	queue  chan *change
	ended  chan struct{} // closed when the writer has ended
	broken error         // the writer's: why it takes no more changes
	ctl    controls
	serial atomic.Uint64 // names of new files
	counts counts

	mu     sync.Mutex
	closed bool
	using  sync.WaitGroup // of queue
	total  Usage
	owners map[[32]byte]int64 // cost of the claims, and of those on their way
	coming Usage              // on their way
}

// controls are switches for tests.
type controls struct {
	free   func() uint64     // stands for the room on the disk
	after  func(step string) // called when a step of a change is done
	commit func() error      // stands for a commit that fails, if it returns an error
}

// Usage is what a store holds.
type Usage struct {
	Chunks int
	Bytes  int64
}

// cost is what counts against quotas.
func (u Usage) cost() int64 { return u.Bytes + int64(u.Chunks)*ChunkCost }

func (u *Usage) add(o Usage) { u.Chunks, u.Bytes = u.Chunks+o.Chunks, u.Bytes+o.Bytes }

func costOf(size int64) int64 { return Usage{1, size}.cost() }

// Stats are counters since Open.
type Stats struct {
	Usage
	Put     int64 // chunks stored
	Damaged int64 // chunks that were lost or did not hash to their name, and rows that made no sense
	Left    int64 // files of changes that a crash cut off
	Expired int64 // chunks whose last claim ended
}

type counts struct{ put, damaged, left, expired atomic.Int64 }

// Open opens the store in dir, or creates it there; the parent of dir must
// exist. It repairs what a crash left. An index that is damaged is ErrDamaged:
// move the folder aside.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, controls{}) }

func open(dir string, o Options, ctl controls) (*Store, error) {
	if o.Floor == 0 {
		o.Floor = DefaultFloor
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		dir: dir, o: o, ctl: ctl, queue: make(chan *change, maxGroup), ended: make(chan struct{}),
		owners: map[[32]byte]int64{},
	}
	if err := s.attach(); err != nil {
		return nil, fmt.Errorf("blobs: open %s: %w", dir, err)
	}
	go s.run()
	return s, nil
}

func (s *Store) attach() error {
	if err := os.MkdirAll(s.dir, folderMode); err != nil {
		return err
	}
	err := boltfile.Create(s.indexPath(), fileOptions, layIndex)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if s.db, err = boltfile.Open(s.indexPath(), fileOptions); err != nil {
		return err
	}
	if err = s.makeFolders(); err == nil {
		err = boltfile.Guard("index", s.repair)
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// Close waits for what is under way and closes the index.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.using.Wait()
	close(s.queue)
	<-s.ended
	closed := make(chan error, 1)
	go func() { closed <- s.db.Close() }() // waits for ever after damage in the middle of a commit
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	select {
	case err := <-closed:
		return err
	case <-late.C:
		return fmt.Errorf("blobs: %s: not closed within %v", indexName, closeWithin)
	}
}

// enter keeps the writer alive until leave; it is ErrClosed after Close.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.using.Add(1)
	return nil
}

func (s *Store) leave() { s.using.Done() }

// Put stores a chunk for an owner until a time (zero: for ever); both are on
// the disk when it returns nil. To put a chunk that is here adds the claim; a claim never gets
// shorter.
func (s *Store) Put(d Digest, chunk []byte, expires time.Time, owner [32]byte) error {
	if blob.DigestOf(chunk) != d {
		return ErrInvalid
	}
	return s.PutHashed(d, chunk, expires, owner)
}

// PutHashed is Put for a chunk that the caller has hashed: as Sealer.Next and Client.Get have those that they return.
func (s *Store) PutHashed(d Digest, chunk []byte, expires time.Time, owner [32]byte) error {
	in, err := s.begin(d, int64(len(chunk)), claim{owner: owner, day: dayOf(expires)})
	if err != nil || in == nil {
		return err
	}
	defer in.end()
	in.sound = true
	return in.receive(bytes.NewReader(chunk))
}

// Get returns a chunk. One that does not hash to its digest is dropped, and
// ErrNotHere like one that never was.
func (s *Store) Get(d Digest) ([]byte, error) {
	var chunk []byte
	err := s.read(d, func(size int64) (io.Writer, error) {
		chunk = make([]byte, 0, size)
		return (*filling)(&chunk), nil
	})
	if err != nil {
		return nil, err
	}
	return chunk, nil
}

// filling is a slice that is written to, within its capacity.
type filling []byte

func (f *filling) Write(b []byte) (int, error) {
	*f = append(*f, b...)
	return len(b), nil
}

// Has says which chunks are here.
func (s *Store) Has(ds []Digest) []bool {
	here := make([]bool, len(ds))
	if s.enter() != nil {
		return here
	}
	defer s.leave()
	err := s.view(func(ix index) error {
		for i, d := range ds {
			here[i] = ix.row(d) != nil
		}
		return nil
	})
	if err != nil {
		s.o.Log.Warn("blobs: look", "err", err)
		return make([]bool, len(ds))
	}
	return here
}

// Drop ends an owner's claim; the chunk goes with its last one. It is
// ErrNotHere if there is no such claim.
func (s *Store) Drop(d Digest, owner [32]byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.do(&change{rows: func(ix index, c *change) error {
		known, err := ix.unclaim(c, d, owner)
		if err == nil && !known {
			c.err = ErrNotHere
		}
		return err
	}})
}

// dropAll ends an owner's claims, those that there are.
func (s *Store) dropAll(ds []Digest, owner [32]byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	for some := range slices.Chunk(ds, sweepStep) {
		err := s.do(&change{rows: func(ix index, c *change) error {
			for _, d := range some {
				if _, err := ix.unclaim(c, d, owner); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// DropOwner ends all claims of an owner.
func (s *Store) DropOwner(owner [32]byte) error {
	var ds []Digest
	if err := s.enter(); err != nil {
		return err
	}
	err := s.view(func(ix index) error {
		return ix.chunks.ForEach(func(k, v []byte) error {
			if len(k) != len(Digest{}) {
				return nil
			}
			if r := parseRow(Digest(k), v); r != nil && r.claimed(owner) {
				ds = append(ds, Digest(k))
			}
			return nil
		})
	})
	s.leave()
	if err != nil {
		return err
	}
	return s.dropAll(ds, owner)
}

// Usage is what an owner's claims cost.
func (s *Store) Usage(owner [32]byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owners[owner]
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Usage: s.total, Put: s.counts.put.Load(), Damaged: s.counts.damaged.Load(),
		Left: s.counts.left.Load(), Expired: s.counts.expired.Load(),
	}
}

// Limits are the options in force.
func (s *Store) Limits() Options { return s.o }

// Expire ends the claims of all days before the one that now lies in, by
// whatever clock the caller trusts, and says how many chunks went.
func (s *Store) Expire(now time.Time) (chunks int, err error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	today := dayOf(now)
	for more := true; more && err == nil; {
		c := &change{rows: func(ix index, c *change) (err error) {
			more, err = ix.sweep(c, today)
			return err
		}}
		err = s.do(c)
		chunks += len(c.gone)
	}
	s.counts.expired.Add(int64(chunks))
	return chunks, err
}
