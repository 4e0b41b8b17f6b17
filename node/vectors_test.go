package node

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/pb"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

// TestVectorsOfDerivedKeys holds what a device makes of its secrets against docs/vectors/model/mailbox.mjs.
func TestVectorsOfDerivedKeys(t *testing.T) {
	var v struct {
		Boxes []struct {
			Mailbox   hexBytes `json:"mailbox_secret"`
			Record    hexBytes `json:"record_secret"`
			Epoch     uint32   `json:"epoch"`
			BoxSeed   hexBytes `json:"box_seed"`
			ID        hexBytes `json:"mailbox_id"`
			RecordKey hexBytes `json:"record_key"`
		} `json:"boxes"`
		Secrets []struct {
			Mailbox  hexBytes `json:"mailbox_secret"`
			Device   hexBytes `json:"device_key"`
			Election hexBytes `json:"election_seed"`
			Pass     hexBytes `json:"pass_secret"`
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
			Key     hexBytes `json:"key"`
			Device  hexBytes `json:"device_id"`
			Mailbox hexBytes `json:"mailbox_id"`
			Peer    hexBytes `json:"peer_id"`
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
