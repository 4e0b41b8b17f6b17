package host

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// TestVectorsOfPorts holds preferred ports against the file that docs/vectors/model/content.mjs writes.
func TestVectorsOfPorts(t *testing.T) {
	raw, err := os.ReadFile("../../docs/vectors/content.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Names []struct {
			Seed string `json:"seed"`
			Port int    `json:"port"`
		} `json:"names"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || len(v.Names) == 0 {
		t.Fatalf("%d names: %v", len(v.Names), err)
	}
	for _, c := range v.Names {
		seed, err := hex.DecodeString(c.Seed)
		if err != nil {
			t.Fatal(err)
		}
		if got := homePort(ed25519.NewKeyFromSeed(seed)); got != c.Port {
			t.Errorf("port of %s: the model says %d, the code %d", c.Seed, c.Port, got)
		}
	}
}
