package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/blob"
)

var (
	today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	later = today.Add(30 * 24 * time.Hour)
	alice = [32]byte{1}
	bob   = [32]byte{2}
)

// chunk is a chunk of n bytes that a number gives, and its name.
func chunk(number, n int) (Digest, []byte) {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(number), byte(number >> 8)}).Read(b)
	return blob.DigestOf(b), b
}

func newStore(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	return newStoreWith(t, dir, o, controls{})
}

func newStoreWith(t testing.TB, dir string, o Options, ctl controls) *Store {
	t.Helper()
	if o.Floor == 0 {
		o.Floor = 1
	}
	s, err := open(dir, o, ctl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t testing.TB, s *Store, number, n int, expires time.Time, owner [32]byte) Digest {
	t.Helper()
	d, b := chunk(number, n)
	if err := s.Put(d, b, expires, owner); err != nil {
		t.Fatal(err)
	}
	return d
}

func holds(t testing.TB, s *Store, number, n int) bool {
	t.Helper()
	d, want := chunk(number, n)
	got, err := s.Get(d)
	if has := s.Has([]Digest{d})[0]; has != (err == nil) || err != nil && !errors.Is(err, ErrNotHere) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("has %v, got %d bytes, %v", has, len(got), err)
	}
	return err == nil
}

// files are the chunk files on the disk, whatever the index says.
func files(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, filesName), func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAChunkStaysOverARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "chunks")
	s := newStore(t, dir, Options{})
	sizes := []int{1, 1000, copyBuffer, copyBuffer + 1, blob.MaxChunk}
	for i, n := range sizes {
		put(t, s, i, n, later, alice)
		put(t, s, i, n, later, alice) // again
	}
	before := s.Stats()
	for round := range 2 {
		for i, n := range sizes {
			if !holds(t, s, i, n) {
				t.Errorf("round %d: chunk %d is not here", round, i)
			}
		}
		if holds(t, s, 99, 10) {
			t.Error("a chunk that nobody put is here")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = newStore(t, dir, Options{})
	}
	if got := s.Stats(); got.Usage != before.Usage || got.Damaged+got.Left != 0 || s.Usage(alice) != got.cost() {
		t.Errorf("%+v before, %+v after, %d claimed", before, got, s.Usage(alice))
	}
}

func TestWhatIsNoChunkIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	d, b := chunk(1, 100)
	other, _ := chunk(2, 100)
	for name, err := range map[string]error{
		"other bytes": s.Put(other, b, later, alice),
		"empty":       s.Put(blob.DigestOf(nil), nil, later, alice),
		"too large":   s.Put(blob.DigestOf(make([]byte, blob.MaxChunk+1)), make([]byte, blob.MaxChunk+1), later, alice),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	in, err := s.begin(d, 100, claim{alice, 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.receive(bytes.NewReader(b[:99])); err == nil {
		t.Error("a part of a chunk was taken")
	}
	if err := in.receive(bytes.NewReader(make([]byte, 100))); !errors.Is(err, ErrInvalid) {
		t.Errorf("other bytes: %v", err)
	}
	in.end()
	if s.Usage(alice) != 0 || s.Stats().Bytes != 0 || files(t, dir) != 0 {
		t.Errorf("something is left: %+v, %d files", s.Stats(), files(t, dir))
	}
}

func TestQuotasHold(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir(), Options{MaxBytes: 1000 + 3*ChunkCost, OwnerBytes: 600 + 2*ChunkCost})
	put(t, s, 1, 400, later, alice)
	d, b := chunk(2, 400)
	if err := s.Put(d, b, later, alice); !errors.Is(err, ErrFull) {
		t.Errorf("over the owner's quota: %v", err)
	}
	put(t, s, 2, 400, later, bob)
	if err := s.Put(d, b, later, alice); !errors.Is(err, ErrFull) {
		t.Errorf("a claim on a chunk of another costs nothing: %v", err)
	}
	d, b = chunk(3, 201)
	if err := s.Put(d, b, later, bob); !errors.Is(err, ErrFull) {
		t.Errorf("over the store's quota: %v", err)
	}
	put(t, s, 3, 200, later, alice)
	first, _ := chunk(1, 400)
	if err := s.Drop(first, bob); !errors.Is(err, ErrNotHere) {
		t.Errorf("another's claim was dropped: %v", err)
	}
	if err := s.Drop(first, alice); err != nil || holds(t, s, 1, 400) || s.Usage(alice) != costOf(200) {
		t.Errorf("%v, %d claimed", err, s.Usage(alice))
	}
	put(t, s, 4, 400, later, alice)
}

func TestQuotasHoldForThoseWhoComeTogether(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir(), Options{MaxBytes: 1000 + 3*ChunkCost})
	var held []*incoming
	for i := range 5 {
		d, _ := chunk(i, 300)
		in, err := s.begin(d, 300, claim{[32]byte{byte(i)}, 1})
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if err == nil {
			held = append(held, in)
		}
	}
	if len(held) != 3 {
		t.Errorf("%d of 3 found room", len(held))
	}
	for _, in := range held {
		in.end()
	}
	put(t, s, 9, 1000, later, alice)
}

