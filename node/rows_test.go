package node

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// filled is a row with something in every field that a row of this build can have, and in one of a later build.
func filled() *pb.PeerDevice {
	d := &pb.PeerDevice{Device: make([]byte, 32), Endpoint: &pb.Endpoint{Id: []byte{1}}}
	m := d.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		switch f := m.Descriptor().Fields().Get(i); {
		case f.IsList() && f.Message() != nil:
			m.Mutable(f).List().AppendMutable()
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfBytes([]byte{2}))
		case m.Has(f) || f.Message() != nil:
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes([]byte{3}))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("x"))
		case f.Kind() == protoreflect.Uint64Kind:
			m.Set(f, protoreflect.ValueOfUint64(4))
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(5))
		case f.Kind() == protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(6))
		}
	}
	m.SetUnknown([]byte{0xf8, 0x7f, 1}) // field 2047, a varint
	return d
}

// A row that a turn remembers is the one in the store, whole, and not the one that somebody who read it goes on to change.
func TestATurnsRowsAreThoseOfTheStore(t *testing.T) {
	want := filled()
	want.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if without := copyDevice(want); !proto.Equal(without, want) {
			t.Fatal("a copy is another row")
		} else if without.ProtoReflect().Clear(f); proto.Equal(without, want) {
			t.Errorf("control: a copy without %s is the same row", f.Name())
		}
		return true
	})
	e, s := &Engine{}, store.NewMemory()
	id := identity.DeviceID(want.Device)
	stored := func(tx store.Tx) *pb.PeerDevice {
		d := &pb.PeerDevice{}
		store.Row(tx, store.BucketDevices, id[:], d)
		return d
	}
	if err := s.Update(func(tx store.Tx) error {
		turn := &Turn{Tx: tx}
		if e.peerDevice(turn, id) != nil {
			t.Error("a row that is not there")
		}
		e.saveDevice(turn, filled())
		for range 2 {
			d := e.peerDevice(turn, id)
			d.Sets, d.Sessions, d.Name, d.Endpoint = append(d.Sets, []byte{7}), d.Sessions[1:], "y", nil
		}
		if got := e.peerDevice(turn, id); !proto.Equal(got, want) || !proto.Equal(stored(tx), want) {
			t.Errorf("%v, want %v", got, want)
		}
		one, two := e.peerDevice(turn, id), e.peerDevice(turn, id)
		one.Sets = append(one.Sets, []byte{8})
		e.saveDevice(turn, one)
		two.Sets = append(two.Sets, []byte{9})
		one.Name = "not saved"
		if got := e.peerDevice(turn, id); !proto.Equal(got, stored(tx)) || len(got.Sets) != 2 || got.Sets[1][0] != 8 {
			t.Errorf("after a change: %v", got)
		}
		e.forgetDevice(turn, identity.UserID(append(want.User, make([]byte, 31)...)), id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
