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
	boxes   map[ID]*memoryBox
	rows    int          // boxes that have a row
	order   []*memoryBox // these, by ascending id; nil: not known
	total   Usage
	days    map[Day]int // entries per day
	clock   Clock
	leaving time.Time
	lastSeq uint64
	batch   Batch
	undo    []func()
	reads   memoryTx
	writes  memoryTx
}

// memoryBox is all that is kept of one box.
type memoryBox struct {
	id ID
	memoryRow
	byID map[EnvelopeID]*heldEnvelope // the entries
	by   map[pass.ID]*share           // parts of usage
}

// memoryRow is the part of a box that is put back as a whole.
type memoryRow struct {
	row     Box
	known   bool // it has a row
	set     []byte
	entries []*heldEnvelope // by ascending Seq
	usage   Usage
}

// share is what came by one pass.
type share struct {
	usage Usage
	cert  pass.Cert
	known bool // its certificate is
}

type heldEnvelope struct {
	Entry
	body []byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	m := &Memory{boxes: map[ID]*memoryBox{}, days: map[Day]int{}}
	m.reads, m.writes = memoryTx{m, true}, memoryTx{m, false}
	return m
}

// Do runs fn and undoes its writes if it fails.
func (m *Memory) Do(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := fn(&m.writes)
	if err != nil {
		for _, back := range slices.Backward(m.undo) {
			back()
		}
		m.batch.Cut(0)
	}
	clear(m.undo)
	m.undo = m.undo[:0]
	m.batch.Seal()
	return err
}

// View runs fn; its writes fail.
func (m *Memory) View(fn func(Tx) error) error { return fn(&m.reads) }

// memoryTx keeps Store and Tx methods apart.
type memoryTx struct {
	*Memory
	view bool
}

// write registers how to undo a write.
func (t *memoryTx) write(back func()) error {
	if t.view {
		return ErrReadOnly
	}
	t.undo = append(t.undo, back)
	return nil
}

// edit returns a box to write to, which it makes if there is none.
func (t *memoryTx) edit(id ID) (*memoryBox, error) {
	if t.view {
		return nil, ErrReadOnly
	}
	b := t.boxes[id]
	if b == nil {
		b = &memoryBox{id: id}
		t.boxes[id] = b
		t.undo = append(t.undo, func() { delete(t.boxes, id) })
	}
	was := b.memoryRow
	t.undo = append(t.undo, func() {
		t.count(b, was.known)
		b.memoryRow = was
	})
	return b, nil
}

// count notes that a box gets a row, or loses it.
func (t *memoryTx) count(b *memoryBox, known bool) {
	if b.known == known {
		return
	}
	if t.order, b.known = nil, known; known {
		t.rows++
	} else {
		t.rows--
	}
}

// errMisuse says that the rules broke the contract of Tx; it is a bug of ours.
var errMisuse = errors.New("mailbox: transaction misused")

func (t *memoryTx) Box(id ID) (Box, bool) {
	if b := t.boxes[id]; b != nil {
		return b.row, b.known
	}
	return Box{}, false
}

func (t *memoryTx) PutBox(id ID, row Box) error {
	b, err := t.edit(id)
	if err == nil {
		t.count(b, true)
		b.row = row
	}
	return err
}

func (t *memoryTx) DropBox(id ID) error {
	old := t.boxes[id]
	if old != nil && len(old.entries) > 0 {
		return errMisuse
	}
	b, err := t.edit(id)
	if err == nil {
		t.count(b, false)
		t.undo = append(t.undo, func() { t.boxes[id] = b })
		delete(t.boxes, id)
	}
	return err
}

