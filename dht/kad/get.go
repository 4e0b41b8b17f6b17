package kad

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
)

// Get returns the best valid value it can show soon. A copy that the network
// confirmed within the last seconds is returned at once; otherwise connected
// kith peers and the peers closest to the key are asked. Without a copy of our
// own the first valid value wins; with one, the first newer value, or our own
// after confirmations peers have shown the same. If nobody has one, our own
// copy is returned as long as it is valid.
func (d *Directory) Get(ctx context.Context, key string) ([]byte, error) {
	own, err := d.local(ctx, key)
	if err != nil {
		return nil, err
	}
	if own.value != nil && d.now().Sub(own.at) < cacheFor {
		return own.value, nil
	}
	limit := walkTimeout
	if own.value != nil {
		limit = refineTimeout
	}
	look, stop := context.WithTimeout(ctx, limit)
	defer stop()
	return d.conclude(ctx, d.search(look, key, own, true))
}

// Newest asks until the walk has ended and returns the highest valid value
// that any asked peer holds, our own copy included. It is slower than Get:
// use it to refine what is already shown, and to read back before signing.
func (d *Directory) Newest(ctx context.Context, key string) ([]byte, error) {
	own, err := d.local(ctx, key)
	if err != nil {
		return nil, err
	}
	look, stop := context.WithTimeout(ctx, walkTimeout)
	defer stop()
	return d.conclude(ctx, d.search(look, key, own, false))
}

func (d *Directory) conclude(ctx context.Context, best *copies) ([]byte, error) {
	if found := best.best(); found.value != nil {
		if best.answered.Load() {
			found.at = d.now()
		}
		d.cache.keep(best.key, found)
		return slices.Clone(found.value), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, dht.ErrNotFound
}

// copies collects the answers of one lookup and keeps the highest valid one.
type copies struct {
	d        *Directory
	key      string
	own      held
	answered atomic.Bool // some peer has answered

	mu      sync.Mutex
	highest held
	same    int // peers that hold what we hold
}

func (c *copies) best() held {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// offer takes a value from a peer. It reports whether a lookup for the first
// value may end: the value is valid, and newer than our own copy or the last of
// enough that confirm it.
func (c *copies) offer(value []byte) bool {
	if len(value) == 0 || len(value) > dht.MaxRecord {
		return false
	}
	claim, err := c.d.verifier.valid(c.key, value)
	if err != nil || (c.own.value != nil && claim.Compare(c.own.claim) < 0) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.highest.value == nil || claim.Compare(c.highest.claim) > 0 {
		c.highest = held{value: slices.Clone(value), claim: claim}
	}
	if c.own.value == nil || claim.Compare(c.own.claim) > 0 {
		return true
	}
	c.same++
	return c.same >= confirmations
}

// search asks connected peers directly and walks towards the key, side by side.
func (d *Directory) search(ctx context.Context, key string, own held, first bool) *copies {
	c := &copies{d: d, key: key, own: own, highest: own}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := d.newWalk(key, func(ctx context.Context, p peer.ID) ([]*peer.AddrInfo, bool, error) {
		rec, closer, err := d.messenger.GetValue(ctx, p, key)
		if err != nil {
			return nil, false, err
		}
		c.answered.Store(true)
		return closer, c.offer(rec.GetValue()) && first, nil
	})
	w.patient = true
	beside := d.beside(key, w)
	direct := make(chan bool, 1)
	go func() { direct <- d.askConnected(ctx, beside, c, first) }()
	walked := make(chan bool, 1)
	go func() {
		_, found := w.run(ctx)
		walked <- found
	}()
	for range 2 {
		var found bool
		select {
		case found = <-direct:
		case found = <-walked:
		}
		if found && first {
			break
		}
	}
	return c
}
