package kad

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
)

var (
	bucketValues = []byte("values") // datastore key -> u64 expiry | kad-dht record
	bucketPeers  = []byte("peers")  // peer id -> pb.KnownPeer
)

// filePlace names the file in a report of damage.
const filePlace = "directory file"

// file is the keeper on bbolt.
type file struct{ db *bolt.DB }

// openFile opens or creates the file at path. What it holds can be fetched
// again, so a damaged file is set aside as path + ".damaged" and a new one
// begun; a file that another process has locked is an error.
func openFile(path string, alone bool) (*file, error) {
	db, err := openBolt(path)
	if errors.Is(err, boltfile.ErrDamaged) {
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("set a damaged directory file aside: %w", err)
		}
		db, err = openBolt(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the directory file: %w", err)
	}
	db.MaxBatchDelay = batchDelay
	if alone {
		db.MaxBatchSize = 1
	}
	return &file{db}, nil
}

func openBolt(path string) (*bolt.DB, error) {
	o := boltfile.Options{Wait: openTimeout}
	if err := boltfile.Create(path, o, makeBuckets); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	db, err := boltfile.Open(path, o)
	if err != nil {
		return nil, err
	}
	// Only a file that something else wrote lacks them.
	if err := boltfile.Guard(filePlace, func() error { return db.Update(makeBuckets) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func makeBuckets(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketValues, bucketPeers} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) close() error { return f.db.Close() }

// view and update report what bbolt trips over as boltfile.ErrDamaged.
func (f *file) view(fn func(*bolt.Tx) error) error {
	return boltfile.Guard(filePlace, func() error { return f.db.View(fn) })
}

func (f *file) update(fn func(*bolt.Tx) error) error {
	return boltfile.Guard(filePlace, func() error { return f.db.Update(fn) })
}

func (f *file) get(key string) (value []byte, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucketValues).Get([]byte(key)))
		return nil
	})
	return value, err
}

// put shares its commit with others. bbolt then writes in a goroutine of its
// own, so the step is guarded there too; the commit itself is not.
func (f *file) put(key string, value []byte) error {
	return boltfile.Guard(filePlace, func() error {
		return f.db.Batch(func(tx *bolt.Tx) error {
			return boltfile.Guard(filePlace, func() error { return tx.Bucket(bucketValues).Put([]byte(key), value) })
		})
	})
}

func (f *file) delete(keys []string) error {
	return f.update(func(tx *bolt.Tx) error {
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
	return f.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
			visit(string(k), v)
			return nil
		})
	})
}
