package kad

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	ds "github.com/ipfs/go-datastore"
	dsq "github.com/ipfs/go-datastore/query"
	record "github.com/libp2p/go-libp2p-record"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/dht/dhttest"
)

// entry is a record as kad-dht stores it.
func entry(tb testing.TB, key string, value []byte) (ds.Key, []byte) {
	tb.Helper()
	raw, err := proto.Marshal(record.MakePutRecord(key, value))
	if err != nil {
		tb.Fatal(err)
	}
	return ds.NewKey(fmt.Sprintf("/kith/%x", key)), raw
}

// trusting is a verifier for which every value is a record of kind that dies
// with it, so that a store can be filled without a thousand signatures.
func trusting(tb testing.TB, clock *dhttest.Clock) *verifier {
	tb.Helper()
	kind := persons(tb, 1)[0]
	claim, err := dht.Inspect(kind.Key, kind.Make(1, 0))
	if err != nil {
		tb.Fatal(err)
	}
	v := newVerifier(clock.Now)
	v.inspect = func(string, []byte) (dht.Claim, error) { return claim, nil }
	return v
}

func newTestStore(tb testing.TB, k keeper, v *verifier, entries, size int) *store {
	tb.Helper()
	s, err := newStore(k, v)
	if err != nil {
		tb.Fatal(err)
	}
	s.maxEntries, s.maxBytes = entries, size
	return s
}

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

func TestAFullStoreRefusesNewKeysAndTakesUpdates(t *testing.T) {
	clock := dhttest.NewClock(dhttest.Start)
	s := newTestStore(t, newMemory(), trusting(t, clock), 3, maxBytes)
	put := func(key, value string) error {
		k, v := entry(t, key, []byte(value))
		return s.Put(t.Context(), k, v)
	}
	for i := range 3 {
		if err := put(fmt.Sprint(i), "first"); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("one too many", "v"); !errors.Is(err, errFull) {
		t.Errorf("a fourth entry: %v", err)
	}
	if err := put("1", "second"); err != nil {
		t.Errorf("an update: %v", err)
	}
	s.maxBytes = s.bytes
	if err := put("1", "something longer than what is there"); !errors.Is(err, errFull) {
		t.Errorf("an update past the bytes: %v", err)
	}
	if n := sweepAt(s, clock.Now().Add(dhttest.Life+dht.Grace+time.Hour)); n != 3 || len(s.slots) != 0 || s.bytes != 0 {
		t.Errorf("swept %d, left %d entries of %d bytes", n, len(s.slots), s.bytes)
	}
	if err := put("now there is room", "v"); err != nil {
		t.Error(err)
	}
}

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func sweepAt(s *store, moment time.Time) int {
	before := s.verifier.now
	defer func() { s.verifier.now = before }()
	s.verifier.now = at(moment)
	return s.Sweep()
}

func TestAnOversizedOrUnverifiableValueIsNotStored(t *testing.T) {
	v := newVerifier(at(dhttest.Start))
	s := newTestStore(t, newMemory(), v, 10, maxBytes)
	kind := persons(t, 1)[0]
	big, _ := entry(t, kind.Key, nil)
	if err := s.Put(t.Context(), big, make([]byte, maxStored+1)); err == nil {
		t.Error("an oversized value was stored")
	}
	k, raw := entry(t, kind.Key, dhttest.Forged(kind.Make(1, 0)))
	if err := s.Put(t.Context(), k, raw); err == nil {
		t.Error("a forged value was stored")
	}
	if err := s.Put(t.Context(), k, []byte("not a record")); err == nil {
		t.Error("junk was stored")
	}
	if len(s.slots) != 0 || s.bytes != 0 {
		t.Errorf("%d entries, %d bytes", len(s.slots), s.bytes)
	}
}

func TestTheStoreAgreesWithAMapUnderRandomOperations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	f, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	clock := dhttest.NewClock(dhttest.Start)
	v := trusting(t, clock)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		keepers := []keeper{newMemory()}
		if run++; run <= 8 { // every step of the file is an fsync
			keepers = append(keepers, f)
		}
		for _, k := range keepers {
			s := newTestStore(t, k, v, 12, 4<<10)
			for key := range maps.Clone(s.slots) {
				if err := s.Delete(t.Context(), ds.RawKey(key)); err != nil {
					rt.Fatal(err)
				}
			}
			model := map[string][]byte{}
			for range rapid.IntRange(1, 30).Draw(rt, "operations") {
				step(t, rt, s, model)
			}
			compare(t, rt, s, model)
		}
	})
}

