//go:build !standin

package pass_test

import (
	"encoding/hex"
	"testing"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
)

// passVector is a pass with all that it is made of; bytes are hex.
type passVector struct {
	Epoch      uint32 `json:"epoch"`
	Secret     string `json:"secret"`
	HolderSeed string `json:"holder_seed"`
	BoxSeed    string `json:"box_seed"`
	BoxID      string `json:"box_id"`
	Relay      string `json:"relay"`
	Cert       string `json:"cert"`
	ID         string `json:"pass_id"`
	Pass       string `json:"pass"`
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestVectors reads the passes of the file that docs/vectors/model/mailbox.mjs writes.
func TestVectors(t *testing.T) {
	var v struct {
		Passes  []passVector `json:"passes"`
		Refused []struct {
			Rule string `json:"rule"`
			Pass string `json:"pass"`
		} `json:"refused_passes"`
	}
	vectortest.Read(t, "../../docs/vectors/mailbox.json", &v)
	if min(len(v.Passes), len(v.Refused)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for i, want := range v.Passes {
		owner, relay := signature.NewKey(unhex(t, want.BoxSeed)), unhex(t, want.Relay)
		holder, box := pass.HolderKey(unhex(t, want.Secret), want.Epoch), dht.BoxID(pub(owner))
		c := pass.Issue(owner, pub(holder))
		id := c.ID()
		got := passVector{
			Epoch: want.Epoch, Secret: want.Secret, HolderSeed: hex.EncodeToString(holder.Seed()), BoxSeed: want.BoxSeed,
			BoxID: hex.EncodeToString(box[:]), Relay: want.Relay, Cert: hex.EncodeToString(c[:]), ID: hex.EncodeToString(id[:]),
			Pass: hex.EncodeToString(pass.Use(holder, c, relay, box)),
		}
		if got != want {
			t.Errorf("pass %d: the model says %+v, the code %+v", i, want, got)
		}
		if _, ok := pass.Check(unhex(t, want.Pass), pub(owner), relay); !ok {
			t.Errorf("pass %d is refused", i)
		}
	}
	first := v.Passes[0]
	for _, c := range v.Refused {
		if _, ok := pass.Check(unhex(t, c.Pass), pub(signature.NewKey(unhex(t, first.BoxSeed))), unhex(t, first.Relay)); ok {
			t.Errorf("taken, against the rule: %s", c.Rule)
		}
	}
}
