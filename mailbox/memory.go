package mailbox

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
)

// Memory is the reference model of a Store: plain maps, for one goroutine.
// Simulations run on it, and every other store is compared with it.
type Memory struct {
	boxes   map[ID]Box
	sets    map[ID][]byte
	held    map[ID]*heldBox
	total   Usage
	days    map[Day]int // entries per day
	clock   Clock
	lastSeq uint64
	batch   Batch
	undo    []func()
}

// heldBox is the content of one box.
type heldBox struct {
	entries []*heldEnvelope              // by ascending Seq
	byID    map[EnvelopeID]*heldEnvelope // the same
	usage   Usage
}

type heldEnvelope struct {
	Entry
	body []byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		boxes: map[ID]Box{}, sets: map[ID][]byte{}, held: map[ID]*heldBox{}, days: map[Day]int{},
	}
}

// Do runs fn and undoes its writes if it fails.
func (m *Memory) Do(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := fn(memoryTx{Memory: m})
	if err != nil {
		for _, back := range slices.Backward(m.undo) {
			back()
		}
		m.batch.Cut(0)
	}
	m.undo = m.undo[:0]
	m.batch.Seal()
	return err
}

// View runs fn; its writes fail.
func (m *Memory) View(fn func(Tx) error) error { return fn(memoryTx{Memory: m, view: true}) }

// memoryTx keeps Store and Tx methods apart.
type memoryTx struct {
	*Memory
	view bool
}

// write registers how to undo a write.
func (t memoryTx) write(back func()) error {
	if t.view {
		return ErrReadOnly
	}
	t.Memory.undo = append(t.Memory.undo, back)
	return nil
}

// errMisuse says that the rules broke the contract of Tx; it is a bug of ours.
var errMisuse = errors.New("mailbox: transaction misused")

func (t memoryTx) Box(id ID) (Box, bool) { b, ok := t.boxes[id]; return b, ok }

func (t memoryTx) PutBox(id ID, b Box) error {
	return put(t, t.boxes, id, b)
}

func (t memoryTx) DropBox(id ID) error {
	if h := t.held[id]; h != nil && len(h.entries) > 0 {
		return errMisuse
	}
	if err := drop(t, t.sets, id); err != nil {
		return err
	}
	_ = drop(t, t.held, id)
	return drop(t, t.boxes, id)
}

func (t memoryTx) EachBox(fn func(ID, Box) bool) {
	ids := slices.SortedFunc(maps.Keys(t.boxes), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		if !fn(id, t.boxes[id]) {
			return
		}
	}
}

func (t memoryTx) Set(id ID) ([]byte, error) { return t.sets[id], nil }

func (t memoryTx) PutSet(id ID, raw []byte) error {
	return put(t, t.sets, id, bytes.Clone(raw))
}

func (t memoryTx) Find(box ID, id EnvelopeID) (Entry, bool) {
	if h := t.held[box]; h != nil && h.byID[id] != nil {
		return h.byID[id].Entry, true
	}
	return Entry{}, false
}

func (t memoryTx) Add(box ID, e Entry, envelope []byte) error {
	h := t.held[box]
	if h == nil {
		h = &heldBox{byID: map[EnvelopeID]*heldEnvelope{}}
	}
	old := h.byID[e.ID]
	if old != nil && !old.Buried {
		return errMisuse
	}
	seq := t.lastSeq
	if err := t.write(func() { t.lastSeq = seq }); err != nil {
		return err
	}
	t.lastSeq++
	e.Seq, e.Buried = t.lastSeq, false
	added := &heldEnvelope{Entry: e, body: bytes.Clone(envelope)}
	_ = put(t, t.held, box, h)
	if old != nil {
		t.forget(h, old)
	}
	_ = put(t, h.byID, e.ID, added)
	t.replace(h, append(h.entries, added)) // undo shortens it again
	t.count(h, Usage{Count: 1, Bytes: uint64(e.Size)})
	return put(t, t.days, e.Day(), t.days[e.Day()]+1)
}

// forget removes a tombstone.
func (t memoryTx) forget(h *heldBox, old *heldEnvelope) {
	t.replace(h, slices.DeleteFunc(slices.Clone(h.entries), func(e *heldEnvelope) bool { return e == old }))
	t.count(h, Usage{Tombs: -1})
	if n := t.days[old.Day()] - 1; n > 0 {
		_ = put(t, t.days, old.Day(), n)
	} else {
		_ = drop(t, t.days, old.Day())
	}
}

