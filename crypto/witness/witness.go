// Package witness holds what devices show each other about device lists: the proof that somebody signed two lists for one
// place, and the code in which two people see at once whether both hold the same lists of each other.
//
// It guarantees: a Proof that parses was signed twice with one account key, whoever carries it, and needs nothing else to
// be believed; proof and code have one encoding. It does not guarantee: that a code was seen on the screen of the person
// that it names (that is what showing it is for); who of those that had the account key signed which list.
package witness

import (
	"bytes"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/identity"
)

// ErrInvalid is the one error for what is no proof, or no code.
var ErrInvalid = errors.New("witness: invalid")

const (
	version   = 1
	armorType = "KITH PROOF"
)

// Proof is two device lists of one account key for one place: its holder equivocates, or somebody else has the key. It is
// immutable.
type Proof struct{ lists [2]*identity.DeviceList }

// NewProof joins two lists that are a fork: one number in one epoch with two contents, or a list and one that claims to
// follow it and does not.
func NewProof(a, b *identity.DeviceList) (*Proof, error) {
	if a == nil || b == nil || a.User() != b.User() {
		return nil, ErrInvalid
	}
	if after(a, b) {
		a, b = b, a
	}
	if b.Order(a) != identity.Fork {
		return nil, ErrInvalid
	}
	return &Proof{[2]*identity.DeviceList{a, b}}, nil
}

// after reports whether a stands behind b in a proof: by number, then by hash.
func after(a, b *identity.DeviceList) bool {
	if a.Seq() != b.Seq() {
		return a.Seq() > b.Seq()
	}
	x, y := a.Hash(), b.Hash()
	return bytes.Compare(x[:], y[:]) > 0
}

// ParseProof reads and verifies a proof: four signatures, and that the lists exclude each other.
func ParseProof(raw []byte) (*Proof, error) {
	var v uint8
	var parts [2]cryptobyte.String
	s := cryptobyte.String(raw)
	if len(raw) > MaxProof || !s.ReadUint8(&v) || v != version ||
		!readLong(&s, &parts[0]) || !readLong(&s, &parts[1]) || !s.Empty() {
		return nil, ErrInvalid
	}
	a, err := identity.ParseDeviceList(parts[0])
	if err != nil {
		return nil, ErrInvalid
	}
	b, err := identity.ParseDeviceList(parts[1])
	if err != nil || after(a, b) {
		return nil, ErrInvalid
	}
	return NewProof(a, b)
}

func readLong(s, out *cryptobyte.String) bool {
	var n uint32
	return s.ReadUint32(&n) && n <= maxList && s.ReadBytes((*[]byte)(out), int(n))
}

// Bytes is version 1 | LP(list) | LP(list), the lower one first.
func (p *Proof) Bytes() []byte {
	b := cryptobyte.NewBuilder([]byte{version})
	for _, l := range p.lists {
		raw := l.Bytes()
		b.AddUint32(uint32(len(raw)))
		b.AddBytes(raw)
	}
	return b.BytesOrPanic()
}

// Lists are the two lists, the lower one first.
func (p *Proof) Lists() (a, b *identity.DeviceList) { return p.lists[0], p.lists[1] }

// User is whose lists they are.
func (p *Proof) User() identity.UserID { return p.lists[0].User() }

// Other is the list of the proof that excludes l; nil: neither does.
func (p *Proof) Other(l *identity.DeviceList) *identity.DeviceList {
	for _, o := range p.lists {
		if l != nil && (o.Order(l) == identity.Fork || l.Order(o) == identity.Fork) {
			return o
		}
	}
	return nil
}

// Text is the proof in lines that can be mailed: PEM with the type KITH PROOF.
func (p *Proof) Text() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: armorType, Bytes: p.Bytes()}))
}

// ReadProof finds a proof in a text, which may say more around it.
func ReadProof(text string) (*Proof, error) {
	if len(text) > MaxProofText {
		return nil, ErrInvalid
	}
	block, _ := pem.Decode([]byte(strings.ReplaceAll(text, "\r\n", "\n")))
	if block == nil || block.Type != armorType || len(block.Headers) > 0 {
		return nil, ErrInvalid
	}
	return ParseProof(slices.Clone(block.Bytes))
}