func TestTheDiskKeepsAFloor(t *testing.T) {
	t.Parallel()
	free := uint64(5000)
	s := newStoreWith(t, t.TempDir(), Options{Floor: 4000}, controls{free: func() uint64 { return free }})
	put(t, s, 1, 1000, later, alice)
	d, b := chunk(2, 1001)
	if err := s.Put(d, b, later, alice); !errors.Is(err, ErrFull) {
		t.Errorf("below the floor: %v", err)
	}
	free++
	put(t, s, 2, 1001, later, alice)
}

func TestClaimsEndByDays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	for i := range 140 { // more than one step
		put(t, s, i, 10, today, alice)
	}
	put(t, s, 300, 10, later, alice)
	shared := put(t, s, 301, 10, today, alice)
	put(t, s, 301, 10, later, bob)
	put(t, s, 302, 10, today, alice)
	put(t, s, 302, 10, later, alice) // longer
	put(t, s, 302, 10, today, alice) // never shorter
	if n, err := s.Expire(today.Add(11 * time.Hour)); n != 0 || err != nil {
		t.Errorf("%d chunks went on their day, %v", n, err)
	}
	if n, err := s.Expire(today.Add(12 * time.Hour)); n != 140 || err != nil {
		t.Errorf("%d of 140 went, %v", n, err)
	}
	if holds(t, s, 7, 10) || !holds(t, s, 300, 10) || !holds(t, s, 301, 10) || !holds(t, s, 302, 10) {
		t.Error("the wrong chunks went")
	}
	if files(t, dir) != 3 || s.Usage(alice) != 2*costOf(10) || s.Usage(bob) != costOf(10) || s.Stats().Expired != 140 {
		t.Errorf("%d files, %+v", files(t, dir), s.Stats())
	}
	if err := s.Drop(shared, alice); !errors.Is(err, ErrNotHere) {
		t.Errorf("a claim that ended: %v", err)
	}
	if n, err := s.Expire(later.Add(24 * time.Hour)); n != 3 || err != nil || files(t, dir) != 0 || s.Stats().Usage != (Usage{}) {
		t.Errorf("%d, %v, %+v", n, err, s.Stats())
	}
}

