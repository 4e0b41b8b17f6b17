// Package boltfile opens and creates the bbolt files of the other rooms:
// records (dht/kad), boxes (mailbox/boltbox) and a device's store
// (node/boltstore).
//
// Guarantees. Create is atomic: a file appears under its name when it is whole
// and synced. Open follows every reference between pages, under the file's
// lock, before bbolt does: a file that would make bbolt end the process or walk
// in a circle is a *Damage. Guard turns what bbolt trips over later, a panic or
// a fault of the mapped file, into a *Damage too. A lock held by another
// process is ErrLocked, a write that found no room ErrFull.
//
// Not guaranteed. Values are not looked at: whoever wrote them checks them. A
// file that is damaged while it is open is noticed only by Guard, and not in
// goroutines that bbolt starts itself (Batch commits in one). Two processes
// that create the same file at once may each replace the other's.
package boltfile

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Options of a file. PageSize counts when it is created only.
type Options struct {
	Wait     time.Duration // for the lock of another process; 0: without end
	ReadOnly bool          // a shared lock: many readers, no writer
	PageSize int           // bytes; 0: the system's
	MapSize  int           // bytes of address space mapped at first; 0: as long as the file
}

// bolt are bbolt's options. The list of free pages is rebuilt at open instead
// of being written at each commit: equally safe, and a third of the writes.
func (o Options) bolt() *bolt.Options {
	return &bolt.Options{
		Timeout: o.Wait, ReadOnly: o.ReadOnly, PageSize: o.PageSize, InitialMmapSize: o.MapSize,
		NoFreelistSync: true, FreelistType: bolt.FreelistMapType,
	}
}

// Create makes a new file, readable by its owner alone, with what fill writes.
// It is built as path + ".new" first: bbolt does not open a file that was torn
// at its birth. What is at path already is kept, and the error an fs.ErrExist.
func Create(path string, o Options, fill func(*bolt.Tx) error) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := path + freshSuffix
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := lay(fresh, o, fill)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
		return Classify(err)
	}
	return Classify(SyncFolder(filepath.Dir(path)))
}

// lay writes a whole file and closes it.
func lay(path string, o Options, fill func(*bolt.Tx) error) error {
	db, err := bolt.Open(path, fileMode, o.bolt())
	if err != nil {
		return err
	}
	return errors.Join(db.Update(fill), db.Close())
}

// SyncFolder makes the names of a folder durable, after a rename for instance.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Open opens the file at path. The error is an fs.ErrNotExist, an ErrLocked, a
// *Damage, or one of the system.
func Open(path string, o Options) (*bolt.DB, error) {
	var db *bolt.DB
	err := Guard(wholeFile, func() (err error) {
		db, err = open(path, o)
		return err
	})
	return db, err
}

// open looks at the pages under a shared lock, so that nobody writes meanwhile.
func open(path string, o Options) (*bolt.DB, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	case info.Size() == 0: // bbolt would write its first pages
		return nil, &Damage{Place: wholeFile, Why: "empty"}
	}
	looking := o
	looking.ReadOnly, looking.MapSize = true, 0
	db, refused := current(path, looking)
	if errors.Is(refused, berrors.ErrTimeout) || errors.As(refused, new(syscall.Errno)) {
		return nil, refused
	}
	if err := checkPages(path); err != nil || refused != nil { // the check says best what bbolt refuses
		if db != nil {
			_ = db.Close()
		}
		return nil, cmp.Or(err, refused)
	}
	if o.ReadOnly {
		return db, nil
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	if db, refused = current(path, o); refused != nil {
		return nil, refused
	}
	// What a crash left of a copy or of a creation is nobody's now.
	if err := os.Remove(path + freshSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}
