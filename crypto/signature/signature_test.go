package signature_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/kith-im/kith/crypto/signature"
)

func pair(n byte) (ed25519.PrivateKey, ed25519.PublicKey) {
	k := signature.NewKey(append(make([]byte, 31), n))
	return k, k.Public().(ed25519.PublicKey)
}

// Both builds have to pass this test: what stands for a signature is refused where that would be, and as long.
func TestASignatureIsOfOneKeyAndOneText(t *testing.T) {
	defer signature.Remember(0)
	for _, remembered := range []int{0, 64} {
		signature.Remember(remembered)
		key, public := pair(1)
		_, other := pair(2)
		again, _ := pair(1)
		if len(key) != ed25519.PrivateKeySize || len(public) != ed25519.PublicKeySize || !key.Equal(again) || public.Equal(other) || !bytes.Equal(key.Seed()[31:], []byte{1}) {
			t.Fatalf("%x, %x", key, public)
		}
		for _, text := range [][]byte{nil, []byte("a text"), make([]byte, 3000)} {
			sig := signature.Sign(key, text)
			if len(sig) != ed25519.SignatureSize || !signature.Verify(public, text, sig) || !bytes.Equal(sig, signature.Sign(key, text)) {
				t.Fatalf("%d bytes", len(sig))
			}
			bad := map[string]bool{
				"another key": signature.Verify(other, text, sig), "no key": signature.Verify(nil, text, sig), "long key": signature.Verify(append(bytes.Clone(public), 0), text, sig),
				"another text": signature.Verify(public, append(bytes.Clone(text), 0), sig), "short": signature.Verify(public, text, sig[:63]),
				"long": signature.Verify(public, text, append(bytes.Clone(sig), 0)), "none": signature.Verify(public, text, nil),
				"of another key": signature.Verify(public, text, signature.Sign(append(bytes.Clone(other), public...), text)),
			}
			for what, ok := range bad {
				if ok {
					t.Errorf("%s is taken", what)
				}
			}
			for bit := range 8 * len(sig) {
				sig[bit/8] ^= 1 << (bit % 8)
				if signature.Verify(public, text, sig) {
					t.Errorf("bit %d of a signature does not matter", bit)
				}
				sig[bit/8] ^= 1 << (bit % 8)
			}
		}
	}
}

// A private key whose public half is another's signs for nobody.
func TestAKeyOfTwoHalvesSignsForNobody(t *testing.T) {
	key, public := pair(1)
	_, other := pair(2)
	sig := signature.Sign(append(bytes.Clone(key[:32]), other...), []byte("x"))
	if signature.Verify(public, []byte("x"), sig) || signature.Verify(other, []byte("x"), sig) {
		t.Error("it is taken")
	}
	if !signature.Verify(public, []byte("x"), signature.Sign(key, []byte("x"))) {
		t.Error("control: a whole key signs for nobody")
	}
}

func TestAKeyOfAWrongLengthIsAMistake(t *testing.T) {
	for name, do := range map[string]func(){
		"seed": func() { signature.NewKey(make([]byte, 31)) }, "long seed": func() { signature.NewKey(make([]byte, 33)) },
		"key": func() { signature.Sign(make([]byte, 63), nil) }, "long key": func() { signature.Sign(make([]byte, 65), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			do()
		}()
	}
}
