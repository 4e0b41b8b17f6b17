package mailbox

import (
	"time"

	"github.com/kith-im/kith/dht"
)

const (
	// MaxEnvelope is the largest envelope of any box, in bytes.
	MaxEnvelope = 8 << 10
	// MaxFrontEnvelope is the largest envelope of a front door, in bytes.
	MaxFrontEnvelope = 4 << 10
	// MaxTTL is the longest life of an envelope; a later expiry is cut to it.
	MaxTTL = 30 * 24 * time.Hour
	// MaxLease is the longest lease, which is that of a front door.
	MaxLease = (EpochsAhead + 2) * dht.EpochLength
	// EpochsAhead is how many epochs past the current one a lease may be for: five
	// that owners ask for and one of skew.
	EpochsAhead = 6
	// ReserveFor is how long a reservation holds without a commit.
	ReserveFor = 10 * time.Minute

	// BoxFloor is what every box may hold, in bytes, however full the relay is.
	BoxFloor = 64 << 10
	// EntryCost is what an entry costs a relay beside its bytes: index and row. It
	// counts against the relay's room, so that tiny envelopes cannot fill memory.
	EntryCost = 512

	// MaxCompare is how many boxes one Compare takes.
	MaxCompare = 512
	// MaxDigest is how many envelopes a page of Digest lists.
	MaxDigest = 1024
	// MaxCopies is how many envelopes one Copies takes.
	MaxCopies = 64
	// MaxCopyBytes is how many bytes of envelopes one Copies returns, if more than one.
	MaxCopyBytes = 48 << 10
	// MaxPossess is how many envelopes one Possess takes.
	MaxPossess = 32

	// MaxAckIDs is how many envelopes one ack may name.
	MaxAckIDs = 1024
	// MaxFetchCount is how many envelopes one fetch returns at most.
	MaxFetchCount = 1024
	// MaxPass is the largest pass of a deposit, in bytes.
	MaxPass = 256
	// WorkSize is the size of a work nonce, in bytes.
	WorkSize = 8
	// frontSteps is how many bits the work of strangers rises at most: one for each
	// full quarter of their places in use.
	frontSteps = 3
	// passesSeen is how many checked passes a relay remembers.
	passesSeen = 1 << 16
	// tombShare is the part of a box's tombstones that one pass, or all strangers,
	// may cause: a fourth.
	tombShare = 4
	// MaxWorkBits is the most work that a relay may ask, in leading zero bits.
	MaxWorkBits = 40

	// MaxReceipt is the largest encoded receipt, in bytes.
	MaxReceipt = receiptBody + 3 + maxPath*32 + 64
	// receiptBody is the size of the signed part of a receipt, in bytes.
	receiptBody = 1 + 32 + 32 + 32 + 8 + 8 + 8
	// maxPath bounds a Merkle path; one signature covers at most 2^maxPath receipts.
	maxPath = 10

	// TickEvery is how often a relay calls Tick. It must stay well below clockStep.
	TickEvery = 10 * time.Minute
	// clockStep is the largest advance that a clock makes between two ticks unnoticed.
	clockStep = time.Hour
	// clockHold is how long a clock that jumped must run evenly to be believed.
	clockHold = 24 * time.Hour
	// clockWitnesses is how many other clocks lift the brake.
	clockWitnesses = 3
)

// Day is the number of a day: unix milliseconds / dayMillis.
type Day uint32

const dayMillis = 24 * 60 * 60 * 1000

// DayOf returns the day that holds a time in unix milliseconds.
func DayOf(millis int64) Day { return Day(millis / dayMillis) }

// Limits of one relay. A zero field takes its default; a front door's work of
// zero bits has to be asked for with NoWork.
type Limits struct {
	MaxEnvelope   uint32 // bytes, at most MaxEnvelope
	BoxCount      uint32 // live envelopes per box
	BoxBytes      uint64 // live bytes per box
	BoxTombs      uint32 // tombstones per box, of envelopes not yet expired
	PassCount     uint32 // live envelopes per pass
	PassBytes     uint64 // live bytes per pass
	MaxBytes      uint64 // what the relay's boxes may cost, see Usage.OverFloor; at least two floors
	MaxBoxes      uint32 // reserved or leased boxes; at most half of MaxBytes in floors
	FrontEnvelope uint32 // bytes, without a pass
	FrontCount    uint32 // live envelopes of a box without a pass
	FrontWork     byte   // work bits without a pass, while at most a quarter of FrontCount is in use
	BlobBytes     uint64 // chunks of attachments, of all boxes; mailbox/blobs keeps these
	BoxBlobBytes  uint64 // of one box
	NoWork        bool   // nobody is asked for work: tests and simulations
}

// DefaultLimits are the limits of a home relay.
func DefaultLimits() Limits {
	return Limits{
		MaxEnvelope:   MaxEnvelope,
		BoxCount:      20_000,
		BoxBytes:      64 << 20,
		BoxTombs:      200_000,
		PassCount:     5_000,
		PassBytes:     16 << 20,
		MaxBytes:      4 << 30,
		MaxBoxes:      50_000,
		FrontEnvelope: MaxFrontEnvelope,
		FrontCount:    64,
		FrontWork:     16,
		BlobBytes:     8 << 30,
		BoxBlobBytes:  2 << 30,
	}
}

// filled replaces zero fields by their defaults and cuts what is too much.
func (l Limits) filled() Limits {
	d := DefaultLimits()
	fill(&l.MaxEnvelope, d.MaxEnvelope)
	fill(&l.BoxCount, d.BoxCount)
	fill(&l.BoxBytes, d.BoxBytes)
	fill(&l.BoxTombs, d.BoxTombs)
	fill(&l.PassCount, d.PassCount)
	fill(&l.PassBytes, d.PassBytes)
	fill(&l.MaxBytes, d.MaxBytes)
	fill(&l.MaxBoxes, d.MaxBoxes)
	fill(&l.FrontEnvelope, d.FrontEnvelope)
	fill(&l.FrontCount, d.FrontCount)
	fill(&l.FrontWork, d.FrontWork)
	fill(&l.BlobBytes, d.BlobBytes)
	fill(&l.BoxBlobBytes, d.BoxBlobBytes)
	l.MaxEnvelope = min(l.MaxEnvelope, MaxEnvelope)
	l.FrontEnvelope = min(l.FrontEnvelope, l.MaxEnvelope)
	l.FrontWork = min(l.FrontWork, MaxWorkBits-frontSteps)
	if l.NoWork {
		l.FrontWork = 0
	}
	l.MaxBytes = max(l.MaxBytes, 2*BoxFloor)
	l.MaxBoxes = uint32(min(uint64(l.MaxBoxes), l.MaxBytes/2/BoxFloor))
	return l
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
