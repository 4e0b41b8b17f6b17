//go:build !standin

package node

import (
	"crypto/ed25519"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/pb"
)

func readVectors(t *testing.T, name string, v any) {
	t.Helper()
	vectortest.Read(t, name, v)
}

// TestVectorsOfDerivedKeys holds what a device makes of its secrets against docs/vectors/model/mailbox.mjs.
func TestVectorsOfDerivedKeys(t *testing.T) {
	var v struct {
		Boxes []struct {
			Mailbox   vectortest.Hex `json:"mailbox_secret"`
			Record    vectortest.Hex `json:"record_secret"`
			Epoch     uint32         `json:"epoch"`
			BoxSeed   vectortest.Hex `json:"box_seed"`
			ID        vectortest.Hex `json:"mailbox_id"`
			RecordKey vectortest.Hex `json:"record_key"`
		} `json:"boxes"`
		Secrets []struct {
			Mailbox  vectortest.Hex `json:"mailbox_secret"`
			Device   vectortest.Hex `json:"device_key"`
			Election vectortest.Hex `json:"election_seed"`
			Pass     vectortest.Hex `json:"pass_secret"`
		} `json:"secrets"`
	}
	readVectors(t, "../docs/vectors/mailbox.json", &v)
	if min(len(v.Boxes), len(v.Secrets)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for _, c := range v.Boxes {
		e := &Engine{self: &pb.Self{MailboxSecret: c.Mailbox}, boxKeys: map[uint32]ed25519.PrivateKey{}}
		key := e.boxKey(c.Epoch)
		if id := mailbox.IDOf(key.Public().(ed25519.PublicKey)); string(key.Seed()) != string(c.BoxSeed) || string(id[:]) != string(c.ID) {
			t.Errorf("box of epoch %d: the code says %x", c.Epoch, key.Seed())
		}
		if got := recordKey(c.Record, c.Epoch); string(got[:]) != string(c.RecordKey) {
			t.Errorf("record key of epoch %d: the code says %x", c.Epoch, got)
		}
	}
	for _, c := range v.Secrets {
		id := identity.DeviceOf([32]byte(c.Device))
		election, pass := derive(c.Mailbox, labelSeed), derive(c.Mailbox, labelPass+string(id[:]))
		if string(election) != string(c.Election) || string(pass) != string(c.Pass) {
			t.Errorf("the code says %x and %x", election, pass)
		}
	}
}

// TestVectorsOfNames holds names made by hashing against docs/vectors/model/content.mjs.
func TestVectorsOfNames(t *testing.T) {
	var v struct {
		Names []struct {
			Key     vectortest.Hex `json:"key"`
			Device  vectortest.Hex `json:"device_id"`
			Mailbox vectortest.Hex `json:"mailbox_id"`
			Peer    vectortest.Hex `json:"peer_id"`
		} `json:"names"`
	}
	readVectors(t, "../docs/vectors/content.json", &v)
	if len(v.Names) == 0 {
		t.Fatal("no names")
	}
	for _, c := range v.Names {
		device, box := identity.DeviceOf([32]byte(c.Key)), mailbox.IDOf(ed25519.PublicKey(c.Key))
		if string(device[:]) != string(c.Device) || string(box[:]) != string(c.Mailbox) || string(dht.PeerFromKey(ed25519.PublicKey(c.Key))) != string(c.Peer) {
			t.Errorf("names of %x: the code says %s, %s", c.Key, device, box)
		}
	}
}
