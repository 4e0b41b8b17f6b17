package upkeep

import "time"

const (
	// poll is how often the time is looked at, at least: a clock may be set.
	poll = time.Minute
	// lookEvery is how often the boxes of a store that changes are gone through,
	// lookBox what each box adds to that, lookAnyway how often if nothing changes.
	lookEvery, lookBox, lookAnyway = 5 * time.Second, 2 * time.Millisecond, 10 * time.Minute
	// visitWithin bounds one visit, and slowWithin one to a relay that is slow;
	// what is left waits for the next. visitsAtOnce is how many of one grade run.
	visitWithin, slowWithin, visitsAtOnce = time.Minute, 10 * time.Minute, 4
	// lookRun is how many boxes one look at the store takes: the writer waits for it.
	lookRun = 256
	// clockEvery is how often a braked clock is held against others.
	clockEvery = 5 * time.Minute
	// maxWitnesses is how many clocks are asked at once, witnesses how many
	// have to answer.
	maxWitnesses, witnesses = 9, 3
	// clockWithin bounds the asking.
	clockWithin = time.Minute
	// scrubEvery is how often the store is read through; the first time comes
	// scrubFirst after the start.
	scrubEvery, scrubFirst = 24 * time.Hour, time.Hour
	// maxSpoilt is how many spoilt envelopes one scrub heals.
	maxSpoilt = 4096
	// drainsAtOnce is how many relays a drain hands over to at once; who failed is
	// asked again after drainAgain.
	drainsAtOnce, drainAgain = 8, 5 * time.Minute
	// drainFirst is the pause after the first pass of a drain; it doubles to
	// drainEvery.
	drainFirst, drainEvery = time.Second, time.Minute

	// MaxMet is how many adverts are remembered.
	MaxMet = 64
	// MaxGossip is how many adverts are served at once.
	MaxGossip = 16
	// maxOffers is how many offers wait to be looked at.
	maxOffers = 256
)
