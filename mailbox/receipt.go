package mailbox

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
)

// custodyLabel precedes the Merkle root under a receipt's signature.
const custodyLabel = "kith1 custody sig"

const receiptVersion = 1

// Receipt is a relay's signed word that an envelope is on its disk until
// ExpiresAt. One signature covers all receipts of a commit: Path leads from
// this receipt's leaf to the signed root.
type Receipt struct {
	Relay               []byte // peer id of the relay, 38 bytes
	Box                 ID
	Envelope            EnvelopeID
	StoredAt, ExpiresAt time.Time  // whole milliseconds
	SetNumber           uint64     // newest set number of the box that the relay knows
	Path                [][32]byte // 0..10 siblings from the leaf upwards
	Sides               uint16     // bit i set: sibling i stands on the left
	Sig                 [64]byte   // Ed25519 by the relay's host key
}

// body is the part that is hashed into the leaf (121 bytes): version 1 |
// relay key 32 | box 32 | envelope id 32 | stored ms u64 | expires ms u64 |
// set number u64.
func (r *Receipt) body() []byte {
	key, _ := dht.PeerKey(r.Relay)
	b := cryptobyte.NewBuilder(make([]byte, 0, receiptBody))
	b.AddUint8(receiptVersion)
	b.AddBytes(key)
	b.AddBytes(r.Box[:])
	b.AddBytes(r.Envelope[:])
	b.AddUint64(uint64(r.StoredAt.UnixMilli()))
	b.AddUint64(uint64(r.ExpiresAt.UnixMilli()))
	b.AddUint64(r.SetNumber)
	return b.BytesOrPanic()
}

// Bytes encodes a receipt: body | path length u8 | sides u16 | siblings 32
// each | signature 64; 188 to MaxReceipt bytes.
func (r *Receipt) Bytes() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, receiptBody+3+len(r.Path)*32+64))
	b.AddBytes(r.body())
	b.AddUint8(byte(len(r.Path)))
	b.AddUint16(r.Sides)
	for i := range r.Path {
		b.AddBytes(r.Path[i][:])
	}
	b.AddBytes(r.Sig[:])
	return b.BytesOrPanic()
}

// ParseReceipt decodes what Bytes made; it does not check the signature. Its
// only error is ErrInvalid.
func ParseReceipt(raw []byte) (*Receipt, error) {
	s := cryptobyte.String(raw)
	var (
		r               Receipt
		version, path   byte
		key             []byte
		stored, expires uint64
	)
	if !s.ReadUint8(&version) || version != receiptVersion || !s.ReadBytes(&key, ed25519.PublicKeySize) ||
		!s.CopyBytes(r.Box[:]) || !s.CopyBytes(r.Envelope[:]) ||
		!s.ReadUint64(&stored) || !s.ReadUint64(&expires) || !s.ReadUint64(&r.SetNumber) ||
		!s.ReadUint8(&path) || path > maxPath || !s.ReadUint16(&r.Sides) || r.Sides>>path != 0 ||
		stored > maxMillis || expires > maxMillis {
		return nil, ErrInvalid
	}
	for range path {
		var sibling [32]byte
		if !s.CopyBytes(sibling[:]) {
			return nil, ErrInvalid
		}
		r.Path = append(r.Path, sibling)
	}
	if !s.CopyBytes(r.Sig[:]) || !s.Empty() {
		return nil, ErrInvalid
	}
	r.Relay = dht.PeerFromKey(key)
	r.StoredAt, r.ExpiresAt = timeOf(int64(stored)), timeOf(int64(expires))
	return &r, nil
}

// Verify checks that relay (a 38-byte peer id) signed custody of this envelope
// for this box. The caller looks at ExpiresAt and SetNumber itself: a relay may
// keep an envelope for less time than was asked.
func (r *Receipt) Verify(relay []byte, box ID, envelope EnvelopeID) error {
	key, ok := dht.PeerKey(relay)
	if !ok || !bytes.Equal(r.Relay, relay) || r.Box != box || r.Envelope != envelope ||
		len(r.Path) > maxPath || r.Sides>>len(r.Path) != 0 {
		return ErrInvalid
	}
	if !signature.Verify(key, custodyBytes(r.Root()), r.Sig[:]) {
		return ErrInvalid
	}
	return nil
}

func (r *Receipt) leaf() [32]byte {
	return sha256.Sum256(append([]byte{0}, r.body()...))
}

func inner(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

func custodyBytes(root [32]byte) []byte { return append([]byte(custodyLabel), root[:]...) }

// Root is the Merkle root that the receipt's signature covers. All receipts of
// one commit have the same root and the same signature: whoever has verified
// one of them may take another with an equal root, signature and relay after
// comparing its box and envelope.
func (r *Receipt) Root() [32]byte {
	root := r.leaf()
	for i, sibling := range r.Path {
		if r.Sides>>i&1 == 1 {
			root = inner(sibling, root)
		} else {
			root = inner(root, sibling)
		}
	}
	return root
}

// Batch gathers the receipts of one commit. A Store hands an empty one to the
// rules (Tx.Receipts) and calls Seal once the commit is durable.
type Batch struct {
	key      ed25519.PrivateKey
	receipts []*Receipt
}

// Len is how many receipts wait for the signature.
func (b *Batch) Len() int { return len(b.receipts) }

// Cut forgets the receipts after the first n: their writes were undone.
func (b *Batch) Cut(n int) {
	clear(b.receipts[n:])
	b.receipts = b.receipts[:n]
}

func (b *Batch) add(key ed25519.PrivateKey, r *Receipt) {
	b.key = key
	b.receipts = append(b.receipts, r)
}

// Seal signs every receipt, 1024 to a signature, and empties the batch.
func (b *Batch) Seal() {
	for rest := b.receipts; len(rest) > 0; {
		n := min(len(rest), 1<<maxPath)
		sealTree(b.key, rest[:n])
		rest = rest[n:]
	}
	b.Cut(0)
}

// sealTree builds the Merkle tree over the receipts' leaves, in their order,
// and gives each its path. A node without a sibling rises as it is; its
// receipts get no sibling at that level.
func sealTree(key ed25519.PrivateKey, receipts []*Receipt) {
	level := make([][32]byte, len(receipts))
	for i, r := range receipts {
		level[i] = r.leaf()
		r.Path, r.Sides = nil, 0
	}
	for depth := 0; len(level) > 1; depth++ {
		for i, r := range receipts {
			if at := i >> depth; at^1 < len(level) {
				r.Sides |= uint16(at&1) << len(r.Path)
				r.Path = append(r.Path, level[at^1])
			}
		}
		level = rise(level)
	}
	sig := signature.Sign(key, custodyBytes(level[0]))
	for _, r := range receipts {
		copy(r.Sig[:], sig)
	}
}

// rise computes the next level in place.
func rise(level [][32]byte) [][32]byte {
	n := 0
	for i := 0; i < len(level); i += 2 {
		if i+1 < len(level) {
			level[n] = inner(level[i], level[i+1])
		} else {
			level[n] = level[i]
		}
		n++
	}
	return level[:n]
}
