package stock

import (
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox"
)

// Memory is the reference model of a Store, for one goroutine: simulated relays
// run on it.
type Memory struct {
	boxes map[mailbox.ID][]Item
	total int
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{boxes: map[mailbox.ID][]Item{}} }

// Put adds bundles to a box.
func (m *Memory) Put(box mailbox.ID, items []Item, now time.Time) (int, error) {
	m.prune(box, now)
	room := min(Most-len(m.boxes[box]), Total-m.total)
	items = items[:max(0, min(room, len(items)))]
	if len(items) > 0 {
		m.boxes[box] = append(m.boxes[box], items...)
		m.total += len(items)
	}
	return len(m.boxes[box]), nil
}

// Take removes the oldest bundle of a box that is fresh.
func (m *Memory) Take(box mailbox.ID, now time.Time) ([]byte, error) {
	m.prune(box, now)
	held := m.boxes[box]
	if len(held) == 0 {
		return nil, nil
	}
	m.keep(box, held[1:])
	return held[0].Bundle, nil
}

// Sweep forgets what is not fresh any more.
func (m *Memory) Sweep(now time.Time) error {
	for box := range m.boxes { // the order does not show
		m.prune(box, now)
	}
	return nil
}

func (m *Memory) prune(box mailbox.ID, now time.Time) {
	held := m.boxes[box]
	m.keep(box, slices.DeleteFunc(slices.Clone(held), func(i Item) bool { return !fresh(i.Until, now) }))
}

func (m *Memory) keep(box mailbox.ID, items []Item) {
	m.total += len(items) - len(m.boxes[box])
	if len(items) == 0 {
		delete(m.boxes, box)
		return
	}
	m.boxes[box] = items
}
