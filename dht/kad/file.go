package kad

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	bucketValues = []byte("values") // datastore key -> u64 expiry | kad-dht record
	bucketPeers  = []byte("peers")  // peer id -> pb.KnownPeer
)

// file is the keeper on bbolt.
type file struct{ db *bolt.DB }

// openFile opens or creates the file at path. What it holds can be fetched
// again, so a damaged file is set aside as path + ".damaged" and a new one
// begun; a file that another process has locked is an error.
func openFile(path string) (*file, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createFile(path); err != nil {
			return nil, err
		}
	}
	db, err := openBolt(path)
	if err != nil && !errors.Is(err, bolterrors.ErrTimeout) && !errors.Is(err, os.ErrPermission) {
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("set a damaged directory file aside: %w", err)
		}
		if err := createFile(path); err != nil {
			return nil, err
		}
		db, err = openBolt(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the directory file: %w", err)
	}
	return &file{db}, nil
}

// createFile makes a complete file under a temporary name first: bbolt can
// panic on a file whose first write was torn.
func createFile(path string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("create the directory file: %w", err)
	}
	db, err := openBolt(fresh)
	if err != nil {
		return fmt.Errorf("create the directory file: %w", err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("create the directory file: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("create the directory file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// openBolt opens the file and reads through it. Damaged pages make bbolt panic
// and a file that was cut short faults; both become errors here. For that the
// freelist is kept on disk: bbolt rebuilds a missing one in a goroutine of its
// own, where a panic would end the process. After a panic the broken handle is
// left open, since closing it could wait for its locks for ever.
func openBolt(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("damaged: %v", p)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: openTimeout, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = batchDelay
	if err := db.Update(readThrough); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// readThrough makes the buckets if need be and visits every page.
func readThrough(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketValues, bucketPeers} {
		b, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		if err := b.ForEach(func(_, _ []byte) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) close() error { return f.db.Close() }

func (f *file) get(key string) (value []byte, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucketValues).Get([]byte(key)))
		return nil
	})
	return value, err
}

func (f *file) put(key string, value []byte) error {
	return f.db.Batch(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketValues).Put([]byte(key), value)
	})
}

func (f *file) delete(keys []string) error {
	return f.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketValues)
		for _, key := range keys {
			if err := b.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *file) each(visit func(key string, value []byte)) error {
	return f.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
			visit(string(k), v)
			return nil
		})
	})
}
