package model

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// Event is what happens at a time: 16 bytes. What is for whoever reads it.
type Event struct {
	At   uint64 // in milliseconds, or whatever unit the caller counts in
	What uint64
}

// Queue is a radix heap: events by (At, What), for callers that never plan anything before the event they took last.
//
// An event lies on the level of the highest digit, to base 64, in which its time differs from the present, in the slot
// of that digit. The least time is in the first slot of the lowest level in use; taking it spreads the slot over the
// levels below. An event moves down at most once a level, and a push costs a few instructions.
//
// The zero value is an empty queue at time 0.
type Queue struct {
	// Ahead, if not nil, hears of events some time before they are taken: whoever looks at what they will need has it in
	// the cache by then. It must not push.
	Ahead func([]Event)

	now    uint64
	n      int
	levels uint16            // bit i: level i holds something
	slots  [digits]uint64    // bit j of level i: slot j holds something
	first  [digits][64]int32 // chunk that the slot begins with, +1
	chunks []chunk
	free   int32 // first free chunk, +1
	due    []Event
	taken  int // of due
}

const (
	digitBits = 6
	digits    = (64 + digitBits - 1) / digitBits
	chunkSize = 31
)

// chunk keeps the memory of slots that fill and empty in turn close to what is pending.
type chunk struct {
	next   int32
	n      int32
	events [chunkSize]Event
}

// Len is how many events are pending.
func (q *Queue) Len() int { return q.n }

// Push plans an event, not before the one that was taken last.
func (q *Queue) Push(e Event) {
	if e.At < q.now {
		panic("model: an event in the past")
	}
	q.n++
	q.put(e)
}

func (q *Queue) put(e Event) {
	level, slot := 0, e.At&63
	if d := e.At ^ q.now; d > 63 {
		level = (bits.Len64(d) - 1) / digitBits
		slot = e.At >> (level * digitBits) & 63
	}
	c := q.first[level][slot]
	if c == 0 || q.chunks[c-1].n == chunkSize {
		c = q.grow(level, slot, c)
	}
	x := &q.chunks[c-1]
	x.events[x.n] = e
	x.n++
}

// grow puts an empty chunk before those of a slot.
func (q *Queue) grow(level int, slot uint64, before int32) int32 {
	c := q.free
	if c == 0 {
		q.chunks = append(q.chunks, chunk{})
		c = int32(len(q.chunks))
	} else {
		q.free = q.chunks[c-1].next
	}
	x := &q.chunks[c-1]
	x.next, x.n = before, 0
	q.first[level][slot] = c
	q.slots[level] |= 1 << slot
	q.levels |= 1 << level
	return c
}

// Pop takes the next event; ok is false if there is none. Of events of one time the one with the least What comes
// first; those that are planned for the very moment while it lasts come after.
func (q *Queue) Pop() (e Event, ok bool) { return q.PopUpTo(math.MaxUint64) }

// PopUpTo is Pop if the next event is at that time or before. Otherwise whatever is at that time or after may still be planned.
func (q *Queue) PopUpTo(limit uint64) (e Event, ok bool) {
	if q.taken == len(q.due) && !q.refill(limit) {
		return Event{}, false
	}
	if e = q.due[q.taken]; e.At > limit {
		return Event{}, false
	}
	q.taken++
	q.n--
	return e, true
}

// refill takes all events of the next time, if that is not beyond the limit.
func (q *Queue) refill(limit uint64) bool {
	if q.n == 0 {
		return false
	}
	for {
		level := bits.TrailingZeros16(q.levels)
		slot := uint64(bits.TrailingZeros64(q.slots[level]))
		begins := (q.now>>(level*digitBits)&^63 | slot) << (level * digitBits)
		if begins > limit {
			return false
		}
		q.now = begins
		c := q.first[level][slot]
		q.first[level][slot] = 0
		if q.slots[level] &^= 1 << slot; q.slots[level] == 0 {
			q.levels &^= 1 << level
		}
		if level == 0 {
			q.collect(c)
			return true
		}
		for c != 0 {
			x := &q.chunks[c-1]
			next, n := x.next, x.n
			for i := range n {
				q.put(q.chunks[c-1].events[i])
			}
			if level == 1 && q.Ahead != nil {
				q.Ahead(q.chunks[c-1].events[:n])
			}
			c = q.release(c, next)
		}
	}
}

// release frees a chunk and returns the one behind it.
func (q *Queue) release(c, next int32) int32 {
	q.chunks[c-1].next = q.free
	q.free = c
	return next
}

// collect makes the events of one slot of the lowest level due.
func (q *Queue) collect(c int32) {
	q.due, q.taken = q.due[:0], 0
	for c != 0 {
		x := &q.chunks[c-1]
		q.due = append(q.due, x.events[:x.n]...)
		c = q.release(c, x.next)
	}
	if len(q.due) > 1 {
		slices.SortFunc(q.due, func(a, b Event) int { return cmp.Compare(a.What, b.What) })
	}
}