func step(t *testing.T, rt *rapid.T, s *store, model map[string][]byte) {
	name := fmt.Sprint(rapid.IntRange(0, 15).Draw(rt, "key"))
	key, raw := entry(t, name, make([]byte, rapid.IntRange(0, 600).Draw(rt, "size")))
	if rapid.Bool().Draw(rt, "delete") && rapid.Bool().Draw(rt, "really") {
		if err := s.Delete(t.Context(), key); err != nil {
			rt.Fatal(err)
		}
		delete(model, key.String())
		return
	}
	total := 8 + len(raw)
	for k, v := range model {
		if k != key.String() {
			total += 8 + len(v)
		}
	}
	_, had := model[key.String()]
	fits := total <= s.maxBytes && (had || len(model) < s.maxEntries)
	err := s.Put(t.Context(), key, raw)
	if fits != (err == nil) {
		rt.Fatalf("put of %d with %d in all: %v", len(raw), total, err)
	}
	if fits {
		model[key.String()] = raw
	}
}

func compare(t *testing.T, rt *rapid.T, s *store, model map[string][]byte) {
	results, err := s.Query(t.Context(), dsq.Query{Prefix: "/kith"})
	if err != nil {
		rt.Fatal(err)
	}
	all, err := results.Rest()
	if err != nil || len(all) != len(model) || len(s.slots) != len(model) {
		rt.Fatalf("%d found, %d booked, %d expected: %v", len(all), len(s.slots), len(model), err)
	}
	size := 0
	for _, e := range all {
		if !bytes.Equal(e.Value, model[e.Key]) {
			rt.Fatalf("%s differs", e.Key)
		}
		size += 8 + len(e.Value)
	}
	if size != s.bytes {
		rt.Fatalf("%d bytes booked, %d kept", s.bytes, size)
	}
}

func TestRecordsAndPeersSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	kind := persons(t, 1)[0]
	friend := newNode(t, Config{})
	h := newHost(t)
	first, err := Open(t.Context(), h, Config{Path: path, Mode: Server, Now: at(dhttest.Start)})
	if err != nil {
		t.Fatal(err)
	}
	connect(t, h, friend.host)
	if n, err := first.Put(t.Context(), kind.Key, kind.Make(1, 0)); n != 1 || err != nil {
		t.Fatalf("stored %d: %v", n, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	sub := identified(t, friend.host)
	second := newNode(t, Config{Path: path}) // a new host: only the cache knows the friend
	for peer := range sub {
		if peer == second.host.ID() {
			break
		}
	}
	if got, err := second.GetFrom(t.Context(), friend.host.ID(), kind.Key); err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
		t.Errorf("from the friend: %v", err)
	}
	own, err := second.local(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(own.value, kind.Make(1, 0)) {
		t.Errorf("from the disk: %v", err)
	}
}

func TestTheFileAppearsWholeOrNotAtAll(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "directory.db")
	if err := os.WriteFile(path+".new", []byte("torn first write"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is left: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func([]byte) []byte { return nil },
		"torn":      func(b []byte) []byte { return b[:len(b)/3] },
		"not bbolt": func(b []byte) []byte { return slices.Repeat([]byte("junk"), len(b)/4) },
		"no pages":  func(b []byte) []byte { return append(b[:8192:8192], make([]byte, len(b)-8192)...) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "directory.db")
			f, err := openFile(path, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.close(); err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err = openFile(path, false)
			if err != nil {
				t.Fatal(err)
			}
			defer f.close()
			if err := f.put("k", []byte("v")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALockedFileIsAnErrorAndStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	f, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := openFile(path, false); err == nil {
		t.Fatal("opened twice")
	}
	if _, err := os.Stat(path + ".damaged"); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file in use was set aside")
	}
}

func TestAFileCutShortWhileOpenIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	f, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for i := range 50 {
		if err := f.put(fmt.Sprint(i), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, 2*int64(os.Getpagesize())); err != nil { // the meta pages stay
		t.Fatal(err)
	}
	if _, err := f.get("7"); !errors.Is(err, boltfile.ErrDamaged) {
		t.Errorf("get: %v", err)
	}
	if err := f.put("7", nil); !errors.Is(err, boltfile.ErrDamaged) {
		t.Errorf("put: %v", err)
	}
}

func TestThePeerCacheForgetsTheOldest(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "directory.db"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	now := dhttest.Start
	left := 0
	err = f.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketPeers)
		for i := range maxKnownPeers + 5 {
			if err := b.Put([]byte{byte(i), byte(i >> 8)}, knownPeer(t, now.Add(-time.Duration(i)*time.Hour))); err != nil {
				return err
			}
		}
		if err := b.Put([]byte("ancient"), knownPeer(t, now.Add(-maxKnownAge-time.Hour))); err != nil {
			return err
		}
		if err := forgetOldest(b, now); err != nil {
			return err
		}
		if b.Get([]byte("ancient")) != nil || b.Get([]byte{0, 0}) == nil {
			t.Error("the wrong peers were forgotten")
		}
		return b.ForEach(func(_, _ []byte) error { left++; return nil })
	})
	if err != nil || left != maxKnownPeers {
		t.Errorf("%d left: %v", left, err)
	}
}
