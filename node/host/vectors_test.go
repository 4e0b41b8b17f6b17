package host

import (
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"github.com/kith-im/kith/crypto/vectortest"
)

// TestVectorsOfPorts holds preferred ports against the file that docs/vectors/model/content.mjs writes.
func TestVectorsOfPorts(t *testing.T) {
	var v struct {
		Names []struct {
			Seed string `json:"seed"`
			Port int    `json:"port"`
		} `json:"names"`
	}
	vectortest.Read(t, "../../docs/vectors/content.json", &v)
	if len(v.Names) == 0 {
		t.Fatalf("%d names", len(v.Names))
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
