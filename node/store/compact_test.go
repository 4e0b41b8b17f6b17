package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/pb"
)

// The store for many devices is the reference model: whatever is written, read and taken back, by whichever way.
func TestTheCompactStoreIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model, s := NewMemory(), NewCompact()
		inModel, rows := remembers(4), remembers(4)
		key := rapid.Custom(func(t *rapid.T) []byte {
			if rapid.Bool().Draw(t, "rises") {
				return U64(rapid.Uint64Range(0, 400).Draw(t, "n"))
			}
			return rapid.SliceOfN(rapid.ByteRange('a', 'e'), 0, 5).Draw(t, "key")
		})
		for range rapid.IntRange(1, 30).Draw(t, "turns") {
			fails := error(nil)
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				fails = errFails
			}
			var ops []func(tx Tx, rows *Rows[pb.Box, *pb.Box]) string
			for range rapid.IntRange(1, 40).Draw(t, "ops") {
				ops = append(ops, drawOp(t, key.Draw(t, "key")))
			}
			said := [2][]string{}
			for i, one := range []Store{model, s} {
				err := one.Update(func(tx Tx) error {
					for _, op := range ops {
						said[i] = append(said[i], op(tx, []*Rows[pb.Box, *pb.Box]{inModel, rows}[i]))
					}
					return fails
				})
				if !errors.Is(err, fails) {
					t.Fatal(err)
				}
			}
			if a, b := fmt.Sprint(said[0]), fmt.Sprint(said[1]); a != b {
				t.Fatalf("it says\n%s\nthe model\n%s", b, a)
			}
			if a, b := all(model), all(s); a != b {
				t.Fatalf("it has\n%s\nthe model\n%s", b, a)
			}
		}
	})
}

// drawOp is one thing that the engine does, and what comes of it.
func drawOp(t *rapid.T, key []byte) func(Tx, *Rows[pb.Box, *pb.Box]) string {
	size := rapid.SampledFrom([]int{0, 1, 16, smallSize, smallSize + 1, 1000}).Draw(t, "size")
	value := bytes.Repeat([]byte{rapid.Byte().Draw(t, "value")}, size)
	box := &pb.Box{Epoch: uint32(size), Set: value}
	switch rapid.IntRange(0, 7).Draw(t, "what") {
	case 0, 1:
		return func(tx Tx, _ *Rows[pb.Box, *pb.Box]) string { tx.Put(BucketBoxes, key, value); return "" }
	case 2:
		return func(tx Tx, _ *Rows[pb.Box, *pb.Box]) string { tx.Delete(BucketBoxes, key); return "" }
	case 3:
		return func(tx Tx, rows *Rows[pb.Box, *pb.Box]) string {
			rows.Put(tx, key, proto.Clone(box).(*pb.Box))
			return string(encode(rows.Get(tx, key)))
		}
	case 4:
		return func(tx Tx, _ *Rows[pb.Box, *pb.Box]) string {
			PutRow(tx, BucketBoxes, key, box)
			return fmt.Sprintf("%x", Shown(tx, BucketBoxes, key))
		}
	case 5:
		return func(tx Tx, rows *Rows[pb.Box, *pb.Box]) (out string) {
			rows.Each(tx, func(b *pb.Box) bool { out += fmt.Sprint(b.Epoch, " "); return true })
			return out
		}
	case 6: // what is walked over may go, and come
		return func(tx Tx, _ *Rows[pb.Box, *pb.Box]) (out string) {
			each(tx, BucketBoxes, func(k, value []byte, row proto.Message) bool {
				out += fmt.Sprintf("%x ", k)
				if len(k) > 0 && k[len(k)-1]%3 == 0 {
					tx.Delete(BucketBoxes, k)
				} else if len(k) == 2 {
					tx.Put(BucketBoxes, append(bytes.Clone(k), 'a'), copied(value, row))
				}
				return len(out) < 2000
			})
			return out
		}
	default:
		return func(tx Tx, _ *Rows[pb.Box, *pb.Box]) (out string) {
			k, v := tx.Last(BucketBoxes)
			b := &pb.Box{}
			out = fmt.Sprintf("%x %x %x %t ", tx.Get(BucketBoxes, key), k, v, Row(tx, BucketBoxes, key, b))
			tx.Scan(BucketBoxes, key, func(k, v []byte) bool { out += fmt.Sprintf("%x=%d ", k, len(v)); return len(out) < 500 })
			return out
		}
	}
}

func all(s Store) (out string) {
	_ = s.View(func(tx Tx) error {
		tx.Scan(BucketBoxes, nil, func(k, v []byte) bool { out += fmt.Sprintf("%x=%x\n", k, v); return true })
		tx.Put(BucketBoxes, []byte("view"), []byte("leaves nothing"))
		return nil
	})
	return out
}

// What was shown stays as it was, whatever happens to its row and to those beside it.
func TestWhatACompactStoreShowsStays(t *testing.T) {
	s := NewCompact()
	type shown struct{ raw, was []byte }
	var seen []shown
	for round := range uint32(50) {
		if err := s.Update(func(tx Tx) error {
			for i := range uint32(200) {
				switch k := U32(i * 7919 % 200); (i + round) % 5 {
				case 0:
					tx.Delete(BucketSeen, k)
				default:
					tx.Put(BucketSeen, k, binary.BigEndian.AppendUint64(nil, uint64(round)<<32|uint64(i)))
					raw := Shown(tx, BucketSeen, k)
					seen = append(seen, shown{raw, bytes.Clone(raw)})
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range seen {
		if !bytes.Equal(x.raw, x.was) {
			t.Fatalf("%x was %x", x.raw, x.was)
		}
	}
}

// Rows take little more than their bytes, in whichever order they come and go.
func TestACompactStoreIsCompact(t *testing.T) {
	fill := func(s Store) {
		if err := s.Update(func(tx Tx) error {
			for i := range uint32(20_000) {
				tx.Put(BucketSeen, U32(i*2654435761), bytes.Repeat([]byte{1}, 60))
				if i >= 4000 {
					tx.Delete(BucketSeen, U32((i-4000)*2654435761))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	c := &compact{}
	fill(c)
	n, used := 0, 0
	for _, p := range c.tables[BucketSeen].all {
		n += len(p.at)
		used += 4*cap(p.at) + cap(p.data) + 100
	}
	if n != 4000 || used > n*(64+4+4)*3/2 {
		t.Errorf("%d rows of 64 bytes take %d", n, used)
	}
}
