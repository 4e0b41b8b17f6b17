package store

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht/memo"
)

// Row reads a protobuf row; a row that does not parse counts as absent.
func Row(tx Tx, b Bucket, key []byte, m proto.Message) bool {
	raw, row := look(tx, b, key)
	if row != nil {
		proto.Reset(m)
		proto.Merge(m, row)
		return true
	}
	return raw != nil && proto.Unmarshal(raw, m) == nil
}

// peeker is a transaction in memory, which can show its values themselves instead of copies, because decoding copies them, and
// can take one that nobody else has. Where it holds rows, it takes what Rows writes as it is, instead of a value: nobody may
// change that either.
type peeker interface {
	holds() bool // rows
	peek(b Bucket, key []byte) (value []byte, row proto.Message)
	own(b Bucket, key, value []byte, row proto.Message)
	walk(b Bucket, from []byte, fn func(key, value []byte, row proto.Message) bool)
}

// look is a value, or what is held instead, which nobody may change; both nil: there is none.
func look(tx Tx, b Bucket, key []byte) ([]byte, proto.Message) {
	if p, ok := tx.(peeker); ok {
		return p.peek(b, key)
	}
	return tx.Get(b, key), nil
}

// Shown is a value that nobody may change; nil: there is none.
func Shown(tx Tx, b Bucket, key []byte) []byte {
	raw, row := look(tx, b, key)
	if row != nil {
		return encode(row)
	}
	return raw
}

// each shows the rows of a bucket, which nobody may change.
func each(tx Tx, b Bucket, fn func(key, value []byte, row proto.Message) bool) {
	if p, ok := tx.(peeker); ok {
		p.walk(b, nil, fn)
		return
	}
	tx.Scan(b, nil, func(key, value []byte) bool { return fn(key, value, nil) })
}

// PutRow writes a protobuf row, the same bytes for the same values.
func PutRow(tx Tx, b Bucket, key []byte, m proto.Message) { putRow(tx, b, key, m) }

// putRow returns what it wrote, which nobody may change.
func putRow(tx Tx, b Bucket, key []byte, m proto.Message) []byte {
	raw := encode(m)
	if p, ok := tx.(peeker); ok {
		p.own(b, key, raw, nil)
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
	raw := Shown(tx, BucketMeta, []byte("n/"+name))
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
type Parsed[T memo.Record] struct {
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
