package boltstore

import (
	"encoding/binary"
	"fmt"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/store"
)

// sum is what a bucket should hold: how many rows, and the exclusive-or of a keyed digest of each. Without the key
// nobody can choose rows that keep it.
type sum struct {
	rows   uint64
	digest [blindSize]byte
}

// sums are indexed by bucket number. An array: a transaction works on its own copy.
type sums [256]sum

// digest names one sealed row. The tag that ends it authenticates the rest.
func digest(v *vault.Vault, b store.Bucket, stored, sealed []byte) [blindSize]byte {
	tag := sealed[max(0, len(sealed)-tagSize):]
	row := append([]byte{byte(b), 1}, stored...)
	return v.Blind(append(row, tag...))
}

func (x *sums) add(v *vault.Vault, b store.Bucket, stored, sealed []byte) {
	x[b].rows++
	x[b].mix(digest(v, b, stored, sealed))
}

func (x *sums) remove(v *vault.Vault, b store.Bucket, stored, sealed []byte) {
	x[b].rows--
	x[b].mix(digest(v, b, stored, sealed))
}

func (x *sum) mix(d [blindSize]byte) {
	for i := range d {
		x.digest[i] ^= d[i]
	}
}

const sumSize = 1 + 8 + blindSize

// marshal writes the buckets that hold something: number u8 | rows u64 | digest.
func (x sums) marshal() []byte {
	var out []byte
	for b, s := range x {
		if s.rows == 0 {
			continue
		}
		out = append(out, byte(b))
		out = binary.BigEndian.AppendUint64(out, s.rows)
		out = append(out, s.digest[:]...)
	}
	return out
}

func parseSums(raw []byte) (sums, error) {
	var x sums
	if len(raw)%sumSize != 0 {
		return x, &Damage{Place: "header/sums", Why: fmt.Sprintf("%d bytes", len(raw))}
	}
	for ; len(raw) > 0; raw = raw[sumSize:] {
		s := &x[raw[0]]
		s.rows = binary.BigEndian.Uint64(raw[1:9])
		copy(s.digest[:], raw[9:sumSize])
	}
	return x, nil
}
