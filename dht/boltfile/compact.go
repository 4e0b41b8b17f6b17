package boltfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
)

// Sparse says how many bytes the pages of a file take, and how many of these
// hold nothing.
func Sparse(db *bolt.DB) (size, free int64, err error) {
	err = db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	stats := db.Stats()
	return size, int64(stats.FreePageN+stats.PendingPageN) * int64(db.Info().PageSize), err
}

// Compact copies an open file without its free pages and puts the copy in its
// place: whole, synced and checked before it is renamed, so that a crash leaves
// the one or the other. It returns what is open then: the copy; the old file
// where no copy could be made, with the reason; nothing where even that
// failed. Nobody else may use db meanwhile.
func Compact(db *bolt.DB, o Options) (*bolt.DB, error) {
	path := db.Path()
	fresh := path + freshSuffix
	err := Guard("copy of the file", func() error { return copyTo(fresh, db, o) })
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return db, Classify(err)
	}
	if err := errors.Join(SyncFolder(filepath.Dir(path)), db.Close()); err != nil {
		return nil, Classify(err)
	}
	var copied *bolt.DB
	err = Guard(wholeFile, func() (err error) { copied, err = current(path, o); return err })
	return copied, err
}

// copyTo writes what db holds to a new file, in transactions of a bounded size.
func copyTo(path string, db *bolt.DB, o Options) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	raw := o.bolt()
	raw.NoSync, raw.NoGrowSync = true, true // synced once, at the end
	to, err := bolt.Open(path, fileMode, raw)
	if err != nil {
		return err
	}
	if err := bolt.Compact(to, db, copyStep); err != nil {
		return errors.Join(err, to.Close())
	}
	if err := errors.Join(to.Sync(), to.Close()); err != nil {
		return err
	}
	return checkPages(path)
}
