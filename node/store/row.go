package store

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht/memo"
)

// Row reads a protobuf row; a row that does not parse counts as absent.
func Row(tx Tx, b Bucket, key []byte, m proto.Message) bool {
	if row := held(tx, b, key); row != nil {
		proto.Reset(m)
		proto.Merge(m, row)
		return true
	}
	raw := shown(tx, b, key)
	return raw != nil && proto.Unmarshal(raw, m) == nil
}

// The store in memory shows its values themselves instead of copies, because decoding copies them, takes some that nobody else has, and may hold
// rows as they are.

// Shown is a value that nobody may change, and that is read before anything else happens; nil: there is none.
func Shown(tx Tx, b Bucket, key []byte) []byte { return shown(tx, b, key) }

func shown(tx Tx, b Bucket, key []byte) []byte {
	if t, ok := tx.(*memoryTx); ok {
		return t.peek(b, key)
	}
	return tx.Get(b, key)
}

// held is a row that is held as it is; nil: it is not.
func held(tx Tx, b Bucket, key []byte) proto.Message {
	if t, ok := tx.(*memoryTx); ok {
		return t.m.tables[b].held[string(key)]
	}
	return nil
}

// each shows the rows of a bucket, which nobody may change: one that is held as it is, or its bytes.
func each(tx Tx, b Bucket, fn func(key string, row proto.Message, value []byte) bool) {
	if t, ok := tx.(*memoryTx); ok {
		table := &t.m.tables[b]
		t.walk(b, nil, func(r *memoryRow) bool {
			if r.value == nil {
				return fn(r.key, table.held[r.key], nil)
			}
			return fn(r.key, nil, r.value)
		})
		return
	}
	tx.Scan(b, nil, func(key, value []byte) bool { return fn(string(key), nil, value) })
}

// PutRow writes a protobuf row, the same bytes for the same values.
func PutRow(tx Tx, b Bucket, key []byte, m proto.Message) { putRow(tx, b, key, m) }

// putRow returns what it wrote, which nobody may change.
func putRow(tx Tx, b Bucket, key []byte, m proto.Message) []byte {
	raw := encode(m)
	if t, ok := tx.(*memoryTx); ok {
		t.set(b, key, raw, nil)
	} else {
		tx.Put(b, key, raw)
	}
	return raw
}

// encode is not nil.
func encode(m proto.Message) []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic("store: a row of ours does not encode: " + err.Error())
	}
	return raw
}

// U64 makes a key, or a part of one, whose order is that of the numbers.
func U64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// U32 does so for smaller numbers.
func U32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// Counter reads one of the numbers that change with every message, each in a row of its own.
func Counter(tx Tx, name string) uint64 {
	raw := shown(tx, BucketMeta, []byte("n/"+name))
	if len(raw) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(raw)
}

// SetCounter writes one.
func SetCounter(tx Tx, name string, v uint64) { tx.Put(BucketMeta, []byte("n/"+name), U64(v)) }

// NextCounter adds one, and returns it.
func NextCounter(tx Tx, name string) uint64 {
	v := Counter(tx, name) + 1
	SetCounter(tx, name, v)
	return v
}

// maxParsed is how many records of one kind Parsed has in memory at most.
const maxParsed = 1024

// Parsed remembers what was parsed and verified, by its bytes: a stored record is verified once, not at every use.
type Parsed[T memo.Parsed] struct {
	Parse func([]byte) (T, error)

	young, old map[memo.Tail]T // old: what was not asked for since young began
}

// Get is what the bytes say.
func (p *Parsed[T]) Get(raw []byte) (T, error) {
	tail := memo.TailOf(raw)
	v, ok := p.young[tail]
	if ok && v.Is(raw) {
		return v, nil
	}
	if v, ok = p.old[tail]; !ok || !v.Is(raw) {
		var err error
		if v, err = p.Parse(raw); err != nil {
			return v, err
		}
	}
	if p.young == nil || len(p.young) >= maxParsed/2 {
		p.Age()
	}
	p.young[tail] = v
	return v, nil
}

// Age forgets what was not asked for since it was last called, and before that.
func (p *Parsed[T]) Age() { p.young, p.old = map[memo.Tail]T{}, p.young }
