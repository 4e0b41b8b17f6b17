package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
)

// collectors hold one collect stream to each relay that the engine watches. A
// stream that ends is opened again with a back-off, at once when its relay
// connects. What a relay hands out is credited back only after the commit, so
// a device that cannot store stops reading instead of losing.
type collectors struct {
	collect func(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey, each func(mailbox.ID, []mailbox.Stored) error) error
	// deliver hands envelopes to the loop and returns after the commit.
	deliver func(relay dht.Peer, items []node.Collected) error
	// drained tells the loop that all that a box held at a time is delivered.
	drained func(relay dht.Peer, box mailbox.ID, began time.Time)
	now     func() time.Time // the engine's
	log     *slog.Logger

	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	m      map[string]*collector
}

type collector struct {
	relay  dht.Peer
	keys   []ed25519.PrivateKey
	cancel context.CancelFunc
	wake   chan struct{} // holds one: the relay connected, try now
}

// watchesOf groups watches by relay, boxes in a fixed order.
func watchesOf(watches []node.Watch) map[string]*collector {
	m := map[string]*collector{}
	for _, w := range watches {
		c := m[string(w.Relay.ID)]
		if c == nil {
			if len(m) == maxCollectors {
				continue
			}
			c = &collector{relay: w.Relay, wake: make(chan struct{}, 1)}
			m[string(w.Relay.ID)] = c
		}
		if len(c.keys) < relay.MaxBoxesPerStream {
			c.keys = append(c.keys, w.Key)
		}
	}
	for _, c := range m {
		slices.SortFunc(c.keys, func(a, b ed25519.PrivateKey) int { return bytes.Compare(a, b) })
	}
	return m
}

func (c *collector) same(o *collector) bool {
	return slices.EqualFunc(c.keys, o.keys, func(a, b ed25519.PrivateKey) bool { return bytes.Equal(a, b) }) &&
		slices.EqualFunc(c.relay.Addrs, o.relay.Addrs, bytes.Equal)
}

// reconcile makes the streams agree with the engine's watches.
func (cs *collectors) reconcile(watches []node.Watch) {
	want := watchesOf(watches)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return
	}
	if cs.m == nil {
		cs.m = map[string]*collector{}
	}
	for id, old := range cs.m {
		if now, ok := want[id]; ok && now.same(old) {
			continue
		}
		old.cancel()
		delete(cs.m, id)
	}
	for id, c := range want {
		if cs.m[id] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.cancel = cancel
		cs.m[id] = c
		cs.wg.Add(1)
		go cs.run(ctx, c)
	}
}

// poke retries a relay that has just connected.
func (cs *collectors) poke(id peer.ID) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.m[string(id)]; c != nil {
		c.poke()
	}
}

// pokeAll retries every relay: there is a network again.
func (cs *collectors) pokeAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.m {
		c.poke()
	}
}

func (c *collector) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (cs *collectors) close() {
	cs.mu.Lock()
	cs.closed = true
	for _, c := range cs.m {
		c.cancel()
	}
	cs.mu.Unlock()
	cs.wg.Wait()
}

// run holds the stream. A stream that has been held for long is replaced: what
// is there is asked for anew, so that nothing rests on one wake-up having come.
func (cs *collectors) run(ctx context.Context, c *collector) {
	defer cs.wg.Done()
	var failures int
	for {
		began := time.Now()
		held, cancel := context.WithTimeout(ctx, collectFresh+rand.N(collectFresh/4))
		err := cs.hold(held, c, &failures)
		old := held.Err() != nil
		cancel()
		if ctx.Err() == nil {
			cs.log.Debug("collect stream ended", "err", err)
		}
		if time.Since(began) > collectSteady {
			failures = 0
		}
		select {
		case <-c.wake: // by our own dial, most likely
		default:
		}
		if old && ctx.Err() == nil {
			continue
		}
		pause := fullJitter(collectMin, collectMax, failures)
		failures++
		if !c.pause(ctx, pause) {
			return
		}
	}
}

func (cs *collectors) hold(ctx context.Context, c *collector, failures *int) error {
	began := cs.now()
	return cs.collect(ctx, c.relay, c.keys, func(box mailbox.ID, items []mailbox.Stored) error {
		if len(items) == 0 {
			cs.drained(c.relay, box, began)
			return nil
		}
		err := cs.deliver(c.relay, collected(box, items))
		if err == nil {
			*failures = 0
		}
		return err
	})
}

// pause waits for d or the relay's connection; false means the end.
func (c *collector) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func collected(box mailbox.ID, items []mailbox.Stored) []node.Collected {
	out := make([]node.Collected, len(items))
	for i, it := range items {
		out[i] = node.Collected{Box: box, ID: it.ID, Envelope: it.Envelope}
	}
	return out
}

// fullJitter is a pause between floor and a ceiling that doubles with each
// failure: floor, up to limit.
func fullJitter(floor, limit time.Duration, failures int) time.Duration {
	ceiling := limit
	if failures < 20 {
		ceiling = min(floor<<failures, limit)
	}
	return floor/2 + rand.N(ceiling)
}
