package vault

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const vectorFile = "../../docs/vectors/vault.json"

var update = flag.Bool("update", false, "compute the outputs in "+vectorFile+" anew from its inputs")

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type vectors struct {
	About  string        `json:"about"`
	Vaults []vaultVector `json:"vaults"`
}

type vaultVector struct {
	Passphrase string        `json:"passphrase"`
	Blinding   hexBytes      `json:"blinding_key"`
	Key        hexBytes      `json:"store_key"`
	Salt       hexBytes      `json:"salt"`
	Nonce      hexBytes      `json:"nonce"`
	File       hexBytes      `json:"file"` // output
	Values     []valueVector `json:"values"`
}

type valueVector struct {
	Place     hexBytes `json:"place"`
	Plaintext hexBytes `json:"plaintext"`
	Nonce     hexBytes `json:"nonce"`
	Sealed    hexBytes `json:"sealed"` // outputs
	Blinded   hexBytes `json:"blinded"`
}

// compute runs the real Argon2id.
func (c *vaultVector) compute(t *testing.T) {
	rng := bytes.NewReader(bytes.Join([][]byte{c.Blinding, c.Key, c.Salt, c.Nonce}, nil))
	file, v, err := Create(rng, []byte(c.Passphrase))
	if err != nil || rng.Len() != 0 {
		t.Fatalf("%v, %d bytes of entropy left", err, rng.Len())
	}
	c.File = file
	for i := range c.Values {
		x := &c.Values[i]
		if x.Sealed, err = v.Seal(bytes.NewReader(x.Nonce), x.Place, x.Plaintext); err != nil {
			t.Fatal(err)
		}
		name := v.Blind(x.Place)
		x.Blinded = name[:]
	}
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	raw, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var v vectors
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// TestVectors computes every output from the inputs that stand beside it.
func TestVectors(t *testing.T) {
	want, got := readVectors(t), readVectors(t)
	for i := range got.Vaults {
		got.Vaults[i].compute(t)
	}
	if *update {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outputs differ (-file +computed):\n%s", diff)
	}
}

func TestVectorsOpen(t *testing.T) {
	for i, c := range readVectors(t).Vaults {
		v, err := Open(c.File, []byte(c.Passphrase))
		if err != nil {
			t.Fatalf("vault %d: %v", i, err)
		}
		for j, x := range c.Values {
			if got, err := v.Open(x.Place, x.Sealed); err != nil || !bytes.Equal(got, x.Plaintext) {
				t.Errorf("vault %d, value %d: %x, %v", i, j, got, err)
			}
		}
		if c.Passphrase == "" {
			continue
		}
		if _, err := Open(c.File, []byte("another")); err != ErrPassphrase {
			t.Errorf("vault %d with another passphrase: %v", i, err)
		}
	}
}
