package blobs

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// mail makes the memory store, which is for one goroutine, fit for many.
type mail struct {
	mu sync.Mutex
	m  mailbox.Store
}

func (s *mail) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.Do(ctx, fn)
}

func (s *mail) View(fn func(mailbox.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m.View(fn)
}

// relayWorld is a relay by its rules, with a clock, that keeps chunks.
type relayWorld struct {
	*world
	mail   *mail
	rules  *mailbox.Relay
	keeper *Keeper
	now    time.Time
}

func newRelayWorld(t testing.TB, dir string) *relayWorld {
	t.Helper()
	w := &relayWorld{world: newWorld(t, Options{}, Config{}), mail: &mail{m: mailbox.NewMemory()}, now: today}
	w.rules = mailbox.NewRelay(seedKey("relay"), mailbox.Limits{BoxBlobBytes: 1 << 20, BlobBytes: 2 << 20})
	w.tick(t)
	w.keeper = Keep(KeeperConfig{Dir: dir, Server: w.server, Mail: w.mail, Rules: w.rules, Now: func() time.Time { return w.now }})
	t.Cleanup(func() { _ = w.keeper.Close() })
	return w
}

// tick is the relay's, and the keeper's after it.
func (w *relayWorld) tick(t testing.TB) {
	t.Helper()
	w.do(t, func(tx mailbox.Tx) error { _, err := w.rules.Tick(tx, w.now); return err })
	if w.keeper != nil {
		if err := w.keeper.expire(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *relayWorld) do(t testing.TB, fn func(mailbox.Tx) error) {
	t.Helper()
	if err := w.mail.Do(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// lease has the relay lease the front door of a box until it is told otherwise.
func (w *relayWorld) lease(t testing.TB, box ed25519.PrivateKey) {
	t.Helper()
	core, err := dht.SignSetCore(box, dht.SetCore{
		Box: box.Public().(ed25519.PublicKey), Epoch: dht.FrontDoorEpoch, Number: 1, R: 1, W: 1,
		Issued: w.now, NotAfter: w.now.Add(10 * 24 * time.Hour),
		Members: []dht.Member{{Rank: 0, Peer: w.relay}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.do(t, func(tx mailbox.Tx) error { _, err := w.rules.Commit(tx, w.now, core); return err })
}

func (w *relayWorld) ask(t testing.TB, number, n int) error {
	t.Helper()
	d, b := chunk(number, n)
	return w.client.Put(t.Context(), w.relay, box, d, b, w.now.Add(mailbox.MaxTTL))
}

func (w *relayWorld) has(t testing.TB, number, n int) bool {
	t.Helper()
	d, _ := chunk(number, n)
	_, err := w.client.Get(t.Context(), w.relay, d, nil)
	if err != nil && !errors.Is(err, ErrNotHere) {
		t.Fatal(err)
	}
	return err == nil
}

func TestARelayKeepsChunksForWhomItLeases(t *testing.T) {
	t.Parallel()
	w := newRelayWorld(t, t.TempDir())
	if err := w.ask(t, 1, 100); code(err) != mailbox.NotMine {
		t.Errorf("no lease: %v", err)
	}
	w.lease(t, box)
	if err := w.ask(t, 1, 100); err != nil || !w.has(t, 1, 100) {
		t.Errorf("leased: %v", err)
	}
	if err := w.ask(t, 2, 1<<20); code(err) != mailbox.Full {
		t.Errorf("over the box's quota: %v", err)
	}
	w.do(t, func(tx mailbox.Tx) error { return w.rules.Leave(tx, w.now, w.now.Add(time.Hour)) })
	if err := w.ask(t, 3, 100); code(err) != mailbox.NotServing || !w.has(t, 1, 100) {
		t.Errorf("leaving: %v", err)
	}
	w.do(t, func(tx mailbox.Tx) error { return w.rules.Leave(tx, w.now, time.Time{}) })
	if err := w.ask(t, 3, 100); err != nil {
		t.Errorf("stays: %v", err)
	}
	if got := w.keeper.Stats(); got.Chunks != 2 || got.Bytes != 200 || got.BoxBytes != 1<<20 || got.Broken != "" {
		t.Errorf("%+v", got)
	}
}

// TestAJumpingClockDropsNoChunk: a relay wakes up with a clock a year ahead.
func TestAJumpingClockDropsNoChunk(t *testing.T) {
	t.Parallel()
	w := newRelayWorld(t, t.TempDir())
	w.lease(t, box)
	if err := w.ask(t, 1, 100); err != nil {
		t.Fatal(err)
	}
	right := w.now
	w.now = right.Add(365 * 24 * time.Hour)
	for range 10 {
		w.now = w.now.Add(mailbox.TickEvery)
		w.tick(t)
	}
	if !w.has(t, 1, 100) {
		t.Error("dropped by a clock that jumped")
	}
	if n, err := w.keeper.store.Expire(w.now); n != 1 || err != nil { // the control: the wall clock would have
		t.Errorf("%d, %v", n, err)
	}
	w.now = right
	w.tick(t)
	if err := w.ask(t, 2, 100); err != nil {
		t.Fatal(err)
	}
	for end := w.now.Add(mailbox.MaxTTL + 24*time.Hour); w.now.Before(end); { // a month that runs evenly
		if !w.has(t, 2, 100) {
			t.Fatalf("dropped early, at %v", w.now)
		}
		for range 24 {
			w.now = w.now.Add(time.Hour)
			w.do(t, func(tx mailbox.Tx) error { _, err := w.rules.Tick(tx, w.now); return err })
		}
		w.tick(t)
	}
	w.now = w.now.Add(time.Hour)
	if w.tick(t); w.has(t, 2, 100) || w.keeper.Stats().Expired != 1+1 {
		t.Errorf("kept after its time: %+v", w.keeper.Stats())
	}
}

func TestARelayWithoutAStoreServesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "relay-files")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, indexName), []byte("no index"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newRelayWorld(t, dir)
	w.lease(t, box)
	w.server.Keep(nil, nil) // of the world's own store
	if err := w.ask(t, 1, 100); code(err) != mailbox.NotServing {
		t.Errorf("%v", err)
	}
	if why := w.keeper.Stats().Broken; !strings.Contains(why, "relay-files") {
		t.Errorf("%q", why)
	}
}
