package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

var both = []vault.Class{vault.Fleeting, vault.Lasting}

// keyed is a home whose key file lies beside its store, as a device has it.
func keyed(t testing.TB) home {
	h := newHome(t)
	if err := boltstore.SaveKeys(h.dir, h.vault); err != nil {
		t.Fatal(err)
	}
	return h
}

// again is the home with the keys that its file has now.
func (h home) again() home {
	h.t.Helper()
	v, err := boltstore.ReadKeys(h.dir, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return home{t: h.t, dir: h.dir, vault: v}
}

// copied is a copy of the home's files as they are now.
func (h home) copied() home {
	h.t.Helper()
	dir, err := os.MkdirTemp(h.t.TempDir(), "copy")
	if err != nil {
		h.t.Fatal(err)
	}
	out := home{t: h.t, dir: dir, vault: h.vault}
	for _, name := range []string{boltstore.FileName, boltstore.KeyFile, boltstore.KeyFile + ".new"} {
		out.put(name, h)
	}
	return out
}

// put brings a file of another home.
func (h home) put(name string, from home) {
	h.t.Helper()
	raw, err := os.ReadFile(filepath.Join(from.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, name), raw, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// stock writes some rows into every table.
func stock(t testing.TB, s store.Store) map[store.Bucket][]pair {
	update(t, s, func(tx store.Tx) {
		for _, b := range store.Buckets() {
			for i := range 40 {
				key := binary.BigEndian.AppendUint64(nil, uint64(i))
				tx.Put(b, key, []byte(strings.Repeat(fmt.Sprintf("row %d of %v ", i, b), 1+i%20)))
			}
		}
	})
	return contents(t, s)
}

// opened counts the values whose sealed bytes stand somewhere in the file, and of these the ones that v opens.
func opened(h home, v *vault.Vault, c vault.Class, b store.Bucket, sealed map[string][]byte) (there, open int) {
	raw, err := os.ReadFile(h.path())
	if err != nil {
		h.t.Fatal(err)
	}
	begins := map[[16]byte]string{}
	for stored, value := range sealed {
		begins[[16]byte(value)] = stored
	}
	for i := range len(raw) - 16 {
		stored, ok := begins[[16]byte(raw[i:])]
		if value := sealed[stored]; ok && bytes.HasPrefix(raw[i:], value) {
			there++
			if _, err := v.Open(c, append([]byte{byte(b), 0}, stored...), value); err == nil {
				open++
			}
		}
	}
	return there, open
}

func TestDeletedSecretsAreGoneAfterARotation(t *testing.T) {
	for c, b := range map[vault.Class]store.Bucket{vault.Fleeting: store.BucketSessions, vault.Lasting: store.BucketChats} {
		h := keyed(t)
		s := h.create()
		secrets := func(fn func(tx store.Tx, key []byte)) {
			update(t, s, func(tx store.Tx) {
				for i := range uint64(3000) {
					fn(tx, binary.BigEndian.AppendUint64(nil, 1<<40+i))
				}
			})
		}
		secrets(func(tx store.Tx, key []byte) { tx.Put(b, key, bytes.Repeat([]byte("secret"), 20)) })
		s.Close()
		sealed := map[string][]byte{}
		h.edit(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte{byte(b)}).ForEach(func(k, v []byte) error {
				sealed[string(k)] = slices.Clone(v)
				return nil
			})
		})
		s = h.open(boltstore.Options{})
		stock(t, s)
		secrets(func(tx store.Tx, key []byte) { tx.Delete(b, key) })
		if _, n := opened(h, h.again().vault, c, b, sealed); n == 0 {
			t.Errorf("control: %v: no deleted value opens even without a rotation", b)
		}
		if err := s.Rotate(t.Context(), c, time.Now()); err != nil {
			t.Fatal(err)
		}
		if there, n := opened(h, h.again().vault, c, b, sealed); n != 0 || there == 0 {
			t.Errorf("%v: of %d deleted values in the file %d open after the rotation", b, there, n)
		}
		if there, n := opened(h, h.vault, c, b, sealed); n != there {
			t.Errorf("control: %v: of %d the old keys open %d, so that any key would do", b, there, n)
		}
		if _, err := os.Stat(filepath.Join(h.dir, boltstore.KeyFile+".new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a key file that waits is left: %v", err)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
}

// acts on keys, each of which may be cut off at any step.
var acts = map[string]func(s *boltstore.Store) error{
	"what is forgotten": func(s *boltstore.Store) error {
		return s.Rotate(context.Background(), vault.Fleeting, time.Now())
	},
	"what lasts": func(s *boltstore.Store) error { return s.Rotate(context.Background(), vault.Lasting, time.Now()) },
	"a passphrase": func(s *boltstore.Store) error { // an empty one, for each look would cost a tenth of a second
		_, err := s.Relock(context.Background(), nil, time.Now())
		return err
	},
}

// TestACrashAtEachStepLeavesAStoreThatOpens looks at the disk as a crash after each step would leave it. The control puts
// key files and stores of different steps together: what a wrong order would leave.
func TestACrashAtEachStepLeavesAStoreThatOpens(t *testing.T) {
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			h := keyed(t)
			s := h.create()
			want := stock(t, s)
			images := []home{h.copied()}
			var steps []string
			s.OnStep(func(what string) { images, steps = append(images, h.copied()), append(steps, what) })
			if err := act(s); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if !slices.Contains(steps, "half written") || !slices.Contains(steps, "sealed again") || len(steps) < 12 {
				t.Fatalf("steps %q", steps)
			}
			for i, image := range images {
				lives(image, want, fmt.Sprintf("after step %d of %q", i, steps))
			}
			first, last := images[0].copied(), images[len(images)-1].copied()
			first.put(boltstore.FileName, last)
			first = first.again()
			if got, err := lookAt(first, true); err == nil && cmp.Equal(want, got) {
				t.Error("control: the first key file opens the last store, so that the order does not matter")
			}
		})
	}
}

