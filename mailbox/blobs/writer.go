package blobs

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
)

// change is what one caller wants of the index, and of the files with it.
type change struct {
	d    Digest                     // with place
	file string                     // of a chunk that came: it gets its name before the rows are written
	rows func(index, *change) error // its error undoes the whole commit

	err   error // what the caller hears although the commit went well
	gone  []Digest
	total Usage
	sums  []owed
	done  chan error
}

type owed struct {
	owner [32]byte
	bytes int64
}

func (c *change) owes(owner [32]byte, n int64) { c.sums = append(c.sums, owed{owner, n}) }

// do hands a change to the writer and waits for its commit.
func (s *Store) do(c *change) error {
	c.done = make(chan error, 1)
	s.queue <- c
	return <-c.done
}

// run is the writer: it takes what waits and commits it together.
func (s *Store) run() {
	defer close(s.ended)
	for c := range s.queue {
		group := []*change{c}
		for len(group) < maxGroup && len(s.queue) > 0 {
			group = append(group, <-s.queue)
		}
		err := s.group(group)
		for _, c := range group {
			if err == nil {
				err := c.err
				c.done <- err
			} else {
				c.done <- err
			}
		}
	}
}

// group makes changes durable: first the names of the files that came, then the
// rows, and only then do files without a row go. A crash between any two leaves
// files without rows, which Open removes.
func (s *Store) group(cs []*change) error {
	if s.broken != nil {
		return s.broken
	}
	err := s.place(cs)
	if err == nil {
		s.step("placed")
		err = s.commit(cs)
	}
	if err != nil {
		s.unplace(cs)
		return s.fail(err)
	}
	s.step("committed")
	s.account(cs)
	for _, c := range cs {
		for _, d := range c.gone {
			s.removeUnclaimed(d)
		}
	}
	s.step("removed")
	return nil
}

func (s *Store) step(name string) {
	if s.ctl.after != nil {
		s.ctl.after(name)
	}
}

// place gives the files that came their names.
func (s *Store) place(cs []*change) error {
	folders := map[string]bool{}
	for _, c := range cs {
		if c.file == "" {
			continue
		}
		if err := s.name(c.file, c.d); err != nil {
			return err
		}
		folders[s.folder(c.d)] = true
	}
	for folder := range folders {
		if err := boltfile.SyncFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

// unplace removes the files of changes that did not come to be.
func (s *Store) unplace(cs []*change) {
	for _, c := range cs {
		if c.file != "" {
			s.removeUnclaimed(c.d)
		}
	}
}

// removeUnclaimed removes the file of a chunk without a row. One that cannot be
// removed is left to the next Open.
func (s *Store) removeUnclaimed(d Digest) {
	claimed := true
	if err := s.view(func(ix index) error { claimed = ix.row(d) != nil; return nil }); err == nil && !claimed {
		if err := os.Remove(s.chunkPath(d)); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.o.Log.Warn("blobs: a file without a claim stays", "err", err)
		}
	}
}

func (s *Store) commit(cs []*change) error {
	return boltfile.Guard("index", func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			ix := indexOf(tx)
			for _, c := range cs {
				if err := c.rows(ix, c); err != nil {
					return err
				}
			}
			if s.ctl.commit != nil {
				return s.ctl.commit()
			}
			return nil
		})
	})
}

// account adds what changes changed to the sums.
func (s *Store) account(cs []*change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cs {
		s.total.add(c.total)
		for _, o := range c.sums {
			s.owe(o.owner, o.bytes)
		}
	}
}

// owe is called with s.mu held.
func (s *Store) owe(owner [32]byte, n int64) {
	if s.owners[owner] += n; s.owners[owner] == 0 {
		delete(s.owners, owner)
	}
}

// fail tells a full disk from what ends the store.
func (s *Store) fail(err error) error {
	if errors.Is(err, boltfile.ErrFull) {
		return fmt.Errorf("%w: disk: %w", ErrFull, err)
	}
	s.broken = fmt.Errorf("blobs: commit failed, open the store again: %w", err)
	return s.broken
}

// view looks at the last commit.
func (s *Store) view(fn func(index) error) error {
	return boltfile.Guard("index", func() error {
		return s.db.View(func(tx *bolt.Tx) error { return fn(indexOf(tx)) })
	})
}
