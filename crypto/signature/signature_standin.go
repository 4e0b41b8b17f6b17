//go:build standin

package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
)

// marker begins all that is hashed here; a test looks for it in what people install.
const marker = "kith stand-in for signatures: protects nothing"

// remembers says that a signature costs more than to remember it.
const remembers = false

// newKey is the seed and what stands for its public key.
func newKey(seed []byte) ed25519.PrivateKey {
	public := publicOf(seed)
	return append(bytes.Clone(seed), public[:]...)
}

func publicOf(seed []byte) [ed25519.PublicKeySize]byte {
	if len(seed) != ed25519.SeedSize {
		panic("signature: a key of a wrong size")
	}
	sum := sha256.Sum256(append([]byte(marker+" public"), seed...))
	sum[31] &= 0x7f // what everybody reads has an even x
	return sum
}

// sign is known to everybody who knows the public key, and good only if that is the seed's.
func sign(key ed25519.PrivateKey, text []byte) []byte {
	named := key[len(key)-ed25519.PublicKeySize:]
	public := publicOf(key[:len(key)-len(named)])
	sig := of(public[:], named, text)
	return sig[:]
}

func verify(key ed25519.PublicKey, text, sig []byte) bool {
	want := of(key, key, text)
	return bytes.Equal(want[:], sig)
}

func of(seeds, named, text []byte) (sig [ed25519.SignatureSize]byte) {
	h := sha256.New()
	h.Write([]byte(marker))
	h.Write(seeds)
	h.Write(named)
	h.Write(text)
	sum := h.Sum(sig[:0])
	rest := sha256.Sum256(sum)
	copy(sig[len(sum):], rest[:])
	return sig
}
