package identity

import (
	"crypto/sha512"
	"fmt"
	"strings"
)

// Safety number: two halves of 30 digits.
const (
	labelSafety      = "kith1 safety"
	safetyIterations = 5200 // raises the price of a look-alike half from 2^99.7 hashes to 2^112
	safetyGroups     = 6    // of 5 digits from 5 bytes, per half
	safetyGroupBytes = 5
	safetyWords      = 7 // of 11 bits, per half, from the bytes after those of the digits
)

// SafetyNumber is the 60 digits that two people compare: 12 groups of 5 with
// spaces between, the same whichever of them asks. It depends on the two
// user ids alone and so survives new devices and new account keys. Each half
// is an iterated SHA-512 of one id, as in Signal's numeric fingerprints; the
// smaller half comes first.
func SafetyNumber(a, b UserID) string {
	x, y := safetyHalf(a), safetyHalf(b)
	if y < x {
		x, y = y, x
	}
	return x + " " + y
}

func safetyHalf(u UserID) string {
	h := safetyHash(u)
	groups := make([]string, safetyGroups)
	for i := range groups {
		var v uint64
		for _, c := range h[i*safetyGroupBytes : (i+1)*safetyGroupBytes] {
			v = v<<8 | uint64(c)
		}
		groups[i] = fmt.Sprintf("%05d", v%100000)
	}
	return strings.Join(groups, " ")
}

func safetyHash(u UserID) [sha512.Size]byte {
	h := sha512.Sum512(append([]byte(labelSafety), u[:]...))
	for range safetyIterations - 1 {
		h = sha512.Sum512(append(h[:], u[:]...))
	}
	return h
}

// SafetyWords is a user's half of the safety number for whoever would rather
// read words: 7 of the BIP39 English list, 77 bits that are others than those
// of the digits. Two halves are 14 words, so that nobody takes them for a
// recovery phrase.
func (u UserID) SafetyWords() string {
	h := safetyHash(u)
	from := h[safetyGroups*safetyGroupBytes:]
	out := make([]string, safetyWords)
	for w := range out {
		index := 0
		for i := range 11 {
			at := w*11 + i
			index = index<<1 | int(from[at/8]>>(7-at%8)&1)
		}
		out[w] = words[index]
	}
	return strings.Join(out, " ")
}
