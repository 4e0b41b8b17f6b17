package link_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/link"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) key() (k [32]byte) {
	copy(k[:], h)
	return k
}

func (h hexBytes) secret() [link.SecretSize]byte { return [link.SecretSize]byte(h) }

// vectors is the file that docs/vectors/model/links.mjs writes.
type vectors struct {
	Links   []linkVector `json:"links"`
	Refused []struct {
		Rule string `json:"rule"`
		Link string `json:"link"`
	} `json:"refused"`
	Proofs []struct {
		Secret  hexBytes `json:"secret"`
		Inviter hexBytes `json:"inviter"`
		Joiner  hexBytes `json:"joiner"`
		Device  hexBytes `json:"device"`
		Join    hexBytes `json:"join"`
		Welcome hexBytes `json:"welcome"`
	} `json:"proofs"`
	Pairings []pairingVector `json:"pairings"`
}

type linkVector struct {
	Kind    link.Kind `json:"kind"`
	Expires int64     `json:"expires_hours"`
	User    hexBytes  `json:"user"`
	Secret  hexBytes  `json:"secret"`
	Peers   []struct {
		Host      hexBytes   `json:"host_key"`
		Addresses []hexBytes `json:"addresses"`
	} `json:"peers"`
	Short string   `json:"short"`
	Text  string   `json:"text"`
	ID    hexBytes `json:"link_id"`
}

type pairingVector struct {
	Secret   hexBytes `json:"secret"`
	Seed     hexBytes `json:"seed"`
	SigPub   hexBytes `json:"sig_pub"`
	IKPub    hexBytes `json:"ik_pub"`
	Name     string   `json:"name"`
	Snapshot hexBytes `json:"snapshot"`
	Record   hexBytes `json:"record"`
	List     hexBytes `json:"list"`
	Hello    hexBytes `json:"hello"`
	Welcome  hexBytes `json:"welcome"`
	Recorded hexBytes `json:"record_frame"`
	Listed   hexBytes `json:"listed_frame"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/vectors/links.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if min(len(v.Links), len(v.Refused), len(v.Proofs), len(v.Pairings)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	return v
}

func TestVectorsOfLinks(t *testing.T) {
	v := readVectors(t)
	for i, c := range v.Links {
		short, err1 := link.Parse(c.Short)
		whole, err2 := link.Parse(c.Text)
		if err1 != nil || err2 != nil || short.Short() != c.Short || whole.Text() != c.Text {
			t.Fatalf("link %d: %v %v: %s", i, err1, err2, whole.Text())
		}
		id := whole.ID()
		if whole.Kind != c.Kind || whole.Expires.Unix() != c.Expires*3600 || !bytes.Equal(whole.User[:], c.User) || whole.Secret != c.Secret.secret() || !bytes.Equal(id[:], c.ID) {
			t.Errorf("link %d says %+v", i, whole)
		}
		for j, p := range c.Peers {
			if got := whole.Peers[j]; !bytes.Equal(got.ID, dht.PeerFromKey(ed25519.PublicKey(p.Host))) || len(got.Addrs) != len(p.Addresses) {
				t.Errorf("link %d names %+v", i, got)
			}
		}
	}
	for _, c := range v.Refused {
		if _, err := link.Parse(c.Link); err == nil {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
	for i, c := range v.Proofs {
		join := link.JoinProof(c.Secret.secret(), c.Inviter.key(), c.Joiner.key(), c.Device.key())
		welcome := link.WelcomeProof(c.Secret.secret(), c.Inviter.key(), c.Joiner.key(), c.Device.key())
		if !bytes.Equal(join, c.Join) || !bytes.Equal(welcome, c.Welcome) {
			t.Errorf("proofs %d: the code says %x and %x", i, join, welcome)
		}
	}
}

func TestVectorsOfPairing(t *testing.T) {
	for i, c := range readVectors(t).Pairings {
		p, err := link.NewPairing(bytes.NewReader(c.Seed), c.Secret.secret(), c.SigPub.key(), c.IKPub.key(), c.Name)
		if err != nil || !bytes.Equal(p.Hello(), c.Hello) {
			t.Fatalf("pairing %d: another hello: %v", i, err)
		}
		if got, err := p.OpenSnapshot(c.Welcome); err != nil || !bytes.Equal(got, c.Snapshot) {
			t.Errorf("pairing %d: the welcome does not open: %v", i, err)
		}
		old, err := link.Answer(c.Secret.secret(), c.Hello)
		if err != nil || !bytes.Equal(p.SealRecord(c.Record), c.Recorded) || !bytes.Equal(old.SealListed(c.List), c.Listed) {
			t.Errorf("pairing %d: other frames: %v", i, err)
		}
		for _, frame := range [][]byte{c.Welcome, c.Recorded, c.Listed} {
			bad := slices.Clone(frame)
			bad[len(bad)-1] ^= 1
			_, err1 := p.OpenSnapshot(bad)
			_, err2 := old.OpenRecord(bad)
			if _, err3 := p.OpenListed(bad); err1 == nil || err2 == nil || err3 == nil {
				t.Errorf("pairing %d: an altered frame is taken", i)
			}
		}
	}
}
