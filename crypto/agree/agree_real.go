//go:build !standin

package agree

import (
	"crypto/ecdh"
	"crypto/mlkem"
)

// Kind is what is behind the doors of this build.
const Kind = Real

type (
	// Private is the secret half of an X25519 key, and knows the public one.
	Private = ecdh.PrivateKey
	// Decapsulator is the secret half of an ML-KEM-768 key.
	Decapsulator = mlkem.DecapsulationKey768
	// Encapsulator is the public half.
	Encapsulator = mlkem.EncapsulationKey768
)

// NewPrivate makes a key of a scalar; every 32 bytes are one.
func NewPrivate(scalar []byte) (*Private, error) { return ecdh.X25519().NewPrivateKey(scalar) }

// ScalarOf is what a key was made of.
func ScalarOf(k *Private) [32]byte { return [32]byte(k.Bytes()) }

// PublicOf is the public half of a key.
func PublicOf(k *Private) [32]byte { return [32]byte(k.PublicKey().Bytes()) }

// Secret is X25519; it refuses public keys of low order (RFC 7748, section 6.1).
func Secret(private *Private, public []byte) ([]byte, bool) {
	key, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, false
	}
	secret, err := private.ECDH(key)
	return secret, err == nil
}

// NewDecapsulator expands a key from its seed; every 64 bytes are one.
func NewDecapsulator(seed []byte) (*Decapsulator, error) { return mlkem.NewDecapsulationKey768(seed) }

// NewEncapsulator reads the public half of a key; not every 1184 bytes are one.
func NewEncapsulator(raw []byte) (*Encapsulator, error) { return mlkem.NewEncapsulationKey768(raw) }

// EncapsulationKey is the public half as it is sent.
func EncapsulationKey(k *Decapsulator) []byte { return k.EncapsulationKey().Bytes() }

// Encapsulate makes a secret and the 1088 bytes from which only the secret half reads it.
func Encapsulate(k *Encapsulator) (ss, ct []byte) { return k.Encapsulate() }

// Decapsulate reads it. What another key or nobody has made gives another secret; only the length can be wrong.
func Decapsulate(k *Decapsulator, ct []byte) (ss []byte, err error) { return k.Decapsulate(ct) }
