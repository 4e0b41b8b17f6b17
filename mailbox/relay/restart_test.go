package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
)

// serveFile serves a relay from a file and returns how to stop it.
func serveFile(t *testing.T, path string) (*served, func()) {
	t.Helper()
	store, err := boltbox.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	key := seedKey("relay")
	h := newHost(t, key, overTCP)
	s, err := Serve(h, Config{Store: store, Relay: mailbox.NewRelay(key, mailbox.Limits{}), Rate: Rate{PerSecond: -1}})
	if err != nil {
		t.Fatal(err)
	}
	return &served{s, peerOf(h)}, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		_ = h.Close()
	}
}

// served is a server and where it is.
type served struct {
	s    *Server
	peer dht.Peer
}

func TestRestartLosesNothingThatWasReceipted(t *testing.T) {
	const n = 10_000
	path := filepath.Join(t.TempDir(), "relay.db")
	relay, stop := serveFile(t, path)
	owner, sender := clientAt(t, "owner", overTCP), clientAt(t, "sender", overTCP)
	key := seedKey("box")
	openBox(t, owner, relay.peer, key)
	receipts := depositMany(t, sender, relay.peer, key, n)
	stop()
	relay, stop = serveFile(t, path)
	first, done := gather(t.Context(), owner, relay.peer, key)
	first.until(t, done, func(g *gathered) bool { return len(g.drained) == 1 })
	if len(first.items) != n {
		t.Fatalf("%d of %d came", len(first.items), n)
	}
	var ids []mailbox.EnvelopeID
	for _, it := range first.items {
		if !receipts[it.ID] {
			t.Fatal("an envelope that was never receipted")
		}
		ids = append(ids, it.ID)
	}
	if err := owner.Ack(t.Context(), relay.peer, key, ids[:n-1]); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err == nil {
		t.Fatal("collect outlived its relay")
	}
	relay, stop = serveFile(t, path)
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	second, done := gather(ctx, owner, relay.peer, key)
	second.until(t, done, func(g *gathered) bool { return len(g.drained) == 1 })
	if len(second.items) != 1 || second.items[0].ID != ids[n-1] {
		t.Fatalf("%d envelopes after the acks", len(second.items))
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// depositMany leaves n envelopes with a full window and returns what was
// receipted.
func depositMany(t *testing.T, c *Client, relay dht.Peer, key ed25519.PrivateKey, n int) map[mailbox.EnvelopeID]bool {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := make(map[mailbox.EnvelopeID]bool)
	for lane := range MaxInFlight {
		wg.Go(func() {
			for i := lane; i < n; i += MaxInFlight {
				r, err := c.Deposit(t.Context(), relay, depositTo(key, i, 300))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[r.Envelope] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return got
}
