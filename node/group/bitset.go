package group

import (
	"math/bits"
	"slices"
)

// bitset is a set of nodes. The nil set is empty.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b *bitset) set(i int32) {
	if more := int(i/64) + 1 - len(*b); more > 0 {
		*b = append(*b, make(bitset, more)...)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitset) unset(i int32) {
	if int(i/64) < len(b) {
		b[i/64] &^= 1 << (i % 64)
	}
}

func (b bitset) has(i int32) bool { return int(i/64) < len(b) && b[i/64]&(1<<(i%64)) != 0 }

func (b bitset) clone() bitset { return slices.Clone(b) }

// join adds the members of o, in place where they fit.
func (b bitset) join(o bitset) bitset {
	if more := len(o) - len(b); more > 0 {
		b = append(b, make(bitset, more)...)
	}
	for i, w := range o {
		b[i] |= w
	}
	return b
}

// remove takes the members of o away.
func (b bitset) remove(o bitset) {
	for i := range min(len(b), len(o)) {
		b[i] &^= o[i]
	}
}

// and is a new set, of the common members.
func (b bitset) and(o bitset) bitset {
	out := make(bitset, min(len(b), len(o)))
	for i := range out {
		out[i] = b[i] & o[i]
	}
	return out
}

// meets reports whether there is a common member other than i.
func (b bitset) meets(o bitset, i int32) bool {
	for w := range min(len(b), len(o)) {
		both := b[w] & o[w]
		if w == int(i/64) {
			both &^= 1 << (i % 64)
		}
		if both != 0 {
			return true
		}
	}
	return false
}

// first is the least member; none if there is none.
func (b bitset) first() int32 {
	for w, word := range b {
		if word != 0 {
			return int32(w*64 + bits.TrailingZeros64(word))
		}
	}
	return none
}

func (b bitset) empty() bool { return b.first() == none }

// each calls f with the members in ascending order, until it returns false.
func (b bitset) each(f func(i int32) bool) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			if !f(int32(w*64 + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

func (b bitset) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
