package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// gathered collects what Collect hands out.
type gathered struct {
	mu      sync.Mutex
	items   []mailbox.Stored
	drained map[mailbox.ID]int
	changed chan struct{}
}

func gather(ctx context.Context, c *Client, relay dht.Peer, keys ...ed25519.PrivateKey) (*gathered, <-chan error) {
	g := &gathered{drained: make(map[mailbox.ID]int), changed: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() { done <- c.Collect(ctx, relay, keys, g.each, nil) }()
	return g, done
}

func (g *gathered) each(box mailbox.ID, items []mailbox.Stored) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.items = append(g.items, items...); len(items) == 0 {
		g.drained[box]++
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
	return nil
}

// until waits until ok holds of what came.
func (g *gathered) until(t testing.TB, done <-chan error, ok func(*gathered) bool) {
	t.Helper()
	for {
		g.mu.Lock()
		yes := ok(g)
		g.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-g.changed:
		case err := <-done:
			t.Fatalf("collect ended: %v", err)
		case <-t.Context().Done():
			t.Fatal("test over")
		}
	}
}

func TestDepositIsPushedAckedAndGone(t *testing.T) {
	for name, listen := range map[string]string{"tcp": overTCP, "quic": overQUIC} {
		t.Run(name, func(t *testing.T) {
			s, relay := relayAt(t, "relay", listen, Config{})
			owner, sender := clientAt(t, "owner", listen), clientAt(t, "sender", listen)
			key := seedKey("box")
			openBox(t, owner, relay, key)
			early := depositTo(key, 1, 300)
			if _, err := sender.Deposit(t.Context(), relay, early); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g, done := gather(ctx, owner, relay, key)
			g.until(t, done, func(g *gathered) bool { return g.drained[early.Box] == 1 && len(g.items) == 1 })
			live := depositTo(key, 2, 300)
			r, err := sender.Deposit(t.Context(), relay, live)
			if err != nil {
				t.Fatal(err)
			}
			if r.Envelope != mailbox.EnvelopeIDOf(live.Envelope) || r.Sig == [64]byte{} {
				t.Fatalf("receipt %+v", r)
			}
			g.until(t, done, func(g *gathered) bool { return len(g.items) == 2 })
			if !bytes.Equal(g.items[0].Envelope, early.Envelope) || !bytes.Equal(g.items[1].Envelope, live.Envelope) {
				t.Fatal("other envelopes than were deposited")
			}
			ids := []mailbox.EnvelopeID{g.items[0].ID, g.items[1].ID}
			if err := owner.Ack(t.Context(), relay, key, ids); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatalf("collect ended with %v", err)
			}
			again, done := gather(t.Context(), owner, relay, key)
			again.until(t, done, func(g *gathered) bool { return g.drained[early.Box] == 1 })
			if len(again.items) != 0 {
				t.Fatal("an acknowledged envelope came again")
			}
			if _, err := sender.Deposit(t.Context(), relay, live); err != nil {
				t.Fatalf("a repeated deposit: %v", err)
			}
			_ = owner.Close()
			if err := <-done; !errors.Is(err, ErrClosed) {
				t.Fatalf("collect ended with %v", err)
			}
			if st := s.Stats(); st.Deposits != 3 || st.Pushed != 2 || st.Acked != 2 || st.Malformed != 0 {
				t.Fatalf("stats %+v", st)
			}
		})
	}
}

func TestAdvertAndSetAreServed(t *testing.T) {
	_, relay := relayAt(t, "relay", overQUIC, Config{Family: [8]byte{7}})
	c := clientAt(t, "owner", overQUIC)
	key := seedKey("box")
	set := openBox(t, c, relay, key)
	a, err := c.Advert(t.Context(), relay)
	if err != nil {
		t.Fatal(err)
	}
	if a.Family != [8]byte{7} || len(a.Peer.Addrs) == 0 || a.MaxEnvelope == 0 || a.RetentionDays != 30 {
		t.Fatalf("advert %+v", a)
	}
	raw, err := c.GetSet(t.Context(), relay, mailbox.IDOf(publicOf(key)))
	if err != nil || !bytes.Equal(raw, set.Bytes()) {
		t.Fatalf("set differs: %v", err)
	}
	_, err = c.GetSet(t.Context(), relay, mailbox.ID{1})
	if r, ok := errors.AsType[*mailbox.Refusal](err); !ok || r.Code != mailbox.NotMine {
		t.Fatalf("unknown set: %v", err)
	}
}

func TestSeveralBoxesShareOneStream(t *testing.T) {
	s, relay := relayAt(t, "relay", overTCP, Config{})
	c := clientAt(t, "owner", overTCP)
	var keys []ed25519.PrivateKey
	for i := range 5 {
		key := seedKey(fmt.Sprint("box", i))
		openBox(t, c, relay, key)
		keys = append(keys, key)
		for n := range 3 {
			if _, err := c.Deposit(t.Context(), relay, depositTo(key, n, 200)); err != nil {
				t.Fatal(err)
			}
		}
	}
	g, done := gather(t.Context(), c, relay, keys...)
	g.until(t, done, func(g *gathered) bool { return len(g.drained) == 5 && len(g.items) == 15 })
	if st := s.Stats(); st.Collectors != 1 || st.Streams != 2 {
		t.Fatalf("stats %+v", st)
	}
	_ = c.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Fatalf("collect ended with %v", err)
	}
}

func TestPipelinedDepositsShareStreamAndCommits(t *testing.T) {
	const n = 1000
	store := newShared()
	s, relay := relayAt(t, "relay", overQUIC, Config{Store: store})
	c := clientAt(t, "sender", overQUIC)
	key := seedKey("box")
	openBox(t, c, relay, key)
	before := store.count()
	var wg sync.WaitGroup
	failed := make(chan error, n)
	for i := range n {
		wg.Go(func() {
			if _, err := c.Deposit(t.Context(), relay, depositTo(key, i, 1024)); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Deposits != n || st.Streams != 1 {
		t.Fatalf("stats %+v", st)
	}
	if did := store.count() - before; did > n/2 {
		t.Fatalf("%d deposits took %d transactions", n, did)
	}
}

func TestBrokenStreamIsOpenedAgain(t *testing.T) {
	s, relay := relayAt(t, "relay", overTCP, Config{})
	c := clientAt(t, "sender", overTCP)
	key := seedKey("box")
	openBox(t, c, relay, key)
	for i := range 3 {
		s.mu.Lock()
		for h := range s.open {
			defer h.end()
			go h.end()
		}
		s.mu.Unlock()
		_, l, _ := c.entry(relay)
		if l != nil {
			<-l.gone
		}
		if _, err := c.Deposit(t.Context(), relay, depositTo(key, i, 64)); err != nil {
			t.Fatal(err)
		}
	}
}
