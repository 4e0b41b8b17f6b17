package mailbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox/pass"
)

// Memory is the reference model of a Store: maps and lists, for one goroutine.
// Simulations run on it, and every other store is compared with it.
type Memory struct {
	boxes map[ID]*memoryBox
	none  memoryBox    // what there is of boxes that there are not
	last  *memoryBox   // that was asked for last
	order []*memoryBox // those that have a row, by ascending id; nil: not known
	days  map[Day]int  // entries per day
	memoryState
	batch  Batch
	undo   []func()
	rows   []memoryWas // how boxes were that this transaction has edited
	reads  memoryTx
	writes memoryTx
}

// memoryState is the part of a store that is put back as a whole.
type memoryState struct {
	boxed   int // boxes that have a row
	total   Usage
	clock   Clock
	leaving time.Time
	lastSeq uint64
}

// memoryBox is all that is kept of one box. What is acknowledged is most of it after some days: a row of one map
// without a pointer in it.
type memoryBox struct {
	id ID
	memoryRow
	live  []heldEnvelope       // the entries that are not buried, by ascending Seq
	known map[EnvelopeID]place // all entries
	by    map[pass.ID]share    // parts of usage
}

// memoryRow is the part of a box that is put back as a whole.
type memoryRow struct {
	set   []byte // what is asked for most comes first, beside the id
	usage Usage
	named bool // it has a row
	row   Box
}

type memoryWas struct {
	*memoryBox
	memoryRow
}

// share is what came by one pass.
type share struct {
	usage Usage
	cert  *pass.Cert // nil: not known
}

type heldEnvelope struct {
	Entry
	body []byte
}

// place is an Entry without its id.
type place struct {
	seq             uint64
	stored, expires int64
	admit           [8]byte
	size            uint32
	buried          bool
	byPass, copied  bool
}

func placeOf(e *Entry) place {
	return place{e.Seq, e.Stored, e.Expires, e.Admit, e.Size, e.Buried, e.ByPass, e.Copied}
}

func (p *place) entry(id EnvelopeID) Entry {
	return Entry{id, p.seq, p.stored, p.expires, p.size, p.buried, p.byPass, p.copied, p.admit}
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	m := &Memory{boxes: map[ID]*memoryBox{}, days: map[Day]int{}}
	m.last = &m.none
	m.reads, m.writes = memoryTx{m, true}, memoryTx{m, false}
	return m
}

// Do runs fn and undoes its writes if it fails.
func (m *Memory) Do(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	was := m.memoryState
	err := fn(&m.writes)
	if err != nil {
		m.back(was)
	}
	clear(m.undo)
	clear(m.rows)
	m.undo, m.rows = m.undo[:0], m.rows[:0]
	m.batch.Seal()
	return err
}

