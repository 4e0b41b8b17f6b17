package vault

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/vectortest"
)

const vectorFile = "../../docs/vectors/vault.json"

// vectors is the file, which docs/vectors/model/vault.mjs writes.
type vectors struct {
	About    string          `json:"about"`
	Vaults   []vaultVector   `json:"vaults"`
	Version1 []version1Vault `json:"version_1"` // files that have to open; nobody writes them any more
	Damaged  []damagedVault  `json:"damaged"`
}

type damagedVault struct {
	Rule string         `json:"rule"`
	File vectortest.Hex `json:"file"`
}

type vaultVector struct {
	Passphrase     string            `json:"passphrase"`
	Blinding       vectortest.Hex    `json:"blinding_key"`
	LastingSerial  uint32            `json:"lasting_serial"` // of the first key
	Lasting        []keyVector       `json:"lasting"`        // the last one is the current one
	FleetingSerial uint32            `json:"fleeting_serial"`
	Fleeting       []keyVector       `json:"fleeting"`
	Salt           vectortest.Hex    `json:"salt"`
	Nonce          vectortest.Hex    `json:"nonce"`
	File           vectortest.Hex    `json:"file"`  // outputs
	Marks          [2]vectortest.Hex `json:"marks"` // of the classes
	Values         []valueVector     `json:"values"`
}

type keyVector struct {
	Made uint64         `json:"made"`
	Key  vectortest.Hex `json:"key"`
}

type version1Vault struct {
	Passphrase string         `json:"passphrase"`
	Blinding   vectortest.Hex `json:"blinding_key"`
	Key        vectortest.Hex `json:"store_key"`
	Salt       vectortest.Hex `json:"salt"`
	Nonce      vectortest.Hex `json:"nonce"`
	File       vectortest.Hex `json:"file"`
	Values     []valueVector  `json:"values"`
}

type valueVector struct {
	Class     Class          `json:"class"`
	Place     vectortest.Hex `json:"place"`
	Plaintext vectortest.Hex `json:"plaintext"`
	Nonce     vectortest.Hex `json:"nonce"`
	Sealed    vectortest.Hex `json:"sealed"` // outputs
	Blinded   vectortest.Hex `json:"blinded"`
}

func ringOf(serial uint32, keys []keyVector) (ring []storeKey) {
	for i, k := range keys {
		ring = append(ring, storeKey{serial: serial + uint32(i), made: k.Made, key: [keySize]byte(k.Key)})
	}
	return ring
}

// compute runs the real Argon2id.
func (c *vaultVector) compute(t *testing.T) {
	v := &Vault{ring: keyring{blind: [keySize]byte(c.Blinding)}}
	v.ring.store = [classes][]storeKey{ringOf(c.LastingSerial, c.Lasting), ringOf(c.FleetingSerial, c.Fleeting)}
	rng := bytes.NewReader(append(bytes.Clone(c.Salt), c.Nonce...))
	v, err := v.Rewrap(rng, []byte(c.Passphrase))
	if err != nil {
		t.Fatal(err)
	}
	file, err := v.File(rng)
	if err != nil || rng.Len() != 0 {
		t.Fatalf("%v, %d bytes of entropy left", err, rng.Len())
	}
	c.File, c.Marks = file, [2]vectortest.Hex{v.Mark(Lasting), v.Mark(Fleeting)}
	for i := range c.Values {
		x := &c.Values[i]
		if x.Sealed, err = v.Seal(bytes.NewReader(x.Nonce), x.Class, x.Place, x.Plaintext); err != nil {
			t.Fatal(err)
		}
		name := v.Blind(x.Place)
		x.Blinded = name[:]
	}
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	var v vectors
	vectortest.ReadWhole(t, vectorFile, &v)
	return &v
}

// TestVectors computes every output from the inputs that stand beside it.
func TestVectors(t *testing.T) {
	want, got := readVectors(t), readVectors(t)
	for i := range got.Vaults {
		got.Vaults[i].compute(t)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the model and the code disagree (-model +code):\n%s", diff)
	}
}

func TestVectorsOpen(t *testing.T) {
	all := readVectors(t)
	if min(len(all.Vaults), len(all.Version1), len(all.Damaged)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for _, c := range all.Damaged {
		if _, err := Open(c.File, []byte("any")); err != ErrDamaged {
			t.Errorf("%s: %v", c.Rule, err)
		}
	}
	for i, c := range all.Vaults {
		v := openVector(t, c.File, c.Passphrase, c.Values)
		for class, mark := range c.Marks {
			if held, err := v.Holds(mark, Class(class)); !held || err != nil {
				t.Errorf("vault %d, class %d: %v, %v", i, class, held, err)
			}
		}
	}
	for i, c := range all.Version1 {
		v := openVector(t, c.File, c.Passphrase, c.Values)
		if !v.Made(Fleeting).IsZero() || v.Rotating(Lasting) {
			t.Errorf("vault %d of version 1: made %v", i, v.Made(Fleeting))
		}
		again, err := Open(fileOf(t, v), []byte(c.Passphrase))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v.ring.store, again.ring.store, cmp.AllowUnexported(storeKey{})); diff != "" {
			t.Errorf("vault %d written anew:\n%s", i, diff)
		}
	}
}

func openVector(t *testing.T, file []byte, passphrase string, values []valueVector) *Vault {
	t.Helper()
	v, err := Open(file, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	for j, x := range values {
		if got, err := v.Open(x.Class, x.Place, x.Sealed); err != nil || !bytes.Equal(got, x.Plaintext) {
			t.Errorf("value %d: %x, %v", j, got, err)
		}
		if name := v.Blind(x.Place); !bytes.Equal(name[:], x.Blinded) {
			t.Errorf("value %d: blinded %x", j, name)
		}
	}
	if _, err := Open(file, []byte("another")); passphrase != "" && err != ErrPassphrase {
		t.Errorf("with another passphrase: %v", err)
	}
	return v
}
