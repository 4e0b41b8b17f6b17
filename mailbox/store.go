package mailbox

import (
	"context"
	"time"

	"github.com/kith-im/kith/mailbox/pass"
)

// Store keeps the state of one relay. Memory is one; boltbox is the durable
// one; both pass package mailboxtest.
type Store interface {
	// Do runs fn in a write transaction. It returns nil once the writes are
	// durable and the receipts of fn are signed. An error of fn undoes what
	// fn wrote and is returned as it is. fn may run more than once and must
	// not keep anything of Tx. Concurrent callers share commits where the
	// store allows them, but their fns run one after another; ctx ends the
	// wait for a turn, not a turn begun.
	Do(ctx context.Context, fn func(Tx) error) error
	// View runs fn on committed state; its writes fail with ErrReadOnly. fn of
	// Do and of View must not call the store.
	View(fn func(Tx) error) error
}

// Tx is what the rules see of a store during one transaction. Reads see the
// writes of the same transaction. Byte slices that it returns belong to the
// store and end with the transaction; those given to it must not change until
// Do has returned, sets and envelopes never.
type Tx interface {
	Boxes
	Sets
	Envelopes
	Contents
	Passes
	Days
	Meter
	Standing
	// Receipts is the batch that the store signs after this commit.
	Receipts() *Batch
}

// Boxes are the boxes that a relay knows.
type Boxes interface {
	Box(ID) (Box, bool)
	PutBox(ID, Box) error
	// DropBox forgets a box and its set. Its envelopes must be gone.
	DropBox(ID) error
	// EachBox goes through all boxes by ascending id until fn returns false.
	EachBox(fn func(ID, Box) bool)
}

// Sets are the newest set records of boxes, as received.
type Sets interface {
	// Set returns nil where no set is known, ErrDamaged where it is spoilt.
	Set(ID) ([]byte, error)
	PutSet(ID, []byte) error
}

// Envelopes are the entries of boxes, by envelope id.
type Envelopes interface {
	// Find returns the entry of an envelope, buried ones included.
	Find(ID, EnvelopeID) (Entry, bool)
	// Add stores an envelope under the next arrival number (e.Seq is ignored).
	// An earlier entry of the same envelope goes, be it a tombstone, so that a
	// box has one entry of an envelope at most.
	// ErrDiskFull says that envelopes find no room, and nothing was changed.
	Add(box ID, e Entry, envelope []byte) error
	// Bury drops the bytes and leaves a tombstone till the entry's day is dropped.
	Bury(ID, EnvelopeID) error
}

// Contents are the envelopes of boxes, in order of arrival.
type Contents interface {
	// List goes through the entries that are not buried with Seq > after, in
	// order of arrival, until fn returns false.
	List(box ID, after uint64, fn func(Entry) bool)
	// Body returns the bytes of an entry. It is ErrDamaged if they do not hash
	// to e.ID; the store counts it.
	Body(box ID, e Entry) ([]byte, error)
	// Mend puts the bytes of an entry that is not buried in the place of those
	// that it has; they hash to e.ID.
	Mend(box ID, e Entry, envelope []byte) error
}

// Passes are the certificates by which envelopes of a box were admitted. One is
// forgotten with the last entry that it admitted, tombstones included.
type Passes interface {
	Pass(ID, pass.ID) (pass.Cert, bool)
	// PutPass keeps a certificate for the entries that it admits.
	PutPass(ID, pass.Cert) error
	// By counts the entries of a box that came by one pass; by the zero id those
	// of strangers. Over is zero.
	By(ID, pass.ID) Usage
}

// Days are the buckets of envelopes by the day of their expiry.
type Days interface {
	// Days lists the days that hold entries, ascending.
	Days() []Day
	// DropDay forgets every entry that expires on a day and says what it held.
	DropDay(Day) (Usage, error)
}

// Meter counts without looking at what is counted.
type Meter interface {
	Usage(ID) Usage
	Total() Usage
}

// Standing is what a relay keeps of itself.
type Standing interface {
	// Clock is the relay's persisted clock.
	Clock() Clock
	SetClock(Clock) error
	// Leaving is when the relay stops serving; zero: it stays.
	Leaving() time.Time
	SetLeaving(time.Time) error
}

