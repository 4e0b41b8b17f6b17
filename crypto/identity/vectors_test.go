//go:build !standin

package identity

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/vectortest"
)

const vectorFile = "../../docs/vectors/identity.json"

// vectors is the file, which docs/vectors/model/identity.mjs writes. Each case has inputs and, computed from
// nothing else, outputs; all bytes are hex.
type vectors struct {
	About    string          `json:"about"`
	Phrases  []phraseVector  `json:"phrases"`
	Roots    []rootVector    `json:"roots"`
	Accounts []accountVector `json:"accounts"`
	Devices  []deviceVector  `json:"devices"`
	Lists    []listVector    `json:"lists"`
	Bundles  []bundleVector  `json:"bundles"`
	Safety   []safetyVector  `json:"safety_numbers"`

	UnsoundX  []vectortest.Hex `json:"unsound_x25519"`
	UnsoundEd []vectortest.Hex `json:"unsound_ed25519"`
	Misspelt  []string         `json:"refused_phrases"`
	BadLists  []refusalVector  `json:"refused_lists"`
	BadBundle []refusalVector  `json:"refused_bundles"`
}

type phraseVector struct {
	Entropy vectortest.Hex `json:"entropy"`
	Phrase  Phrase         `json:"phrase"` // output
}

func (v *phraseVector) compute(*testing.T) { v.Phrase = phraseOf([phraseEntropy]byte(v.Entropy)) }

type rootVector struct {
	Phrase Phrase         `json:"phrase"`
	Seed   vectortest.Hex `json:"seed"` // outputs
	Public vectortest.Hex `json:"public"`
	User   vectortest.Hex `json:"user"`
}

func (v *rootVector) compute(*testing.T) {
	r := v.Phrase.Root()
	u := r.User()
	v.Seed, v.Public, v.User = r.seed[:], vectortest.Hex(r.key.Public().(ed25519.PublicKey)), u[:]
}

type accountVector struct {
	RootSeed vectortest.Hex `json:"root_seed"`
	Epoch    uint32         `json:"epoch"`
	Account  vectortest.Hex `json:"account"` // outputs
	Public   vectortest.Hex `json:"public"`
}

func (v *accountVector) of() *Account { return NewRootFromSeed(v.RootSeed.Key()).Account(v.Epoch) }

func (v *accountVector) compute(*testing.T) {
	pub := v.of().pub()
	v.Account, v.Public = v.of().Marshal(), pub[:]
}

type deviceVector struct {
	SignSeed vectortest.Hex `json:"sign_seed"`
	IKScalar vectortest.Hex `json:"ik_scalar"`
	SigPub   vectortest.Hex `json:"sig_pub"` // outputs
	IKPub    vectortest.Hex `json:"ik_pub"`
	ID       vectortest.Hex `json:"id"`
}

func (v *deviceVector) keys() *DeviceKeys { return deviceKeys(v.SignSeed.Key(), v.IKScalar.Key()) }

func (v *deviceVector) compute(*testing.T) {
	d := v.keys().Public(0, 1)
	id := d.ID()
	v.SigPub, v.IKPub, v.ID = d.SigPub[:], d.IKPub[:], id[:]
}

type listVector struct {
	Account  accountVector  `json:"account"`
	Seq      uint64         `json:"seq"`
	Prev     vectortest.Hex `json:"prev"`
	Issued   int64          `json:"issued"`
	NotAfter int64          `json:"not_after"`
	Flags    byte           `json:"flags"`
	Devices  []entryVector  `json:"devices"`
	List     vectortest.Hex `json:"list"` // outputs
	Hash     vectortest.Hex `json:"hash"`
	Digest   vectortest.Hex `json:"head_digest"`
	Print    string         `json:"account_fingerprint"`
}

type entryVector struct {
	SigPub   vectortest.Hex `json:"sig_pub"`
	IKPub    vectortest.Hex `json:"ik_pub"`
	Flags    byte           `json:"flags"`
	AddedSeq uint64         `json:"added_seq"`
}

func (v *listVector) compute(t *testing.T) {
	f := ListFields{
		Seq: v.Seq, Prev: v.Prev.Key(), Flags: v.Flags,
		Issued: time.Unix(v.Issued, 0), NotAfter: time.Unix(v.NotAfter, 0),
	}
	for _, d := range v.Devices {
		f.Devices = append(f.Devices, Device{SigPub: d.SigPub.Key(), IKPub: d.IKPub.Key(), Flags: d.Flags, AddedSeq: d.AddedSeq})
	}
	v.Account.compute(t)
	l := signList(t, v.Account.of(), f)
	hash, digest := l.Hash(), l.Head().Digest()
	v.List, v.Hash, v.Digest, v.Print = l.Bytes(), hash[:], digest[:], l.Fingerprint()
}

type bundleVector struct {
	Device     deviceVector   `json:"device"`
	User       vectortest.Hex `json:"user"`
	Generation uint64         `json:"generation"`
	Number     uint64         `json:"number"`
	Issued     int64          `json:"issued"`
	NotAfter   int64          `json:"not_after"`
	Flags      uint32         `json:"flags"`
	SPKScalar  vectortest.Hex `json:"spk_scalar"`
	PQSeed     vectortest.Hex `json:"pq_seed"` // d 32 | z 32
	Bundle     vectortest.Hex `json:"bundle"`  // outputs
	Hash       vectortest.Hex `json:"hash"`
	Prekey     vectortest.Hex `json:"prekey"`
}

