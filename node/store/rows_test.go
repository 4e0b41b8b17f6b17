package store

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kith-im/kith/node/pb"
)

var errFails = errors.New("the disk is full")

func remembers(n int) *Rows[pb.Box, *pb.Box] {
	return &Rows[pb.Box, *pb.Box]{Bucket: BucketBoxes, Limit: n}
}

// What a turn that failed wrote is not shown, nor is what somebody else wrote missed, in a store that shows its values as
// in one that copies them, and in one that holds rows.
func TestRememberedRowsAreThoseOfTheTransaction(t *testing.T) {
	for name, s := range map[string]Store{"shown": NewMemory(), "copied": NewMemory(), "held": NewCompact()} {
		rows := remembers(8)
		turn := func(fails error, fn func(Tx)) {
			if err := s.Update(func(tx Tx) error {
				if name == "copied" {
					tx = struct{ Tx }{tx}
				}
				fn(tx)
				return fails
			}); !errors.Is(err, fails) {
				t.Fatal(err)
			}
		}
		is := func(tx Tx, want *pb.Box) {
			t.Helper()
			if got := rows.Get(tx, U32(1)); (got == nil) != (want == nil) || got != nil && !proto.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
			if b := (&pb.Box{}); Row(tx, BucketBoxes, U32(1), b) != (want != nil) || want != nil && !proto.Equal(b, want) {
				t.Errorf("%s: reads %v, want %v", name, b, want)
			}
			tx.Scan(BucketBoxes, nil, func(key, raw []byte) bool {
				if want != nil && (string(key) != string(U32(1)) || string(raw) != string(encode(want)) || string(tx.Get(BucketBoxes, key)) != string(raw)) {
					t.Errorf("%s: %x is %x, want %v", name, key, raw, want)
				}
				return true
			})
			rows.Each(tx, func(got *pb.Box) bool {
				if want == nil || !proto.Equal(got, want) {
					t.Errorf("%s: shows %v, want %v", name, got, want)
				}
				return true
			})
		}
		one, two, three := &pb.Box{Epoch: 1}, &pb.Box{Epoch: 1, Until: 2}, &pb.Box{Epoch: 1, Until: 3}
		turn(errFails, func(tx Tx) { rows.Put(tx, U32(1), one); is(tx, one) })
		turn(nil, func(tx Tx) { is(tx, nil); rows.Put(tx, U32(1), one) })
		turn(errFails, func(tx Tx) { is(tx, one); rows.Put(tx, U32(1), two); is(tx, two) })
		if k := rows.young[string(U32(1))]; k.row != two && name != "held" {
			t.Errorf("%s: control: what failed is remembered", name)
		}
		turn(errFails, func(tx Tx) { is(tx, one); rows.Delete(tx, U32(1)); is(tx, nil) })
		turn(errFails, func(tx Tx) {
			is(tx, one)
			PutRow(tx, BucketBoxes, U32(1), three)
			is(tx, three)
			rows.Put(tx, U32(1), two)
			is(tx, two)
		})
		turn(nil, func(tx Tx) { is(tx, one); PutRow(tx, BucketBoxes, U32(1), three); is(tx, three) })
		turn(nil, func(tx Tx) { tx.Put(BucketBoxes, U32(1), []byte{0xff}); is(tx, nil) })
	}
}

