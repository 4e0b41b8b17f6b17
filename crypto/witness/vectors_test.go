//go:build !standin

package witness

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
)

const vectorFile = "../../docs/vectors/witness.json"

var update = flag.Bool("update", false, "compute "+vectorFile+" anew")

type vectors struct {
	About  string        `json:"about"`
	Proofs []proofVector `json:"proofs"`
	Codes  []codeVector  `json:"codes"`
	Words  []wordsVector `json:"safety_words"`
	Bad    []string      `json:"refused_proofs"`
}

type proofVector struct {
	A     string `json:"a"`
	B     string `json:"b"`
	Proof string `json:"proof"` // outputs
	User  string `json:"user"`
	Text  string `json:"text"`
}

type codeVector struct {
	User     string `json:"user"`
	Peer     string `json:"peer"`
	UserHead head   `json:"user_head"`
	PeerHead head   `json:"peer_head"`
	Code     string `json:"code"` // output
}

type head struct {
	Epoch uint32 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Hash  string `json:"hash"`
}

type wordsVector struct {
	A     string `json:"a"`
	B     string `json:"b"`
	Words string `json:"words"` // output
}

func headOf(h identity.Head) head { return head{h.Epoch, h.Seq, hex.EncodeToString(h.Hash[:])} }

// TestVectors compares with the file; with -update it writes it.
func TestVectors(t *testing.T) {
	one := list(t, "ann", 1, 1, [32]byte{}, "phone")
	v := vectors{About: "Fork proofs, codes and words of the safety number (docs/protocol.md, section 1). Bytes are hex. In each case the first fields are inputs; the last proofs must be refused."}
	for _, pair := range [][2]*identity.DeviceList{
		{list(t, "ann", 1, 2, one.Hash(), "phone", "laptop"), list(t, "ann", 1, 2, one.Hash(), "phone", "ghost")},
		{list(t, "ann", 1, 2, [32]byte{9}, "ghost"), one},
		{list(t, "ann", 1, 2, one.Hash()), list(t, "ann", 1, 2, one.Hash(), "phone")},
	} {
		p, err := NewProof(pair[0], pair[1])
		if err != nil {
			t.Fatal(err)
		}
		v.Proofs = append(v.Proofs, proofVector{
			A: hex.EncodeToString(pair[0].Bytes()), B: hex.EncodeToString(pair[1].Bytes()),
			Proof: hex.EncodeToString(p.Bytes()), User: p.User().String(), Text: p.Text(),
		})
		a, b := p.Lists()
		v.Bad = append(v.Bad, hex.EncodeToString((&Proof{[2]*identity.DeviceList{b, a}}).Bytes()), hex.EncodeToString((&Proof{[2]*identity.DeviceList{a, a}}).Bytes()))
	}
	ann, bob := codeOf(t)
	bob.PeerHead = identity.Head{}
	for _, c := range []Code{ann, bob} {
		v.Codes = append(v.Codes, codeVector{User: hex.EncodeToString(c.User[:]), Peer: hex.EncodeToString(c.Peer[:]), UserHead: headOf(c.UserHead), PeerHead: headOf(c.PeerHead), Code: c.Text()})
	}
	for i := range byte(4) {
		a, b := identity.UserID{i}, identity.UserID{100 + i}
		v.Words = append(v.Words, wordsVector{A: a.String(), B: b.String(), Words: SafetyWords(a, b)})
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorFile, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(vectorFile)
	if err != nil || string(file) != string(raw)+"\n" {
		t.Errorf("the file differs from what is computed: %v", err)
	}
	for _, bad := range v.Bad {
		raw, _ := hex.DecodeString(bad)
		if _, err := ParseProof(raw); err != ErrInvalid {
			t.Error("a refused proof is taken")
		}
	}
}
