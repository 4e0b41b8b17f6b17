package mailbox

import (
	"context"
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
