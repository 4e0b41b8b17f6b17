package repair

import "time"

// Times.
const (
	// Every is how often a relay visits a co-member, give or take a sixth.
	Every = time.Hour
	// SilentFor is how long a relay must be silent, at least, to count as lost.
	// A standby at position j waits j times StepFor more.
	SilentFor = 12 * time.Hour
	// StepFor keeps the standbys of a set from taking over together.
	StepFor = time.Hour
	// DistrustFor is how long a failed proof of possession counts.
	DistrustFor = 7 * 24 * time.Hour

	// SlowFor is how long a relay is visited apart after a visit that failed or
	// took too long.
	SlowFor = 24 * time.Hour

	// margin keeps envelopes out of samples that the other's clock may see expired.
	margin = 2 * time.Hour
	// gap is the least time between two visits to one relay.
	gap = 3 * time.Second
	// settle is what a relay that comes back is given to begin.
	settle = 2 * time.Second
	// retryMin and retryMax bound the back-off after a visit that failed.
	retryMin = 15 * time.Second
	retryMax = time.Hour
	// blind is how long a relay may hear of nobody and still judge who is silent.
	blind = 2 * Every
)

// Counts.
const (
	// MaxStrangers is how many relays outside all sets are heard with an offer,
	// beside maxFormer that stood in earlier sets of each box.
	MaxStrangers, maxFormer = 256, 16
	// MaxPeers is how many other relays are known, maxAddrs how many addresses of
	// one that sets give.
	MaxPeers, maxAddrs = 16_384, 16
	// MaxUrgent is how many boxes wait for an early visit to one relay.
	MaxUrgent = 8192
	// allEvery is the round in which empty boxes are compared too.
	allEvery = 6
	// maxPages bounds the pages of one box's digest.
	maxPages = 64
	// maxAbsent is how many boxes that a relay does not know one visit sees to.
	maxAbsent = 512
	// proofs is how many envelopes one proof of possession names.
	proofs = 8
	// sumRun and sumEntries are how many boxes, and about how many entries of theirs,
	// are summed up in one look at the store, so that no look takes long.
	sumRun, sumEntries = 32, 4096
)
