package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht/boltfile"
)

// note lists the chunks of a file that is being sealed, in a file beside the store: their owner, then 32 bytes each, the
// manifest last. It is gone when a message names the file. One that is found at the start belongs to a file that was
// never sent, or to one whose message was written in the last moment.
type note struct {
	s    *Service
	file *os.File
}

func (s *Service) newNote(owner [32]byte) (*note, error) {
	f, err := os.CreateTemp(s.notes(), "seal-")
	if err != nil {
		return nil, boltfile.Classify(err)
	}
	n := &note{s: s, file: f}
	if err := n.add(owner); err != nil {
		n.remove()
		return nil, boltfile.Classify(err)
	}
	return n, nil
}

func (s *Service) notes() string { return filepath.Join(s.c.Dir, "sealing") }

func (n *note) add(d blob.Digest) error {
	_, err := n.file.Write(d[:])
	return err
}

func (n *note) remove() {
	_ = n.file.Close()
	_ = os.Remove(n.file.Name())
}

func (n *note) drop() {
	n.s.dropNoted(n.file.Name(), nil)
	n.remove()
}

// sweep drops what was being sealed when the process ended, unless a message names it.
func (s *Service) sweep(known func(manifest []byte) bool) error {
	if err := os.MkdirAll(s.notes(), 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(s.notes())
	if err != nil {
		return err
	}
	for _, e := range list {
		path := filepath.Join(s.notes(), e.Name())
		s.dropNoted(path, known)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// dropNoted drops the chunks of a note.
func (s *Service) dropNoted(path string, known func(manifest []byte) bool) {
	raw, err := os.ReadFile(path) // 32,002 digests at most: 1 MiB
	if err != nil {
		return
	}
	raw = raw[:len(raw)-len(raw)%len(blob.Digest{})]
	if len(raw) < 2*len(blob.Digest{}) || known != nil && known(raw[len(raw)-len(blob.Digest{}):]) {
		return
	}
	owner := [32]byte(raw)
	for raw = raw[len(owner):]; len(raw) > 0; raw = raw[len(blob.Digest{}):] {
		s.dropChunk(blob.Digest(raw[:len(blob.Digest{})]), owner)
	}
}
