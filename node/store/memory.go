package store

import (
	"bytes"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// NewMemory returns a store in memory: the reference model of the sealed store, and what simulated devices use, unless there
// are many. It is for one goroutine.
func NewMemory() Store {
	m := &memory{}
	for i := range m.tables {
		m.tables[i].rows = map[string]*memoryRow{}
	}
	return m
}

type memory struct{ tables [bucketEnd]table }

// table is one bucket. Most are never looked at in order: their keys are sorted when one asks, and kept so from then on.
type table struct {
	rows   map[string]*memoryRow
	sorted []*memoryRow // ascending
	keeps  bool         // sorted is up to date
	moves  int          // how often sorted has changed
}

type memoryRow struct {
	key   string
	value []byte // nobody changes it; another takes its place
}

// place is where a key stands in order, or would.
func (b *table) place(key string) (int, bool) {
	return slices.BinarySearchFunc(b.sorted, key, func(r *memoryRow, key string) int { return strings.Compare(r.key, key) })
}

func (b *table) sort() {
	if b.keeps {
		return
	}
	b.keeps = true
	b.sorted = make([]*memoryRow, 0, len(b.rows))
	for _, r := range b.rows {
		b.sorted = append(b.sorted, r)
	}
	slices.SortFunc(b.sorted, func(a, b *memoryRow) int { return strings.Compare(a.key, b.key) })
}

func (b *table) add(r *memoryRow) {
	b.rows[r.key] = r
	if b.keeps {
		i, _ := b.place(r.key)
		b.sorted = slices.Insert(b.sorted, i, r)
		b.moves++
	}
}

func (b *table) remove(r *memoryRow) {
	delete(b.rows, r.key)
	if b.keeps {
		i, _ := b.place(r.key)
		b.sorted = slices.Delete(b.sorted, i, i+1)
		b.moves++
	}
}

func (m *memory) Update(fn func(Tx) error) error {
	tx := &memoryTx{m: m}
	if err := fn(tx); err != nil {
		tx.rollback()
		return err
	}
	return nil
}

func (m *memory) View(fn func(Tx) error) error {
	tx := &memoryTx{m: m}
	err := fn(tx)
	tx.rollback()
	return err
}

// memoryTx writes in place and keeps what it overwrote, newest last.
type memoryTx struct {
	m    *memory
	undo []memoryUndo
}

type memoryUndo struct {
	b    Bucket
	row  *memoryRow
	what undoing
	old  []byte
}

type undoing uint8

const (
	undoPut undoing = iota // another value
	undoAdd
	undoDelete
)

func (t *memoryTx) rollback() {
	for _, u := range slices.Backward(t.undo) {
		switch table := &t.m.tables[u.b]; u.what {
		case undoPut:
			u.row.value = u.old
		case undoAdd:
			table.remove(u.row)
		case undoDelete:
			table.add(u.row)
		}
	}
	t.undo = nil
}

func (t *memoryTx) Get(b Bucket, key []byte) []byte {
	value, _ := t.peek(b, key)
	return bytes.Clone(value)
}

func (t *memoryTx) holds() bool { return false }

func (t *memoryTx) peek(b Bucket, key []byte) ([]byte, proto.Message) {
	if r := t.m.tables[b].rows[string(key)]; r != nil {
		return r.value, nil
	}
	return nil, nil
}

func (t *memoryTx) Put(b Bucket, key, value []byte) {
	t.own(b, key, append(make([]byte, 0, len(value)), value...), nil)
}

func (t *memoryTx) own(b Bucket, key, value []byte, _ proto.Message) {
	table := &t.m.tables[b]
	if r := table.rows[string(key)]; r != nil {
		t.undo = append(t.undo, memoryUndo{b: b, row: r, what: undoPut, old: r.value})
		r.value = value
		return
	}
	r := &memoryRow{key: string(key), value: value}
	t.undo = append(t.undo, memoryUndo{b: b, row: r, what: undoAdd})
	table.add(r)
}

func (t *memoryTx) Delete(b Bucket, key []byte) {
	table := &t.m.tables[b]
	if r := table.rows[string(key)]; r != nil {
		t.undo = append(t.undo, memoryUndo{b: b, row: r, what: undoDelete})
		table.remove(r)
	}
}

func (t *memoryTx) Scan(b Bucket, from []byte, fn func(key, value []byte) bool) {
	t.walk(b, from, func(key, value []byte, _ proto.Message) bool { return fn(key, bytes.Clone(value)) })
}

func (t *memoryTx) walk(b Bucket, from []byte, fn func(key, value []byte, row proto.Message) bool) {
	table := &t.m.tables[b]
	table.sort()
	i, _ := table.place(string(from))
	for i < len(table.sorted) {
		r, moves := table.sorted[i], table.moves
		if !fn([]byte(r.key), r.value, nil) {
			return
		}
		if i++; moves != table.moves {
			i, _ = table.place(r.key + "\x00") // the least key after this one
		}
	}
}

func (t *memoryTx) Last(b Bucket) (key, value []byte) {
	table := &t.m.tables[b]
	table.sort()
	if len(table.sorted) == 0 {
		return nil, nil
	}
	r := table.sorted[len(table.sorted)-1]
	return []byte(r.key), bytes.Clone(r.value)
}

func (t *memoryTx) Err() error { return nil }
