package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"
)

// NewCompact returns a store in memory for a process with many devices: what NewMemory is, in less of it. Small rows lie in
// pages, because most rows of a device are a few dozen bytes, and what [Rows] writes is held as it is, and encoded for who asks
// for its bytes. It is for one goroutine.
func NewCompact() Store { return &compact{} }

type compact struct {
	tables [bucketEnd]pages
	undo   []compactUndo // of a transaction that is over, for the next
}

// Bounds of a page: rows and their bytes; the largest value that lies in it; and the bytes that may count no more, whatever part
// of it they are.
const (
	pageRows  = 64
	pageBytes = 4096
	smallSize = 128
	pageWaste = 256
)

// keptUndo is how many changes a transaction may have room for and leave it to the next.
const keptUndo = 16

// pages is one bucket, in the order of its keys. No page is empty.
type pages struct {
	all   []*page
	moves int // how often a row has come or gone
}

// page is some rows. What was written into it does not change: a row with another value is written behind the others, and all
// of them are written anew when a quarter of it counts no more (see tidy). So what is shown of it stays as it is.
type page struct {
	at    []uint32 // where rows begin in data, in the order of their keys
	data  []byte   // rows: size of the key u16, of the value u16 or isLarge, key, value or number of the large one u32
	gone  int      // bytes of data that count no more
	large []large
}

// large is a value of its own, or a row that is held as it is.
type large struct {
	value []byte
	row   proto.Message
}

const (
	rowHead = 4
	isLarge = 1<<16 - 1
)

// row takes one apart; slot: where the large value is, -1: it is here.
func (p *page) row(i int) (key, value []byte, slot int) {
	b := p.data[p.at[i]:]
	k, v := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
	key, b = b[rowHead:rowHead+k:rowHead+k], b[rowHead+k:]
	if v == isLarge {
		return key, nil, int(binary.BigEndian.Uint32(b))
	}
	return key, b[:v:v], -1
}

func (p *page) key(i int) []byte {
	b := p.data[p.at[i]:]
	return b[rowHead : rowHead+int(binary.BigEndian.Uint16(b))]
}

func (p *page) get(i int) (value []byte, row proto.Message) {
	_, value, slot := p.row(i)
	if slot >= 0 {
		return p.large[slot].value, p.large[slot].row
	}
	return value, nil
}

// was is what undoes a change of a row.
func (p *page) was(i int) compactUndo {
	value, row := p.get(i)
	return compactUndo{had: true, key: p.key(i), value: value, row: row}
}

// find is where a key is in a page, or would be.
func (p *page) find(key []byte) (int, bool) {
	low, high := 0, len(p.at)
	for low < high {
		switch mid := (low + high) / 2; bytes.Compare(p.key(mid), key) {
		case 0:
			return mid, true
		case -1:
			low = mid + 1
		default:
			high = mid
		}
	}
	return low, false
}

// write adds the bytes of a row, and says where they are.
func (p *page) write(key, value []byte, row proto.Message) uint32 {
	if len(key) >= isLarge {
		panic("store: a key of ours is too long")
	}
	at := uint32(len(p.data))
	p.data = binary.BigEndian.AppendUint16(p.data, uint16(len(key)))
	if row != nil || len(value) > smallSize {
		p.data = binary.BigEndian.AppendUint16(p.data, isLarge)
		p.data = append(p.data, key...)
		p.data = binary.BigEndian.AppendUint32(p.data, uint32(len(p.large)))
		p.large = append(p.large, large{value, row})
		return at
	}
	p.data = binary.BigEndian.AppendUint16(p.data, uint16(len(value)))
	p.data = append(p.data, key...)
	p.data = append(p.data, value...)
	return at
}

// drop makes the bytes of a row count no more.
func (p *page) drop(i int) {
	key, value, slot := p.row(i)
	p.gone += rowHead + len(key) + len(value)
	if slot >= 0 {
		p.gone += 4
		p.large[slot] = large{}
	}
}

// put has row i, which there is, say something else.
func (p *page) put(i int, value []byte, row proto.Message) {
	key, _, slot := p.row(i)
	if slot >= 0 && (row != nil || len(value) > smallSize) {
		p.large[slot] = large{value, row}
		return
	}
	p.drop(i)
	p.at[i] = p.write(key, value, row)
	p.tidy()
}

// tidy writes a page anew if a quarter of it counts no more, and not only a few rows.
func (p *page) tidy() {
	if p.gone > pageWaste && p.gone > len(p.data)/4 {
		*p = *p.part(0, len(p.at))
	}
}

// part is a page with the rows from one to before another.
func (p *page) part(from, to int) *page {
	q := &page{at: make([]uint32, 0, to-from), data: make([]byte, 0, (len(p.data)-p.gone)*(to-from)/max(len(p.at), 1))}
	for i := from; i < to; i++ {
		value, row := p.get(i)
		q.at = append(q.at, q.write(p.key(i), value, row))
	}
	return q
}

