package identity

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/agree"
)

// Prekey is the secret half of a bundle: 128 bytes of seeds and hash, from
// which the keys are expanded when they are needed.
type Prekey struct {
	hash [32]byte
	spk  [32]byte
	pq   [agree.SeedSize]byte
}

// Hash is the hash of the bundle that carries the public half.
func (p *Prekey) Hash() [32]byte { return p.hash }

// ID is the first 8 bytes of Hash: how a first flight names the prekey.
func (p *Prekey) ID() [8]byte { return [8]byte(p.hash[:8]) }

// SPK is the X25519 prekey.
func (p *Prekey) SPK() *agree.Private { return x25519Key(p.spk) }

// PQ is the ML-KEM-768 key, expanded from its seed (FIPS 203, about 50 µs).
func (p *Prekey) PQ() *agree.Decapsulator {
	k, err := agree.NewDecapsulator(p.pq[:])
	if err != nil {
		panic("identity: ml-kem: " + err.Error()) // every 64 bytes are a seed
	}
	return k
}

// Marshal is the secrets, 129 bytes: version 1 | bundle hash 32 | X25519
// scalar 32 | ML-KEM seed 64 (d | z). Keep them in the vault.
func (p *Prekey) Marshal() []byte {
	b := append(make([]byte, 0, prekeySize), formatVersion)
	b = append(b, p.hash[:]...)
	b = append(b, p.spk[:]...)
	return append(b, p.pq[:]...)
}

// ParsePrekey reads what Marshal wrote.
func ParsePrekey(raw []byte) (*Prekey, error) {
	var p Prekey
	var version uint8
	s := cryptobyte.String(raw)
	if !s.ReadUint8(&version) || version != formatVersion || !s.CopyBytes(p.hash[:]) ||
		!s.CopyBytes(p.spk[:]) || !s.CopyBytes(p.pq[:]) || !s.Empty() {
		return nil, ErrInvalid
	}
	return &p, nil
}