func (t *memoryTx) EachBox(fn func(ID, Box) bool) {
	if t.order == nil {
		for _, b := range t.boxes {
			if b.known {
				t.order = append(t.order, b)
			}
		}
		slices.SortFunc(t.order, func(a, b *memoryBox) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	for _, b := range t.order {
		if !fn(b.id, b.row) {
			return
		}
	}
}

func (t *memoryTx) Set(id ID) ([]byte, error) {
	if b := t.boxes[id]; b != nil {
		return b.set, nil
	}
	return nil, nil
}

func (t *memoryTx) PutSet(id ID, raw []byte) error {
	b, err := t.edit(id)
	if err == nil {
		b.set = bytes.Clone(raw)
	}
	return err
}

// held is an envelope that a box has or had; nil: there is none.
func (t *memoryTx) held(box ID, id EnvelopeID) *heldEnvelope {
	if b := t.boxes[box]; b != nil {
		return b.byID[id]
	}
	return nil
}

func (t *memoryTx) Find(box ID, id EnvelopeID) (Entry, bool) {
	if e := t.held(box, id); e != nil {
		return e.Entry, true
	}
	return Entry{}, false
}

func (t *memoryTx) Add(box ID, e Entry, envelope []byte) error {
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	if b.byID == nil {
		b.byID = map[EnvelopeID]*heldEnvelope{}
	}
	if b.by == nil {
		b.by = map[pass.ID]*share{}
	}
	seq, old := t.lastSeq, b.byID[e.ID]
	t.undo = append(t.undo, func() { t.lastSeq = seq })
	t.lastSeq++
	e.Seq, e.Buried = t.lastSeq, false
	added := &heldEnvelope{Entry: e, body: bytes.Clone(envelope)}
	t.use(b, e, e.usage()) // before the earlier one goes: a certificate of both stays
	if old != nil {
		t.forget(b, old)
	}
	_ = put(t, b.byID, e.ID, added)
	b.entries = append(b.entries, added) // undo shortens it again
	return put(t, t.days, e.Day(), t.days[e.Day()]+1)
}

// forget removes an entry whose envelope comes again.
func (t *memoryTx) forget(b *memoryBox, old *heldEnvelope) {
	b.entries = slices.DeleteFunc(slices.Clone(b.entries), func(e *heldEnvelope) bool { return e == old })
	t.use(b, old.Entry, Usage{}.less(old.usage()))
	if n := t.days[old.Day()] - 1; n > 0 {
		_ = put(t, t.days, old.Day(), n)
	} else {
		_ = drop(t, t.days, old.Day())
	}
}

func (t *memoryTx) Bury(box ID, id EnvelopeID) error {
	e := t.held(box, id)
	if e == nil || e.Buried {
		return errMisuse
	}
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	was := *e
	t.undo = append(t.undo, func() { *e = was })
	e.Buried, e.Size, e.body = true, 0, nil
	t.use(b, was.Entry, Usage{Count: -1, Tombs: 1, Bytes: -uint64(was.Size)})
	return nil
}

func (t *memoryTx) List(box ID, after uint64, fn func(Entry) bool) {
	b := t.boxes[box]
	if b == nil || b.usage.Count == 0 {
		return
	}
	for _, e := range b.entries {
		if e.Seq > after && !e.Buried && !fn(e.Entry) {
			return
		}
	}
}

func (t *memoryTx) Body(box ID, e Entry) ([]byte, error) {
	if found := t.held(box, e.ID); found != nil && found.Seq == e.Seq && !found.Buried {
		return found.body, nil
	}
	return nil, errMisuse
}

func (t *memoryTx) Mend(box ID, e Entry, envelope []byte) error {
	found := t.held(box, e.ID)
	if found == nil || found.Seq != e.Seq || found.Buried {
		return errMisuse
	}
	was := found.body
	if err := t.write(func() { found.body = was }); err != nil {
		return err
	}
	found.body = bytes.Clone(envelope)
	return nil
}

// by is what came into a box by one pass; nil: nothing.
func (t *memoryTx) by(box ID, id pass.ID) *share {
	if b := t.boxes[box]; b != nil {
		return b.by[id]
	}
	return nil
}

func (t *memoryTx) Pass(box ID, id pass.ID) (pass.Cert, bool) {
	if s := t.by(box, id); s != nil {
		return s.cert, s.known
	}
	return pass.Cert{}, false
}

func (t *memoryTx) PutPass(box ID, c pass.Cert) error {
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	s := share{}
	if old := b.by[c.ID()]; old != nil {
		s = *old
	}
	s.cert, s.known = c, true
	if b.by == nil {
		b.by = map[pass.ID]*share{}
	}
	return put(t, b.by, c.ID(), &s)
}

func (t *memoryTx) By(box ID, id pass.ID) Usage {
	if s := t.by(box, id); s != nil {
		return s.usage
	}
	return Usage{}
}

func (t *memoryTx) Days() []Day { return slices.Sorted(maps.Keys(t.days)) }

func (t *memoryTx) DropDay(day Day) (Usage, error) {
	var gone Usage
	if err := drop(t, t.days, day); err != nil {
		return gone, err
	}
	of := func(e *heldEnvelope) bool { return e.Day() == day }
	for id, b := range t.boxes { // the order does not show: boxes are independent
		if !slices.ContainsFunc(b.entries, of) {
			continue
		}
		entries := b.entries
		_, _ = t.edit(id)
		b.entries = slices.DeleteFunc(slices.Clone(entries), of)
		for _, e := range entries {
			if of(e) {
				_ = drop(t, b.byID, e.ID)
				t.use(b, e.Entry, Usage{}.less(e.usage()))
				gone = gone.plus(e.usage())
			}
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

func (t *memoryTx) Usage(box ID) Usage {
	if b := t.boxes[box]; b != nil {
		return b.usage
	}
	return Usage{}
}

func (t *memoryTx) Total() Usage {
	u := t.total
	u.Boxes = t.rows
	return u
}

func (t *memoryTx) Clock() Clock { return t.clock }

func (t *memoryTx) SetClock(c Clock) error {
	was := t.clock
	if err := t.write(func() { t.clock = was }); err != nil {
		return err
	}
	t.clock = c
	return nil
}

func (t *memoryTx) Leaving() time.Time { return t.leaving }

func (t *memoryTx) SetLeaving(at time.Time) error {
	was := t.leaving
	if err := t.write(func() { t.leaving = was }); err != nil {
		return err
	}
	t.leaving = at
	return nil
}

func (t *memoryTx) Receipts() *Batch { return &t.batch }

// use adds to the usage of a box that is being edited, of the share that an entry belongs to, and
// of the store. Bytes wrap, so that a negative difference is a plain sum too. A
// certificate goes with the last entry of its pass.
func (t *memoryTx) use(b *memoryBox, e Entry, by Usage) {
	was, total, id := b.usage, t.total, e.Share()
	t.undo = append(t.undo, func() { t.total = total })
	b.usage = was.plus(by)
	t.total = total.plus(by)
	t.total.Over = total.Over + b.usage.OverFloor() - was.OverFloor()
	s := share{}
	if old := b.by[id]; old != nil {
		s = *old
	}
	if s.usage = s.usage.plus(by); s.usage == (Usage{}) {
		_ = drop(t, b.by, id)
		return
	}
	_ = put(t, b.by, id, &s)
}

// less is u without a part of it.
func (u Usage) less(o Usage) Usage {
	return Usage{Count: u.Count - o.Count, Tombs: u.Tombs - o.Tombs, Bytes: u.Bytes - o.Bytes}
}

func (u Usage) plus(o Usage) Usage {
	return Usage{Count: u.Count + o.Count, Tombs: u.Tombs + o.Tombs, Bytes: u.Bytes + o.Bytes}
}

func put[K comparable, V any](t *memoryTx, m map[K]V, k K, v V) error {
	was, had := m[k]
	err := t.write(func() { restore(m, k, was, had) })
	if err == nil {
		m[k] = v
	}
	return err
}

func drop[K comparable, V any](t *memoryTx, m map[K]V, k K) error {
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
