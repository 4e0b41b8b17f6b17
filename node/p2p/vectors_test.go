package p2p

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestVectorsOfScouts holds the places where a node looks for relays against the file that docs/vectors/model/content.mjs
// writes.
func TestVectorsOfScouts(t *testing.T) {
	raw, err := os.ReadFile("../../docs/vectors/content.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Names []struct {
			Epoch int64  `json:"epoch"`
			Peer  string `json:"peer_id"`
			Scout string `json:"scout"`
		} `json:"names"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Names) == 0 {
		t.Fatalf("%d names: %v", len(v.Names), err)
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