// find is where a key is, or would be: the page and the place in it.
func (t *pages) find(key []byte) (page, i int, found bool) {
	low, high := 0, len(t.all) // the page before low begins with a key that is not greater
	for low < high {
		if mid := (low + high) / 2; bytes.Compare(t.all[mid].key(0), key) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return 0, 0, false
	}
	i, found = t.all[low-1].find(key)
	return low - 1, i, found
}

// set writes a row, whose value nobody changes, and says what undoes it.
func (t *pages) set(key, value []byte, row proto.Message) (was compactUndo) {
	n, i, found := t.find(key)
	if found {
		was = t.all[n].was(i)
		t.all[n].put(i, value, row)
		return was
	}
	t.moves++
	if len(t.all) == 0 {
		t.all = append(t.all, &page{})
	}
	p := t.all[n]
	if len(p.at) >= pageRows || len(p.data)-p.gone >= pageBytes {
		half := len(p.at) / 2
		if i == len(p.at) && n == len(t.all)-1 {
			half = i // keys that rise fill their pages
		}
		next := p.part(half, len(p.at))
		*p = *p.part(0, half)
		t.all = slices.Insert(t.all, n+1, next)
		if i >= half {
			p, i = next, i-half
		}
	}
	p.at = slices.Insert(p.at, i, p.write(key, value, row))
	return compactUndo{key: p.key(i)}
}

// remove deletes a row, and says what undoes it.
func (t *pages) remove(key []byte) (was compactUndo) {
	n, i, found := t.find(key)
	if !found {
		return was
	}
	t.moves++
	p := t.all[n]
	was = p.was(i)
	p.drop(i)
	if p.at = slices.Delete(p.at, i, i+1); len(p.at) == 0 {
		t.all = slices.Delete(t.all, n, n+1)
		return was
	}
	p.tidy()
	return was
}

func (m *compact) Update(fn func(Tx) error) error {
	tx := &compactTx{m: m, undo: m.undo}
	m.undo = nil
	err := fn(tx)
	if err != nil {
		tx.rollback()
	}
	if cap(tx.undo) <= keptUndo {
		clear(tx.undo)
		m.undo = tx.undo[:0]
	}
	return err
}

func (m *compact) View(fn func(Tx) error) error {
	tx := &compactTx{m: m}
	err := fn(tx)
	tx.rollback()
	return err
}

// compactTx writes in place and keeps what it overwrote, newest last.
type compactTx struct {
	m    *compact
	undo []compactUndo
}

type compactUndo struct {
	b     Bucket
	had   bool // there was one
	key   []byte
	value []byte
	row   proto.Message
}

func (t *compactTx) rollback() {
	for _, u := range slices.Backward(t.undo) {
		if table := &t.m.tables[u.b]; u.had {
			table.set(u.key, u.value, u.row)
		} else {
			table.remove(u.key)
		}
	}
}

func (t *compactTx) did(b Bucket, was compactUndo) {
	was.b = b
	t.undo = append(t.undo, was)
}

func (t *compactTx) holds() bool { return true }

func (t *compactTx) Get(b Bucket, key []byte) []byte {
	value, row := t.peek(b, key)
	return copied(value, row)
}

// copied is a value that its reader may change.
func copied(value []byte, row proto.Message) []byte {
	if row != nil {
		return encode(row)
	}
	return bytes.Clone(value)
}

func (t *compactTx) peek(b Bucket, key []byte) ([]byte, proto.Message) {
	table := &t.m.tables[b]
	if n, i, found := table.find(key); found {
		return table.all[n].get(i)
	}
	return nil, nil
}

func (t *compactTx) Put(b Bucket, key, value []byte) {
	if len(value) > smallSize {
		value = append(make([]byte, 0, len(value)), value...)
	}
	t.own(b, key, value, nil)
}

func (t *compactTx) own(b Bucket, key, value []byte, row proto.Message) {
	t.did(b, t.m.tables[b].set(key, value, row))
}

func (t *compactTx) Delete(b Bucket, key []byte) {
	if was := t.m.tables[b].remove(key); was.had {
		t.did(b, was)
	}
}

func (t *compactTx) Scan(b Bucket, from []byte, fn func(key, value []byte) bool) {
	t.walk(b, from, func(key, value []byte, row proto.Message) bool { return fn(bytes.Clone(key), copied(value, row)) })
}

func (t *compactTx) walk(b Bucket, from []byte, fn func(key, value []byte, row proto.Message) bool) {
	table := &t.m.tables[b]
	n, i, _ := table.find(from)
	for n < len(table.all) {
		p := table.all[n]
		if i == len(p.at) {
			n, i = n+1, 0
			continue
		}
		key, moves := p.key(i), table.moves
		value, row := p.get(i)
		if !fn(key, value, row) {
			return
		}
		if i++; moves != table.moves {
			var found bool
			if n, i, found = table.find(key); found {
				i++
			}
		}
	}
}

func (t *compactTx) Last(b Bucket) (key, value []byte) {
	table := &t.m.tables[b]
	if len(table.all) == 0 {
		return nil, nil
	}
	p := table.all[len(table.all)-1]
	v, row := p.get(len(p.at) - 1)
	return bytes.Clone(p.key(len(p.at) - 1)), copied(v, row)
}

func (t *compactTx) Err() error { return nil }
