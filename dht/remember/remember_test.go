package remember

import (
	"crypto/ed25519"
	"testing"
)

// What is remembered is the whole of key, text and signature: none of them can be exchanged afterwards.
func TestRememberedSignaturesAreWhole(t *testing.T) {
	m := &memory{recent: map[[32]byte]struct{}{}}
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	other := ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))
	pub, text := key.Public().(ed25519.PublicKey), []byte("label text")
	sig := ed25519.Sign(key, text)
	bad := append([]byte{}, sig...)
	bad[0] ^= 1
	for range 2 { // the second time it is remembered
		if !m.verify(pub, text, sig) {
			t.Fatal("a good signature is refused")
		}
		for what, ok := range map[string]bool{
			"key": m.verify(other.Public().(ed25519.PublicKey), text, sig), "text": m.verify(pub, []byte("label next"), sig),
			"signature": m.verify(pub, text, bad), "length": m.verify(pub, text, sig[:63]), "shift": m.verify(pub, append(sig[63:], text...), sig[:63]),
		} {
			if ok {
				t.Errorf("another %s is taken", what)
			}
		}
	}
	if len(m.recent) != 1 {
		t.Errorf("control: %d are remembered, want the good one", len(m.recent))
	}
}
