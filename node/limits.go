package node

import "time"

// Times of delivery.
const (
	// Retention is how long a message is tried, and how long a relay keeps it.
	Retention = 30 * 24 * time.Hour
	// headStart is how long a device has to acknowledge what went over its held stream before relays get a copy.
	headStart = time.Second
	// dialHeadStart is the same when the stream has yet to be made.
	dialHeadStart = 250 * time.Millisecond
	// ackJitter spreads acknowledgements that go through a mailbox, so that relays cannot pair them with a fetch.
	ackJitter = 5 * time.Second
	// repairAfter is the age of an unacknowledged delivery at which hearing from its device means that it was lost.
	repairAfter = 60 * time.Second
	// repairEvery bounds how often one delivery is sealed anew.
	repairEvery = 10 * time.Minute
	// recheckCustody is when a delivery that every relay signed for is looked at again.
	recheckCustody = 6 * time.Hour
)

// Back-off of retries: full jitter up to a ceiling that doubles.
const (
	retryMin      = 2 * time.Second
	retryMax      = 2 * time.Minute
	retryLateMin  = 5 * time.Minute
	retryLateMax  = 6 * time.Hour
	retryLate     = time.Hour // age from which the late ceiling holds
	retryFloor    = 100 * time.Millisecond
	lookupRetries = 6 // doublings of retryMin between lookups of one record
)

// Clock bounds on what others claim.
const (
	maxAhead  = 2 * time.Minute // a message may claim to be this far in the future
	maxBehind = Retention       // ... and this far in the past
	seenFor   = 45 * 24 * time.Hour
)

// Life of what we publish.
const (
	listLife      = 14 * 24 * time.Hour
	listRenew     = 7 * 24 * time.Hour
	bundleLife    = 7 * 24 * time.Hour
	bundleEvery   = 24 * time.Hour
	bundleJitter  = bundleEvery / 5
	prekeyCap     = 37 * 24 * time.Hour // after supersession
	reachDebounce = 500 * time.Millisecond
	listRecheck   = 24 * time.Hour
	maxInvite     = 30 * 24 * time.Hour
	inviteDefault = 7 * 24 * time.Hour
)

// Election.
const (
	epochsAhead   = 5
	boxKeysTold   = 13              // epochs whose box keys contacts are told
	roundPatience = 5 * time.Second // for each step of an election round
	roundDebounce = 400 * time.Millisecond
	roundRetry    = 30 * time.Second
	leaseBeyond   = 31 * 24 * time.Hour // a lease lasts this long after its epoch
	frontDoorLife = 35 * 24 * time.Hour
	frontDoorTurn = 7 * 24 * time.Hour // renewed when less than frontDoorLife - frontDoorTurn is left
	electEvery    = time.Hour          // between two looks at our relays
	electJitter   = 10 * time.Minute
	maxRelays     = 256         // candidates kept
	observeEvery  = time.Minute // between two writes of a relay's counters
)

// Counts.
const (
	maxContacts   = 10_000
	maxDevices    = 16 // of one account
	maxSessions   = 5  // of one device
	maxParked     = 256
	parkFor       = Retention
	maxInvites    = 64
	maxDeclines   = 16   // of one used or expired link
	maxParsed     = 1024 // records of one kind, parsed and in memory
	maxMeet       = 64   // connections asked for at the start
	maxSteps      = 32   // trace steps of one delivery
	maxHeads      = 3
	maxSets       = 8 // set records kept of one device
	maxEvents     = 10_000
	maxOutbox     = 100_000
	trialBudget   = 64 // header trials for one envelope without a known tag
	frontEnvelope = 4 << 10
)
