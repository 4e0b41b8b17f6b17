package election

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

// one is 1.0 of a fixed-point number.
const one = 1 << 31

// up is (good+1)/(good+bad+2): the availability to expect, with a little doubt
// where little was seen.
func up(good, bad uint32) uint64 {
	return (uint64(good) + 1) * one / (uint64(good) + uint64(bad) + 2)
}

// percent is n/100 as a fixed-point number.
func percent(n uint64) uint64 { return n * one / 100 }

// weight is age × up^4, between 1/one and 1; 0 excludes.
func (c Candidate) weight(now time.Time) uint64 {
	if !c.Failed.IsZero() && now.Sub(c.Failed) < ProofMemory {
		return 0
	}
	u := up(c.Good, c.Bad)
	u = u * u / one
	u = u * u / one
	return max(u*c.age(now)/one, 1)
}

// age grows from 0.05 to 1 in the first 30 days.
func (c Candidate) age(now time.Time) uint64 {
	hours := uint64(min(max(now.Sub(c.Known), 0), maturity) / time.Hour)
	return max(hours*one/uint64(maturity/time.Hour), percent(youngest))
}

// weak says whether a relay was away too much in a week.
func (c Candidate) weak() bool {
	return c.WeekBad > 0 && up(c.WeekGood, c.WeekBad) < percent(keepAbove)
}

// newcomer says whether a relay is known for less than 30 days.
func (c Candidate) newcomer(now time.Time) bool { return now.Sub(c.Known) < maturity }

const scoreLabel = "kith1 elect"

// score is the time that a candidate takes in the race: -log2(U) / weight,
// where U in (0,1] comes from SHA-256(label | seed | peer id). The least wins.
func score(seed [32]byte, peer []byte, weight uint64) uint64 {
	b := make([]byte, 0, len(scoreLabel)+len(seed)+len(peer))
	b = append(b, scoreLabel...)
	b = append(b, seed[:]...)
	h := sha256.Sum256(append(b, peer...))
	return (minusLog2(binary.BigEndian.Uint64(h[:])) << 20) / max(weight, 1)
}

// minusLog2 is -log2((x+1)/2^64) with 32 binary digits, cut: at most 64<<32.
func minusLog2(x uint64) uint64 {
	if x++; x == 0 {
		return 0 // (x+1)/2^64 is 1
	}
	whole := uint64(bits.Len64(x) - 1)
	m := x << (63 - whole) // mantissa in [1,2), the 1 at bit 63
	fraction := uint64(0)
	for range 32 { // squaring doubles the logarithm; each doubling over 2 is a digit
		fraction <<= 1
		high, low := bits.Mul64(m, m)
		if high>>63 == 1 {
			fraction |= 1
			m = high
		} else {
			m = high<<1 | low>>63
		}
	}
	return 64<<32 - (whole<<32 | fraction)
}

// term is how long one relay serves: Term ± TermJitter, by the seed.
func (in *input) term(peer []byte) time.Duration {
	b := append([]byte("kith1 term"), in.seed[:]...)
	h := sha256.Sum256(append(b, peer...))
	spread := uint64(2*in.policy.TermJitter/time.Second) + 1
	off := time.Duration(binary.BigEndian.Uint64(h[:])%spread) * time.Second
	return in.policy.Term - in.policy.TermJitter + off
}
