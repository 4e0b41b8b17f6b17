package relay

import "sync"

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
