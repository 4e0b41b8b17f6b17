package mailbox

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox/pass"
)

// Memory is the reference model of a Store: plain maps, for one goroutine.
// Simulations run on it, and every other store is compared with it.
type Memory struct {
	boxes   map[ID]Box
	order   []ID // of boxes, ascending; nil: not known
	sets    map[ID][]byte
	held    map[ID]*heldBox
	certs   map[passKey]pass.Cert
	total   Usage
	days    map[Day]int // entries per day
	clock   Clock
	leaving time.Time
	lastSeq uint64
	batch   Batch
	undo    []func()
}

// heldBox is the content of one box.
type heldBox struct {
	entries []*heldEnvelope              // by ascending Seq
	byID    map[EnvelopeID]*heldEnvelope // the same
	usage   Usage
	by      map[pass.ID]Usage // parts of usage
}

type passKey struct {
	box ID
	id  pass.ID
}

type heldEnvelope struct {
	Entry
	body []byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		boxes: map[ID]Box{}, sets: map[ID][]byte{}, held: map[ID]*heldBox{}, certs: map[passKey]pass.Cert{}, days: map[Day]int{},
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
		m.order = nil
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
	if _, known := t.boxes[id]; !known {
		t.Memory.order = nil
	}
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
	for _, k := range slices.Collect(maps.Keys(t.certs)) {
		if k.box == id {
			_ = drop(t, t.certs, k)
		}
	}
	t.Memory.order = nil
	return drop(t, t.boxes, id)
}

func (t memoryTx) EachBox(fn func(ID, Box) bool) {
	if t.order == nil {
		t.Memory.order = slices.SortedFunc(maps.Keys(t.boxes), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	}
	for _, id := range t.order {
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
		h = &heldBox{byID: map[EnvelopeID]*heldEnvelope{}, by: map[pass.ID]Usage{}}
	}
	old := h.byID[e.ID]
	seq := t.lastSeq
	if err := t.write(func() { t.lastSeq = seq }); err != nil {
		return err
	}
	t.lastSeq++
	e.Seq, e.Buried = t.lastSeq, false
	added := &heldEnvelope{Entry: e, body: bytes.Clone(envelope)}
	_ = put(t, t.held, box, h)
	t.count(box, h, e, e.usage()) // before the earlier one goes: a certificate of both stays
	if old != nil {
		t.forget(box, h, old)
	}
	_ = put(t, h.byID, e.ID, added)
	t.replace(h, append(h.entries, added)) // undo shortens it again
	return put(t, t.days, e.Day(), t.days[e.Day()]+1)
}

// forget removes an entry whose envelope comes again.
func (t memoryTx) forget(box ID, h *heldBox, old *heldEnvelope) {
	t.replace(h, slices.DeleteFunc(slices.Clone(h.entries), func(e *heldEnvelope) bool { return e == old }))
	t.count(box, h, old.Entry, Usage{}.less(old.usage()))
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
	t.count(box, h, was.Entry, Usage{Count: -1, Tombs: 1, Bytes: -uint64(was.Size)})
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

func (t memoryTx) Mend(box ID, e Entry, envelope []byte) error {
	h := t.held[box]
	if h == nil || h.byID[e.ID] == nil || h.byID[e.ID].Seq != e.Seq || h.byID[e.ID].Buried {
		return errMisuse
	}
	found := h.byID[e.ID]
	was := found.body
	if err := t.write(func() { found.body = was }); err != nil {
		return err
	}
	found.body = bytes.Clone(envelope)
	return nil
}

func (t memoryTx) Pass(box ID, id pass.ID) (pass.Cert, bool) {
	c, ok := t.certs[passKey{box, id}]
	return c, ok
}

func (t memoryTx) PutPass(box ID, c pass.Cert) error {
	return put(t, t.certs, passKey{box, c.ID()}, c)
}

func (t memoryTx) By(box ID, id pass.ID) Usage {
	if h := t.held[box]; h != nil {
		return h.by[id]
	}
	return Usage{}
}

func (t memoryTx) Days() []Day { return slices.Sorted(maps.Keys(t.days)) }

func (t memoryTx) DropDay(day Day) (Usage, error) {
	var gone Usage
	if err := drop(t, t.days, day); err != nil {
		return gone, err
	}
	for box, h := range t.held { // the order does not show: boxes are independent
		rest := slices.Clone(h.entries)
		rest = slices.DeleteFunc(rest, func(e *heldEnvelope) bool { return e.Day() == day })
		if len(rest) == len(h.entries) {
			continue
		}
		entries := h.entries
		t.replace(h, rest)
		for _, e := range entries {
			if e.Day() != day {
				continue
			}
			_ = drop(t, h.byID, e.ID)
			t.count(box, h, e.Entry, Usage{}.less(e.usage()))
			gone = gone.plus(e.usage())
		}
	}
	return gone, nil
}

// usage is what one entry counts.
func (e Entry) usage() Usage {
	if e.Buried {
		return Usage{Tombs: 1}
	}
	return Usage{Count: 1, Bytes: uint64(e.Size)}
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

func (t memoryTx) Leaving() time.Time { return t.leaving }

func (t memoryTx) SetLeaving(at time.Time) error {
	was := t.leaving
	if err := t.write(func() { t.Memory.leaving = was }); err != nil {
		return err
	}
	t.Memory.leaving = at
	return nil
}

func (t memoryTx) Receipts() *Batch { return &t.Memory.batch }

func (t memoryTx) replace(h *heldBox, entries []*heldEnvelope) {
	was := h.entries
	t.Memory.undo = append(t.Memory.undo, func() { h.entries = was })
	h.entries = entries
}

// count adds to the usage of a box, of the share that an entry belongs to, and
// of the store. Bytes wrap, so that a negative difference is a plain sum too. A
// certificate goes with the last entry of its pass.
func (t memoryTx) count(box ID, h *heldBox, e Entry, by Usage) {
	was, total := h.usage, t.total
	t.Memory.undo = append(t.Memory.undo, func() { h.usage, t.Memory.total = was, total })
	h.usage = was.plus(by)
	t.Memory.total = total.plus(by)
	t.Memory.total.Over = total.Over + h.usage.OverFloor() - was.OverFloor()
	share := e.Share()
	if left := h.by[share].plus(by); left != (Usage{}) {
		_ = put(t, h.by, share, left)
		return
	}
	_ = drop(t, h.by, share)
	_ = drop(t, t.certs, passKey{box, share})
}

// less is u without a part of it.
func (u Usage) less(o Usage) Usage {
	return Usage{Count: u.Count - o.Count, Tombs: u.Tombs - o.Tombs, Bytes: u.Bytes - o.Bytes}
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
