//go:build standin

package agree

import (
	"bytes"
	"crypto/sha256"
	"errors"
)

// Kind is what is behind the doors of this build.
const Kind = Hashes

// marker begins all that is hashed here; a test looks for it in what people install.
const marker = "kith stand-in for agreements: protects nothing"

type (
	// Private is what stands for the secret half of an X25519 key.
	Private struct{ scalar, public [32]byte }
	// Decapsulator is what stands for the secret half of an ML-KEM-768 key.
	Decapsulator struct{ public [EncapsulationKeySize]byte }
	// Encapsulator is the public half.
	Encapsulator struct{ hash [32]byte }
)

var errSize = errors.New("agree: a key or a ciphertext of a wrong size")

func hash(what byte, parts ...[]byte) (sum [32]byte) {
	h := sha256.New()
	h.Write([]byte(marker))
	h.Write([]byte{what})
	for _, p := range parts { // all but the last have a fixed size
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// NewPrivate makes a key of a scalar; every 32 bytes are one.
func NewPrivate(scalar []byte) (*Private, error) {
	if len(scalar) != 32 {
		return nil, errSize
	}
	k := &Private{[32]byte(scalar), hash('x', scalar)}
	k.public[31] &= 0x7f // the bit that X25519 leaves free
	return k, nil
}

// ScalarOf is what a key was made of.
func ScalarOf(k *Private) [32]byte { return k.scalar }

// PublicOf is the public half of a key.
func PublicOf(k *Private) [32]byte { return k.public }

// Secret is made of the two public halves, and refused where X25519 refuses it: for a public key of low order, however it is spelled.
func Secret(private *Private, public []byte) ([]byte, bool) {
	if len(public) != 32 {
		return nil, false
	}
	peer := reduced([32]byte(public))
	if LowOrder(peer) {
		return nil, false
	}
	low, high := private.public[:], peer[:]
	if bytes.Compare(low, high) > 0 {
		low, high = high, low
	}
	secret := hash('s', low, high)
	return secret[:], true
}

// reduced is the canonical spelling of a public key: below 2^255-19, without the bit that X25519 ignores.
func reduced(u [32]byte) [32]byte {
	u[31] &= 0x7f
	if u[31] != 0x7f || u[0] < 0xed {
		return u
	}
	for _, b := range u[1:31] {
		if b != 0xff {
			return u
		}
	}
	return [32]byte{u[0] - 0xed}
}

// NewDecapsulator expands a key from its seed; every 64 bytes are one.
func NewDecapsulator(seed []byte) (*Decapsulator, error) {
	if len(seed) != SeedSize {
		return nil, errSize
	}
	k := &Decapsulator{}
	fill(k.public[:], hash('d', seed))
	for i := range modulusEnd {
		k.public[i] &= 0x77 // each number below 0x778
	}
	return k, nil
}

// fill repeats a hash: what stands there has to be as long as the real thing, and different for different keys.
func fill(to []byte, from [32]byte) {
	for len(to) > 0 {
		to = to[copy(to, from[:]):]
	}
}

// modulusEnd is where an encapsulation key's 768 numbers of 12 bits end; a key with one that is not below q is refused (FIPS 203, 7.2).
const (
	modulusEnd = EncapsulationKeySize - 32
	q          = 3329
)

// NewEncapsulator reads the public half of a key; not every 1184 bytes are one.
func NewEncapsulator(raw []byte) (*Encapsulator, error) {
	if len(raw) != EncapsulationKeySize {
		return nil, errSize
	}
	for i := 0; i < modulusEnd; i += 3 {
		a, b, c := uint(raw[i]), uint(raw[i+1]), uint(raw[i+2])
		if a|b&0xf<<8 >= q || b>>4|c<<4 >= q {
			return nil, errors.New("agree: an encapsulation key with a number that is too large")
		}
	}
	return &Encapsulator{hash('e', raw)}, nil
}

// EncapsulationKey is the public half as it is sent.
func EncapsulationKey(k *Decapsulator) []byte { return bytes.Clone(k.public[:]) }

// Encapsulate makes a secret and the 1088 bytes from which the secret half reads it. It draws nothing: to one key it is always the same.
func Encapsulate(k *Encapsulator) (ss, ct []byte) {
	ct = make([]byte, CiphertextSize)
	fill(ct, k.hash)
	secret := hash('k', k.hash[:], ct)
	return secret[:], ct
}

// Decapsulate reads it. What another key or nobody has made gives another secret; only the length can be wrong.
func Decapsulate(k *Decapsulator, ct []byte) (ss []byte, err error) {
	if len(ct) != CiphertextSize {
		return nil, errSize
	}
	of := hash('e', k.public[:])
	secret := hash('k', of[:], ct)
	return secret[:], nil
}
