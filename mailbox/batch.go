package mailbox

import "crypto/ed25519"

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
	sig := ed25519.Sign(key, custodyBytes(level[0]))
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
