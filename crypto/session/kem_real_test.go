//go:build !standin

package session

import (
	"crypto/mlkem/mlkemtest"
	"io"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
)

// seededKEM is the encapsulation with its 32 bytes from rng: tests that run in several
// processes (fuzzing) and test vectors need it to repeat.
func seededKEM(t testing.TB, rng io.Reader) func(*agree.Encapsulator) (ss, ct []byte) {
	return func(ek *agree.Encapsulator) (ss, ct []byte) {
		t.Helper()
		random := make([]byte, 32)
		if _, err := io.ReadFull(rng, random); err != nil {
			t.Fatal(err)
		}
		ss, ct, err := mlkemtest.Encapsulate768(ek, random)
		if err != nil {
			t.Fatal(err)
		}
		return ss, ct
	}
}
