package dht

import (
	"crypto/ed25519"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
)

const labelLease = "kith1 lease sig"

// Lease is a relay's signed word that it serves one rank of one set until End.
type Lease struct {
	Rank byte
	End  time.Time // whole seconds
	Sig  [64]byte  // relay key over "kith1 lease sig" | set core hash 32 | rank u8 | end u64 seconds
}

// SignLease makes a lease. relay is the relay's libp2p host key.
func SignLease(relay ed25519.PrivateKey, coreHash [32]byte, rank byte, end time.Time) Lease {
	l := Lease{Rank: rank, End: whole(end)}
	copy(l.Sig[:], signature.Sign(relay, append([]byte(labelLease), l.body(coreHash)...)))
	return l
}

// Verify reports whether relay signed this lease for the set core with this
// hash. It does not look at End.
func (l Lease) Verify(relay ed25519.PublicKey, coreHash [32]byte) bool {
	return len(relay) == ed25519.PublicKeySize && encodable(l.End) &&
		verify(relay, labelLease, l.body(coreHash), l.Sig[:])
}

func (l Lease) body(coreHash [32]byte) []byte {
	b := cryptobyte.NewBuilder(nil)
	b.AddBytes(coreHash[:])
	b.AddUint8(l.Rank)
	addTime(b, l.End)
	return b.BytesOrPanic()
}

// add appends rank u8 | end u64 seconds | signature 64.
func (l Lease) add(b *cryptobyte.Builder) {
	b.AddUint8(l.Rank)
	addTime(b, l.End)
	b.AddBytes(l.Sig[:])
}

func readLease(s *cryptobyte.String, l *Lease) bool {
	return s.ReadUint8(&l.Rank) && readTime(s, &l.End) && !l.End.IsZero() && s.CopyBytes(l.Sig[:])
}
