package election

import (
	"slices"
	"strconv"

	"github.com/kith-im/kith/dht"
)

// seats are those who were taken, in rank order.
type seats struct {
	in    *input
	taken []*row
}

// rule is one of the caps; they give way in this order.
type rule int

const (
	ruleNewcomers rule = iota
	ruleSource
	ruleNetwork // and family
	noRules
)

func (b *seats) take(r *row, reason string) {
	r.place = place{rank: len(b.taken)}
	r.reason = reason
	b.taken = append(b.taken, r)
}

func (b *seats) free(r *row) bool { return r.place.rank < 0 && r.reason == "" }

// seat takes up to n in all: who serves, then the fastest; and the weak, in the same order, only into seats that nobody else takes. Whoever
// is weak is so whether it serves or not: else it would lose its seat to its like in one election and win it back in the next.
func (b *seats) seat(n int) {
	for _, weak := range []bool{false, true} {
		b.takeIncumbents(n, weak)
		b.fill(n, weak)
	}
}

// takePins takes the first pins that are fit, in the order of the person.
func (b *seats) takePins() {
	for _, p := range b.in.pins {
		if len(b.taken) == min(pinned, b.in.policy.R) {
			return
		}
		i := slices.IndexFunc(b.in.rows, func(r *row) bool { return string(r.Peer.ID) == string(p) })
		if i >= 0 && b.free(b.in.rows[i]) {
			b.take(b.in.rows[i], "pinned")
		}
	}
}

// takeIncumbents keeps who serves, by rank, up to n in all.
func (b *seats) takeIncumbents(n int, weak bool) {
	for i := range b.in.incumbents {
		at := slices.IndexFunc(b.in.rows, func(r *row) bool { return r.kept == i })
		if len(b.taken) < n && at >= 0 && b.in.rows[at].weak == weak && b.free(b.in.rows[at]) {
			b.take(b.in.rows[at], "serves already")
		}
	}
}

// fill takes the fastest up to n in all, giving up one rule after another.
func (b *seats) fill(n int, weak bool) {
	first := ruleNewcomers
	if !b.in.policy.Caps {
		first = noRules
	}
	for from := first; from <= noRules; from++ {
		for _, r := range b.in.rows {
			if len(b.taken) < n && r.weak == weak && b.free(r) && b.obeys(r, from) {
				reason := "won the race"
				if from > first {
					reason = "won the race after " + strconv.Itoa(int(from-first)) + " caps gave way"
				}
				b.take(r, reason)
			}
		}
	}
}

// obeys says whether the rules from a given one on let r in.
func (b *seats) obeys(r *row, from rule) bool {
	if from <= ruleNewcomers && r.newcomer(b.in.now) && b.count(func(t *row) bool { return t.newcomer(b.in.now) }) >= newcomers {
		return false
	}
	half := (b.in.policy.R + 1) / 2
	if from <= ruleSource && r.Source != SourceOwn && b.count(func(t *row) bool { return t.Source == r.Source }) >= half {
		return false
	}
	return from > ruleNetwork || b.count(r.near) == 0
}

func (b *seats) count(like func(*row) bool) (n int) {
	for _, t := range b.taken {
		if like(t) {
			n++
		}
	}
	return n
}

// near says whether two relays share a network group or a family.
func (r *row) near(t *row) bool {
	if r.Family != [8]byte{} && r.Family == t.Family {
		return true
	}
	return slices.ContainsFunc(r.groups, func(g string) bool { return slices.Contains(t.groups, g) })
}

// result names the first members taken as members, the others as standbys.
func (b *seats) result(members int) Result {
	p := b.in.policy
	r := Result{W: p.W, Thin: members < p.R || len(b.taken) == members}
	for i, t := range b.taken {
		t.place.standby = i >= members
		if t.place.standby {
			r.Standbys = append(r.Standbys, clone(t.Peer))
		} else {
			r.Members = append(r.Members, clone(t.Peer))
		}
	}
	if members < p.R {
		r.W = members/2 + min(members, 1) // a majority
	}
	return r
}

func clone(p dht.Peer) dht.Peer {
	out := dht.Peer{ID: slices.Clone(p.ID)}
	for _, a := range p.Addrs {
		out.Addrs = append(out.Addrs, slices.Clone(a))
	}
	return out
}