// Box is what a relay keeps of one box. Times are whole milliseconds.
type Box struct {
	Number    uint64    // newest set number known; 0: none
	Core      [32]byte  // hash of the set core that the lease is for
	Rank      byte      // this relay's rank in that core
	Member    bool      // the newest set names this relay
	FrontDoor bool      // strangers' box: smaller, and asks for work
	End       time.Time // end of the lease; zero: none
	Reserved  time.Time // end of the reservation; zero: none
	Key       [32]byte  // public key of the box; zero in rows of the format before passes
}

// leased says whether the box takes deposits at now.
func (b Box) leased(now time.Time) bool { return b.Member && now.Before(b.End) }

// repairs says whether the relay may hold mail of the box that it did not have:
// as long as mail of the lease's time can live.
func (b Box) repairs(now time.Time) bool { return b.Member && now.Before(b.End.Add(MaxTTL)) }

// held says whether the box takes one of the relay's places at now.
func (b Box) held(now time.Time) bool {
	return now.Before(b.End) || now.Before(b.Reserved) || b.repairs(now)
}

// Entry is the index entry of one envelope.
type Entry struct {
	ID              EnvelopeID
	Seq             uint64  // arrival number, ascending over all boxes, never reused
	Stored, Expires int64   // unix milliseconds
	Size            uint32  // bytes of the envelope; 0 once buried
	Buried          bool    // acknowledged: only the tombstone is left
	ByPass          bool    // came by a pass
	Copied          bool    // came from another relay, whose word Expires is
	Admit           [8]byte // the pass's id, or a stranger's work nonce
}

// Share is the pass that an entry came by; zero for a stranger's.
func (e Entry) Share() pass.ID {
	if e.ByPass {
		return e.Admit
	}
	return pass.ID{}
}

// Outlived says whether another copy of the envelope, which lives until expires,
// takes the place of the entry. Only a copy gives way to one: how long an
// envelope lives its sender says, and the relay that gave the copy may have
// lied. Liars take what they can get, so a day is the least step, and MaxTTL
// from the first copy the end.
func (e Entry) Outlived(expires time.Time) bool {
	return e.Copied && !e.Buried && min(expires.UnixMilli(), e.lastCopy()) >= e.Expires+dayMillis
}

// lastCopy is until when copies of the envelope are kept at most.
func (e Entry) lastCopy() int64 { return e.Stored + MaxTTL.Milliseconds() }

// Day is the day of the entry's expiry.
func (e Entry) Day() Day { return DayOf(e.Expires) }

// Usage counts what a box, a day or a relay holds.
type Usage struct {
	Boxes int    // only in Meter.Total
	Count int    // live envelopes
	Tombs int    // tombstones
	Bytes uint64 // live bytes
	Over  uint64 // only in Meter.Total: the sum of OverFloor over all boxes
}

// OverFloor is what a box's content costs above BoxFloor: its live bytes, and
// EntryCost for each entry, tombstones included.
func (u Usage) OverFloor() uint64 {
	cost := u.Bytes + uint64(u.Count+u.Tombs)*EntryCost
	return cost - min(cost, BoxFloor)
}

// less is u without a part of it.
func (u Usage) less(o Usage) Usage {
	return Usage{Count: u.Count - o.Count, Tombs: u.Tombs - o.Tombs, Bytes: u.Bytes - o.Bytes}
}

func (u Usage) plus(o Usage) Usage {
	return Usage{Count: u.Count + o.Count, Tombs: u.Tombs + o.Tombs, Bytes: u.Bytes + o.Bytes}
}

// usage is what one entry counts.
func (e Entry) usage() Usage {
	if e.Buried {
		return Usage{Tombs: 1}
	}
	return Usage{Count: 1, Bytes: uint64(e.Size)}
}

// Clock is the relay's clock as it is persisted; see Relay.Tick.
type Clock struct {
	Trusted time.Time // what deletions go by; never goes back by itself
	Held    time.Time // when a jump was first seen; zero: no jump pending
	Last    time.Time // the last tick since Held
}

// maxMillis is the last millisecond that we accept: the year 9999.
const maxMillis = 253402300799999

func timeOf(millis int64) time.Time { return time.UnixMilli(millis).UTC() }
