package boltstore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/store"
)

// txn is one transaction. Its first failure sticks: reads then return nothing and writes do nothing.
type txn struct {
	store *Store
	vault *vault.Vault // as of its begin: a rotation meanwhile takes no key away from it
	tx    *bbolt.Tx
	sums  sums
	wrote bool
	err   error
	// No key opens the fleeting rows: they read as none.
	restored bool
}

func (t *txn) Err() error { return t.err }

func (t *txn) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// bucket returns b's table, or nil in a file of an older build that is open read-only, and where no key opens it any more.
func (t *txn) bucket(b store.Bucket) *bbolt.Bucket {
	if b.Fleeting() && t.restored {
		return nil
	}
	return t.tx.Bucket([]byte{byte(b)})
}

// class says by which keys the rows of b are sealed.
func class(b store.Bucket) vault.Class {
	if b.Fleeting() {
		return vault.Fleeting
	}
	return vault.Lasting
}

// place is the associated data of a row: it binds the sealed value to where it stands.
func place(b store.Bucket, stored []byte) []byte { return append([]byte{byte(b), 0}, stored...) }

// stored is the key under which bbolt holds a row.
func (t *txn) stored(b store.Bucket, key []byte) []byte {
	if b.Ordered() {
		return key
	}
	blind := t.vault.Blind(place(b, key))
	return blind[:]
}

// row is a row as the engine knows it.
type row struct{ key, value []byte }

// unseal opens what bbolt holds under a stored key.
func (t *txn) unseal(b store.Bucket, stored, sealed []byte) ([]byte, error) {
	if len(stored) > maxKey || len(sealed) > maxValue {
		return nil, damage(b, stored, "longer than anything written")
	}
	plain, err := t.vault.Open(class(b), place(b, stored), sealed)
	if err != nil {
		return nil, damage(b, stored, "the value does not open")
	}
	return plain, nil
}

// open reads the row under a stored key.
func (t *txn) open(b store.Bucket, stored, sealed []byte) (row, error) {
	plain, err := t.unseal(b, stored, sealed)
	if err != nil {
		return row{}, err
	}
	if b.Ordered() {
		return row{slices.Clone(stored), notNil(plain)}, nil
	}
	if len(plain) < 2 || len(plain)-2 < int(binary.BigEndian.Uint16(plain)) {
		return row{}, damage(b, stored, "the value has no key")
	}
	n := 2 + int(binary.BigEndian.Uint16(plain))
	r := row{plain[2:n:n], plain[n:]}
	if !bytes.Equal(t.stored(b, r.key), stored) {
		return row{}, damage(b, stored, "the value belongs to another place")
	}
	return r, nil
}

// notNil keeps an empty value apart from a missing one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func damage(b store.Bucket, stored []byte, why string) error {
	return &Damage{Place: fmt.Sprintf("%s/%x", bucketName(b), stored[:min(len(stored), 8)]), Why: why}
}

func (t *txn) Get(b store.Bucket, key []byte) []byte {
	if t.err != nil {
		return nil
	}
	var r row
	err := guard(bucketName(b), func() (err error) {
		bucket := t.bucket(b)
		if bucket == nil {
			return nil
		}
		stored := t.stored(b, key)
		if sealed := bucket.Get(stored); sealed != nil {
			r, err = t.open(b, stored, sealed)
		}
		return err
	})
	if err != nil {
		t.fail(err)
		return nil
	}
	return r.value
}

func (t *txn) Put(b store.Bucket, key, value []byte) {
	if t.err != nil {
		return
	}
	if err := guard(bucketName(b), func() error { return t.put(b, key, value) }); err != nil {
		t.fail(fmt.Errorf("put: %w", err))
	}
}

func (t *txn) put(b store.Bucket, key, value []byte) error {
	if len(key) > maxKey || len(value) > maxValue-maxKey-vault.Overhead-2 {
		return fmt.Errorf("a row of %d and %d bytes is too long", len(key), len(value))
	}
	stored, plain := t.stored(b, key), value
	if !b.Ordered() {
		plain = slices.Concat(binary.BigEndian.AppendUint16(nil, uint16(len(key))), key, value)
	}
	sealed, err := t.vault.Seal(rand.Reader, class(b), place(b, stored), plain)
	if err != nil {
		return err
	}
	bucket := t.bucket(b)
	if bucket == nil {
		return fmt.Errorf("no bucket %s", bucketName(b))
	}
	old := bucket.Get(stored)
	if old != nil {
		t.sums.remove(t.vault, b, stored, old)
	}
	t.sums.add(t.vault, b, stored, sealed)
	t.wrote = true
	return bucket.Put(stored, sealed)
}

func (t *txn) Delete(b store.Bucket, key []byte) {
	if t.err != nil {
		return
	}
	err := guard(bucketName(b), func() error {
		bucket, stored := t.bucket(b), t.stored(b, key)
		if bucket == nil {
			return nil
		}
		old := bucket.Get(stored)
		if old == nil {
			return nil
		}
		t.sums.remove(t.vault, b, stored, old)
		t.wrote = true
		return bucket.Delete(stored)
	})
	if err != nil {
		t.fail(fmt.Errorf("delete: %w", err))
	}
}

func (t *txn) Scan(b store.Bucket, from []byte, fn func(key, value []byte) bool) {
	if b.Ordered() {
		t.scanOrdered(b, from, fn)
		return
	}
	rows := t.all(b, from)
	for _, r := range rows {
		if t.err != nil || !fn(r.key, r.value) {
			return
		}
	}
}

// all collects and sorts the rows of a named bucket: its stored keys say nothing of the order.
func (t *txn) all(b store.Bucket, from []byte) []row {
	var rows []row
	t.scanStored(b, nil, func(r row) bool {
		if bytes.Compare(r.key, from) >= 0 {
			rows = append(rows, r)
		}
		return true
	})
	slices.SortFunc(rows, func(x, y row) int { return bytes.Compare(x.key, y.key) })
	return rows
}

func (t *txn) scanOrdered(b store.Bucket, from []byte, fn func(key, value []byte) bool) {
	t.scanStored(b, from, func(r row) bool { return fn(r.key, r.value) })
}

// scanStored walks b in the order of its stored keys. fn runs outside the guard: a panic of the engine is not damage.
func (t *txn) scanStored(b store.Bucket, from []byte, fn func(row) bool) {
	if t.err != nil {
		return
	}
	var cursor *bbolt.Cursor
	err := guard(bucketName(b), func() error {
		if bucket := t.bucket(b); bucket != nil {
			cursor = bucket.Cursor()
		}
		return nil
	})
	if err != nil {
		t.fail(err)
	}
	if cursor == nil {
		return
	}
	step := func() ([]byte, []byte) { return cursor.Seek(from) }
	for {
		var r row
		more := false
		err := guard(bucketName(b), func() (err error) {
			k, v := step()
			if k == nil {
				return nil
			}
			more = true
			r, err = t.open(b, k, v)
			return err
		})
		if err != nil {
			t.fail(err)
			return
		}
		if !more || !fn(r) || t.err != nil {
			return
		}
		step = cursor.Next
	}
}

func (t *txn) Last(b store.Bucket) (key, value []byte) {
	if t.err != nil {
		return nil, nil
	}
	var r row
	err := guard(bucketName(b), func() (err error) {
		bucket := t.bucket(b)
		if bucket == nil {
			return nil
		}
		if k, v := bucket.Cursor().Last(); k != nil {
			r, err = t.open(b, k, v)
		}
		return err
	})
	if err != nil {
		t.fail(err)
		return nil, nil
	}
	return r.key, r.value
}
