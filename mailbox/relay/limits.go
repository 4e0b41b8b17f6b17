package relay

import (
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// Limits of what a peer may hold.
const (
	// MaxBoxesPerStream is how many boxes one collect stream may watch.
	MaxBoxesPerStream = 32
	// MaxBoxesPerAsk is how many boxes one reserve or commit may name.
	MaxBoxesPerAsk = 8

	// MaxCompare is how many boxes one compare or offer may name.
	MaxCompare = mailbox.MaxCompare
	// MaxGossip is how many adverts one answer to gossip may hold.
	MaxGossip = 16
	// maxPushedAdverts bounds the adverts of one collect stream.
	maxPushedAdverts = 1000
	// compareRun and entriesPerLook are how many boxes, and about how many entries
	// of theirs, are compared in one look at the store, so that no look takes long.
	compareRun, entriesPerLook = 32, 4096

	// MaxAwaitsPerStream and MaxAwaits bound the waits for room of one stream
	// and of a relay; maxAwaitsPerGroup those from one group of addresses.
	MaxAwaitsPerStream = 16
	MaxAwaits          = 4096
	maxAwaitsPerGroup  = 512
	// maxWoken is how many boxes acks elsewhere bring into a full relay at once.
	maxWoken = 16

	// MaxInFlight is how many requests of one stream the relay works on at
	// once; it reads no further frame until one is answered. A new stream has
	// firstInFlight, and one more for each answer.
	MaxInFlight   = 512
	firstInFlight = 8
	// MaxStreamsPerPeer bounds the held streams of one peer, of both kinds.
	MaxStreamsPerPeer = 4
	// MaxStreams bounds the held streams of a relay. When it is reached, the
	// request stream that idles longest (of a sample) makes room.
	MaxStreams = 24_000
	// evictSample is the size of that sample.
	evictSample = 64
	// maxStreamBytes bounds the requests of one stream that are not answered, in
	// bytes.
	maxStreamBytes = 1 << 20
	// maxPendingBytes bounds the requests that wait for the store, over all
	// streams, in bytes.
	maxPendingBytes = 32 << 20
	// maxHeldBytes bounds the frames that have begun to come or wait to be
	// written, over all streams, in bytes: beyond it slow streams are ended, if
	// they have been stuck for slowAfter.
	maxHeldBytes = 64 << 20
	slowAfter    = 250 * time.Millisecond
	// maxRefusedRow is how many rate-limited requests in a row end a stream.
	maxRefusedRow = 1000
	// refusedPause is how long a stream is not read after a rate-limited
	// request, or one that was refused at a cost, times their number in a row, at
	// most maxRefusedPauses: to refuse costs work too.
	refusedPause     = 10 * time.Millisecond
	maxRefusedPauses = 10

	// CreditItems and CreditBytes are the window that a client gives a relay
	// on a collect stream; MaxCredit bounds what a relay lets add up, of both.
	CreditItems = 4096
	CreditBytes = 4 << 20
	MaxCredit   = 16 << 20
	// pageBytes and pageItems bound one Items frame, so that it fits frame.Max.
	pageBytes = 56 << 10
	pageItems = 256
)

// Deadlines. A held stream may idle for ever between frames.
const (
	// firstFrameWithin is how long a new stream may take to say what it is for.
	firstFrameWithin = 10 * time.Second
	// bodyWithin is how long a frame may take from its first byte to its last.
	bodyWithin = 10 * time.Second
	// writeWithin is how long one flush may take.
	writeWithin = 20 * time.Second
	// answerWithin is how long a client waits for one answer when its context
	// sets no earlier deadline.
	answerWithin = 30 * time.Second
	// closeWithin is how long the clients of a server that closes may take to
	// take their answers.
	closeWithin = 5 * time.Second
	// dialWithin bounds opening a held stream, the dial included.
	dialWithin = 15 * time.Second
)

// Adverts.
const (
	// advertLife is how long an advert is good for; advertEvery how long the
	// relay serves one before it signs the next.
	advertLife  = 24 * time.Hour
	advertEvery = time.Hour
	// retentionDays is how long mail is kept at most.
	retentionDays = uint16(mailbox.MaxTTL / (24 * time.Hour))
)

// Rates, in tokens; what a request costs says costOf.
const (
	// RatePerSecond and RateBurst are the bucket of one peer.
	RatePerSecond = 200
	RateBurst     = 2000
	// GroupPerSecond and GroupBurst are the bucket that all peers of one group
	// of addresses share: peer ids cost nothing, addresses do.
	GroupPerSecond = 1000
	GroupBurst     = 10_000
	// badCost is what a request costs besides whose signature did not hold;
	// refusedCost the same for work, box or size that did not fit.
	badCost     = 50
	refusedCost = 5
	// maxBadPasses is how many passes of one stream that do not hold are looked at
	// in one turn; the relay does not look at more that it does not know.
	maxBadPasses = 8
	// maxBuckets is how many buckets of either kind are remembered.
	maxBuckets = 16_384
	// entriesPerToken is how many index entries a compare may look at for one
	// token.
	entriesPerToken = 1024
)

// Sizes of what a frame carries.
const (
	idSize     = 32      // bytes of a box or envelope id
	sumSize    = 32 + 32 // bytes of a box with its sum
	heldSize   = 8 + 32 + 8 + 4
	proofSize  = 1 + 32 // bytes of a possession
	admitSize  = 8      // bytes of what admitted a copy
	certSize   = pass.CertSize
	nonceSize  = 32        // bytes of a challenge
	maxIDBytes = 11        // bytes of a request's id with its tag
	maxDetail  = 120       // bytes of a refusal's detail
	maxMillis  = 1<<53 - 1 // latest time in a frame, unix milliseconds
)

// passesHeld is how many passes that held a relay remembers.
const passesHeld = 1 << 16

// rememberedRoots is how many verified roots of receipts a client remembers.
const rememberedRoots = 16

// maxRank bounds the rank in a lease.
const maxRank = 255
