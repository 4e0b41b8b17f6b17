package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

var update = flag.Bool("update", false, "rewrite docs/vectors/records.json")

const vectorFile = "../docs/vectors/records.json"

// vectors are the records of one person, all bytes in hex. Times are unix
// seconds. What a record is made of stands beside it, so that another
// implementation can build it from the document alone.
type vectors struct {
	About      string            `json:"about"`
	Seeds      map[string]string `json:"seeds"`
	IssuedUnix int64             `json:"issued_unix"`
	EndUnix    int64             `json:"not_after_unix"`
	LeaseUnix  int64             `json:"lease_end_unix"`
	Inputs     map[string]uint64 `json:"inputs"`
	Address    string            `json:"address"`
	Bundle     string            `json:"bundle"`
	Keys       map[string]string `json:"directory_keys"`
	Records    map[string]string `json:"records"`
	Hashes     map[string]string `json:"hashes"`
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
		About: "Records of package dht, docs/protocol.md. Ed25519 keys are given by their 32-byte seeds. Rewrite with: go test ./dht -run Vectors -update",
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
		Keys: map[string]string{
			"user": text([]byte(dht.UserKey(userID))), "device": text([]byte(dht.DeviceKey(device))), "mailbox": text([]byte(dht.MailboxKey(box))),
		},
		Records: map[string]string{
			"set core": text(set.Core().Bytes()), "signed set core": text(core), "lease 0 signature": text(lease.Sig[:]),
			"set": text(set.Bytes()), "sealed set": text(seal(tb, p, set)),
			"device record": text(p.Record(tb, 4, 0)), "advert": text(a.Bytes()), "peer": text(dht.PeerFromKey(publicKey(p.Relays[0]))),
		},
		Hashes: map[string]string{"set core": text(hash[:]), "mailbox id": text(box[:]), "user id": text(userID[:]), "device id": text(device[:])},
	}
}

func text(b []byte) string { return hex.EncodeToString(b) }

func publicKey(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func TestVectorsAreWhatTheCodeMakes(t *testing.T) {
	got := makeVectors(t)
	if *update {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(readVectors(t), got); diff != "" {
		t.Error(diff)
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
		if err := dht.Validate(string(raw(v.Keys[key])), raw(v.Records[record]), now); err != nil {
			t.Errorf("%s: %v", record, err)
		}
	}
	set, err := dht.OpenSet([32]byte(raw(v.Seeds["record key"])), raw(v.Records["sealed set"]))
	if err != nil || !bytes.Equal(set.Bytes(), raw(v.Records["set"])) {
		t.Errorf("sealed set: %v", err)
	}
	if _, err := dht.ParseAdvert(raw(v.Records["advert"])); err != nil {
		t.Errorf("advert: %v", err)
	}
	if _, err := identity.ParseBundle(raw(v.Bundle)); err != nil {
		t.Errorf("bundle: %v", err)
	}
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		tb.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}
