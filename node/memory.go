package node

import (
	"bytes"
	"slices"
)

// NewMemory returns a store in memory: the reference model of the sealed store, and what simulated devices use. It is
// for one goroutine.
func NewMemory() Store {
	m := &memory{}
	for i := range m.buckets {
		m.buckets[i] = map[string][]byte{}
	}
	return m
}

type memory struct {
	buckets [bucketEnd]map[string][]byte
	sorted  [bucketEnd][]string // the keys, ascending
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
	b   Bucket
	key string
	old []byte
	had bool
}

func (t *memoryTx) rollback() {
	for _, u := range slices.Backward(t.undo) {
		if u.had {
			t.m.set(u.b, u.key, u.old)
		} else {
			t.m.remove(u.b, u.key)
		}
	}
	t.undo = nil
}

func (t *memoryTx) note(b Bucket, key string) {
	old, had := t.m.buckets[b][key]
	t.undo = append(t.undo, memoryUndo{b, key, old, had})
}

func (t *memoryTx) Get(b Bucket, key []byte) []byte {
	return bytes.Clone(t.m.buckets[b][string(key)])
}

func (t *memoryTx) Put(b Bucket, key, value []byte) {
	t.note(b, string(key))
	t.m.set(b, string(key), append(make([]byte, 0, len(value)), value...))
}

func (t *memoryTx) Delete(b Bucket, key []byte) {
	t.note(b, string(key))
	t.m.remove(b, string(key))
}

func (t *memoryTx) Scan(b Bucket, from []byte, fn func(key, value []byte) bool) {
	for next := string(from); ; {
		keys := t.m.sorted[b]
		i, _ := slices.BinarySearch(keys, next)
		if i == len(keys) || !fn([]byte(keys[i]), bytes.Clone(t.m.buckets[b][keys[i]])) {
			return
		}
		next = keys[i] + "\x00" // the least key after this one
	}
}

func (t *memoryTx) Last(b Bucket) (key, value []byte) {
	keys := t.m.sorted[b]
	if len(keys) == 0 {
		return nil, nil
	}
	k := keys[len(keys)-1]
	return []byte(k), bytes.Clone(t.m.buckets[b][k])
}

func (t *memoryTx) Err() error { return nil }

func (m *memory) set(b Bucket, key string, value []byte) {
	if _, ok := m.buckets[b][key]; !ok {
		i, _ := slices.BinarySearch(m.sorted[b], key)
		m.sorted[b] = slices.Insert(m.sorted[b], i, key)
	}
	m.buckets[b][key] = value
}

func (m *memory) remove(b Bucket, key string) {
	if _, ok := m.buckets[b][key]; !ok {
		return
	}
	delete(m.buckets[b], key)
	i, _ := slices.BinarySearch(m.sorted[b], key)
	m.sorted[b] = slices.Delete(m.sorted[b], i, i+1)
}
