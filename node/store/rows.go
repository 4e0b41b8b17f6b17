package store

import (
	"bytes"

	"google.golang.org/protobuf/proto"
)

// Rows remembers what the rows of one bucket say, as long as they stay as they are: a row is decoded when it has changed,
// not in every turn. What is remembered of a row is believed only if this transaction has the same bytes, so that nothing
// outlives a turn that failed.
type Rows[M any, P interface {
	*M
	proto.Message
}] struct {
	Bucket Bucket
	Limit  int // rows that are remembered at least; at most twice as many

	young, old map[string]known[P] // old: what was not asked for since young began
}

type known[P any] struct {
	raw []byte
	row P
}

// Get is the row of a key, which nobody may change; nil: there is none that can be read.
func (r *Rows[M, P]) Get(tx Tx, key []byte) P {
	raw, held := look(tx, r.Bucket, key)
	if row, ok := held.(P); ok {
		return row
	}
	if raw == nil {
		return nil
	}
	if k, ok := r.young[string(key)]; ok && bytes.Equal(k.raw, raw) {
		return k.row
	}
	return r.row(string(key), raw)
}

// Each shows the rows that can be read, in the order of their keys, until fn returns false. Nobody may change them.
func (r *Rows[M, P]) Each(tx Tx, fn func(row P) bool) {
	each(tx, r.Bucket, func(key, raw []byte, held proto.Message) bool {
		row, ok := held.(P)
		if !ok {
			row = r.row(string(key), raw)
		}
		return row == nil || fn(row)
	})
}

// Put writes a row, which nobody may change from then on.
func (r *Rows[M, P]) Put(tx Tx, key []byte, row P) {
	if p, ok := tx.(peeker); ok && p.holds() {
		p.own(r.Bucket, key, nil, row)
		return
	}
	r.keep(string(key), known[P]{putRow(tx, r.Bucket, key, row), row})
}

// Delete deletes a row.
func (r *Rows[M, P]) Delete(tx Tx, key []byte) {
	delete(r.young, string(key))
	delete(r.old, string(key))
	tx.Delete(r.Bucket, key)
}

func (r *Rows[M, P]) row(key string, raw []byte) P {
	k, ok := r.young[key]
	if !ok {
		if k, ok = r.old[key]; ok {
			r.keep(key, k)
		}
	}
	if ok && bytes.Equal(k.raw, raw) {
		return k.row
	}
	row := P(new(M))
	if proto.Unmarshal(raw, row) != nil {
		return nil
	}
	r.keep(key, known[P]{raw, row})
	return row
}

// keep forgets, when there are too many, those that were asked for longest ago, and what the row said before.
func (r *Rows[M, P]) keep(key string, k known[P]) {
	if _, again := r.young[key]; !again && len(r.young) >= r.Limit || r.young == nil {
		r.young, r.old = map[string]known[P]{}, r.young
	}
	r.young[key] = k
	delete(r.old, key)
}
