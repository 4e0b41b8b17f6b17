package blob

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
	"testing"

	"golang.org/x/crypto/chacha20"
)

// poly is the one-time authenticator that a chunk's key and nonce give.
type poly struct{ r, s *big.Int }

var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))

// little reads a number whose least byte comes first.
func little(b []byte) *big.Int {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

func polyOf(t *testing.T, key Key, nonce []byte) poly {
	t.Helper()
	sub, err := hkdf.Key(sha256.New, key[:], nil, chunkLabel, 32)
	if err != nil {
		t.Fatal(err)
	}
	c, err := chacha20.NewUnauthenticatedCipher(sub, nonce)
	if err != nil {
		t.Fatal(err)
	}
	once := make([]byte, 32)
	c.XORKeyStream(once, once)
	for _, i := range []int{3, 7, 11, 15} {
		once[i] &= 15
	}
	for _, i := range []int{4, 8, 12} {
		once[i] &= 252
	}
	return poly{little(once[:16]), little(once[16:])}
}

// sum is the polynomial over blocks modulo the prime, with zero in the place of
// the block at hole, and the power of r that the hole stands before.
func (p poly) sum(blocks []*big.Int, hole int) (acc, power *big.Int) {
	acc, power = new(big.Int), big.NewInt(1)
	for i, b := range blocks {
		if i != hole {
			acc.Add(acc, b)
		}
		acc.Mul(acc, p.r).Mod(acc, prime)
		if i >= hole {
			power.Mul(power, p.r).Mod(power, prime)
		}
	}
	return acc, power
}

// salamander is a chunk of 256 bytes that opens under two keys: one block is
// chosen so that both authenticators agree.
func salamander(t *testing.T, a, b Key) []byte {
	t.Helper()
	const hole = 3
	top := new(big.Int).Lsh(big.NewInt(1), 128)
	pa, pb := polyOf(t, a, nonce(0, true)), polyOf(t, b, nonce(0, true))
	for seed := range uint64(200) {
		body := noise(seed, MinPadded)
		var blocks []*big.Int
		for chunk := range slices.Chunk(body, 16) {
			blocks = append(blocks, new(big.Int).Add(little(chunk), top))
		}
		lengths := binary.LittleEndian.AppendUint64(make([]byte, 8), MinPadded)
		blocks = append(blocks, new(big.Int).Add(little(lengths), top))
		accA, powA := pa.sum(blocks, hole)
		accB, powB := pb.sum(blocks, hole)
		// accA + x powA + sA = accB + x powB + sB
		x := new(big.Int).Sub(new(big.Int).Add(accB, pb.s), new(big.Int).Add(accA, pa.s))
		x.Mul(x, new(big.Int).ModInverse(new(big.Int).Mod(new(big.Int).Sub(powA, powB), prime), prime)).Mod(x, prime)
		if x.Cmp(top) < 0 || x.BitLen() > 129 {
			continue // no block has this value
		}
		tag := func(p poly, acc, pow *big.Int) *big.Int {
			full := new(big.Int).Mod(new(big.Int).Add(acc, new(big.Int).Mul(x, pow)), prime)
			return full.Add(full, p.s).Mod(full, top)
		}
		tagA, tagB := tag(pa, accA, powA), tag(pb, accB, powB)
		if tagA.Cmp(tagB) != 0 {
			continue // the carries differ
		}
		put := func(dst []byte, n *big.Int) {
			n.FillBytes(dst)
			slices.Reverse(dst)
		}
		put(body[hole*16:hole*16+16], new(big.Int).Sub(x, top))
		sealed := append(body, make([]byte, Overhead)...)
		put(sealed[MinPadded:], tagA)
		return sealed
	}
	t.Fatal("no salamander found")
	return nil
}

// TestAMessageNamesOneFile: the cipher alone lets a sender make a chunk that is
// one thing for one key and another for another (the control); no manifest
// opens under both, so no two people get two files by one name.
func TestAMessageNamesOneFile(t *testing.T) {
	a, b := keyOf(1), keyOf(2)
	chunk := salamander(t, a, b)
	m := &Manifest{Size: MinPadded, Chunks: []Digest{DigestOf(chunk)}}
	one, errA := NewOpener(a, m).Open(0, chunk, nil)
	two, errB := NewOpener(b, m).Open(0, chunk, nil)
	if errA != nil || errB != nil || bytes.Equal(one, two) {
		t.Fatalf("the control: %v, %v", errA, errB)
	}
	sealed := m.seal(a)
	if _, err := OpenManifest(a, DigestOf(sealed), sealed); err != nil {
		t.Error(err)
	}
	if _, err := OpenManifest(b, DigestOf(sealed), sealed); !errors.Is(err, ErrInvalid) {
		t.Errorf("the other key: %v", err)
	}
}
