package relay

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Rate is a token bucket: it fills with PerSecond tokens up to Burst. The
// zero Rate is RatePerSecond and RateBurst; a negative PerSecond is no limit.
type Rate struct {
	PerSecond int
	Burst     int
}

func (r Rate) orDefault() Rate {
	if r == (Rate{}) {
		return Rate{PerSecond: RatePerSecond, Burst: RateBurst}
	}
	return r
}

// buckets holds one bucket per peer. A peer's bucket outlives its streams, so
// that reconnecting refills nothing; full buckets are forgotten, because a new
// one would be the same.
type buckets struct {
	rate Rate
	now  func() time.Time

	mu   sync.Mutex
	each map[peer.ID]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newBuckets(r Rate, now func() time.Time) *buckets {
	return &buckets{rate: r.orDefault(), now: now, each: make(map[peer.ID]*bucket)}
}

// take removes n tokens of a peer's bucket if they are there. When more peers
// than maxBuckets spent tokens lately, newcomers are refused: forgetting
// somebody's debt would make the limit free.
func (b *buckets) take(p peer.ID, n int) bool {
	if b.rate.PerSecond < 0 {
		return true
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.each[p]
	if k == nil {
		if len(b.each) >= maxBuckets && !b.sweep(now) {
			return false
		}
		k = &bucket{tokens: float64(b.rate.Burst), at: now}
		b.each[p] = k
	}
	b.fill(k, now)
	if k.tokens < float64(n) {
		return false
	}
	k.tokens -= float64(n)
	return true
}

// fill credits the time since the last look; a clock that went back gives none.
func (b *buckets) fill(k *bucket, now time.Time) {
	if d := now.Sub(k.at); d > 0 {
		k.tokens = min(float64(b.rate.Burst), k.tokens+d.Seconds()*float64(b.rate.PerSecond))
	}
	k.at = now
}

// sweep forgets the full buckets and says whether there is room now.
func (b *buckets) sweep(now time.Time) bool {
	for p, k := range b.each {
		if b.fill(k, now); k.tokens >= float64(b.rate.Burst) {
			delete(b.each, p)
		}
	}
	return len(b.each) < maxBuckets
}

// budget bounds bytes that wait in memory over all streams of a server. Those
// who wait for room are readers of streams, so the network slows down.
type budget struct {
	mu     sync.Mutex
	freed  sync.Cond
	left   int
	closed bool
}

func newBudget(n int) *budget {
	b := &budget{left: n}
	b.freed.L = &b.mu
	return b
}

// take waits for n bytes of room; false means closed.
func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && b.left < n {
		b.freed.Wait()
	}
	b.left -= n
	return !b.closed
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.freed.Broadcast()
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.freed.Broadcast()
}
