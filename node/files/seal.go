package files

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox/blobs"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/transfer"
)

// forever is when our own claims end: it is the ledger that lets chunks go.
var forever = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Attachment is a file that a person wants to send.
type Attachment struct {
	Path    string
	Name    string // empty: that of the path
	Sticker bool
}

// Sealed are files that were sealed for a message that is not written yet. One of Keep and Discard has to follow.
type Sealed struct {
	Files []*chatpb.File
	notes []*note
}

// Keep says that the message is written.
func (s *Sealed) Keep() {
	for _, n := range s.notes {
		n.remove()
	}
}

// Discard drops the chunks again.
func (s *Sealed) Discard() {
	for _, n := range s.notes {
		n.drop()
	}
}

// Seal seals files into the chunk store, with a preview of those that are pictures.
func (s *Service) Seal(ctx context.Context, list []Attachment) (*Sealed, error) {
	out := &Sealed{}
	for _, a := range list {
		if err := s.sealOne(ctx, a, out); err != nil {
			out.Discard()
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) sealOne(ctx context.Context, a Attachment, out *Sealed) error {
	f, size, err := openPlain(a.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	preview, err := previewOf(f, size)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Path, err)
	}
	name := a.Name
	if name == "" {
		name = filepath.Base(a.Path)
	}
	file, err := s.seal(ctx, f, size, out)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Path, err)
	}
	file.Name, file.Type, file.Sticker = transfer.SafeName(name), typeOf(f, name), a.Sticker
	if preview != nil {
		if file.Preview, err = s.seal(ctx, strings.NewReader(string(preview)), int64(len(preview)), out); err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
	}
	out.Files = append(out.Files, file)
	return nil
}

// ErrNoPicture says that a file is none that a picture can be made of.
var ErrNoPicture = errors.New("no picture that can be shown small")

// SealPicture seals what a profile shows of a picture: a small copy without its metadata, and nothing of the file itself.
func (s *Service) SealPicture(ctx context.Context, path string) (*Sealed, error) {
	f, size, err := openPlain(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	small, err := previewOf(f, size)
	if err == nil && small == nil {
		err = ErrNoPicture
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := &Sealed{}
	file, err := s.seal(ctx, bytes.NewReader(small), int64(len(small)), out)
	if err != nil {
		out.Discard()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file.Name, file.Type = "picture.jpg", "image/jpeg"
	out.Files = append(out.Files, file)
	return out, nil
}

// openPlain opens a regular file; a pipe or a device has no size, and may never end.
func openPlain(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: no file that can be sent", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// typeOf is the media type by what the file begins with, else by its name.
func typeOf(f *os.File, name string) string {
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, 0)
	main, _, _ := strings.Cut(http.DetectContentType(head[:n]), ";")
	if byName, _, _ := strings.Cut(mime.TypeByExtension(filepath.Ext(name)), ";"); byName != "" &&
		(main == "application/octet-stream" || strings.HasPrefix(main, "text/") || main == "application/zip") {
		main = byName
	}
	return transfer.SafeType(strings.TrimSpace(main))
}

// piece is a sealed chunk on its way into the store.
type piece struct {
	digest blob.Digest
	buf    []byte // to be given back
	sealed []byte
}

// seal seals one file: one goroutine reads and seals, others store. A note of every chunk is kept until the message that
// names them is written, so that nothing stays of a file that never was sent.
func (s *Service) seal(ctx context.Context, from io.Reader, size int64, out *Sealed) (*chatpb.File, error) {
	key, err := blob.NewKey(s.c.Rand)
	if err != nil {
		return nil, err
	}
	sealer, err := blob.NewSealer(key, bufio.NewReaderSize(from, 1<<20), size)
	if err != nil {
		return nil, err
	}
	owner := sealedBy(key)
	n, err := s.newNote(owner)
	if err != nil {
		return nil, err
	}
	out.notes = append(out.notes, n)
	if err := s.store(ctx, sealer, n, owner); err != nil {
		return nil, fullOr(err)
	}
	d, manifest, err := sealer.Manifest()
	if err != nil {
		return nil, err
	}
	if err := n.add(d); err != nil {
		return nil, err
	}
	if err := s.c.Chunks.Put(d, manifest, forever, owner); err != nil {
		return nil, fullOr(err)
	}
	return &chatpb.File{Key: key[:], Manifest: d[:], Size: uint64(size)}, nil
}

// store puts every chunk of a sealer into the chunk store.
func (s *Service) store(ctx context.Context, sealer *blob.Sealer, n *note, owner [32]byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan piece)
	var wg sync.WaitGroup
	for range sealWriters {
		wg.Go(func() {
			for p := range work {
				if ctx.Err() == nil {
					if err := s.c.Chunks.PutHashed(p.digest, p.sealed, forever, owner); err != nil {
						cancel(err)
					}
				}
				s.sealing.give(p.buf)
			}
		})
	}
	err := s.sealAll(ctx, sealer, n, work)
	close(work)
	wg.Wait()
	if err == nil || errors.Is(err, context.Canceled) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
	}
	return err
}

func (s *Service) sealAll(ctx context.Context, sealer *blob.Sealer, n *note, work chan<- piece) error {
	for {
		buf, err := s.sealing.take(ctx)
		if err != nil {
			return err
		}
		d, sealed, err := sealer.Next(buf)
		if err == nil {
			err = n.add(d)
		}
		if err != nil {
			s.sealing.give(buf)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		work <- piece{digest: d, buf: buf, sealed: sealed}
	}
}

// ErrNoRoom says that there is no room left for a file.
var ErrNoRoom = errors.New("the disk has no room for the file")

// fullOr names a full disk as a person reads it.
func fullOr(err error) error {
	if errors.Is(err, blobs.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return ErrNoRoom
	}
	return err
}
