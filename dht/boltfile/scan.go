package boltfile

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// Row hears of one row; the slices end with the call.
type Row func(table, key, value []byte)

// Scan reads every row of the file at path that can be reached, under a shared
// lock and without bbolt: damage is named and gone round, so that a row may
// come twice or be missing only where some is named. The error is ErrLocked, or
// one of the system.
func Scan(path string, o Options, each Row) ([]*Damage, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	o.ReadOnly, o.MapSize = true, 0
	var lock *bolt.DB
	refused := Guard(wholeFile, func() (err error) { lock, err = current(path, o); return err })
	if errors.Is(refused, ErrLocked) || errors.As(refused, new(syscall.Errno)) && info.Size() > 0 { // bbolt writes into an empty one
		return nil, refused
	}
	if lock != nil { // bbolt refuses what nobody else can have open either
		defer func() { _ = lock.Close() }()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return scan(f, info.Size(), each), nil
}

func scan(r io.ReaderAt, size int64, each Row) (found []*Damage) {
	note := func(d *Damage) {
		if len(found) < maxNamed {
			found = append(found, d)
		}
	}
	newest, err := newestMeta(r, size)
	var damage *Damage
	if errors.As(err, &damage) {
		return append(found, damage)
	}
	w := &walk{r: r, size: newest.page, seen: make([]bool, newest.high), found: note, visit: each}
	_ = w.tolerate(w.page(newest.root, nil, nil))
	_ = w.tolerate(w.freelist(newest.freelist))
	return found
}

// ScanTable reads rows of one table as the transaction sees them, from a key
// on, until about budget bytes are read: as Scan does, with f for the file of
// tx. next is where to go on, nil at the end.
func ScanTable(tx *bolt.Tx, f io.ReaderAt, table, from []byte, budget int, each Row) (next []byte, found []*Damage) {
	page := tx.DB().Info().PageSize
	high := tx.Size() / int64(page)
	note := func(d *Damage) { found = append(found, d) }
	var bucket []byte
	outer := &walk{r: f, size: int64(page), seen: make([]bool, high), found: note}
	outer.tables = func(name, value []byte) {
		if bytes.Equal(name, table) {
			bucket = bytes.Clone(value)
		}
	}
	root := uint64(tx.Cursor().Bucket().Root())
	_ = outer.tolerate(outer.page(root, nil, nil))
	if bucket == nil {
		return nil, found
	}
	w := &walk{r: f, size: int64(page), seen: make([]bool, high), found: note, visit: each, table: table}
	w.reach = &reach{from: from, left: budget}
	_ = w.tolerate(w.bucket(root, bucket))
	if bytes.Compare(w.reach.next, from) <= 0 { // only damage leads back
		return nil, found
	}
	return w.reach.next, found
}

// errEnough ends a walk whose budget is spent.
var errEnough = errors.New("enough")

// reach bounds a walk through one table. A nil reach bounds nothing.
type reach struct {
	from []byte // rows before it are left out
	left int    // bytes of pages to read, about
	next []byte // where to go on
	leaf bool   // a leaf was read: there is progress
}

func (r *reach) took(page []byte) {
	if r != nil {
		r.left -= len(page)
		r.leaf = r.leaf || native.Uint16(page[8:]) == leafPage
	}
}

func (r *reach) wants(key []byte) bool { return r == nil || bytes.Compare(key, r.from) >= 0 }

// turn says whether to skip a page with keys in [low, next), or to stop there.
func (r *reach) turn(low, next []byte) (skip bool, err error) {
	switch {
	case r == nil:
		return false, nil
	case next != nil && bytes.Compare(next, r.from) <= 0:
		return true, nil
	case r.left <= 0 && r.leaf:
		r.next = bytes.Clone(low)
		return false, errEnough
	}
	return false, nil
}

// current opens the file that stands at path when its lock is ours: a
// compaction may have put another one there while we waited.
func current(path string, o Options) (*bolt.DB, error) {
	for {
		var f *os.File
		b := o.bolt()
		b.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
			f, err = os.OpenFile(name, flag&^os.O_CREATE, mode)
			return f, err
		}
		db, err := bolt.Open(path, fileMode, b)
		if err != nil {
			return nil, err
		}
		ours, err := f.Stat()
		there, missing := os.Stat(path)
		if err := cmp.Or(err, missing); err != nil {
			_ = db.Close()
			return nil, err
		}
		if os.SameFile(ours, there) {
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
}
