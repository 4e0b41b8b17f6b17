package boltstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/store"
)

// FuzzRows gives a stored row to the reader as it is, and sealed as its place wants it: otherwise nothing gets past the
// cipher. What it takes belongs to that place; all else is damage with a name.
func FuzzRows(f *testing.F) {
	rng := rand.NewChaCha8([32]byte{1})
	v, err := vault.Create(rng, nil, time.UnixMilli(1))
	if err != nil {
		f.Fatal(err)
	}
	s := &txn{vault: v}
	var counted sums
	counted[1].rows = 3
	f.Add([]byte("key"), []byte("\x00\x03keyvalue"))
	f.Add([]byte("key"), []byte{0xff, 0xff})
	f.Add([]byte{}, counted.marshal())
	f.Fuzz(func(t *testing.T, key, raw []byte) {
		defer fuzztest.Limit(t, len(key)+len(raw))()
		if x, err := parseSums(raw); err == nil && len(x.marshal()) > len(raw) {
			t.Fatal("sums out of nothing")
		}
		for _, b := range []store.Bucket{store.BucketMeta, store.BucketChats} {
			stored := s.stored(b, key)
			sealed, err := v.Seal(rng, class(b), place(b, stored), raw)
			if err != nil {
				t.Fatal(err)
			}
			for _, in := range [][]byte{raw, sealed} {
				r, err := s.open(b, stored, in)
				if err != nil {
					if !errors.Is(err, ErrDamaged) || r.key != nil || r.value != nil {
						t.Fatalf("%v, %+v", err, r)
					}
					continue
				}
				if !bytes.Equal(s.stored(b, r.key), stored) {
					t.Fatal("a row of another place")
				}
			}
		}
	})
}
