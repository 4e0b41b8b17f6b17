//go:build !standin

package signature

import "crypto/ed25519"

// remembers says that a signature costs more than to remember it.
const remembers = true

func newKey(seed []byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed) }

func sign(key ed25519.PrivateKey, text []byte) []byte { return ed25519.Sign(key, text) }

func verify(key ed25519.PublicKey, text, sig []byte) bool { return ed25519.Verify(key, text, sig) }
