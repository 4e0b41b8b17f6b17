package boltstore_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// A store of each version lies in testdata, as the build that wrote it left it. They are never rewritten: -keep-version
// adds the one of this build.
var keepVersion = flag.Bool("keep-version", false, "keep a store of this version in testdata")

var keptBuckets = []store.Bucket{store.BucketMeta, store.BucketContacts, store.BucketMessages, store.BucketOutbox, store.BucketEvents}

func keptRows(b store.Bucket) []pair {
	var out []pair
	for i := range 20 {
		out = append(out, pair{fmt.Sprintf("key %02d", i), string(bytes.Repeat([]byte{byte(b), byte(i)}, 1+i*i))})
	}
	return out
}

func TestStoresOfEarlierVersionsOpen(t *testing.T) {
	if *keepVersion {
		keep(t, filepath.Join("testdata", fmt.Sprintf("version%d", boltstore.Version)))
	}
	dirs, err := filepath.Glob(filepath.Join("testdata", "version*"))
	if err != nil || len(dirs) < boltstore.Version {
		t.Fatalf("%d stores for %d versions, %v", len(dirs), boltstore.Version, err)
	}
	for _, dir := range dirs {
		h := unpack(t, dir)
		for _, o := range []boltstore.Options{{ReadOnly: true}, {}} {
			s := h.open(o)
			if err := s.Check(); err != nil {
				t.Errorf("%s %+v: %v", dir, o, err)
			}
			for _, b := range keptBuckets {
				if diff := cmp.Diff(keptRows(b), rowsOf(t, s, b, nil)); diff != "" {
					t.Errorf("%s %+v bucket %d:\n%s", dir, o, b, diff)
				}
			}
			s.Close()
		}
		s := h.open(boltstore.Options{})
		update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("new"), []byte("row")) })
	}
}

// unpack makes a home of a kept store.
func unpack(t *testing.T, dir string) home {
	t.Helper()
	h := home{t: t, dir: t.TempDir()}
	file, err := os.ReadFile(filepath.Join(dir, "vault.key"))
	if err != nil {
		t.Fatal(err)
	}
	if h.vault, err = vault.Open(file, nil); err != nil {
		t.Fatal(err)
	}
	packed, err := os.Open(filepath.Join(dir, boltstore.FileName+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.path(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func keep(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	s := h.create()
	for _, b := range keptBuckets {
		update(t, s, func(tx store.Tx) {
			for _, r := range keptRows(b) {
				tx.Put(b, []byte(r.Key), []byte(r.Value))
			}
		})
	}
	s.Close()
	raw, err := os.ReadFile(h.path())
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(raw)
	w.Close()
	file, err := h.vault.File(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"vault.key": file, boltstore.FileName + ".gz": packed.Bytes()} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write(data)
		f.Close()
	}
}
