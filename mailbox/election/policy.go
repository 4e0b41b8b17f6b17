package election

import "time"

// Policy says how many relays serve and how they are chosen. A zero field
// takes its default, except Caps.
type Policy struct {
	R, W, S    int           // members, receipts that make custody, standbys
	Pool       int           // candidates that race, at most 255
	Term       time.Duration // how long a member serves before it may be swapped
	TermJitter time.Duration // spread of Term, either way
	Dead       time.Duration // silence after which a relay is not chosen
	SwapEvery  time.Duration // at most one voluntary swap in this time
	Caps       bool          // bound what one network, family, source and newcomers may hold
}

const day = 24 * time.Hour

// DefaultPolicy is R=3, W=2, S=2, term 120±30 days, caps on.
func DefaultPolicy() Policy {
	return Policy{
		R: 3, W: 2, S: 2, Pool: 64, Term: 120 * day, TermJitter: 30 * day, Dead: day, SwapEvery: 7 * day, Caps: true,
	}
}

// LocalPolicy is DefaultPolicy without caps, for loopback and LAN, where all
// relays share a network.
func LocalPolicy() Policy {
	p := DefaultPolicy()
	p.Caps = false
	return p
}

// filled replaces zero fields by their defaults and bounds what is encoded.
func (p Policy) filled() Policy {
	d := DefaultPolicy()
	fill(&p.R, d.R)
	fill(&p.W, d.W)
	fill(&p.S, d.S)
	fill(&p.Pool, d.Pool)
	fill(&p.Term, d.Term)
	fill(&p.TermJitter, d.TermJitter)
	fill(&p.Dead, d.Dead)
	fill(&p.SwapEvery, d.SwapEvery)
	p.R, p.S, p.Pool = min(p.R, maxRanks), min(p.S, maxRanks), min(p.Pool, maxPool)
	p.W = min(p.W, p.R)
	for _, d := range []*time.Duration{&p.Term, &p.TermJitter, &p.Dead, &p.SwapEvery} {
		*d = d.Truncate(time.Second)
	}
	return p
}

func fill[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

const (
	// maxRanks bounds R and S.
	maxRanks = 8
	// maxPool bounds the candidates of one election.
	maxPool = 255
	// maxIncumbents and maxPins bound what a caller names.
	maxIncumbents = 16
	maxPins       = 16
	// pinned is how many pins become members at once.
	pinned = 2

	// maturity is the age from which a relay is known well.
	maturity = 30 * day
	// youngest is the weight of age of a relay just met, in 1/100.
	youngest = 5
	// goodEnough is the availability, in 1/100, below which relays are dropped
	// where enough others reach it; keepAbove is that of a week.
	goodEnough = 90
	keepAbove  = 85
	// newcomers is how many members may be younger than maturity.
	newcomers = 2

	// ProofMemory is how long a failed proof or refused lease excludes.
	ProofMemory = 90 * day

	// MaxTranscript bounds an encoded transcript, in bytes.
	MaxTranscript = 512 << 10
)
