package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/kith-im/kith/crypto/identity"
)

// State is what a log says of its group.
type State struct {
	Name    string // as its author wrote it: clean it before a person sees it
	Image   []byte
	Members []Member // the most senior first
	past    map[identity.UserID][]Span
}

// Member is a person in a group.
type Member struct {
	User  identity.UserID
	Admin bool
	Since uint64 // the time of the entry that added it
}

// Span is a membership that has ended: from its first millisecond to before its last.
type Span struct{ From, To uint64 }

// State is the state of all entries.
func (l *Log) State() *State {
	v := l.view()
	s := &State{past: map[identity.UserID][]Span{}}
	if v.name != none {
		s.Name = string(l.nodes[v.name].f.Data)
	}
	if v.image != none {
		s.Image = slices.Clone(l.nodes[v.image].f.Data)
	}
	var in []int32
	for p, seat := range v.seats {
		if seat.in {
			in = append(in, int32(p))
		}
	}
	slices.SortFunc(in, func(a, b int32) int { return l.seniority(v.seats[a].since, a, v.seats[b].since, b) })
	for _, p := range in {
		seat := v.seats[p]
		s.Members = append(s.Members, Member{User: l.people[p], Admin: seat.admin, Since: l.nodes[seat.since].f.Lamport})
	}
	for _, p := range v.past {
		u := l.people[p.who]
		s.past[u] = append(s.past[u], Span{From: p.from, To: p.to})
	}
	return s
}

// ImageBy says whose device set the image; false: there is none.
func (l *Log) ImageBy() (u identity.UserID, d identity.DeviceID, ok bool) {
	v := l.view()
	if v.image == none {
		return u, d, false
	}
	e := l.nodes[v.image]
	return e.f.User, e.Device(), true
}

// Find looks a member up.
func (s *State) Find(u identity.UserID) (Member, bool) {
	for _, m := range s.Members {
		if m.User == u {
			return m, true
		}
	}
	return Member{}, false
}

// MemberAt reports whether a person was a member at a time: what it says at that time belongs to the group.
func (s *State) MemberAt(u identity.UserID, at uint64) bool {
	if m, ok := s.Find(u); ok && at >= m.Since {
		return true
	}
	return slices.ContainsFunc(s.past[u], func(p Span) bool { return p.From <= at && at < p.To })
}

// Past calls each with the memberships that have ended, ordered by person and time.
func (s *State) Past(each func(u identity.UserID, p Span)) {
	users := slices.SortedFunc(maps.Keys(s.past), func(a, b identity.UserID) int { return bytes.Compare(a[:], b[:]) })
	for _, u := range users {
		for _, p := range s.past[u] {
			each(u, p)
		}
	}
}
