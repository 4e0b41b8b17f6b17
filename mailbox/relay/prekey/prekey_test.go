package prekey

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/stock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func opened(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	mailboxtest.Stock(t, func(t testing.TB) (stock.Store, func() stock.Store) {
		path := filepath.Join(t.TempDir(), "stock.db")
		s := opened(t, path)
		return s, func() stock.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = opened(t, path)
			return s
		}
	})
}

// items are n bundles that differ.
func items(n int) (out []stock.Item) {
	for i := range n {
		out = append(out, stock.Item{Bundle: bytes.Repeat([]byte{byte(i + 1)}, stock.BundleSize), Until: mailboxtest.T0.Add(time.Hour)})
	}
	return out
}

// A damaged row is dropped and counted, found at the start or later; a damaged file is laid anew.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stock.db")
	box := mailbox.ID{1}
	s := opened(t, path)
	if n, err := s.Put(box, items(3), mailboxtest.T0); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	spoil := func(tx *bolt.Tx) error {
		b := tx.Bucket(itemBucket)
		k, v := b.Cursor().First()
		v = bytes.Clone(v)
		v[100] ^= 1
		return b.Put(k, v)
	}
	if err := s.db.Update(spoil); err != nil {
		t.Fatal(err)
	}
	got, err := s.Take(box, mailboxtest.T0)
	if held, damaged := s.Counts(); err != nil || got == nil || got[0] != 2 || held != 1 || damaged != 1 {
		t.Errorf("took %x, %v; %d held, %d damaged", got[:1], err, held, damaged)
	}
	if err := s.db.Update(spoil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, path)
	if held, damaged := s.Counts(); held != 0 || damaged != 1 {
		t.Errorf("after reopening %d held, %d damaged", held, damaged)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 1<<15), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := opened(t, path).Put(box, items(1), mailboxtest.T0); n != 1 || err != nil {
		t.Errorf("a stock laid anew: %d, %v", n, err)
	}
}

func FuzzRow(f *testing.F) {
	key := append(bytes.Repeat([]byte{1}, 32), 0, 0, 0, 0, 0, 0, 0, 1)
	f.Add(key, row(key, items(1)[0]))
	f.Add(key, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if i := parseRow(key, value); i != nil && !bytes.Equal(row(key, *i), value) {
			t.Error("a row is read and written differently")
		}
	})
}

func newHost(t *testing.T, seed byte) (host.Host, ed25519.PrivateKey, dht.Peer) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(priv), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	self := dht.Peer{ID: []byte(h.ID())}
	for _, a := range h.Addrs() {
		self.Addrs = append(self.Addrs, a.Bytes())
	}
	return h, key, self
}

// A relay takes bundles of the owner of a front door, gives each to one asker, and slows who asks for many; a device
// answers for itself; a host without the protocol is one that has none.
func TestOverStreams(t *testing.T) {
	ctx, now := context.Background(), mailboxtest.T0
	h, key, relayAt := newHost(t, 1)
	asker, _, _ := newHost(t, 2)
	owner := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	box := mailbox.IDOf(owner.Public().(ed25519.PublicKey))
	device := [32]byte{4}
	log := slog.New(slog.DiscardHandler)
	own := bytes.Repeat([]byte{5}, stock.BundleSize)
	s := Serve(h, func(_ context.Context, id [32]byte) []byte {
		if id == device {
			return own
		}
		return nil
	}, log)
	defer s.Close()
	store := mailbox.NewMemory()
	if err := store.Do(ctx, func(tx mailbox.Tx) error {
		return tx.PutBox(box, mailbox.Box{Member: true, FrontDoor: true, End: now.Add(time.Hour)})
	}); err != nil {
		t.Fatal(err)
	}
	if b, err := Take(ctx, asker, relayAt, box); b != nil || err != nil {
		t.Error("no relay, and a bundle", err)
	}
	k := Keep(KeeperConfig{
		Path: filepath.Join(t.TempDir(), "stock.db"), Server: s, Mail: store, Rules: mailbox.NewRelay(key, mailbox.Limits{}),
		Now: func() time.Time { return now }, Log: log,
	})
	defer k.Close()
	bundles := mailboxtest.Bundles(t, mailboxtest.DeviceKeys(t, 1), now, identity.FlagOneTime, 20)
	if n, err := Offer(ctx, asker, relayAt, owner, nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := Offer(ctx, asker, relayAt, owner, bundles); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := Offer(ctx, asker, relayAt, key, bundles); err == nil {
		t.Error("bundles for a box without a lease are taken")
	}
	var got int
	seen := map[string]bool{}
	for range 10 {
		b, err := Take(ctx, asker, relayAt, box)
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			if seen[string(b)] || !bytes.Equal(b, bundles[got]) {
				t.Error("not the next one")
			}
			seen[string(b)] = true
			got++
		}
	}
	if got < 5 || got > 8 {
		t.Errorf("one asker got %d of 10 at once", got)
	}
	other, _, _ := newHost(t, 3)
	if b, err := Take(ctx, other, relayAt, device); !bytes.Equal(b, own) || err != nil {
		t.Error("the device does not answer for itself", err)
	}
	if b, err := Take(ctx, other, relayAt, box); !bytes.Equal(b, bundles[got]) || err != nil {
		t.Error("another asker gets none", err)
	}
	if held, damaged := k.Counts(); held != 19-got || damaged != 0 {
		t.Errorf("%d held after %d were given, %d damaged", held, got+1, damaged)
	}
	_, _, otherAt := newHost(t, 7)
	if _, err := Take(ctx, asker, otherAt, box); err == nil {
		t.Error("a host without the protocol answers")
	}
}

// One peer that opens streams and says nothing leaves room for others.
func TestAttackSilentStreams(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	h, _, at := newHost(t, 1)
	silent, _, _ := newHost(t, 2)
	other, _, _ := newHost(t, 3)
	own := bytes.Repeat([]byte{5}, stock.BundleSize)
	s := Serve(h, func(context.Context, [32]byte) []byte { return own }, slog.New(slog.DiscardHandler))
	defer s.Close()
	reset := make(chan struct{}, maxStreams)
	for range maxStreams {
		st, err := frame.Open(ctx, silent, at, Protocol)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = st.Reset() }()
		if err := st.SetDeadline(time.Now().Add(within / 4)); err != nil {
			t.Fatal(err)
		}
		_, _ = st.Write([]byte{1}) // the beginning of a question
		go func() { _, _ = st.Read(make([]byte, 1)); reset <- struct{}{} }()
	}
	for range maxStreams - maxOfPeer {
		<-reset
	}
	if n := len(s.slots); n != maxOfPeer {
		t.Errorf("control: the silent one has %d streams", n)
	}
	if b, err := Take(ctx, other, at, [32]byte{4}); err != nil || !bytes.Equal(b, own) {
		t.Error("another peer gets nothing", err)
	}
}
