package session

import (
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
)

// fixedKEM is the encapsulation with fixed entropy, for vectors and attackers.
func fixedKEM(t testing.TB) func(*mlkem.EncapsulationKey768) (ss, ct []byte) {
	return func(ek *mlkem.EncapsulationKey768) (ss, ct []byte) {
		t.Helper()
		random := make([]byte, 32)
		for i := range random {
			random[i] = byte(i)
		}
		ss, ct, err := mlkemtest.Encapsulate768(ek, random)
		if err != nil {
			t.Fatal(err)
		}
		return ss, ct
	}
}

func encapsulateFixed(t testing.TB, b *identity.Bundle) (ss, ct []byte) {
	t.Helper()
	ek, err := mlkem.NewEncapsulationKey768(b.PQ())
	if err != nil {
		t.Fatal(err)
	}
	return fixedKEM(t)(ek)
}
