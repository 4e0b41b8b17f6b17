// Package rate bounds what one asker may ask for: token buckets by peer and by
// group of addresses.
//
// What it guarantees: memory is bounded whoever asks, and no debt is forgotten
// to make room. What it does not: it knows no costs and refuses nobody itself.
package rate

import (
	"net/netip"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Limit is a token bucket: it fills with PerSecond tokens up to Burst. The
// zero Limit stands for a default; a negative PerSecond is no limit.
type Limit struct {
	PerSecond int
	Burst     int
}

// Or is the limit, or d for the zero one.
func (l Limit) Or(d Limit) Limit {
	if l == (Limit{}) {
		return d
	}
	return l
}

// Buckets holds one bucket per key. A bucket outlives its owner's streams, so
// that reconnecting refills nothing; full buckets are forgotten, because a new
// one would be the same.
type Buckets[K comparable] struct {
	limit Limit
	most  int
	now   func() time.Time

	mu   sync.Mutex
	each map[K]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// New returns buckets for at most so many keys that owe something.
func New[K comparable](l Limit, most int, now func() time.Time) *Buckets[K] {
	return &Buckets[K]{limit: l, most: most, now: now, each: make(map[K]*bucket)}
}

// Take removes n tokens of a key's bucket if they are there. When as many keys
// as are remembered spent tokens lately, newcomers are refused: forgetting
// somebody's debt would make the limit free.
func (b *Buckets[K]) Take(key K, n int) bool {
	if b.limit.PerSecond < 0 {
		return true
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.each[key]
	if k == nil {
		if len(b.each) >= b.most && !b.sweep(now) {
			return false
		}
		k = &bucket{tokens: float64(b.limit.Burst), at: now}
		b.each[key] = k
	}
	b.fill(k, now)
	if k.tokens < float64(n) {
		return false
	}
	k.tokens -= float64(n)
	return true
}

// Owe takes n tokens, also those that are not there: the cost of something is
// known only after it was done, and the debt refuses what comes next.
func (b *Buckets[K]) Owe(key K, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.each[key]; k != nil {
		k.tokens -= float64(n)
	}
}

// fill credits the time since the last look; a clock that went back gives none.
func (b *Buckets[K]) fill(k *bucket, now time.Time) {
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(float64(b.limit.Burst), k.tokens+d.Seconds()*float64(b.limit.PerSecond))
	}
	k.at = now
}

// sweep forgets the full buckets and says whether there is room now.
func (b *Buckets[K]) sweep(now time.Time) bool {
	for key, k := range b.each {
		if b.fill(k, now); k.tokens >= float64(b.limit.Burst) {
			delete(b.each, key)
		}
	}
	return len(b.each) < b.most
}

// Bits of an address that stand for one asker.
const (
	bits4 = 32
	bits6 = 56
)

// Group is the group that an address belongs to: an IPv4 address, or the /56
// of an IPv6 address, which one customer has. The zero group, for loopback and
// for what has no IP address, has no limit of its own.
func Group(a ma.Multiaddr) netip.Prefix {
	if a == nil {
		return netip.Prefix{}
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(ip)
	if addr = addr.Unmap(); !ok || addr.IsLoopback() {
		return netip.Prefix{}
	}
	bits := bits4
	if addr.Is6() {
		bits = bits6
	}
	group, _ := addr.Prefix(bits)
	return group
}
