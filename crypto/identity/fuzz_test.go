package identity

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/fuzztest"
)

// FuzzParseDeviceList gives the input to the reader as it is, and again as
// what follows the certificate in a list that is properly signed: without a
// signature the fuzzer would never get to the rules.
func FuzzParseDeviceList(f *testing.F) {
	a := rootOf("ann").Account(0)
	good := signList(f, a, listFields(f, "phone", "laptop")).Bytes()
	const certified = 1 + 1 + 32 + 32 + 4 + 32 + signatureSize
	f.Add(good)
	f.Add(good[certified : len(good)-signatureSize])
	f.Add(make([]byte, listFixedSize-certified-signatureSize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		for _, in := range [][]byte{raw, sealList(a.key, append(bytes.Clone(good[:certified]), raw...))} {
			l, err := ParseDeviceList(in)
			if err != nil {
				if l != nil || err != ErrInvalid {
					t.Fatalf("%v, %v", l, err)
				}
				continue
			}
			if !bytes.Equal(l.Bytes(), in) || !bytes.Equal(l.encode(), in[:len(in)-signatureSize]) {
				t.Fatal("a list has two spellings")
			}
			if again, err := a.SignList(l.f); l.User() == a.User() && l.Epoch() == 0 && (err != nil || again.Hash() != l.Hash()) {
				t.Fatalf("the signer would not sign what the reader takes: %v", err)
			}
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	keys := keysOf(f, "phone")
	good, _ := newBundle(f, "phone", bundleFields(UserID{7}))
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:offBundleSig])
	f.Add(bytes.Repeat([]byte{0xff}, bundleSize))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		signed := forgeBundle(keys, good, func(body []byte) { copy(body, raw) })
		for _, in := range [][]byte{raw, signed} {
			b, err := ParseBundle(in)
			if err != nil {
				if b != nil || err != ErrInvalid {
					t.Fatalf("%v, %v", b, err)
				}
				continue
			}
			if !bytes.Equal(b.Bytes(), in) || !bytes.Equal(b.encode(b.PQ()), in[:len(in)-signatureSize]) {
				t.Fatal("a bundle has two spellings")
			}
		}
	})
}

func FuzzParsePhrase(f *testing.F) {
	f.Add("legal winner thank year wave sausage worth useful legal winner thank yellow")
	f.Add(" ZOO zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo\twrong\n")
	f.Add("abandon abandon abandon")
	f.Add(strings.Repeat("é ", 12))
	f.Fuzz(func(t *testing.T, typed string) {
		defer fuzztest.Limit(t, len(typed))()
		p, err := ParsePhrase(typed)
		if err != nil {
			if p != "" {
				t.Fatalf("%q with %v", p, err)
			}
			return
		}
		if again, err := ParsePhrase(string(p)); err != nil || again != p || len(strings.Fields(string(p))) != phraseWords {
			t.Fatalf("%q parses to %q, %v", p, again, err)
		}
	})
}

func FuzzParseAccount(f *testing.F) {
	good := rootOf("ann").Account(1).Marshal()
	f.Add(good)
	f.Add(good[:40])
	f.Add(append([]byte{formatVersion}, bytes.Repeat([]byte{1}, ed25519.SeedSize)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		a, err := ParseAccount(raw)
		if err != nil {
			if a != nil || err != ErrInvalid {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
		if !bytes.Equal(a.Marshal(), raw) {
			t.Fatal("an account has two spellings")
		}
	})
}

func FuzzParseDeviceKeys(f *testing.F) {
	f.Add(keysOf(f, "phone").Marshal())
	f.Add(make([]byte, deviceKeysSize))
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		k, err := ParseDeviceKeys(raw)
		if err != nil {
			if k != nil || err != ErrInvalid {
				t.Fatalf("%v, %v", k, err)
			}
			return
		}
		if !bytes.Equal(k.Marshal(), raw) {
			t.Fatal("device keys have two spellings")
		}
		if d := k.Public(0, 1); !soundX25519(d.IKPub) || !soundEd25519(d.SigPub) {
			t.Fatal("a secret key has an unsound public key")
		}
	})
}

func FuzzParsePrekey(f *testing.F) {
	_, p := newBundle(f, "phone", bundleFields(UserID{7}))
	f.Add(p.Marshal())
	f.Add(make([]byte, prekeySize))
	f.Add([]byte{formatVersion})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		p, err := ParsePrekey(raw)
		if err != nil {
			if p != nil || err != ErrInvalid {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if !bytes.Equal(p.Marshal(), raw) || len(agree.EncapsulationKey(p.PQ())) != pqKeySize || p.SPK() == nil {
			t.Fatal("a prekey has two spellings")
		}
	})
}
