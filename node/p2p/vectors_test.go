package p2p

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/crypto/vectortest"
)

// TestVectorsOfScouts holds the places where a node looks for relays against the file that docs/vectors/model/content.mjs
// writes.
func TestVectorsOfScouts(t *testing.T) {
	var v struct {
		Names []struct {
			Epoch int64  `json:"epoch"`
			Peer  string `json:"peer_id"`
			Scout string `json:"scout"`
		} `json:"names"`
	}
	vectortest.Read(t, "../../docs/vectors/content.json", &v)
	if len(v.Names) == 0 {
		t.Fatalf("%d names", len(v.Names))
	}
	for _, c := range v.Names {
		id, err := hex.DecodeString(c.Peer)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString([]byte(scoutKey(peer.ID(id), time.Unix(c.Epoch*604800, 0)))); !strings.HasSuffix(got, c.Scout) || c.Scout == "" {
			t.Errorf("scout of %s: the code says %s", c.Peer, got)
		}
	}
}
