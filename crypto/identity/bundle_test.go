package identity

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/agree"
)

func TestBundleReadsAsItWasSigned(t *testing.T) {
	keys := keysOf(t, "phone")
	f := BundleFields{
		User: UserID{7}, Generation: 3, Number: 12, Flags: FlagOneTime | 1<<31,
		Issued: day0.Add(time.Millisecond), NotAfter: day0.Add(BundleLifetime),
	}
	signed, _ := newBundle(t, "phone", f)
	b, err := ParseBundle(signed.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(signed, b, cmp.AllowUnexported(Bundle{})); diff != "" {
		t.Errorf("parsed bundle differs (-signed +parsed):\n%s", diff)
	}
	if b.User() != f.User || b.Generation() != 3 || b.Number() != 12 || b.Flags() != f.Flags || !b.OneTime() ||
		!b.Issued().Equal(day0) || !b.NotAfter().Equal(f.NotAfter) || b.Device() != keys.ID() {
		t.Errorf("fields: %+v", b)
	}
	if d := keys.Public(0, 1); b.SigPub() != d.SigPub || b.IKPub() != d.IKPub {
		t.Error("keys differ")
	}
	if len(b.Bytes()) != bundleSize || bundleSize != 1415 {
		t.Errorf("%d bytes, bundleSize %d", len(b.Bytes()), bundleSize)
	}
}

func TestPrekeyOpensWhatItsBundleSeals(t *testing.T) {
	b, made := newBundle(t, "phone", bundleFields(UserID{7}))
	p, err := ParsePrekey(made.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	hash := b.Hash()
	if *p != *made || p.Hash() != hash || p.ID() != [8]byte(hash[:8]) || len(p.Marshal()) != prekeySize {
		t.Errorf("prekey %+v", p)
	}
	ek, err := agree.NewEncapsulator(b.PQ())
	if err != nil {
		t.Fatal(err)
	}
	want, ct := agree.Encapsulate(ek)
	if got, err := agree.Decapsulate(p.PQ(), ct); err != nil || !bytes.Equal(got, want) {
		t.Errorf("ML-KEM secrets differ: %v", err)
	}
	peer := keysOf(t, "peer").IK
	spk := b.SPK()
	x, ok := agree.Secret(peer, spk[:])
	public := agree.PublicOf(peer)
	y, ok2 := agree.Secret(p.SPK(), public[:])
	if !ok || !ok2 || !bytes.Equal(x, y) {
		t.Errorf("X25519 secrets differ: %v %v", ok, ok2)
	}
	raw := made.Marshal()
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0), append([]byte{2}, raw[1:]...)} {
		if _, err := ParsePrekey(bad); err != ErrInvalid {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestEveryBundleHasItsOwnPrekey(t *testing.T) {
	rng := entropy("one stream")
	seen := map[string]bool{}
	for range 8 {
		b, p, err := NewBundle(rng, keysOf(t, "phone"), bundleFields(UserID{7}))
		if err != nil {
			t.Fatal(err)
		}
		spk, id := b.SPK(), p.ID()
		for _, v := range []string{string(spk[:]), string(b.PQ()), string(id[:])} {
			if seen[v] {
				t.Error("two bundles of one stream share a key")
			}
			seen[v] = true
		}
	}
}

func TestSignerIsToldWhyABundleIsRefused(t *testing.T) {
	for _, c := range []struct {
		want string
		edit func(*BundleFields)
	}{
		{"unknown flags 0x2", func(f *BundleFields) { f.Flags = 2 }},
		{"not-after too far ahead", func(f *BundleFields) { f.NotAfter = f.Issued.Add(maxLifetime + time.Second) }},
		{"not-after before issued", func(f *BundleFields) { f.NotAfter = f.Issued.Add(-time.Second) }},
		{"time out of range", func(f *BundleFields) { f.Issued = time.Time{} }},
	} {
		f := bundleFields(UserID{7})
		c.edit(&f)
		_, _, err := NewBundle(entropy("x"), keysOf(t, "phone"), f)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want …%s…", err, c.want)
		}
	}
}

func TestEveryBitOfABundleIsSigned(t *testing.T) {
	b, _ := newBundle(t, "phone", bundleFields(UserID{7}))
	raw, unsigned := b.Bytes(), 0
	flips(raw, func(bit int, flipped []byte) {
		if _, err := ParseBundle(flipped); err != ErrInvalid {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		if b, err := decodeBundle(flipped); err == nil && b.check() == nil {
			unsigned++
		}
	})
	if unsigned < len(raw)*8*9/10 {
		t.Errorf("control: without the signature only %d of %d flips pass, so the rules hide what it does", unsigned, len(raw)*8)
	}
}

func TestBundleHasNoOtherLength(t *testing.T) {
	b, _ := newBundle(t, "phone", bundleFields(UserID{7}))
	raw := b.Bytes()
	for n := range raw {
		if _, err := ParseBundle(raw[:n]); err != ErrInvalid {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if _, err := ParseBundle(append(raw, 0)); err != ErrInvalid {
		t.Errorf("a byte left over: %v", err)
	}
}

// A bundle may be signed by its device and still be poison to whoever uses it.
func TestPoisonedKeysAreRefusedUnderAGoodSignature(t *testing.T) {
	keys := keysOf(t, "phone")
	good, _ := newBundle(t, "phone", bundleFields(UserID{7}))
	put := func(at int, key [32]byte) func([]byte) {
		return func(body []byte) { copy(body[at:], key[:]) }
	}
	type edit struct {
		name string
		edit func([]byte)
	}
	edits := []edit{
		{"first coefficient is the modulus", func(b []byte) { b[offBundlePQ], b[offBundlePQ+1] = 0x01, b[offBundlePQ+1]&0xf0|0x0d }},
		{"last coefficient is 4095", func(b []byte) { b[offBundlePQ+1151], b[offBundlePQ+1150] = 0xff, b[offBundlePQ+1150]|0xf0 }},
		{"all coefficients are 4095", func(b []byte) { copy(b[offBundlePQ:], bytes.Repeat([]byte{0xff}, 1152)) }},
		{"SPK is IK", func(b []byte) { copy(b[offBundleSPK:], b[offBundleIK:offBundleIK+32]) }},
		{"another suite", func(b []byte) { b[offBundleSuite+1] = 2 }},
		{"another version", func(b []byte) { b[0] = 2 }},
		{"an unknown critical flag", func(b []byte) { b[offBundleFlags+3] = 2 }},
		{"issued after the end of time", func(b []byte) { b[offBundleTimes] = 0x80 }},
	}
	for _, e := range lowOrderEncodings() {
		edits = append(edits, edit{"low-order IK", put(offBundleIK, e)}, edit{"low-order SPK", put(offBundleSPK, e)})
	}
	for _, c := range edits {
		if _, err := ParseBundle(forgeBundle(keys, good, c.edit)); err != ErrInvalid {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	for name, harmless := range map[string]func([]byte){
		"nothing":                        func([]byte) {},
		"another user":                   func(b []byte) { b[offBundleUser] ^= 1 },
		"an unknown hint":                func(b []byte) { b[offBundleFlags] = 0x40 },
		"the first coefficient is 3328":  func(b []byte) { b[offBundlePQ], b[offBundlePQ+1] = 0x00, b[offBundlePQ+1]&0xf0|0x0d },
		"another sound SPK":              put(offBundleSPK, agree.PublicOf(keysOf(t, "peer").IK)),
		"another sound identity key":     put(offBundleIK, agree.PublicOf(keysOf(t, "peer").IK)),
		"the time in the middle of 2027": func(b []byte) { binary.BigEndian.PutUint64(b[offBundleTimes+8:], uint64(day0.Add(80*day).Unix())) },
	} {
		if _, err := ParseBundle(forgeBundle(keys, good, harmless)); err != nil {
			t.Errorf("control: the forger changed %s and was refused, so its poison proves nothing", name)
		}
	}
}

func TestBundleSignatureIsNoOtherRecords(t *testing.T) {
	keys := keysOf(t, "phone")
	good, _ := newBundle(t, "phone", bundleFields(UserID{7}))
	body := good.Bytes()[:bundleSize-signatureSize]
	if _, err := ParseBundle(sealList(keys.Sign, body)); err != ErrInvalid {
		t.Errorf("a bundle signed under the label of a list: %v", err)
	}
	if _, err := ParseBundle(forgeBundle(keysOf(t, "thief"), good, func([]byte) {})); err != ErrInvalid {
		t.Errorf("a bundle signed by another device: %v", err)
	}
}

func TestBundleOwnsItsBytes(t *testing.T) {
	made, _ := newBundle(t, "phone", bundleFields(UserID{7}))
	raw := made.Bytes()
	b, err := ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	b.Bytes()[0] ^= 1
	b.PQ()[0] ^= 1
	if !bytes.Equal(b.Bytes(), made.Bytes()) || !bytes.Equal(b.PQ(), made.PQ()) {
		t.Error("a caller changed a bundle from outside")
	}
}
