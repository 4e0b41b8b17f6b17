package outbox

import (
	"container/heap"
	"slices"
	"time"
)

// Due keeps one time for each number, and finds the earliest. Make one with NewDue.
type Due struct {
	at   map[uint64]time.Time
	heap dueHeap // with entries that at has superseded
}

type dueEntry struct {
	at time.Time
	n  uint64
}

type dueHeap []dueEntry

func (h dueHeap) Len() int      { return len(h) }
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].n < h[j].n
}
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEntry)) }
func (h *dueHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// NewDue returns an empty schedule.
func NewDue() Due { return Due{at: map[uint64]time.Time{}} }

// Set gives n a time in place of the one it had; zero: none.
func (d *Due) Set(n uint64, at time.Time) {
	switch old, ok := d.at[n]; {
	case at.IsZero():
		delete(d.at, n)
	case !ok || !old.Equal(at):
		d.at[n] = at
		heap.Push(&d.heap, dueEntry{at, n})
	}
}

// At is the time of n; zero: none.
func (d *Due) At(n uint64) time.Time { return d.at[n] }

// settle drops what was superseded from the top.
func (d *Due) settle() {
	for len(d.heap) > 0 {
		if at, ok := d.at[d.heap[0].n]; ok && at.Equal(d.heap[0].at) {
			return
		}
		heap.Pop(&d.heap)
	}
}

// Next is the earliest time; zero: nothing is due, ever.
func (d *Due) Next() time.Time {
	d.settle()
	if len(d.heap) == 0 {
		return time.Time{}
	}
	return d.heap[0].at
}

// Take removes what is due and returns it, by number.
func (d *Due) Take(now time.Time) []uint64 {
	var out []uint64
	for d.settle(); len(d.heap) > 0 && !d.heap[0].at.After(now); d.settle() {
		n := heap.Pop(&d.heap).(dueEntry).n
		delete(d.at, n)
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