// lives opens a store after a crash, finds everything, ends what was begun and finds everything again.
func lives(image home, want map[store.Bucket][]pair, when string) {
	t := image.t
	t.Helper()
	image = image.again()
	if got, err := lookAt(image, true); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%s: %v", when, err)
		return
	}
	s := image.open(boltstore.Options{})
	if s.Restored() {
		t.Errorf("%s: taken for an older copy", when)
	}
	if err := s.Renew(t.Context(), time.Now()); err != nil {
		t.Errorf("%s, gone on: %v", when, err)
	}
	s.Close()
	image = image.again()
	if image.vault.Rotating(vault.Fleeting) || image.vault.Rotating(vault.Lasting) {
		t.Errorf("%s: the old keys are still there after going on", when)
	}
	if got, err := lookAt(image, true); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%s, gone on: %v", when, err)
	}
}

func TestOthersReadAndWriteWhileKeysTurn(t *testing.T) {
	h := keyed(t)
	s := h.create()
	stock(t, s)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				err := s.View(func(tx store.Tx) error {
					for _, b := range []store.Bucket{store.BucketSessions, store.BucketChats} {
						tx.Scan(b, nil, func(_, _ []byte) bool { return true })
					}
					return tx.Err()
				})
				if i == 0 && err == nil {
					err = s.Update(func(tx store.Tx) error {
						tx.Put(store.BucketSessions, binary.BigEndian.AppendUint64(nil, n%50), []byte("new"))
						tx.Put(store.BucketMessages, binary.BigEndian.AppendUint64(nil, n%50), []byte("new"))
						return nil
					})
				}
				if err != nil {
					t.Errorf("beside a rotation: %v", err)
					return
				}
			}
		})
	}
	for range 8 {
		for _, c := range both {
			if err := s.Rotate(t.Context(), c, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	end()
	wg.Wait()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestKeysAreRenewedWhenTheyAreDue(t *testing.T) {
	h := keyed(t)
	s := h.create()
	stock(t, s)
	made := h.vault.Made(vault.Fleeting)
	at := func(d time.Duration) home {
		t.Helper()
		if err := s.Renew(t.Context(), made.Add(d)); err != nil {
			t.Fatal(err)
		}
		return h.again()
	}
	changed := func(a, b home) (out [2]bool) {
		for _, c := range both {
			out[c] = !bytes.Equal(a.vault.Mark(c), b.vault.Mark(c))
		}
		return out
	}
	before := h.again()
	for _, c := range []struct {
		after             time.Duration
		lasting, fleeting bool
	}{
		{0, false, false},
		{boltstore.FleetingEvery - time.Second, false, false},
		{boltstore.FleetingEvery, false, true},
		{boltstore.FleetingEvery + time.Hour, false, false},
		{boltstore.LastingEvery, true, true},
		{boltstore.LastingEvery - time.Hour, false, false}, // a clock that was set back a little
		{-boltstore.LastingEvery - time.Hour, true, true},  // and one that was far ahead
	} {
		next := at(c.after)
		if got, want := changed(before, next), [2]bool{vault.Lasting: c.lasting, vault.Fleeting: c.fleeting}; got != want {
			t.Errorf("after %v: changed %v, want %v", c.after, got, want)
		}
		before = next
	}
}

// restored is a home whose store was put back to what it was before rotations of these classes.
func restored(t *testing.T, file string, classes ...vault.Class) (home, map[store.Bucket][]pair) {
	h := keyed(t)
	s := h.create()
	want := stock(t, s)
	old := h.copied()
	for _, c := range classes {
		if err := s.Rotate(t.Context(), c, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	update(t, s, func(tx store.Tx) { tx.Put(store.BucketMeta, []byte("newer"), nil) })
	if file == boltstore.KeyFile {
		want = contents(t, s)
	}
	s.Close()
	h.put(file, old)
	return h.again(), want
}

func TestAStoreThatIsOlderThanItsKeysIsKnown(t *testing.T) {
	for _, file := range []string{boltstore.FileName, boltstore.KeyFile} {
		h, want := restored(t, file, vault.Fleeting)
		for b := range want {
			if b.Fleeting() {
				delete(want, b)
			}
		}
		got, err := lookAt(h, true)
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s put back, read only: %v", file, err)
		}
		s := h.open(boltstore.Options{})
		if !s.Restored() {
			t.Fatalf("%s put back: not noticed", file)
		}
		if err := s.Update(func(tx store.Tx) error { tx.Put(store.BucketSessions, []byte("k"), nil); return nil }); err == nil {
			t.Error("a session was written over those that nobody knows")
		}
		for name, act := range acts {
			if err := act(s); !errors.Is(err, boltstore.ErrRestored) {
				t.Errorf("%s: %v", name, err)
			}
		}
		stop := errors.New("stop")
		if err := s.Forget(func(store.Tx) error { return stop }); !errors.Is(err, stop) || !s.Restored() {
			t.Errorf("it was taken as settled when what settles it had failed: %v", err)
		}
		if err := s.Forget(func(tx store.Tx) error { tx.Put(store.BucketPrekeys, []byte("fresh"), nil); return nil }); err != nil {
			t.Fatal(err)
		}
		s = h.reopen(s)
		if s.Restored() || s.Check() != nil || len(rowsOf(t, s, store.BucketPrekeys, nil)) != 1 {
			t.Errorf("settled, and opened again: restored %v, %v", s.Restored(), s.Check())
		}
		if err := s.Rotate(t.Context(), vault.Fleeting, time.Now()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}

// TestAStoreOfItsKeysIsNotTakenForOlder is the control: without a rotation between, nothing is noticed.
func TestAStoreOfItsKeysIsNotTakenForOlder(t *testing.T) {
	for _, file := range []string{boltstore.FileName, boltstore.KeyFile} {
		h, want := restored(t, file)
		if s := h.open(boltstore.Options{}); s.Restored() || !cmp.Equal(contents(t, s), want) {
			t.Errorf("%s put back: restored %v", file, s.Restored())
		}
	}
}

func TestAStoreWhoseLastingKeysAreGoneSaysSo(t *testing.T) {
	for _, file := range []string{boltstore.FileName, boltstore.KeyFile} {
		h, _ := restored(t, file, vault.Lasting)
		if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrApart) || errors.Is(err, boltstore.ErrDamaged) {
			t.Errorf("%s put back: %v", file, err)
		}
	}
}

func TestARowThatDoesNotOpenHoldsUpNoRotation(t *testing.T) {
	for _, b := range []store.Bucket{store.BucketSessions, store.BucketOutbox} {
		h := keyed(t)
		s := h.create()
		stock(t, s)
		s.Close()
		var spoilt []byte
		h.edit(func(tx *bbolt.Tx) error {
			k, v := tx.Bucket([]byte{byte(b)}).Cursor().First()
			spoilt = slices.Clone(k)
			bad := slices.Clone(v)
			bad[len(bad)-1] ^= 1
			return tx.Bucket([]byte{byte(b)}).Put(k, bad)
		})
		s = h.open(boltstore.Options{})
		for range 2 {
			for _, c := range both {
				err := s.Rotate(t.Context(), c, time.Now())
				var where *boltstore.Damage
				if mine := b.Fleeting() == (c == vault.Fleeting); mine != errors.As(err, &where) || !mine && err != nil {
					t.Errorf("bucket %v, class %d: %v", b, c, err)
				} else if mine && !strings.Contains(where.Place, fmt.Sprintf("%x", spoilt[:8])) {
					t.Errorf("bucket %v: damage at %s", b, where.Place)
				}
			}
		}
		if v := h.again().vault; v.Rotating(vault.Fleeting) || v.Rotating(vault.Lasting) {
			t.Error("old keys are left")
		}
		if err := s.Check(); !errors.Is(err, boltstore.ErrDamaged) {
			t.Errorf("bucket %v: the damage is no longer seen: %v", b, err)
		}
	}
}

func TestARotationThatCannotBeWrittenTakesNothing(t *testing.T) {
	h := keyed(t)
	s := h.create()
	want := stock(t, s)
	if err := os.Mkdir(filepath.Join(h.dir, boltstore.KeyFile+".new"), 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	for name, act := range acts {
		if err := act(s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if !cmp.Equal(contents(t, s), want) || h.again().vault.Rotating(vault.Fleeting) {
		t.Error("something changed")
	}
	if err := os.Remove(filepath.Join(h.dir, boltstore.KeyFile+".new")); err != nil {
		t.Fatal(err)
	}
	for name, act := range acts { // the control
		if err := act(s); err != nil || !cmp.Equal(contents(t, s), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherPassphraseComesWithOtherKeys(t *testing.T) {
	h := keyed(t)
	old := h.copied()
	s := h.create()
	want := stock(t, s)
	if changed, err := s.Relock(t.Context(), []byte("p"), time.Now()); !changed || err != nil || !boltstore.KeysLocked(h.dir) {
		t.Fatalf("%v, %v", changed, err)
	}
	s.Close()
	if _, err := boltstore.ReadKeys(h.dir, []byte("q")); !errors.Is(err, vault.ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	if _, err := boltstore.Open(h.dir, old.again().vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrApart) {
		t.Errorf("the key file of before still opens the store: %v", err)
	}
	var err error
	if h.vault, err = boltstore.ReadKeys(h.dir, []byte("p")); err != nil {
		t.Fatal(err)
	}
	if got, err := lookAt(h, true); err != nil || !cmp.Equal(want, got) {
		t.Errorf("under the new passphrase: %v", err)
	}
}

// TestAFileThatWasReplacedIsDestroyed reads the old file through a name that it kept.
func TestAFileThatWasReplacedIsDestroyed(t *testing.T) {
	h := keyed(t)
	path, kept := filepath.Join(h.dir, boltstore.KeyFile), filepath.Join(h.dir, "kept")
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.Link(path, kept)
	}
	if err == nil {
		err = boltstore.SaveKeys(h.dir, h.vault)
	}
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(kept)
	if err != nil || len(after) != len(before) || len(bytes.Trim(after, "\x00")) != 0 {
		t.Errorf("%d bytes of the old file are left, %v", len(bytes.Trim(after, "\x00")), err)
	}
}

// TestAKeptStoreOfVersion1IsRenewed brings store and key file of the first version up to date.
func TestAKeptStoreOfVersion1IsRenewed(t *testing.T) {
	h := unpack(t, filepath.Join("testdata", "version1"))
	h.put(boltstore.KeyFile, home{t: t, dir: filepath.Join("testdata", "version1")})
	old := h.copied()
	s := h.open(boltstore.Options{})
	if s.Restored() {
		t.Error("taken for an older copy")
	}
	want, err := lookAt(h.copied(), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	h = h.again()
	if h.vault.Made(vault.Lasting).IsZero() || h.vault.Made(vault.Fleeting).IsZero() {
		t.Error("the keys were not renewed")
	}
	if got, err := lookAt(h, true); err != nil || !cmp.Equal(want, got) {
		t.Errorf("renewed: %v", err)
	}
	h.put(boltstore.FileName, old)
	if _, err := boltstore.Open(h.dir, h.vault, boltstore.Options{}); !errors.Is(err, boltstore.ErrApart) {
		t.Errorf("put back: %v", err)
	}
}
