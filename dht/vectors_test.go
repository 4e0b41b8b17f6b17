//go:build !standin

package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

const vectorFile = "../docs/vectors/records.json"

// vectors are the records of one person, all bytes in hex, as docs/vectors/model/records.mjs writes them. Times are unix
// seconds. What a record is made of stands beside it, so that another implementation can build it from the document alone.
type vectors struct {
	About      string            `json:"about"`
	Seeds      map[string]string `json:"seeds"`
	IssuedUnix int64             `json:"issued_unix"`
	EndUnix    int64             `json:"not_after_unix"`
	LeaseUnix  int64             `json:"lease_end_unix"`
	Inputs     map[string]uint64 `json:"inputs"`
	Address    string            `json:"address"`
	Bundle     string            `json:"bundle"`
	Values     []valueVector     `json:"values"`
	Refused    []refusedVector   `json:"refused"`
}

type valueVector struct {
	What  string `json:"what"`
	Bytes string `json:"bytes"`
}

type refusedVector struct {
	What   string `json:"what"`
	Rule   string `json:"rule"`
	Record string `json:"record"`
}

// value is the value of that name.
func (v vectors) value(what string) string {
	for _, x := range v.Values {
		if x.What == what {
			return x.Bytes
		}
	}
	return ""
}

// madeElsewhere are the parts of the file that this package does not make.
var madeElsewhere = cmp.Options{
	cmpopts.IgnoreFields(vectors{}, "About", "Refused"),
	cmpopts.IgnoreMapEntries(func(k, _ string) bool { return k == "record secret" }),
	cmpopts.IgnoreSliceElements(func(x valueVector) bool { return x.What == "record key of the epoch" }),
}

func makeVectors(tb testing.TB) vectors {
	p := person(tb)
	set := p.Set(tb, dht.EpochAt(now), 7, 0)
	a := advert(tb)
	core, err := dht.SignSetCore(p.Box, set.Core())
	if err != nil {
		tb.Fatal(err)
	}
	box, userID, device := set.BoxID(), p.Account.User(), p.Keys.ID()
	hash, lease := set.Core().Hash(), set.Leases()[0]
	return vectors{
		Seeds: map[string]string{
			"device signing key": text(p.Keys.Sign.Seed()), "box key": text(p.Box.Seed()), "record key": text(p.RecordKey[:]),
			"relay 0": text(p.Relays[0].Seed()), "relay 1": text(p.Relays[1].Seed()), "relay 2": text(p.Relays[2].Seed()),
			"device host": text(dhttest.Seed("device")), "user id": text(userID[:]), "family": text(a.Family[:]),
		},
		IssuedUnix: set.Issued().Unix(), EndUnix: set.NotAfter().Unix(), LeaseUnix: lease.End.Unix(),
		Inputs: map[string]uint64{
			"set epoch": uint64(set.Epoch()), "set number": 7, "R": 3, "W": 2, "S": 2, "front door number": 1,
			"device record number": 4, "head epoch": 1, "head seq": 1, "advert number": a.Number,
			"max envelope": uint64(a.MaxEnvelope), "box bytes": a.BoxBytes, "box count": uint64(a.BoxCount), "retention": uint64(a.RetentionDays),
			"work bits": uint64(a.WorkBits), "advert not after": uint64(a.NotAfter.Unix()), "leaving at": uint64(a.LeavingAt.Unix()),
		},
		Address: text(p.Peer("device", 0).Addrs[0]),
		Bundle:  text(p.Bundle.Bytes()),
		Values: []valueVector{
			{"directory key of a user", text([]byte(dht.UserKey(userID)))},
			{"directory key of a device", text([]byte(dht.DeviceKey(device)))},
			{"directory key of a mailbox", text([]byte(dht.MailboxKey(box)))},
			{"mailbox id", text(box[:])},
			{"device id", text(device[:])},
			{"peer id", text(dht.PeerFromKey(publicKey(p.Relays[0])))},
			{"set core", text(set.Core().Bytes())},
			{"hash of the set core", text(hash[:])},
			{"signed set core", text(core)},
			{"signature of lease 0", text(lease.Sig[:])},
			{"set", text(set.Bytes())},
			{"sealed set", text(seal(tb, p, set))},
			{"device record", text(p.Record(tb, 4, 0))},
			{"advert", text(a.Bytes())},
		},
	}
}

func text(b []byte) string { return hex.EncodeToString(b) }

func publicKey(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func TestVectorsAreWhatTheCodeMakes(t *testing.T) {
	if diff := cmp.Diff(readVectors(t), makeVectors(t), madeElsewhere); diff != "" {
		t.Errorf("the model and the code disagree (-model +code):\n%s", diff)
	}
}

func TestVectorsParseAndVerify(t *testing.T) {
	v := readVectors(t)
	raw := func(hexed string) []byte {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for key, record := range map[string]string{"device": "device record", "mailbox": "sealed set"} {
		if err := dht.Validate(string(raw(v.value("directory key of a "+key))), raw(v.value(record)), now); err != nil {
			t.Errorf("%s: %v", record, err)
		}
	}
	set, err := dht.OpenSet([32]byte(raw(v.Seeds["record key"])), raw(v.value("sealed set")))
	if err != nil || !bytes.Equal(set.Bytes(), raw(v.value("set"))) {
		t.Errorf("sealed set: %v", err)
	}
	if _, err := dht.ParseAdvert(raw(v.value("advert"))); err != nil {
		t.Errorf("advert: %v", err)
	}
	if _, err := identity.ParseBundle(raw(v.Bundle)); err != nil {
		t.Errorf("bundle: %v", err)
	}
}

func TestVectorsAreRefused(t *testing.T) {
	v := readVectors(t)
	raw := func(hexed string) []byte {
		b, err := hex.DecodeString(hexed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	parsers := map[string]func([]byte) error{
		"set":           func(b []byte) error { _, err := dht.ParseSetRecord(b); return err },
		"sealed set":    func(b []byte) error { _, err := dht.OpenSet([32]byte(raw(v.Seeds["record key"])), b); return err },
		"device record": func(b []byte) error { _, err := dht.ParseDeviceRecord(b); return err },
		"advert":        func(b []byte) error { _, err := dht.ParseAdvert(b); return err },
	}
	for what, parse := range parsers {
		if err := parse(raw(v.value(what))); err != nil {
			t.Errorf("control: %s: %v", what, err)
		}
	}
	if len(v.Refused) == 0 {
		t.Error("nothing to refuse")
	}
	for _, c := range v.Refused {
		if parsers[c.What](raw(c.Record)) == nil {
			t.Errorf("%s is taken, against the rule: %s", c.What, c.Rule)
		}
	}
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	var v vectors
	vectortest.Read(tb, vectorFile, &v)
	return v
}
