package node

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// A row that a turn remembers is the one in the store, whole, and not the one that somebody who read it goes on to change.
func TestATurnsRowsAreThoseOfTheStore(t *testing.T) {
	want := &pb.PeerDevice{Device: make([]byte, 32), User: []byte{3}, Sessions: [][]byte{{2}}, Sets: [][]byte{{2}}, Name: "x", Endpoint: &pb.Endpoint{Id: []byte{1}}}
	e, s := &Engine{rows: newRows()}, store.NewMemory()
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
		e.saveDevice(turn, proto.CloneOf(want))
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

// Of a contact that was forgotten nothing stays in memory.
func TestAForgottenContactIsNotRemembered(t *testing.T) {
	c := &pb.Contact{User: make([]byte, 32), Note: "we met", JoinSecret: []byte{1}}
	e := &Engine{rows: newRows()}
	if err := store.NewMemory().Update(func(tx store.Tx) error {
		turn := &Turn{Tx: tx}
		u := identity.UserID(c.User)
		store.PutRow(tx, store.BucketContacts, contactKey(u), c)
		seen := e.seenContact(turn, u)
		store.PutRow(tx, store.BucketContacts, contactKey(u), c)
		if e.seenContact(turn, u) != seen {
			t.Error("control: it is not remembered")
		}
		e.forgetContact(turn, c)
		store.PutRow(tx, store.BucketContacts, contactKey(u), c)
		if e.seenContact(turn, u) == seen {
			t.Error("it is remembered")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
