package node

import (
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/chat"
)

// Times of delivery.
const (
	// Retention is how long a message is tried, and how long a relay keeps it.
	Retention = mailbox.MaxTTL
	// headStart is how long a device has to acknowledge what went over its held stream before relays get a copy.
	headStart = time.Second
	// dialHeadStart is the same when the stream has yet to be made.
	dialHeadStart = 250 * time.Millisecond
	// busyWait is the first wait after a stream took no more; it doubles, maxBusy times, before relays get a copy.
	busyWait = 50 * time.Millisecond
	maxBusy  = 5
	// maxMoves is how many newer sets one attempt follows at once; relays that know of ever newer ones wait for the next.
	maxMoves = 3
	// ackJitter spreads acknowledgements that go through a mailbox, so that relays cannot pair them with a fetch.
	ackJitter = 5 * time.Second
	// ackGather is how long an acknowledgement waits for the other envelopes of what comes in several.
	ackGather = 50 * time.Millisecond
	// repairAfter is the age of an unacknowledged delivery at which hearing from its device means that it was lost.
	repairAfter = 60 * time.Second
	// repairEvery is the pause before a delivery is sealed anew for the second time; it doubles, up to repairMax.
	repairEvery = 10 * time.Minute
	repairMax   = 12 * time.Hour
	// reinitAfter is how long a first flight may go unanswered before a newer bundle of its device is tried.
	reinitAfter = 48 * time.Hour
	// afreshEvery is the least time between two fresh starts of all sessions because of what the network shows.
	afreshEvery = time.Hour
	// lostEvery is the least time between two times that a device is believed to have lost its sessions.
	lostEvery = 10 * time.Minute
	// renewRepairs is how often a delivery is sealed anew on the session that stands before it is given up.
	renewRepairs = 2
	// maxUnopened is how many envelopes of a device that do not open come over its own stream before that.
	maxUnopened = 2
	// recheckCustody is when a delivery that every relay signed for is looked at again.
	recheckCustody = 6 * time.Hour
	// auditFirst to 1.5 auditFirst after a relay signed, one of those that did is asked to show that it has it; then
	// another every day, give or take half of auditJitter.
	auditFirst  = 50 * time.Minute
	auditEvery  = day
	auditJitter = 4 * time.Hour
	// promiseSlack is how much sooner than asked a relay may let go of an envelope, because clocks differ: a receipt for
	// less is none. In the last promiseSlack nobody is audited.
	promiseSlack = 2 * day
	// buriedGrace is how long the device may take to acknowledge what it fetched from a relay.
	buriedGrace = day
	// warnBefore is when a person hears that a message is about to expire.
	warnBefore = 5 * day
)

// lookupRetries is how many doublings of outbox.RetryMin come between lookups of one record.
const lookupRetries = 6

// History, compared between our own devices.
const (
	historyEvery   = 7 * day
	historyRetry   = 6 * time.Hour
	historyOffered = 30 * day // what a new device gets by itself
	historyOverlap = 2 * Retention
	historySoon    = 5 * time.Second  // after a message whose sender holds another list of our devices
	historyPause   = 10 * time.Minute // at most so often for that reason
)

// Clock bounds on what others claim.
const (
	maxAhead  = 2 * time.Minute // a message may claim to be this far in the future
	maxBehind = Retention       // ... and this far in the past
	seenFor   = Retention * 3 / 2
	day       = 24 * time.Hour
)

// Who is writing.
const (
	typingFor   = 6 * time.Second // believed after it was last said
	typingEvery = 3 * time.Second // said again at most so often
	maxTyping   = 1024
)

// Life of what we publish.
const (
	listLife      = identity.ListLifetime
	listRenew     = listLife / 2
	bundleLife    = identity.BundleLifetime
	bundleEvery   = day
	bundleJitter  = bundleEvery / 5
	bundleStale   = bundleEvery * 3 / 4 // at a start: who is there for an hour a day has a new one every day
	prekeysEvery  = 6 * time.Hour       // between two looks at old secrets
	prekeysSoon   = time.Minute         // after a drain, which seldom comes alone
	reachDebounce = 500 * time.Millisecond
	listRecheck   = day
	ownListEvery  = 6 * time.Hour
	maxInvite     = 30 * day
	inviteDefault = 7 * day
)

// Election.
const (
	epochsAhead   = 5
	boxKeysTold   = 13              // epochs whose box keys contacts are told
	roundPatience = 5 * time.Second // for each step of an election round
	roundDebounce = 400 * time.Millisecond
	roundRetry    = 30 * time.Second // doubles while rounds fail, up to roundRetryMax
	roundRetryMax = time.Hour
	absentFor     = 12 * time.Hour  // a member that is silent for less is waited for
	leaseBeyond   = Retention + day // a set is believed this long after its epoch
	frontDoorLife = 35 * day
	frontDoorTurn = 7 * day   // renewed when less than frontDoorLife - frontDoorTurn is left
	electEvery    = time.Hour // between two looks at our relays
	electJitter   = 10 * time.Minute
	maxRelays     = 256         // candidates kept
	observeEvery  = time.Minute // between two writes of a relay's counters
	observeDays   = 30          // what was observed counts for so long
	maxObserved   = 1 << 20     // of one write
)

// Counts.
const (
	maxContacts    = 10_000
	maxDevices     = 16 // of one account
	maxParked      = 256
	maxParkedUser  = 64 // of one user, so that nobody fills the place alone
	parkFor        = Retention
	maxInvites     = 64
	maxDeclines    = 16   // of one used or expired link
	maxParsed      = 1024 // of what is remembered only because it was worked out before
	maxMeet        = 64   // connections asked for at the start
	maxSteps       = 32   // trace steps of one delivery
	maxHeads       = 3
	maxSets        = 8 // set records kept of one device
	maxEvents      = 10_000
	maxOutbox      = 100_000
	maxAckedTo     = 512  // deliveries to one device from which on it gets no acknowledgement: it asks again when it is back
	maxStrangers   = 32   // people whom we do not know, and whose words wait because they may be members of a group
	maxWaiting     = 1024 // messages that wait for one person
	maxMembers     = 2048 // people who are known from groups only
	maxGroups      = 1024 // others are not entered
	maxUnknown     = 64   // groups of which only messages are here
	maxListsTold   = 32   // device lists of members that come with a log; the directory has the others
	maxGroupParts  = 64   // of one content
	maxOrphans     = 64   // entries of one group's log that came before what they build on
	manyDone       = 32   // deliveries of a message from which on it is not kept how each went
	trialBudget    = 64   // header trials for one envelope without a known tag
	frontEnvelope  = 4 << 10
	commonRoom     = 80   // of a payload: what all of a conversation may carry
	strangerClass  = 2048 // the largest size class whose envelopes a box takes without a pass, first flights too
	freedBatch     = 16   // deliveries that go when a full box has room; others follow if they find it
	maxVain        = 3    // times that a relay may say so for nothing
	maxKeptDevices = 256  // rows, of some kilobytes each, that a turn remembers
	maxKeptRows    = 32   // rows of a kind that the engine remembers decoded, at least
)

// fileRoom is how large the payload of a message with files may be, beside what every payload may carry; fileAddrs how
// many addresses of a relay a description of a file carries: contacts know the others.
const (
	fileRoom  = session.MaxContent - chat.HeaderSize - 16*chat.MaxParents - commonRoom
	fileAddrs = 3
)

// Ids as people type and read them, in hex digits.
const (
	leastDigits     = 4  // of a message's id
	shownDigits     = 12 // of an id among candidates
	candidatesShown = 5  // of an ambiguous beginning
)
