// Package remember keeps in memory which signatures of records this process has found good, for processes with many devices in them:
// what a thousand simulated devices read is verified once.
//
// What it guarantees: the answer is that of ed25519.Verify. A signature is known by a hash of key, signature and text together, and
// what was not good is verified each time.
package remember

import (
	"crypto/ed25519"
	"crypto/sha256"
	"sync"

	"github.com/kith-im/kith/dht"
)

// generation is how many signatures are remembered before the older ones are forgotten.
const generation = 1 << 18

type memory struct {
	mu            sync.Mutex
	recent, older map[[32]byte]struct{}
}

var install sync.Once

// Signatures has this process remember, from now on. It comes before anything verifies; daemons do without.
func Signatures() {
	install.Do(func() {
		m := &memory{recent: map[[32]byte]struct{}{}}
		dht.VerifyWith(m.verify)
	})
}

func (m *memory) verify(pub ed25519.PublicKey, signed, sig []byte) bool {
	if len(pub) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	h := sha256.New()
	h.Write(pub) // of fixed length, as the signature is: no two triples are written alike
	h.Write(sig)
	h.Write(signed)
	key := [32]byte(h.Sum(nil))
	if m.knows(key) {
		return true
	}
	if !ed25519.Verify(pub, signed, sig) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.recent) >= generation {
		m.recent, m.older = map[[32]byte]struct{}{}, m.recent
	}
	m.recent[key] = struct{}{}
	return true
}

func (m *memory) knows(key [32]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.recent[key]; ok {
		return true
	}
	_, ok := m.older[key]
	return ok
}
