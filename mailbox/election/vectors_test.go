package election

import (
	"encoding/hex"
	"strconv"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/vectortest"
)

// TestVectors holds races and terms against the file that docs/vectors/model/mailbox.mjs writes.
func TestVectors(t *testing.T) {
	var v struct {
		Races []struct {
			Seed   string `json:"seed"`
			Peer   string `json:"peer"`
			Weight uint64 `json:"weight"`
			Score  string `json:"score"`
			Term   int64  `json:"term_seconds"`
		} `json:"races"`
	}
	vectortest.Read(t, "../../docs/vectors/mailbox.json", &v)
	if len(v.Races) == 0 {
		t.Fatalf("%d races", len(v.Races))
	}
	for i, r := range v.Races {
		seed, err1 := hex.DecodeString(r.Seed)
		peer, err2 := hex.DecodeString(r.Peer)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		in := input{seed: [32]byte(seed), policy: DefaultPolicy()}
		if got := strconv.FormatUint(score(in.seed, peer, r.Weight), 10); got != r.Score {
			t.Errorf("race %d: the model says %s, the code %s", i, r.Score, got)
		}
		if got := int64(in.term(peer) / time.Second); got != r.Term {
			t.Errorf("term %d: the model says %d, the code %d", i, r.Term, got)
		}
	}
}
