package boltfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/crypto/fuzztest"
)

// page is the size of the pages that these tests ask for, in bytes.
const page = 4096

var paged = Options{Wait: quick.Wait, PageSize: page}

// sample is a file of several levels, with values of more than a page.
func sample(t testing.TB) []byte {
	t.Helper()
	path := created(t, paged, 2000)
	db := opened(t, path, paged)
	err := db.Update(func(tx *bolt.Tx) error {
		for i := range 3 {
			if err := tx.Bucket(rows).Put(fmt.Appendf(nil, "long %d", i), make([]byte, 3*page)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(raw, "\x00"))
	return raw[:(used+page-1)/page*page]
}

// readAll reads every row of every table, guarded.
func readAll(db *bolt.DB) (n int, err error) {
	var each func(b *bolt.Bucket) error
	each = func(b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			n += len(k) + len(v)
			if v != nil {
				return nil
			}
			if inner := b.Bucket(k); inner != nil {
				return each(inner)
			}
			return nil
		})
	}
	err = Guard("rows", func() error {
		return db.View(func(tx *bolt.Tx) error { return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return each(b) }) })
	})
	return n, err
}

// TestWhateverBboltWritesIsAccepted: the check may not refuse a healthy file,
// with or without a list of free pages, whatever the size of its pages.
func TestWhateverBboltWritesIsAccepted(t *testing.T) {
	folder := t.TempDir()
	files := 0
	rapid.Check(t, func(rt *rapid.T) {
		files++
		path := filepath.Join(folder, fmt.Sprintf("%d.db", files))
		o := rapid.SampledFrom([]int{1 << 10, 4 << 10, 16 << 10, 64 << 10}).Draw(rt, "page size")
		db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: o, NoSync: true, NoFreelistSync: rapid.Bool().Draw(rt, "no freelist")})
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(rt, "commits") {
			if err := db.Update(func(tx *bolt.Tx) error { return scribble(rt, tx) }); err != nil {
				rt.Fatal(err)
			}
			if err := checkPages(path); err != nil {
				rt.Fatal(err)
			}
		}
		_ = db.Close()
		spoilt, err := SpoiltMetas(path)
		if len(spoilt) != 0 || err != nil {
			rt.Fatalf("metas %v, %v", spoilt, err)
		}
		if db, err = Open(path, quick); err != nil {
			rt.Fatal(err)
		}
		_ = db.Close()
	})
}

