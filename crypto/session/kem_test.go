package session

import (
	"io"
	"testing"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
)

// encapsulateTo is one encapsulation to a bundle.
func encapsulateTo(t testing.TB, rng io.Reader, b *identity.Bundle) (ss, ct []byte) {
	t.Helper()
	ek, err := agree.NewEncapsulator(b.PQ())
	if err != nil {
		t.Fatal(err)
	}
	return seededKEM(t, rng)(ek)
}
