// Package election decides which relays serve a mailbox.
package election

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
)

// Policy says how many relays serve and how they are chosen.
type Policy struct {
	R, W, S    int           // replicas, receipts for custody, standbys
	Pool       int           // candidates considered
	Term       time.Duration // how long a member serves before it may be swapped
	TermJitter time.Duration // spread of Term, either way
	Dead       time.Duration // silence after which a member is replaced
	SwapEvery  time.Duration // at most one voluntary swap in this time
	Caps       bool          // caps per network group, family, newcomer and source
}

// DefaultPolicy is R=3, W=2, S=2, term 120±30 days, caps on.
func DefaultPolicy() Policy { return Policy{R: 3, W: 2, S: 2} }

// LocalPolicy is DefaultPolicy without caps, for loopback and LAN.
func LocalPolicy() Policy { return Policy{R: 3, W: 2, S: 2} }

// Source says how we learned of a candidate.
type Source byte

const (
	SourceOwn     Source = 1 + iota // our own relay, or a friend's by hand
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
	LastSeen          time.Time // last good answer
	Good, Bad         uint32    // answers and failures over 30 days
	WeekGood, WeekBad uint32    // the same over 7 days
	Failed            time.Time // last failed possession proof or refused lease; zero: none
	LeavingAt         time.Time // from its advert; zero: stays
}

// Incumbent is a member of the set in force.
type Incumbent struct {
	Peer  []byte // peer id
	Since time.Time
}

// Result of an election. Members and Standbys are in rank order.
type Result struct {
	Members, Standbys []dht.Peer
	W                 int  // receipts that make custody in this set
	Thin              bool // fewer than R relays were found
	Transcript        Transcript
}

// Transcript is everything an election looked at, and what it decided.
type Transcript struct{ raw []byte }

// Bytes encodes the transcript.
func (t Transcript) Bytes() []byte { return t.raw }

// Explain gives one line per candidate: rank, weight, score and the reason.
func (t Transcript) Explain() []string { return nil }

// Elect chooses members and standbys. It is a pure function: the order of the
// candidates does not matter.
func Elect(seed [32]byte, candidates []Candidate, incumbents []Incumbent, pins [][]byte, p Policy, now time.Time) Result {
	ranked := slices.Clone(candidates)
	score := func(c Candidate) [32]byte { return sha256.Sum256(slices.Concat([]byte("elect"), seed[:], c.Peer.ID)) }
	slices.SortFunc(ranked, func(a, b Candidate) int { x, y := score(a), score(b); return bytes.Compare(x[:], y[:]) })
	var r Result
	for _, c := range ranked {
		if len(r.Members) < p.R {
			r.Members = append(r.Members, c.Peer)
		} else if len(r.Standbys) < p.S {
			r.Standbys = append(r.Standbys, c.Peer)
		}
	}
	r.W, r.Thin = min(p.W, len(r.Members)/2+1), len(r.Members) < p.R
	return r
}