// scribble writes or deletes many rows, or a table, at random.
func scribble(rt *rapid.T, tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte{byte('a' + rapid.IntRange(0, 2).Draw(rt, "table"))})
	if err != nil {
		return err
	}
	if rapid.Bool().Draw(rt, "within") {
		if b, err = b.CreateBucketIfNotExists([]byte("within")); err != nil {
			return err
		}
	}
	from, n := rapid.IntRange(0, 2000).Draw(rt, "from"), rapid.IntRange(0, 400).Draw(rt, "rows")
	size := rapid.SampledFrom([]int{0, 10, 300, 9000}).Draw(rt, "size")
	drop := rapid.Bool().Draw(rt, "delete")
	for i := from; i < from+n; i++ {
		key := fmt.Appendf(nil, "%06d", i)
		if drop {
			err = b.Delete(key)
		} else {
			err = b.Put(key, make([]byte, size))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestEveryFlippedBitIsNamedOrHarmless flips bits where the structure lies: a
// file that still opens can be read and written without ending the process.
func TestEveryFlippedBitIsNamedOrHarmless(t *testing.T) {
	whole := sample(t)
	path := filepath.Join(t.TempDir(), "flipped.db")
	rng := rand.New(rand.NewPCG(1, 1))
	named := 0
	for range 600 {
		at := rng.IntN(len(whole)/page)*page + rng.IntN(300)
		if opensAndServes(t, path, flipped(whole, at, rng.IntN(8))) != nil {
			named++
		}
	}
	t.Logf("%d of 600 named", named)
	if named < 100 {
		t.Errorf("only %d of 600 flips were named", named)
	}
}

func flipped(whole []byte, at, bit int) []byte {
	raw := slices.Clone(whole)
	raw[at] ^= 1 << bit
	return raw
}

// opensAndServes returns the damage that kept an image from being used.
func opensAndServes(t *testing.T, path string, image []byte) error {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, quick)
	if err == nil {
		defer func() { _ = db.Close() }()
		if _, err = readAll(db); err == nil {
			err = Guard("write", func() error {
				return db.Update(func(tx *bolt.Tx) error {
					b, err := tx.CreateBucketIfNotExists([]byte("new"))
					if err != nil {
						return err
					}
					return b.Put([]byte("k"), []byte("v"))
				})
			})
		}
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Errorf("not named: %v", err)
	}
	return err
}

// TestControlWithoutTheCheckBboltEndsTheProcess: a page that gives another
// number is named here and kills a process that trusts bbolt, though it
// recovers from every panic that it can.
func TestControlWithoutTheCheckBboltEndsTheProcess(t *testing.T) {
	if path := os.Getenv("BOLTFILE_UNCHECKED"); path != "" {
		err := Guard(wholeFile, func() error {
			db, err := bolt.Open(path, 0o600, paged.bolt())
			if err == nil {
				err = db.Close()
			}
			return err
		})
		fmt.Println("survived:", err)
		_, _ = io.Copy(io.Discard, os.Stdin) // the panic is another goroutine's: it may come a little later
		return
	}
	whole := sample(t)
	path := filepath.Join(t.TempDir(), "flipped.db")
	leaf := len(whole)/page - 1 // the last page in use, if its header says so
	for native.Uint64(whole[leaf*page:]) != uint64(leaf) || native.Uint16(whole[leaf*page+8:]) != leafPage {
		leaf--
	}
	if err := opensAndServes(t, path, flipped(whole, leaf*page, 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("with the check: %v", err)
	}
	if err := os.WriteFile(path, flipped(whole, leaf*page, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	run.Env = append(os.Environ(), "BOLTFILE_UNCHECKED="+path)
	open, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	defer open.Close()
	run.Stdin = open
	if out, err := run.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("panic: ")) {
		t.Errorf("bbolt opened it without the check: then the check guards nothing\n%s", out)
	}
}

func TestReferencesInACircleEnd(t *testing.T) {
	whole := sample(t)
	m := readMeta(bytes.NewReader(whole), 0)
	if other := readMeta(bytes.NewReader(whole), page); other.tx > m.tx {
		m = other
	}
	circles := 0
	for id := uint64(metaPages); id < m.high; id++ {
		raw := slices.Clone(whole)
		if at := int(id) * page; native.Uint16(raw[at+8:]) == branchPage {
			native.PutUint64(raw[at+pageHeader+8:], id)
			if walkPages(bytes.NewReader(raw), int64(len(raw))) != nil {
				circles++
			}
		}
	}
	if circles == 0 {
		t.Error("no circle was named")
	}
}

func TestSpoiltMetasAreNamed(t *testing.T) {
	whole := sample(t)
	path := filepath.Join(t.TempDir(), "file.db")
	for i := range metaPages {
		if err := os.WriteFile(path, flipped(whole, i*page+pageHeader+50, 3), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := SpoiltMetas(path)
		if err != nil || len(found) != 1 || found[0].Place != fmt.Sprintf("file/meta%d", i) {
			t.Errorf("meta %d: %v, %v", i, found, err)
		}
	}
	if _, err := SpoiltMetas(path + ".missing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestAPageThatIsInUseAndFreeIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: page})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []func(*bolt.Tx) error{
		fill(500), func(tx *bolt.Tx) error { return tx.DeleteBucket(rows) }, fill(5),
	} {
		if err := db.Update(step); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close()
	raw, err := os.ReadFile(path)
	if err != nil || walkPages(bytes.NewReader(raw), int64(len(raw))) != nil {
		t.Fatal("the file as written is refused")
	}
	m := readMeta(bytes.NewReader(raw), 0)
	if other := readMeta(bytes.NewReader(raw), page); other.tx > m.tx {
		m = other
	}
	native.PutUint64(raw[int(m.freelist)*page+pageHeader:], m.root)
	if err := walkPages(bytes.NewReader(raw), int64(len(raw))); !errors.Is(err, ErrDamaged) {
		t.Errorf("a list that frees the root: %v", err)
	}
}

// FuzzPages changes a real file at will: whatever the check lets pass can be
// opened and read without ending the process.
func FuzzPages(f *testing.F) {
	whole := sample(f)
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0x40, 0, 8, 1})
	f.Add([]byte{0x80, 0, 24, 0x80, 0xc0, 0, 8, 7})
	f.Fuzz(func(t *testing.T, edits []byte) {
		image, path := slices.Clone(whole), filepath.Join(t.TempDir(), "image.db")
		for ; len(edits) >= 4; edits = edits[4:] { // page, offset, xor
			at := (int(edits[0])%(len(whole)/page))*page + (int(edits[1])<<8+int(edits[2]))%page
			image[at] ^= edits[3]
		}
		// The input is the file: the walk reads each page once, bbolt maps it.
		fuzztest.Bounded(t, len(image), 2, func() { _ = opensAndServes(t, path, image) })
	})
}
