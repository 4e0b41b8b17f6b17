// Package signature makes and verifies Ed25519 signatures for everything that is signed here.
//
// A process with many devices in it (the simulator) may remember the newest signatures that it made or found good, and says so with
// Remember: then what a thousand devices read is verified once, or never if it was signed here. No answer depends on what is remembered:
// it is always that of a verification. A signature is known by a hash of key, signature and text together; only this package fills the
// memory, with what it has verified, or made with a private key of which it has verified a signature; what is not good is verified each time.
//
// In a build with the tag standin, which is for simulations and no messenger, hashes stand for signatures: see crypto/agree.
package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
)

// NewKey is the key of a seed, as ed25519.NewKeyFromSeed.
func NewKey(seed []byte) ed25519.PrivateKey { return newKey(seed) }

// Sign is as ed25519.Sign.
func Sign(key ed25519.PrivateKey, text []byte) []byte {
	sig := sign(key, text)
	known.signed(key, text, sig)
	return sig
}

// Verify is as ed25519.Verify, and false where that would panic: for a key of another length.
func Verify(key ed25519.PublicKey, text, sig []byte) bool {
	return known.verify(key, text, sig)
}

// Remember has this process remember up to n signatures from now on; 0, with which it begins: none.
func Remember(n int) {
	known.mu.Lock()
	defer known.mu.Unlock()
	known.half, known.recent, known.older = (n+1)/2, nil, nil
}

var known memory

// memory is a set of at most 2*half hashes: when recent is full it takes the place of older.
type memory struct {
	mu            sync.Mutex
	half          int
	recent, older map[[32]byte]struct{}
}

func (m *memory) verify(key ed25519.PublicKey, text, sig []byte) bool {
	if len(key) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	if !m.on() {
		return verify(key, text, sig)
	}
	id := idOf(key, text, sig)
	if m.knows(id) {
		return true
	}
	if !verify(key, text, sig) {
		return false
	}
	m.add(id)
	return true
}

// signed notes a signature of ours. The first of each private key is verified: the public half may not be that of the seed.
func (m *memory) signed(key ed25519.PrivateKey, text, sig []byte) {
	if !m.on() {
		return
	}
	public := key.Public().(ed25519.PublicKey)
	pair := sha256.Sum256(key) // no triple is that short
	if !m.knows(pair) {
		if !verify(public, text, sig) {
			return
		}
		m.add(pair)
	}
	m.add(idOf(public, text, sig))
}

func (m *memory) on() bool {
	if !remembers {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.half > 0
}

func (m *memory) knows(id [32]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.recent[id]; ok {
		return true
	}
	_, ok := m.older[id]
	return ok
}

func (m *memory) add(id [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.recent) >= m.half {
		m.older, m.recent = m.recent, nil
	}
	if m.recent == nil {
		m.recent = map[[32]byte]struct{}{}
	}
	m.recent[id] = struct{}{}
}

// idOf names a signature: key and signature have fixed lengths, so no two triples are written alike.
func idOf(key ed25519.PublicKey, text, sig []byte) (id [32]byte) {
	h := sha256.New()
	h.Write(key)
	h.Write(sig)
	h.Write(text)
	h.Sum(id[:0])
	return id
}
