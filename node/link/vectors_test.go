package link_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/link"
)

// vectors is the file that docs/vectors/model/links.mjs writes.
type vectors struct {
	Links   []linkVector `json:"links"`
	Refused []struct {
		Rule string `json:"rule"`
		Link string `json:"link"`
	} `json:"refused"`
	Proofs []struct {
		Secret  vectortest.Hex `json:"secret"`
		Inviter vectortest.Hex `json:"inviter"`
		Joiner  vectortest.Hex `json:"joiner"`
		Device  vectortest.Hex `json:"device"`
		Join    vectortest.Hex `json:"join"`
		Welcome vectortest.Hex `json:"welcome"`
	} `json:"proofs"`
	Pairings []pairingVector `json:"pairings"`
}

type linkVector struct {
	Kind    link.Kind      `json:"kind"`
	Expires int64          `json:"expires_hours"`
	User    vectortest.Hex `json:"user"`
	Secret  vectortest.Hex `json:"secret"`
	Peers   []struct {
		Host      vectortest.Hex   `json:"host_key"`
		Addresses []vectortest.Hex `json:"addresses"`
	} `json:"peers"`
	Short string         `json:"short"`
	Text  string         `json:"text"`
	ID    vectortest.Hex `json:"link_id"`
}

type pairingVector struct {
	Secret   vectortest.Hex `json:"secret"`
	Seed     vectortest.Hex `json:"seed"`
	SigPub   vectortest.Hex `json:"sig_pub"`
	IKPub    vectortest.Hex `json:"ik_pub"`
	Name     string         `json:"name"`
	Snapshot vectortest.Hex `json:"snapshot"`
	Record   vectortest.Hex `json:"record"`
	List     vectortest.Hex `json:"list"`
	Hello    vectortest.Hex `json:"hello"`
	Welcome  vectortest.Hex `json:"welcome"`
	Recorded vectortest.Hex `json:"record_frame"`
	Listed   vectortest.Hex `json:"listed_frame"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	vectortest.Read(t, "../../docs/vectors/links.json", &v)
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
		if whole.Kind != c.Kind || whole.Expires.Unix() != c.Expires*3600 || !bytes.Equal(whole.User[:], c.User) || whole.Secret != [link.SecretSize]byte(c.Secret) || !bytes.Equal(id[:], c.ID) {
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
		join := link.JoinProof([link.SecretSize]byte(c.Secret), c.Inviter.Key(), c.Joiner.Key(), c.Device.Key())
		welcome := link.WelcomeProof([link.SecretSize]byte(c.Secret), c.Inviter.Key(), c.Joiner.Key(), c.Device.Key())
		if !bytes.Equal(join, c.Join) || !bytes.Equal(welcome, c.Welcome) {
			t.Errorf("proofs %d: the code says %x and %x", i, join, welcome)
		}
	}
}

func TestVectorsOfPairing(t *testing.T) {
	for i, c := range readVectors(t).Pairings {
		p, err := link.NewPairing(bytes.NewReader(c.Seed), [link.SecretSize]byte(c.Secret), c.SigPub.Key(), c.IKPub.Key(), c.Name)
		if err != nil || !bytes.Equal(p.Hello(), c.Hello) {
			t.Fatalf("pairing %d: another hello: %v", i, err)
		}
		if got, err := p.OpenSnapshot(c.Welcome); err != nil || !bytes.Equal(got, c.Snapshot) {
			t.Errorf("pairing %d: the welcome does not open: %v", i, err)
		}
		old, err := link.Answer([link.SecretSize]byte(c.Secret), c.Hello)
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
