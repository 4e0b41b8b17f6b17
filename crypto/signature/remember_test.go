//go:build !standin

package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"testing"
)

func key(n byte) (ed25519.PrivateKey, ed25519.PublicKey) {
	k := ed25519.NewKeyFromSeed(append(make([]byte, 31), n))
	return k, k.Public().(ed25519.PublicKey)
}

// What is remembered is the whole of key, text and signature: none of them can be exchanged afterwards.
func TestRememberedSignaturesAreWhole(t *testing.T) {
	private, pub := key(0)
	_, other := key(1)
	text := []byte("label text")
	sig := ed25519.Sign(private, text)
	bad := bytes.Clone(sig)
	bad[0] ^= 1
	for name, m := range map[string]*memory{"verified": {half: 8}, "signed": {half: 8}, "nothing": {}} {
		if name == "signed" {
			m.signed(private, text, sig)
		}
		for range 2 { // the second time it is remembered
			if !m.verify(pub, text, sig) {
				t.Fatalf("%s: a good signature is refused", name)
			}
			for what, ok := range map[string]bool{
				"key": m.verify(other, text, sig), "text": m.verify(pub, []byte("label next"), sig), "signature": m.verify(pub, text, bad),
				"length": m.verify(pub, text, sig[:63]), "shift": m.verify(pub, append(sig[63:], text...), sig[:63]), "no key": m.verify(nil, text, sig),
			} {
				if ok {
					t.Errorf("%s: another %s is taken", name, what)
				}
			}
		}
		if want := map[string]int{"verified": 1, "signed": 2}[name]; len(m.recent) != want {
			t.Errorf("control: %s: %d are remembered, want %d", name, len(m.recent), want)
		}
	}
}

// A private key whose public half is another's makes no signature that anybody takes, also where it is remembered what was signed.
func TestTheFirstOfEachKeyIsVerified(t *testing.T) {
	private, pub := key(0)
	_, other := key(1)
	m := &memory{half: 8}
	mixed := append(bytes.Clone(private[:32]), other...)
	for range 2 {
		if sig := ed25519.Sign(mixed, []byte("x")); m.verify(other, []byte("x"), sig) {
			t.Error("it is taken")
		} else {
			m.signed(mixed, []byte("x"), sig)
		}
	}
	if len(m.recent) != 0 {
		t.Errorf("%d are remembered", len(m.recent))
	}
	m.signed(private, []byte("x"), ed25519.Sign(private, []byte("x")))
	if !m.knows(idOf(pub, []byte("x"), ed25519.Sign(private, []byte("x")))) {
		t.Error("control: a sound key's is not remembered")
	}
}

func TestTheMemoryHasABound(t *testing.T) {
	m, most := &memory{half: 4}, 0
	for n := range uint64(100) {
		m.add([32]byte(binary.BigEndian.AppendUint64(make([]byte, 24), n)))
		most = max(most, len(m.recent)+len(m.older))
	}
	if most != 8 {
		t.Errorf("%d are remembered, want 8", most)
	}
}

// The process remembers what it is told to, and nothing before.
func TestRemember(t *testing.T) {
	defer Remember(0)
	private, pub := key(2)
	text := []byte("text")
	for _, n := range []int{0, 8, 0} {
		Remember(n)
		if !Verify(pub, text, Sign(private, text)) || Verify(pub, []byte("next"), Sign(private, text)) {
			t.Error("the answers are others")
		}
		if kept := len(known.recent); (kept > 0) != (n > 0) {
			t.Errorf("of %d, %d are remembered", n, kept)
		}
	}
}
