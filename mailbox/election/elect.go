package election

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
)

// input is all that an election looks at.
type input struct {
	seed       [32]byte
	policy     Policy
	now        time.Time
	candidates []Candidate // by peer id, one of each, at most policy.Pool
	incumbents []Incumbent
	pins       [][]byte
	rows       []*row // in the order of the race; made by elect
}

// row is one candidate in the race.
type row struct {
	Candidate
	weight, score uint64
	groups        []string
	kept          int  // position among the incumbents, -1 if it is none
	weak          bool // it was away too much this week to serve where others can
	place         place
	reason        string
}

// place is what a candidate became.
type place struct {
	rank    int // -1: none
	standby bool
}

// normalised sorts candidates by peer id and keeps one of each: the one seen
// last, so that the order of the arguments does not matter.
func normalised(candidates []Candidate) []Candidate {
	all := slices.Clone(candidates)
	slices.SortFunc(all, func(a, b Candidate) int {
		if c := cmp.Or(bytes.Compare(a.Peer.ID, b.Peer.ID), b.LastSeen.Compare(a.LastSeen)); c != 0 {
			return c
		}
		return bytes.Compare(appendCandidate(nil, a), appendCandidate(nil, b))
	})
	all = slices.CompactFunc(all, func(a, b Candidate) bool { return bytes.Equal(a.Peer.ID, b.Peer.ID) })
	return slices.DeleteFunc(all, func(c Candidate) bool { return !eligible(&c) })
}

// normal says that normalised would change nothing, as of what it made.
func normal(all []Candidate) bool {
	for i := range all {
		if !eligible(&all[i]) || i > 0 && bytes.Compare(all[i-1].Peer.ID, all[i].Peer.ID) >= 0 {
			return false
		}
	}
	return true
}

func eligible(c *Candidate) bool { return dht.IsPeer(c.Peer.ID) && fits(c.Peer) }

// fits says whether a peer has no more addresses than a record can carry.
func fits(p dht.Peer) bool {
	return len(p.Addrs) <= dht.MaxAddrs &&
		!slices.ContainsFunc(p.Addrs, func(a []byte) bool { return len(a) == 0 || len(a) > dht.MaxAddr })
}

// pool keeps those that race where there are too many: pins and incumbents,
// then the fastest, one of each network group first.
func (in *input) pool(all []Candidate) []Candidate {
	if len(all) <= in.policy.Pool {
		return all
	}
	var first, apart, crowded []Candidate
	seen := map[string]bool{}
	for _, r := range in.race(all) {
		switch {
		case in.pinRank(r) >= 0 || r.kept >= 0:
			first = append(first, r.Candidate)
		case in.policy.Caps && slices.ContainsFunc(r.groups, func(g string) bool { return seen[g] }):
			crowded = append(crowded, r.Candidate)
		default:
			apart = append(apart, r.Candidate)
		}
		for _, g := range r.groups {
			seen[g] = true
		}
	}
	return normalised(slices.Concat(first, apart, crowded)[:in.policy.Pool])
}

// race computes weight and score of each and sorts by score.
func (in *input) race(candidates []Candidate) []*row {
	all, rows := make([]row, len(candidates)), make([]*row, len(candidates))
	for i, c := range candidates {
		r := &all[i]
		*r = row{Candidate: c, weight: c.weight(in.now), groups: groups(c.Peer), place: place{rank: -1}}
		r.score = score(in.seed, c.Peer.ID, r.weight)
		r.kept = slices.IndexFunc(in.incumbents, func(i Incumbent) bool { return bytes.Equal(i.Peer, c.Peer.ID) })
		r.weak = c.weak()
		rows[i] = r
	}
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.score, b.score), bytes.Compare(a.Peer.ID, b.Peer.ID))
	})
	return rows
}

func (in *input) pinRank(r *row) int {
	return slices.IndexFunc(in.pins, func(p []byte) bool { return bytes.Equal(p, r.Peer.ID) })
}

// elect runs the election.
func (in *input) elect() Result {
	in.rows = in.race(in.candidates)
	in.exclude()
	in.swapOne()
	b := &seats{in: in}
	b.takePins()
	b.seat(in.policy.R)
	members := len(b.taken)
	b.seat(members + in.policy.S)
	return b.result(members)
}

// exclude gives those out of the race their reason.
func (in *input) exclude() {
	good := 0
	in.judge()
	for _, r := range in.rows {
		if r.reason == "" && !r.weak && up(r.Good, r.Bad) >= percent(goodEnough) {
			good++
		}
	}
	if good < in.policy.R {
		return
	}
	for _, r := range in.rows {
		if r.reason == "" && r.kept < 0 && in.pinRank(r) < 0 && up(r.Good, r.Bad) < percent(goodEnough) {
			r.reason = "less than 90 % up, and enough others are better"
		}
	}
}

// judge gives those who cannot serve their reason. Whoever broke its word is out, unless the person chose it, or there
// is nobody else.
func (in *input) judge() {
	fit := 0
	for _, r := range in.rows {
		r.reason = in.unfit(r)
		if r.reason == "" && r.weight == 0 && in.pinRank(r) < 0 {
			r.reason = broke
		}
		if r.reason == "" {
			fit++
		}
	}
	for _, r := range in.rows {
		if fit == 0 && r.reason == broke {
			r.reason = ""
		}
	}
}

const broke = "failed a proof or refused a lease within 90 days"

// unfit says why a candidate cannot serve at all.
func (in *input) unfit(r *row) string {
	switch {
	case !r.LeavingAt.IsZero():
		return "is leaving"
	case !r.LastSeen.IsZero() && in.now.Sub(r.LastSeen) > in.policy.Dead:
		return "is silent"
	}
	return ""
}

// swapOne ends the term of the incumbent that is over it longest, unless
// somebody joined within SwapEvery.
func (in *input) swapOne() {
	var oldest *row
	var over time.Duration
	for _, r := range in.rows {
		if r.kept < 0 {
			continue
		}
		served := in.now.Sub(in.incumbents[r.kept].Since)
		if served < in.policy.SwapEvery {
			return
		}
		if late := served - in.term(r.Peer.ID); r.reason == "" && !r.weak && in.pinRank(r) < 0 && late > over {
			oldest, over = r, late
		}
	}
	if oldest != nil && in.spare() {
		oldest.reason = "its term is over"
	}
}

// spare says whether a set is complete without the one that would leave.
func (in *input) spare() bool {
	fit := 0
	for _, r := range in.rows {
		if r.reason == "" && !r.weak {
			fit++
		}
	}
	return fit > in.policy.R+in.policy.S
}