func TestAChunkHasAFewOwners(t *testing.T) {
	t.Parallel()
	s := newStore(t, t.TempDir(), Options{})
	d, b := chunk(1, 10)
	for i := range MaxClaims {
		put(t, s, 1, 10, later, [32]byte{byte(MaxClaims - i)})
	}
	if err := s.Put(d, b, later, [32]byte{100}); !errors.Is(err, ErrFull) || s.Usage([32]byte{100}) != 0 {
		t.Errorf("one more: %v", err)
	}
	for i := range MaxClaims {
		if !holds(t, s, 1, 10) {
			t.Fatalf("gone with the claim of %d", i)
		}
		if err := s.Drop(d, [32]byte{byte(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if holds(t, s, 1, 10) || s.Stats().Usage != (Usage{}) {
		t.Errorf("still here: %+v", s.Stats())
	}
}

func TestADamagedChunkIsDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	n := copyBuffer + 100
	spoil := map[string]func(path string) error{
		"a bit": func(p string) error {
			_, b := chunk(1, n)
			b[len(b)-1] ^= 1
			return os.WriteFile(p, b, fileMode)
		},
		"shorter": func(p string) error { return os.Truncate(p, int64(n-1)) },
		"missing": os.Remove,
	}
	for name, damage := range spoil {
		for _, found := range []string{"get", "scrub", "put", "stream"} {
			d := put(t, s, 1, n, later, alice)
			if err := damage(s.chunkPath(d)); err != nil {
				t.Fatal(err)
			}
			was := s.Stats().Damaged
			switch found {
			case "get":
				if holds(t, s, 1, n) {
					t.Errorf("%s: served", name)
				}
			case "scrub":
				if checked, bad, err := s.Scrub(context.Background(), 0); checked != 1 || bad != 1 || err != nil {
					t.Errorf("%s: %d checked, %d damaged, %v", name, checked, bad, err)
				}
			case "put":
				put(t, s, 1, n, later, bob)
				if !holds(t, s, 1, n) {
					t.Errorf("%s: not mended", name)
				}
				_, _ = s.Drop(d, alice), s.Drop(d, bob)
				continue
			}
			if found != "stream" && s.Stats().Damaged != was+1 {
				t.Errorf("%s by %s: not counted", name, found)
			}
			_ = s.Drop(d, alice)
		}
	}
	if s.Stats().Usage != (Usage{}) || files(t, dir) != 0 || s.Usage(alice) != 0 {
		t.Errorf("%+v, %d files", s.Stats(), files(t, dir))
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				owner := [32]byte{byte(w)}
				d, b := chunk(i, 100) // all put the same, and drop it again
				err := s.Put(d, b, later, owner)
				if err == nil && !s.Has([]Digest{d})[0] {
					err = errors.New("put and not here")
				}
				if err == nil && (i%2 == 0 || w > 0) {
					err = s.Drop(d, owner)
				}
				if err != nil {
					t.Error(fmt.Errorf("worker %d, chunk %d: %w", w, i, err))
				}
			}
		})
	}
	wg.Wait()
	if got := s.Stats().Usage; got != (Usage{Chunks: 5, Bytes: 500}) || s.Usage([32]byte{}) != 5*costOf(100) || files(t, dir) != 5 {
		t.Errorf("%+v, %d files", got, files(t, dir))
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newStore(t, dir, Options{})
	d := put(t, s, 1, 10, later, alice)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, got := s.Get(d)
	_, expired := s.Expire(later)
	_, b := chunk(1, 10)
	for i, err := range []error{got, expired, s.Put(d, b, later, alice), s.Drop(d, alice)} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if s.Has([]Digest{d})[0] {
		t.Error("has")
	}
}

func TestAStoreWhoseCommitFailsTakesNoMore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var fail error
	s := newStoreWith(t, dir, Options{}, controls{commit: func() error { return fail }})
	put(t, s, 1, 10, later, alice)
	fail = errors.New("fsync: input/output error")
	d, b := chunk(2, 10)
	if err := s.Put(d, b, later, alice); err == nil {
		t.Error("acknowledged")
	}
	fail = nil
	if err := s.Put(d, b, later, alice); err == nil || !strings.Contains(err.Error(), "open the store again") {
		t.Errorf("the next one: %v", err)
	}
	if !holds(t, s, 1, 10) || files(t, dir) != 1 || s.Usage(alice) != costOf(10) {
		t.Errorf("%d files, %d claimed", files(t, dir), s.Usage(alice))
	}
}
