package boltbox

import (
	"slices"
	"sync"

	"github.com/kith-im/kith/mailbox"
)

// call is one transaction of a caller.
type call struct {
	fn     func(mailbox.Tx) error
	view   bool
	failed bool       // fn returned err
	err    error      // what the caller hears
	done   chan error // one place, so that the writer never waits
}

// queue holds the calls that wait for the writer.
type queue struct {
	mu     *sync.Mutex
	calls  []*call
	closed bool
	wake   chan struct{} // one place: something is in the queue, or it is closed
}

func newQueue() queue { return queue{mu: &sync.Mutex{}, wake: make(chan struct{}, 1)} }

// put says whether the queue took the call; a closed one does not.
func (q *queue) put(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.calls = append(q.calls, c)
	q.ring()
	return true
}

func (q *queue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// remove takes a call back, unless its turn has begun.
func (q *queue) remove(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.Index(q.calls, c)
	if at < 0 {
		return false
	}
	q.calls = slices.Delete(q.calls, at, at+1)
	return true
}

// take returns up to n calls in their order, and whether the queue is open.
func (q *queue) take(n int) (calls []*call, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.calls))
	calls = slices.Clone(q.calls[:n])
	q.calls = slices.Delete(q.calls, 0, n)
	return calls, !q.closed
}

// back puts calls back in front: a commit was full.
func (q *queue) back(calls []*call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls = slices.Insert(q.calls, 0, calls...)
	q.ring()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ring()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.calls)
}
