package blobs

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// repair makes rows and files agree and counts what there is: a file without a
// row is what a crash left of a chunk that nobody was told is here; a row
// without its file, or of another size, is damage.
func (s *Store) repair() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		ix := indexOf(tx)
		for i := range folders {
			if err := s.repairFolder(ix, byte(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) repairFolder(ix index, first byte) error {
	files, err := s.list(first)
	if err != nil {
		return err
	}
	var bad [][]byte
	cur := ix.chunks.Cursor()
	for k, v := cur.Seek([]byte{first}); k != nil && k[0] == first; k, v = cur.Next() {
		var r *row
		if len(k) == len(Digest{}) {
			r = parseRow(Digest(k), v)
		}
		if r == nil || files[Digest(k)] != int64(r.size) {
			bad = append(bad, bytes.Clone(k))
			continue
		}
		delete(files, Digest(k))
		if err := s.count(ix, Digest(k), r); err != nil {
			return err
		}
	}
	for _, k := range bad { // its days find no row and go when they are over
		s.counts.damaged.Add(1)
		s.o.Log.Error("blobs: a chunk is lost", "chunk", hex.EncodeToString(k))
		if err := ix.chunks.Delete(k); err != nil {
			return err
		}
	}
	for d := range files {
		s.counts.left.Add(1)
		if err := os.Remove(s.chunkPath(d)); err != nil {
			return err
		}
	}
	return nil
}

// count adds a row to the sums, and puts it where Expire looks.
func (s *Store) count(ix index, d Digest, r *row) error {
	s.total.add(Usage{1, int64(r.size)})
	for _, c := range r.claims {
		s.owe(c.owner, costOf(int64(r.size)))
		if key := dayKey(d, c); ix.days.Get(key) == nil {
			if err := ix.days.Put(key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// list returns the sizes of the chunk files of one folder. What is no chunk's
// file is not ours and stays.
func (s *Store) list(first byte) (map[Digest]int64, error) {
	folder := s.folder(Digest{first})
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := make(map[Digest]int64, len(entries))
	for _, e := range entries {
		raw, err := hex.DecodeString(e.Name())
		if err != nil || len(raw) != len(Digest{}) || raw[0] != first || filepath.Base(s.chunkPath(Digest(raw))) != e.Name() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files[Digest(raw)] = info.Size()
		}
	}
	return files, nil
}

// Scrub reads every chunk, at most rate bytes a second (0: as fast as it goes),
// and drops those that do not hash to their name.
func (s *Store) Scrub(ctx context.Context, rate int) (checked, damaged int, err error) {
	if err := s.enter(); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	for at := (Digest{}); ; {
		d, size, ok, err := s.next(at, checked > 0)
		if err != nil || !ok {
			return checked, damaged, err
		}
		at = d
		sound, err := s.sound(d)
		if err == nil && !sound {
			damaged++
			err = s.spoilt(d)
		}
		if err != nil && !errors.Is(err, ErrNotHere) {
			return checked, damaged, err
		}
		checked++
		if err := rest(ctx, size, rate); err != nil {
			return checked, damaged, err
		}
	}
}

// next is the chunk at or after a digest.
func (s *Store) next(at Digest, after bool) (d Digest, size uint32, ok bool, err error) {
	err = s.view(func(ix index) error {
		cur := ix.chunks.Cursor()
		k, v := cur.Seek(at[:])
		if k != nil && after && bytes.Equal(k, at[:]) {
			k, v = cur.Next()
		}
		for ; k != nil && !ok; k, v = cur.Next() {
			if len(k) == len(d) {
				if r := parseRow(Digest(k), v); r != nil {
					d, size, ok = Digest(k), r.size, true
				}
			}
		}
		return nil
	})
	return d, size, ok, err
}

// rest keeps to a rate.
func rest(ctx context.Context, size uint32, rate int) error {
	if rate <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(float64(size) / float64(rate) * float64(time.Second)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