func (v *bundleVector) compute(t *testing.T) {
	v.Device.compute(t)
	b, p, err := NewBundle(bytes.NewReader(append(bytes.Clone(v.SPKScalar), v.PQSeed...)), v.Device.keys(), BundleFields{
		User: v.User.Key(), Generation: v.Generation, Number: v.Number, Flags: v.Flags,
		Issued: time.Unix(v.Issued, 0), NotAfter: time.Unix(v.NotAfter, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	hash := b.Hash()
	v.Bundle, v.Hash, v.Prekey = b.Bytes(), hash[:], p.Marshal()
}

type safetyVector struct {
	A      vectortest.Hex `json:"a"`
	B      vectortest.Hex `json:"b"`
	Number string         `json:"number"` // outputs
	WordsA string         `json:"words_a"`
	WordsB string         `json:"words_b"`
}

func (v *safetyVector) compute(*testing.T) {
	a, b := UserID(v.A.Key()), UserID(v.B.Key())
	v.Number, v.WordsA, v.WordsB = SafetyNumber(a, b), a.SafetyWords(), b.SafetyWords()
}

// refusalVector is a list or a bundle that breaks one rule, under good signatures if that rule is another.
type refusalVector struct {
	Rule   string         `json:"rule"`
	List   vectortest.Hex `json:"list,omitempty"`
	Bundle vectortest.Hex `json:"bundle,omitempty"`
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	var v vectors
	vectortest.ReadWhole(t, vectorFile, &v)
	return &v
}

func computeAll[V any, P interface {
	*V
	compute(*testing.T)
}](t *testing.T, cases []V) {
	for i := range cases {
		P(&cases[i]).compute(t)
	}
}

// TestVectors computes every output from the inputs that stand beside it.
func TestVectors(t *testing.T) {
	want, got := readVectors(t), readVectors(t)
	computeAll(t, got.Phrases)
	computeAll(t, got.Roots)
	computeAll(t, got.Accounts)
	computeAll(t, got.Devices)
	computeAll(t, got.Lists)
	computeAll(t, got.Bundles)
	computeAll(t, got.Safety)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the model and the code disagree (-model +code):\n%s", diff)
	}
}

// TestVectorsParse reads the records of the file as a stranger would.
func TestVectorsParse(t *testing.T) {
	v := readVectors(t)
	if min(len(v.Phrases), len(v.Roots), len(v.Accounts), len(v.Devices), len(v.Lists), len(v.Bundles), len(v.Safety)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for i, c := range v.Phrases {
		if p, err := ParsePhrase(string(c.Phrase)); err != nil || p != c.Phrase {
			t.Errorf("phrase %d: %v", i, err)
		}
	}
	for i, c := range v.Accounts {
		if a, err := ParseAccount(c.Account); err != nil || a.Epoch() != c.Epoch {
			t.Errorf("account %d: %v", i, err)
		}
	}
	for i, c := range v.Lists {
		if l, err := ParseDeviceList(c.List); err != nil || l.Hash() != c.Hash.Key() {
			t.Errorf("list %d: %v", i, err)
		}
	}
	for i, c := range v.Bundles {
		if b, err := ParseBundle(c.Bundle); err != nil || b.Hash() != c.Hash.Key() {
			t.Errorf("bundle %d: %v", i, err)
		}
	}
	for i, c := range v.Bundles {
		list, err1 := ParseDeviceList(v.Lists[1].List)
		b, err2 := ParseBundle(c.Bundle)
		if err := errors.Join(err1, err2); err != nil || Claims(list, b) != nil {
			t.Errorf("bundle %d is of no device in list 1: %v", i, err)
		}
	}
}

func TestVectorsAreRefused(t *testing.T) {
	v := readVectors(t)
	if min(len(v.UnsoundX), len(v.UnsoundEd), len(v.Misspelt), len(v.BadLists), len(v.BadBundle)) == 0 {
		t.Fatal("a kind of vector is missing")
	}
	for _, k := range v.UnsoundX {
		if soundX25519(k.Key()) {
			t.Errorf("%x is taken for a sound X25519 key", k)
		}
	}
	for _, k := range v.UnsoundEd {
		if soundEd25519(k.Key()) {
			t.Errorf("%x is taken for a sound Ed25519 key", k)
		}
	}
	for _, p := range v.Misspelt {
		if _, err := ParsePhrase(p); err == nil {
			t.Errorf("%q is taken for a phrase", p)
		}
	}
	for _, c := range v.BadLists {
		if _, err := ParseDeviceList(c.List); err != ErrInvalid {
			t.Errorf("list: %s: %v", c.Rule, err)
		}
	}
	for _, c := range v.BadBundle {
		if _, err := ParseBundle(c.Bundle); err != ErrInvalid {
			t.Errorf("bundle: %s: %v", c.Rule, err)
		}
	}
}
