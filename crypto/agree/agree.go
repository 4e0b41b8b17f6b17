// Package agree is the door to the agreements on secrets: X25519 and ML-KEM-768, for everything that is not libp2p, a backup or a link.
// The keys are made of bytes that the caller draws, in the same number whatever is behind the door; only an encapsulation draws its own.
//
// Behind it is the standard library, or, in a build with the tag standin, hashes: keys, ciphertexts and secrets of the same sizes, the
// same secret on both sides and another for all others, the same refusals, and nothing that is secret, for a secret is made of what
// everybody sees. Such a build is for simulations, where the real thing is a quarter of the work; see docs/decisions/0020. What is behind
// the door is settled by the compiler: no code, setting or input of a messenger can choose.
package agree

// What may be behind the doors, as results name it.
const (
	Real   = "real"
	Hashes = "stand-in"
)

// StandIn says that this build is a simulator and no messenger: what it signs and agrees on protects nothing.
const StandIn = Kind == Hashes

// Sizes of keys and ciphertexts.
const (
	SeedSize             = 64 // what a Decapsulator is made of: d and z of FIPS 203
	EncapsulationKeySize = 1184
	CiphertextSize       = 1088
)

// lowOrder are the u-coordinates whose order divides 8, on the curve or on its twist: a shared secret with one of them is zero
// whoever the peer is (RFC 7748, section 6.1).
var lowOrder = [...][32]byte{
	{},
	{1},
	{
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{
		0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
	},
	{
		0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
	},
}

// LowOrder says whether an X25519 public key, below 2^255-19 in little-endian order, is of low order.
func LowOrder(u [32]byte) bool {
	for _, l := range lowOrder {
		if u == l {
			return true
		}
	}
	return false
}