// back undoes what the transaction wrote.
func (m *Memory) back(was memoryState) {
	for _, back := range slices.Backward(m.undo) {
		back()
	}
	for _, b := range slices.Backward(m.rows) {
		b.memoryBox.memoryRow = b.memoryRow
	}
	m.memoryState, m.order, m.last = was, nil, &m.none
	m.batch.Cut(0)
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

// at is a box to read. Who asks for one asks for it again.
func (t *memoryTx) at(id ID) *memoryBox {
	if t.last.id == id && t.last != &t.none {
		return t.last
	}
	b := t.boxes[id]
	if b == nil {
		return &t.none
	}
	t.last = b
	return b
}

// edit returns a box to write to, which it makes if there is none.
func (t *memoryTx) edit(id ID) (*memoryBox, error) {
	if t.view {
		return nil, ErrReadOnly
	}
	b := t.at(id)
	if b == &t.none {
		b = &memoryBox{id: id}
		t.boxes[id] = b
		t.undo = append(t.undo, func() { delete(t.boxes, id) })
	}
	t.rows = append(t.rows, memoryWas{b, b.memoryRow})
	return b, nil
}

// fill gets a box ready for what comes in: many never hold anything.
func (b *memoryBox) fill() {
	if b.known == nil {
		b.known, b.by = map[EnvelopeID]place{}, map[pass.ID]share{}
	}
}

// name notes that a box gets a row, or loses it.
func (t *memoryTx) name(b *memoryBox, named bool) {
	if b.named == named {
		return
	}
	if t.order, b.named = nil, named; named {
		t.boxed++
	} else {
		t.boxed--
	}
}

// errMisuse says that the rules broke the contract of Tx; it is a bug of ours.
var errMisuse = errors.New("mailbox: transaction misused")

func (t *memoryTx) Box(id ID) (Box, bool) {
	b := t.at(id)
	return b.row, b.named
}

func (t *memoryTx) PutBox(id ID, row Box) error {
	b, err := t.edit(id)
	if err == nil {
		t.name(b, true)
		b.row = row
	}
	return err
}

func (t *memoryTx) DropBox(id ID) error {
	if len(t.at(id).known) > 0 {
		return errMisuse
	}
	b, err := t.edit(id)
	if err == nil {
		t.name(b, false)
		t.undo = append(t.undo, func() { t.boxes[id] = b })
		delete(t.boxes, id)
		t.last = &t.none
	}
	return err
}

func (t *memoryTx) EachBox(fn func(ID, Box) bool) {
	if t.order == nil {
		for _, b := range t.boxes {
			if b.named {
				t.order = append(t.order, b)
			}
		}
		slices.SortFunc(t.order, func(a, b *memoryBox) int { return bytes.Compare(a.id[:], b.id[:]) })
	}
	for _, b := range t.order {
		t.last = b
		if !fn(b.id, b.row) {
			return
		}
	}
}

func (t *memoryTx) Set(id ID) ([]byte, error) { return t.at(id).set, nil }

func (t *memoryTx) PutSet(id ID, raw []byte) error {
	b, err := t.edit(id)
	if err == nil {
		b.set = raw
	}
	return err
}

func (t *memoryTx) Find(box ID, id EnvelopeID) (Entry, bool) {
	p, found := t.at(box).known[id]
	if !found {
		return Entry{}, false
	}
	return p.entry(id), true
}

func (t *memoryTx) Add(box ID, e Entry, envelope []byte) error {
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	b.fill()
	old, had := b.known[e.ID]
	t.lastSeq++
	e.Seq, e.Buried = t.lastSeq, false
	t.use(b, &e, e.usage()) // before the earlier one goes: a certificate of both stays
	if had {
		t.forget(b, old.entry(e.ID))
	}
	_ = put(t, b.known, e.ID, placeOf(&e))
	b.live = append(b.live, heldEnvelope{e, envelope})
	t.undo = append(t.undo, func() { b.live = slices.Delete(b.live, len(b.live)-1, len(b.live)) })
	return put(t, t.days, e.Day(), t.days[e.Day()]+1)
}

// forget removes what an entry has whose envelope comes again.
func (t *memoryTx) forget(b *memoryBox, old Entry) {
	t.take(b, &old)
	t.use(b, &old, Usage{}.less(old.usage()))
	if n := t.days[old.Day()] - 1; n > 0 {
		_ = put(t, t.days, old.Day(), n)
	} else {
		_ = drop(t, t.days, old.Day())
	}
}

// take takes an entry out of those that are not buried.
func (t *memoryTx) take(b *memoryBox, e *Entry) {
	i, found := b.from(e.Seq)
	if !found {
		return
	}
	was := b.live[i]
	t.undo = append(t.undo, func() { b.live = slices.Insert(b.live, i, was) })
	if b.live = slices.Delete(b.live, i, i+1); len(b.live) == 0 {
		b.live = nil // most boxes are empty most of the time
	}
}

// from is the position of the first entry with Seq >= seq among those that are not buried.
func (b *memoryBox) from(seq uint64) (at int, there bool) {
	return slices.BinarySearchFunc(b.live, seq, func(e heldEnvelope, seq uint64) int { return cmp.Compare(e.Seq, seq) })
}

func (t *memoryTx) Bury(box ID, id EnvelopeID) error {
	e, found := t.Find(box, id)
	if !found || e.Buried {
		return errMisuse
	}
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	t.take(b, &e)
	t.use(b, &e, Usage{Count: -1, Tombs: 1, Bytes: -uint64(e.Size)})
	e.Buried, e.Size = true, 0
	return put(t, b.known, id, placeOf(&e))
}

func (t *memoryTx) List(box ID, after uint64, fn func(Entry) bool) {
	b, at := t.at(box), 0
	if after > 0 {
		at, _ = b.from(after + 1)
	}
	for i := range b.live[at:] {
		if !fn(b.live[at+i].Entry) {
			return
		}
	}
}

// body is where the bytes of an entry are; nil: nowhere.
func (t *memoryTx) body(box ID, e Entry) *[]byte {
	b := t.at(box)
	if i, found := b.from(e.Seq); found && b.live[i].ID == e.ID {
		return &b.live[i].body
	}
	return nil
}

func (t *memoryTx) Body(box ID, e Entry) ([]byte, error) {
	if body := t.body(box, e); body != nil {
		return *body, nil
	}
	return nil, errMisuse
}

func (t *memoryTx) Mend(box ID, e Entry, envelope []byte) error {
	body := t.body(box, e)
	if body == nil {
		return errMisuse
	}
	was := *body
	if err := t.write(func() { *t.body(box, e) = was }); err != nil {
		return err
	}
	*body = envelope
	return nil
}

func (t *memoryTx) Pass(box ID, id pass.ID) (pass.Cert, bool) {
	if s := t.at(box).by[id]; s.cert != nil {
		return *s.cert, true
	}
	return pass.Cert{}, false
}

func (t *memoryTx) PutPass(box ID, c pass.Cert) error {
	b, err := t.edit(box)
	if err != nil {
		return err
	}
	b.fill()
	s := b.by[c.ID()]
	s.cert = &c
	return put(t, b.by, c.ID(), s)
}

func (t *memoryTx) By(box ID, id pass.ID) Usage { return t.at(box).by[id].usage }

func (t *memoryTx) Days() []Day { return slices.Sorted(maps.Keys(t.days)) }

func (t *memoryTx) DropDay(day Day) (Usage, error) {
	var gone Usage
	if err := drop(t, t.days, day); err != nil {
		return gone, err
	}
	for id, b := range t.boxes { // the order does not show: boxes are independent
		var over []Entry
		for envelope, p := range b.known {
			if DayOf(p.expires) == day {
				over = append(over, p.entry(envelope))
			}
		}
		if len(over) > 0 {
			_, _ = t.edit(id)
		}
		for i := range over {
			e := &over[i]
			_ = drop(t, b.known, e.ID)
			t.take(b, e)
			t.use(b, e, Usage{}.less(e.usage()))
			gone = gone.plus(e.usage())
		}
	}
	return gone, nil
}

func (t *memoryTx) Usage(box ID) Usage { return t.at(box).usage }

func (t *memoryTx) Total() Usage {
	u := t.total
	u.Boxes = t.boxed
	return u
}

func (t *memoryTx) Clock() Clock { return t.clock }

func (t *memoryTx) SetClock(c Clock) error {
	if t.view {
		return ErrReadOnly
	}
	t.clock = c
	return nil
}

func (t *memoryTx) Leaving() time.Time { return t.leaving }

func (t *memoryTx) SetLeaving(at time.Time) error {
	if t.view {
		return ErrReadOnly
	}
	t.leaving = at
	return nil
}

func (t *memoryTx) Receipts() *Batch { return &t.batch }

// use adds to the usage of a box that is being edited, of the share that an entry belongs to, and
// of the store. Bytes wrap, so that a negative difference is a plain sum too. A
// certificate goes with the last entry of its pass.
func (t *memoryTx) use(b *memoryBox, e *Entry, by Usage) {
	was, id := b.usage, e.Share()
	b.usage = was.plus(by)
	over := t.total.Over + b.usage.OverFloor() - was.OverFloor()
	t.total = t.total.plus(by)
	t.total.Over = over
	s := b.by[id]
	if s.usage = s.usage.plus(by); s.usage == (Usage{}) {
		_ = drop(t, b.by, id)
		return
	}
	_ = put(t, b.by, id, s)
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
