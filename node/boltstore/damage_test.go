package boltstore_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// filled is a closed store with rows in every bucket, some long, written over several commits.
func filled(t testing.TB) (home, map[store.Bucket][]pair) {
	h := newHome(t)
	s := h.create()
	for round := range 4 {
		update(t, s, func(tx store.Tx) {
			for _, b := range store.Buckets() {
				for i := range 6 {
					key := binary.BigEndian.AppendUint64(nil, uint64(round*100+i))
					tx.Put(b, key, []byte(strings.Repeat(fmt.Sprintf("%d.%d.%d ", b, round, i), 1+60*(i%3))))
				}
				tx.Delete(b, binary.BigEndian.AppendUint64(nil, uint64(round*100)))
			}
		})
	}
	all := contents(t, s)
	s.Close()
	return h, all
}

func contents(t testing.TB, s store.Store) map[store.Bucket][]pair {
	out := map[store.Bucket][]pair{}
	for _, b := range store.Buckets() {
		out[b] = rowsOf(t, s, b, nil)
	}
	return out
}

// lookAt opens a store read-only, checks it and reads all of it.
func lookAt(h home, check bool) (map[store.Bucket][]pair, error) {
	s, err := boltstore.Open(h.dir, h.vault, boltstore.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if check {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	out := map[store.Bucket][]pair{}
	err = s.View(func(tx store.Tx) error {
		for _, b := range store.Buckets() {
			tx.Scan(b, nil, func(k, v []byte) bool {
				out[b] = append(out[b], pair{string(k), string(v)})
				return true
			})
		}
		return nil
	})
	return out, err
}

// flips looks at copies of the store with one bit flipped each and counts how they end. Without check it stops at the
// first that went unseen.
func flips(t *testing.T, n int, check bool) (intact, named, silent int) {
	h, want := filled(t)
	whole, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for range n {
		bit := flipBit(rng, whole)
		raw := slices.Clone(whole)
		raw[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(h.path(), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := lookAt(h, check)
		var where *boltstore.Damage
		switch {
		case err != nil && (!errors.Is(err, boltstore.ErrDamaged) || !errors.As(err, &where) || where.Place == ""):
			if !errors.Is(err, boltstore.ErrNewer) {
				t.Fatalf("bit %d: not named: %v", bit, err)
			}
			named++
		case err != nil:
			named++
		case cmp.Equal(want, got):
			intact++ // the bit is in no row, name or reference
		default:
			if silent++; !check {
				return intact, named, silent
			}
		}
	}
	return intact, named, silent
}

// flipBit prefers the parts that hold a structure: half of the flips hit the first bytes of a page.
func flipBit(rng *rand.Rand, whole []byte) int {
	const page = 4096
	if rng.IntN(2) == 0 {
		return rng.IntN(len(whole) * 8)
	}
	return (rng.IntN(len(whole)/page)*page + rng.IntN(200)) * 8
}

func TestEveryFlippedBitIsNamedOrHarmless(t *testing.T) {
	intact, named, silent := flips(t, 700, true)
	t.Logf("harmless %d, named %d", intact, named)
	if silent != 0 || named == 0 {
		t.Errorf("%d flips changed what was read without a word, %d were named", silent, named)
	}
}

// TestReadingAloneMissesSomeFlips is the control: without Check's sums, rows can vanish without a word.
func TestReadingAloneMissesSomeFlips(t *testing.T) {
	if _, _, silent := flips(t, 20000, false); silent == 0 {
		t.Error("no flip went unseen; then the sums of Check guard nothing")
	}
}

func TestAValueMovedToAnotherPlaceIsNotBelieved(t *testing.T) {
	for _, b := range []store.Bucket{store.BucketContacts, store.BucketOutbox} {
		h, _ := filled(t)
		h.edit(func(tx *bbolt.Tx) error {
			bucket := tx.Bucket([]byte{byte(b)})
			k1, _ := bucket.Cursor().First()
			_, v2 := bucket.Cursor().Last()
			return bucket.Put(k1, v2)
		})
		s := h.open(boltstore.Options{})
		err := s.View(func(tx store.Tx) error {
			tx.Scan(b, nil, func(_, _ []byte) bool { return true })
			return nil
		})
		if !errors.Is(err, boltstore.ErrDamaged) {
			t.Errorf("bucket %d: %v", b, err)
		}
		s.Close()
	}
}

func TestCheckSeesRowsThatVanishedOrCameBack(t *testing.T) {
	h, _ := filled(t)
	var name, old []byte
	h.edit(func(tx *bbolt.Tx) error {
		k, v := tx.Bucket([]byte{byte(store.BucketMessages)}).Cursor().First()
		name, old = slices.Clone(k), slices.Clone(v)
		return tx.Bucket([]byte{byte(store.BucketMessages)}).Delete(k)
	})
	if _, err := lookAt(h, true); !errors.Is(err, boltstore.ErrDamaged) {
		t.Errorf("a row vanished: %v", err)
	}
	h.edit(func(tx *bbolt.Tx) error { return tx.Bucket([]byte{byte(store.BucketMessages)}).Put(name, old) })
	if _, err := lookAt(h, true); err != nil {
		t.Errorf("the row is back where it was: %v", err)
	}
	s := h.open(boltstore.Options{})
	update(t, s, func(tx store.Tx) {
		tx.Put(store.BucketMeta, []byte("k"), []byte("new"))
	})
	s.Close()
	var replay []byte
	h.edit(func(tx *bbolt.Tx) error {
		_, v := tx.Bucket([]byte{byte(store.BucketMeta)}).Cursor().First()
		replay = slices.Clone(v)
		return nil
	})
	s = h.open(boltstore.Options{})
	rows := rowsOf(t, s, store.BucketMeta, nil)
	update(t, s, func(tx store.Tx) {
		for _, r := range rows {
			tx.Put(store.BucketMeta, []byte(r.Key), []byte("newer"))
		}
	})
	s.Close()
	h.edit(func(tx *bbolt.Tx) error {
		k, _ := tx.Bucket([]byte{byte(store.BucketMeta)}).Cursor().First()
		return tx.Bucket([]byte{byte(store.BucketMeta)}).Put(k, replay)
	})
	if _, err := lookAt(h, true); !errors.Is(err, boltstore.ErrDamaged) {
		t.Errorf("an older value came back: %v", err)
	}
}

func TestADamagedRowFailsTheUpdateThatReadsIt(t *testing.T) {
	h, _ := filled(t)
	h.edit(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte{byte(store.BucketOutbox)})
		k, v := bucket.Cursor().First()
		bad := slices.Clone(v)
		bad[len(bad)-1] ^= 1
		return bucket.Put(k, bad)
	})
	s := h.open(boltstore.Options{})
	first := binary.BigEndian.AppendUint64(nil, 1)
	err := s.Update(func(tx store.Tx) error {
		if got := tx.Get(store.BucketOutbox, first); got != nil || tx.Err() == nil {
			t.Errorf("read %x, error %v", got, tx.Err())
		}
		tx.Put(store.BucketMeta, []byte("acted"), nil)
		return nil
	})
	var where *boltstore.Damage
	if !errors.As(err, &where) || !strings.Contains(where.Place, "0000000000000001") {
		t.Errorf("error %v", err)
	}
	view(t, s, func(tx store.Tx) {
		if tx.Get(store.BucketMeta, []byte("acted")) != nil {
			t.Error("the turn that read damage was committed")
		}
	})
}

func TestAShortenedFileIsDamaged(t *testing.T) {
	h, want := filled(t)
	whole, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < len(whole); size += 1777 {
		if err := os.WriteFile(h.path(), whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := lookAt(h, true); err == nil && !cmp.Equal(want, got) {
			t.Errorf("%d of %d bytes: rows are missing without a word", size, len(whole))
		}
	}
}