// What a row said before it was written anew, and a row that was deleted, is in memory no longer: rows hold secrets.
func TestNothingOfARowThatChangedIsRemembered(t *testing.T) {
	s, rows := NewMemory(), remembers(2)
	remembered := func(key uint32) (n int) {
		for _, m := range []map[string]known[*pb.Box]{rows.young, rows.old} {
			if _, ok := m[string(U32(key))]; ok {
				n++
			}
		}
		return n
	}
	if err := s.Update(func(tx Tx) error {
		for _, again := range []func(){
			func() { rows.Put(tx, U32(1), &pb.Box{Epoch: 1, Until: 2}) },
			func() { PutRow(tx, BucketBoxes, U32(1), &pb.Box{Epoch: 1, Until: 3}); rows.Get(tx, U32(1)) },
		} {
			rows.Put(tx, U32(1), &pb.Box{Epoch: 1})
			for i := range uint32(2) { // until it is old
				rows.Put(tx, U32(2+i), &pb.Box{Epoch: 2 + i})
			}
			if _, ok := rows.old[string(U32(1))]; !ok {
				t.Error("control: it is not old")
			}
			if again(); remembered(1) != 1 {
				t.Errorf("%d of it are remembered", remembered(1))
			}
		}
		if rows.Delete(tx, U32(1)); remembered(1) != 0 {
			t.Error("a row that was deleted is remembered")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A row is decoded once as long as it stays as it is, also by whoever looks at all of them; how many are remembered is bounded.
func TestRowsAreDecodedOnceAndForgotten(t *testing.T) {
	s, rows := NewMemory(), remembers(4)
	if err := s.Update(func(tx Tx) error {
		for i := range uint32(100) {
			PutRow(tx, BucketBoxes, U32(i), &pb.Box{Epoch: i})
			first := rows.Get(tx, U32(i))
			rows.Get(tx, U32(0)) // asked for again and again, it stays
			if rows.Get(tx, U32(i)) != first {
				t.Fatal("decoded twice")
			}
			if n := len(rows.young) + len(rows.old); n > 2*rows.Limit {
				t.Fatalf("%d are remembered", n)
			}
		}
		zero, ten := rows.Get(tx, U32(0)), rows.Get(tx, U32(10))
		for i := range uint32(12) {
			rows.Get(tx, U32(50+i))
			rows.Get(tx, U32(0))
		}
		if rows.Get(tx, U32(0)) != zero || rows.Get(tx, U32(10)) == ten {
			t.Error("control: the wrong one is forgotten")
		}
		n := 0
		rows.Each(tx, func(b *pb.Box) bool { n++; return b.Epoch < 49 })
		if n != 50 {
			t.Errorf("%d are shown", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// fill puts something into every field of a row, and into one that only a later build knows.
func fill(m protoreflect.Message) {
	for i := range m.Descriptor().Fields().Len() {
		switch f := m.Descriptor().Fields().Get(i); {
		case f.IsList() && f.Message() != nil:
			fill(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfBytes([]byte{1}))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, map[protoreflect.Kind]protoreflect.Value{
				protoreflect.BytesKind: protoreflect.ValueOfBytes([]byte{2}), protoreflect.StringKind: protoreflect.ValueOfString("x"),
				protoreflect.Uint64Kind: protoreflect.ValueOfUint64(3), protoreflect.Uint32Kind: protoreflect.ValueOfUint32(4),
				protoreflect.Int64Kind: protoreflect.ValueOfInt64(5), protoreflect.BoolKind: protoreflect.ValueOfBool(true),
			}[f.Kind()])
		}
	}
	m.SetUnknown([]byte{0xf8, 0x7f, 1}) // field 2047, a varint
}

func copies[P proto.Message](t *testing.T, row P, copied func(P) P) {
	fill(row.ProtoReflect())
	row.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		c := copied(row)
		if !proto.Equal(c, row) {
			t.Fatalf("a copy is another row: %v", c)
		}
		if c.ProtoReflect().Clear(f); proto.Equal(c, row) {
			t.Errorf("control: a copy without %s is the same row", f.Name())
		}
		if c = copied(row); f.IsList() {
			next := copied(row)
			list := row.ProtoReflect().Get(f).List()
			c.ProtoReflect().Mutable(f).List().Append(list.NewElement())
			next.ProtoReflect().Mutable(f).List().Append(list.Get(0))
			if list.Len() != 1 || proto.Equal(c, row) || proto.Equal(c, next) || !proto.Equal(copied(row), row) {
				t.Errorf("to append to %s of a copy changes another", f.Name())
			}
		}
		return true
	})
}

// A copy is the whole row, and whoever changes one changes no other.
func TestCopiesAreWholeAndApart(t *testing.T) {
	copies(t, &pb.PeerDevice{}, CopyDevice)
	copies(t, &pb.Delivery{}, CopyDelivery)
	copies(t, &pb.Relay{}, CopyRelay)
	d, r := &pb.Delivery{Receipts: []*pb.Receipt{{}}, Voided: []*pb.Receipt{{}}}, &pb.Relay{Days: []*pb.Day{{}}}
	x, y := CopyDelivery(d), CopyRelay(r)
	x.Receipts[0].Asked, x.Voided[0].Buried, y.Days[0].Ok = 1, 1, 1
	if d.Receipts[0].Asked+d.Voided[0].Buried+int64(r.Days[0].Ok) != 0 {
		t.Error("to change a receipt or a day of a copy changes the row")
	}
}

// A scan that meets changes goes on after the row that it was at; a table is sorted from its first scan on.
func TestScansOfATableThatChanges(t *testing.T) {
	s := NewMemory()
	if err := s.Update(func(tx Tx) error {
		for _, k := range []string{"d", "b", "f"} {
			tx.Put(BucketMeta, []byte(k), []byte(k))
		}
		seen := ""
		tx.Scan(BucketMeta, nil, func(key, _ []byte) bool {
			if seen += string(key); string(key) == "b" {
				tx.Put(BucketMeta, []byte("a"), nil)
				tx.Put(BucketMeta, []byte("c"), nil)
				tx.Delete(BucketMeta, []byte("d"))
			}
			return true
		})
		if last, _ := tx.Last(BucketMeta); seen != "bcf" || string(last) != "f" {
			t.Errorf("saw %s, the last is %s", seen, last)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := func(keys string) {
		t.Helper()
		got := ""
		if err := s.View(func(tx Tx) error {
			tx.Scan(BucketMeta, nil, func(key, _ []byte) bool { got += string(key); return true })
			return nil
		}); err != nil || got != keys {
			t.Errorf("%s, want %s: %v", got, keys, err)
		}
	}
	want("abcf")
	if err := s.Update(func(tx Tx) error {
		tx.Put(BucketMeta, []byte("e"), nil)
		tx.Delete(BucketMeta, []byte("a"))
		tx.Put(BucketMeta, []byte("a"), []byte("anew"))
		tx.Delete(BucketMeta, []byte("f"))
		return errFails
	}); !errors.Is(err, errFails) {
		t.Fatal(err)
	}
	want("abcf")
}

// word is a record that says its bytes.
type word string

func (w word) Is(raw []byte) bool { return string(w) == string(raw) }

// What was parsed once is not parsed again as long as it is asked for, and goes when it is not.
func TestParsedRecordsAge(t *testing.T) {
	times := 0
	p := Parsed[word]{Parse: func(raw []byte) (word, error) {
		if times++; len(raw) == 0 {
			return "", errFails
		}
		return word(raw), nil
	}}
	get := func(b byte, want int) {
		t.Helper()
		if v, err := p.Get([]byte{b}); v != word([]byte{b}) || err != nil || times != want {
			t.Errorf("%q after parsing %d times, want %d: %v", v, times, want, err)
		}
	}
	get(1, 1)
	get(2, 2)
	for range 3 {
		get(1, 2)
		p.Age()
	}
	get(1, 2)
	get(2, 3) // control: nobody asked
	if _, err := p.Get(nil); !errors.Is(err, errFails) {
		t.Error(err)
	}
	for range 2 { // what ends alike is not the same
		for _, raw := range []string{"a, and sixteen bytes", "b, and sixteen bytes"} {
			if v, err := p.Get([]byte(raw)); string(v) != raw || err != nil {
				t.Errorf("%q says %q: %v", raw, v, err)
			}
		}
	}
	for i := range 3 * maxParsed {
		if _, err := p.Get(U32(uint32(i))); err != nil || len(p.young)+len(p.old) > maxParsed {
			t.Fatalf("%d are remembered: %v", len(p.young)+len(p.old), err)
		}
	}
}