func (t memoryTx) Bury(box ID, id EnvelopeID) error {
	h := t.held[box]
	if h == nil || h.byID[id] == nil || h.byID[id].Buried {
		return errMisuse
	}
	e := h.byID[id]
	was := *e
	if err := t.write(func() { *e = was }); err != nil {
		return err
	}
	e.Buried, e.Size, e.body = true, 0, nil
	t.count(h, Usage{Count: -1, Tombs: 1, Bytes: -uint64(was.Size)})
	return nil
}

func (t memoryTx) List(box ID, after uint64, fn func(Entry) bool) {
	h := t.held[box]
	if h == nil {
		return
	}
	for _, e := range h.entries {
		if e.Seq > after && !e.Buried && !fn(e.Entry) {
			return
		}
	}
}

func (t memoryTx) Body(box ID, e Entry) ([]byte, error) {
	if h := t.held[box]; h != nil {
		if found := h.byID[e.ID]; found != nil && found.Seq == e.Seq && !found.Buried {
			return found.body, nil
		}
	}
	return nil, errMisuse
}

func (t memoryTx) Days() []Day { return slices.Sorted(maps.Keys(t.days)) }

func (t memoryTx) DropDay(day Day) (Usage, error) {
	var gone Usage
	if err := drop(t, t.days, day); err != nil {
		return gone, err
	}
	for _, h := range t.held { // the order does not show: boxes are independent
		rest := slices.Clone(h.entries)
		rest = slices.DeleteFunc(rest, func(e *heldEnvelope) bool { return e.Day() == day })
		if len(rest) == len(h.entries) {
			continue
		}
		var minus Usage
		for _, e := range h.entries {
			if e.Day() != day {
				continue
			}
			_ = drop(t, h.byID, e.ID)
			minus = minus.minus(e.Entry)
		}
		t.replace(h, rest)
		t.count(h, minus)
		gone = Usage{Count: gone.Count - minus.Count, Tombs: gone.Tombs - minus.Tombs, Bytes: gone.Bytes - minus.Bytes}
	}
	return gone, nil
}

// minus is u without an entry.
func (u Usage) minus(e Entry) Usage {
	if e.Buried {
		u.Tombs--
		return u
	}
	u.Count--
	u.Bytes -= uint64(e.Size)
	return u
}

func (t memoryTx) Usage(box ID) Usage {
	if h := t.held[box]; h != nil {
		return h.usage
	}
	return Usage{}
}

func (t memoryTx) Total() Usage {
	u := t.total
	u.Boxes = len(t.boxes)
	return u
}

func (t memoryTx) Clock() Clock { return t.clock }

func (t memoryTx) SetClock(c Clock) error {
	was := t.clock
	if err := t.write(func() { t.Memory.clock = was }); err != nil {
		return err
	}
	t.Memory.clock = c
	return nil
}

func (t memoryTx) Receipts() *Batch { return &t.Memory.batch }

func (t memoryTx) replace(h *heldBox, entries []*heldEnvelope) {
	was := h.entries
	t.Memory.undo = append(t.Memory.undo, func() { h.entries = was })
	h.entries = entries
}

// count adds to the usage of a box and of the store. Bytes wrap, so that a
// negative difference is a plain sum too.
func (t memoryTx) count(h *heldBox, by Usage) {
	box, total := h.usage, t.total
	t.Memory.undo = append(t.Memory.undo, func() { h.usage, t.Memory.total = box, total })
	h.usage, t.Memory.total = box.plus(by), total.plus(by)
}

func (u Usage) plus(o Usage) Usage {
	return Usage{Count: u.Count + o.Count, Tombs: u.Tombs + o.Tombs, Bytes: u.Bytes + o.Bytes}
}

func put[K comparable, V any](t memoryTx, m map[K]V, k K, v V) error {
	was, had := m[k]
	err := t.write(func() { restore(m, k, was, had) })
	if err == nil {
		m[k] = v
	}
	return err
}

func drop[K comparable, V any](t memoryTx, m map[K]V, k K) error {
	was, had := m[k]
	err := t.write(func() { restore(m, k, was, had) })
	if err == nil {
		delete(m, k)
	}
	return err
}

func restore[K comparable, V any](m map[K]V, k K, was V, had bool) {
	if had {
		m[k] = was
	} else {
		delete(m, k)
	}
}
