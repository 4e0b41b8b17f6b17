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
	h := sha512.Sum512(append([]byte(labelSafety), u[:]...))
	for range safetyIterations - 1 {
		h = sha512.Sum512(append(h[:], u[:]...))
	}
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
