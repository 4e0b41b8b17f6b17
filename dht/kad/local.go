package kad

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
)

// held is a verified value and when the network last confirmed it.
type held struct {
	value []byte
	claim dht.Claim
	at    time.Time
}

// local returns the higher of the cached and the stored copy that are valid
// now; the zero held if there is none. It errs only for a malformed key, an
// ended context or a broken disk.
func (d *Directory) local(ctx context.Context, key string) (held, error) {
	if err := ctx.Err(); err != nil {
		return held{}, err
	}
	if _, _, err := dht.ParseKey(key); err != nil {
		return held{}, err
	}
	best := d.cache.find(key)
	if best.value != nil && !best.claim.Valid(d.now()) {
		best = held{}
	}
	if best.value != nil && d.now().Sub(best.at) < cacheFor {
		return held{slices.Clone(best.value), best.claim, best.at}, nil
	}
	rec, err := d.values.Get(ctx, key)
	if err != nil {
		return held{}, err
	}
	claim, err := d.verifier.valid(key, rec.GetValue())
	if err == nil && (best.value == nil || claim.Compare(best.claim) > 0) {
		at, _ := time.Parse(time.RFC3339Nano, rec.GetTimeReceived())
		best = held{rec.GetValue(), claim, at}
	}
	return held{slices.Clone(best.value), best.claim, best.at}, nil
}

// cache keeps the values that this node looked up or put, in memory. It is
// bounded by two generations, as the claims are.
type cache struct {
	mu            sync.Mutex
	young, elders map[string]held
}

func newCache() *cache { return &cache{young: map[string]held{}} }

func (c *cache) find(key string) held {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok := c.young[key]; ok {
		return h
	}
	return c.elders[key]
}

// keep remembers h unless a higher value is already kept.
func (c *cache) keep(key string, h held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.young[key]
	if !ok {
		old, ok = c.elders[key]
	}
	if ok && old.claim.Compare(h.claim) > 0 {
		return
	}
	if len(c.young) >= maxCached/2 {
		c.young, c.elders = map[string]held{}, c.young
	}
	h.value = slices.Clone(h.value)
	c.young[key] = h
}
