package mailbox

import "crypto/sha256"

// Possession is a relay's answer to "do you hold this envelope?".
type Possession struct {
	State byte
	Proof [32]byte // ProofOf, while it holds the envelope
}

// States of a Possession. Their numbers are what travels.
const (
	Unknown byte = iota // not here: never was, or has expired
	Holds
	Buried // the box's owner has acknowledged it
)

const possessionLabel = "kith1 possession"

// ProofOf is H("kith1 possession" | nonce | envelope): nobody can say it for a
// new nonce who does not have the envelope.
func ProofOf(nonce [32]byte, envelope []byte) [32]byte {
	b := make([]byte, 0, len(possessionLabel)+len(nonce)+len(envelope))
	b = append(append(b, possessionLabel...), nonce[:]...)
	return sha256.Sum256(append(b, envelope...))
}
