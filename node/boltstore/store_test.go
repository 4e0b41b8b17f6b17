package boltstore_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// home is a folder with a vault, for one store.
type home struct {
	t     testing.TB
	dir   string
	vault *vault.Vault
}

func newHome(t testing.TB) home {
	t.Helper()
	v, err := vault.Create(rand.Reader, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(t.TempDir(), "home")
	if err != nil {
		t.Fatal(err)
	}
	return home{t: t, dir: dir, vault: v}
}

func (h home) path() string { return filepath.Join(h.dir, boltstore.FileName) }

func (h home) create() *boltstore.Store {
	h.t.Helper()
	s, err := boltstore.Create(h.dir, h.vault)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

func (h home) open(o boltstore.Options) *boltstore.Store {
	h.t.Helper()
	s, err := boltstore.Open(h.dir, h.vault, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { s.Close() })
	return s
}

func (h home) reopen(s *boltstore.Store) *boltstore.Store {
	h.t.Helper()
	if err := s.Close(); err != nil {
		h.t.Fatal(err)
	}
	return h.open(boltstore.Options{})
}

// edit changes the closed file beneath the store.
func (h home) edit(fn func(tx *bbolt.Tx) error) {
	h.t.Helper()
	db, err := bbolt.Open(h.path(), 0o600, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		h.t.Fatal(err)
	}
}

func TestNothingIsReadableInTheFile(t *testing.T) {
	h := newHome(t)
	s := h.create()
	canary := []byte("canary-7c1e-plain-words")
	update(t, s, func(tx store.Tx) {
		for _, b := range store.Buckets() {
			if b.Ordered() {
				tx.Put(b, []byte{1}, canary)
			} else {
				tx.Put(b, canary, canary)
			}
		}
	})
	s.Close()
	raw, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, canary) {
		t.Error("a name or a value stands in the file in the clear")
	}
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	h := newHome(t)
	h.create()
	info, err := os.Stat(h.path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := os.Stat(h.path() + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary name is left: %v", err)
	}
}

func TestCreateNeverOverwritesAndSurvivesItsOwnInterruption(t *testing.T) {
	h := newHome(t)
	if err := os.WriteFile(h.path()+".new", []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.create().Close()
	if _, err := boltstore.Create(h.dir, h.vault); !errors.Is(err, boltstore.ErrExists) {
		t.Errorf("second create: %v", err)
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		h := newHome(t)
		if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrMissing) {
			t.Error(err)
		}
	})
	t.Run("locked by a writer", func(t *testing.T) {
		h := newHome(t)
		h.create()
		for _, o := range []boltstore.Options{{Timeout: time.Millisecond}, {ReadOnly: true, Timeout: time.Millisecond}} {
			if _, err := boltstore.Open(h.dir, h.vault, o); !errors.Is(err, boltstore.ErrLocked) {
				t.Errorf("%+v: %v", o, err)
			}
		}
	})
	t.Run("another vault", func(t *testing.T) {
		h := newHome(t)
		h.create().Close()
		h.vault = newHome(t).vault
		if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrDamaged) {
			t.Error(err)
		}
	})
	t.Run("newer version", func(t *testing.T) {
		h := newHome(t)
		h.create().Close()
		h.edit(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("header")).Put([]byte("version"), []byte{0, 0, 0, boltstore.Version + 1})
		})
		if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrNewer) {
			t.Error(err)
		}
	})
	for name, raw := range map[string][]byte{"empty": {}, "text": []byte("not a store"), "zeros": make([]byte, 1<<16)} {
		t.Run("file of "+name, func(t *testing.T) {
			h := newHome(t)
			if err := os.WriteFile(h.path(), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{ReadOnly: true}); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestReadOnlyReadsBesideOthersAndWritesNothing(t *testing.T) {
	h := newHome(t)
	s := h.create()
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("k"), []byte("v")) })
	s.Close()
	before, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	a, b := h.open(boltstore.Options{ReadOnly: true}), h.open(boltstore.Options{ReadOnly: true})
	for _, s := range []*boltstore.Store{a, b} {
		view(t, s, func(tx store.Tx) {
			if got := tx.Get(store.BucketMeta, []byte("k")); string(got) != "v" {
				t.Errorf("got %q", got)
			}
		})
		if err := s.Update(func(tx store.Tx) error { return nil }); err == nil {
			t.Error("an update ran")
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
	if after, _ := os.ReadFile(h.path()); !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
}

func TestWritingInAViewFailsIt(t *testing.T) {
	s := newHome(t).create()
	err := s.View(func(tx store.Tx) error {
		tx.Put(store.BucketMeta, []byte("k"), []byte("v"))
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestStoreOfAnOlderBuildGetsTheNewBuckets(t *testing.T) {
	h := newHome(t)
	s := h.create()
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("k"), []byte("v")) })
	s.Close()
	h.edit(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte{byte(store.BucketParked)}) })
	ro := h.open(boltstore.Options{ReadOnly: true})
	if got := rowsOf(t, ro, store.BucketParked, nil); got != nil {
		t.Errorf("rows %v", got)
	}
	if err := ro.Check(); err != nil {
		t.Error(err)
	}
	ro.Close()
	s = h.open(boltstore.Options{})
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketParked, []byte{1}, []byte("new")) })
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestAnUpdateThatWritesNothingCostsNoCommit(t *testing.T) {
	h := newHome(t)
	s := h.create()
	before, _ := os.ReadFile(h.path())
	for range 3 {
		update(t, s, func(tx store.Tx) { tx.Get(store.BucketMeta, []byte("k")) })
	}
	after, _ := os.ReadFile(h.path())
	if !bytes.Equal(before, after) {
		t.Error("the file changed")
	}
}

func TestAPanicInATurnLeavesTheStoreUsable(t *testing.T) {
	s := newHome(t).create()
	func() {
		defer func() { recover() }()
		_ = s.Update(func(tx store.Tx) error {
			tx.Put(store.BucketMeta, []byte("k"), []byte("v"))
			panic("a bug of the engine")
		})
	}()
	update(t, s, func(tx store.Tx) {
		if tx.Get(store.BucketMeta, []byte("k")) != nil {
			t.Error("the panicking turn left a row")
		}
		tx.Put(store.BucketMeta, []byte("k"), []byte("v"))
	})
}
