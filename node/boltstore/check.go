package boltstore

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/node/store"
)

// bucketName is the bucket's own name, if package node gives it one.
func bucketName(b store.Bucket) string { return fmt.Sprintf("bucket %v", b) }

// Check reads every row and compares what is there with what should be. It returns nil, or an ErrDamaged that joins one
// *Damage for each place.
func (s *Store) Check() error {
	t, err := s.reading()
	if err != nil {
		return err
	}
	defer s.release(t.tx)
	var h header
	err = guard("header", func() (err error) { h, err = readHeader(t.tx, t.vault); return err })
	found := []error{err, checkMetas(s.path)}
	if err == nil {
		for _, b := range store.Buckets() {
			err := guard(bucketName(b), func() error { return t.checkBucket(b, h.sums[b]) })
			found = append(found, err)
		}
	}
	return errors.Join(found...)
}

func (t *txn) checkBucket(b store.Bucket, want sum) error {
	if b.Fleeting() && t.restored {
		return nil // nothing opens them; Forget drops them
	}
	bucket := t.bucket(b)
	if bucket == nil {
		if want.rows == 0 {
			return nil
		}
		return &Damage{Place: bucketName(b), Why: "the bucket is missing"}
	}
	var found []error
	var have sums
	var before []byte
	cursor := bucket.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if _, err := t.open(b, k, v); err != nil {
			found = append(found, err)
		}
		// A key that the walk finds and the search does not is a damaged page above it.
		if bytes.Compare(before, k) >= 0 || !bytes.Equal(bucket.Get(k), v) {
			found = append(found, damage(b, k, "out of order"))
		}
		before = k
		have.add(t.vault, b, k, v)
	}
	if have[b] != want {
		found = append(found, &Damage{Place: bucketName(b), Why: fmt.Sprintf("%d rows where %d were written, or older ones", have[b].rows, want.rows)})
	}
	return errors.Join(found...)
}

// checkMetas names the meta pages that do not hold.
func checkMetas(path string) error {
	spoilt, err := boltfile.SpoiltMetas(path)
	found := []error{err}
	for _, d := range spoilt {
		found = append(found, named(d))
	}
	return errors.Join(found...)
}
