// Package election decides which relays serve a mailbox.
//
// The recipient's device elects; relays countersign leases and senders verify
// them, so nobody else has to reach the same result. An election is a race: a
// hash of a secret seed and the relay's peer id gives every candidate a draw,
// and its weight, made of this device's own observations alone, shortens its
// time. Incumbents stay as long as they serve well.
//
// Guarantees. Elect is a pure function: the same arguments give the same
// result on every machine (it counts in integers), and the order of the
// candidates does not matter. At most one member comes from one network group
// and from one family, at most two are newcomers, and at most half, rounded
// up, come from one source, unless no other candidates are left; then the
// rules give way in the order newcomers, source, family and network. Who
// failed a proof within 90 days serves only if the person pinned it, or if
// there is nobody else. A
// transcript holds all that was looked at and recomputes to the same result.
//
// Not guaranteed. Whoever ages many relays in many networks can win
// strangers' places; only pinned relays and those of contacts bound him. The
// seed is secret, so that peer ids cannot be ground towards one mailbox.
package election

import (
	"time"

	"github.com/kith-im/kith/dht"
)

// Source says how we learned of a candidate.
type Source byte

// The sources of a candidate.
const (
	SourceOwn     Source = 1 + iota // our own relay, or one named by hand
	SourceInviter                   // relays of the person who invited us
	SourceContact                   // relays of contacts
	SourceLAN                       // found on the local network
	SourceDHT                       // found near our mailbox in the directory
	SourceGossip                    // told by another relay
)

// Candidate is a relay as this device has observed it.
type Candidate struct {
	Peer              dht.Peer
	Source            Source
	Family            [8]byte   // of its advert; zero: none
	Known             time.Time // when we first saw it
	LastSeen          time.Time // last good answer; zero: never asked
	Good, Bad         uint32    // answers and failures over 30 days
	WeekGood, WeekBad uint32    // the same over 7 days
	Failed            time.Time // last failed possession proof or broken reservation; zero: none
	LeavingAt         time.Time // from its advert; zero: stays
}

// Incumbent is a relay of the set in force.
type Incumbent struct {
	Peer  []byte    // peer id, 38 bytes
	Since time.Time // since when it serves
}

// Result of an election.
type Result struct {
	Members, Standbys []dht.Peer // in rank order: members, then standbys
	W                 int        // receipts that make custody in this set
	Thin              bool       // fewer members than wanted, or nobody stands by
	Transcript        Transcript
}

// Elect chooses members and standbys.
//
// incumbents are in rank order, standbys after members: a standby that serves
// well moves up before anybody new. pins are peer ids that the person chose;
// the first two that are eligible are members. Both name candidates; a peer
// that is not among these is left out. At most maxPool candidates race.
func Elect(seed [32]byte, candidates []Candidate, incumbents []Incumbent, pins [][]byte, p Policy, now time.Time) Result {
	in := newInput(seed, candidates, incumbents, pins, p, now)
	// What runs is the transcript, so that recomputing cannot differ.
	t := in.transcript()
	r, err := t.Recompute()
	if err != nil {
		panic("election: our own transcript: " + err.Error())
	}
	return r
}
