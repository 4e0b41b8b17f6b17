package group

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/kith-im/kith/crypto/identity"
)

// reference reduces a set of entries as doc.go says, one definition after the other, without a thought for cost. It shares
// nothing with the log but the entries. Each rule can be taken away, to see that the tests would notice.
type reference struct {
	without string
	all     map[Hash]*Entry
	facts   map[Hash]*refFacts
}

type refFacts struct {
	valid  bool
	before map[Hash]bool
	basis  map[Hash]bool
	since  Hash
	voided map[Hash]bool
}

type refSeat struct {
	admin bool
	since Hash
	grant Hash
}

type refState struct {
	name, image Hash
	seats       map[identity.UserID]refSeat
	past        map[identity.UserID][]Span
	void        map[Hash]bool
}

func newReference(entries []*Entry, without string) *reference {
	r := &reference{without: without, all: map[Hash]*Entry{}, facts: map[Hash]*refFacts{}}
	for _, e := range entries {
		r.all[e.Hash()] = e
	}
	return r
}

// state is that of all valid entries.
func (r *reference) state() *State {
	set := map[Hash]bool{}
	for h := range r.all {
		if r.of(h).valid {
			set[h] = true
		}
	}
	s := r.reduce(set)
	out := &State{past: map[identity.UserID][]Span{}}
	if e := r.all[s.name]; e != nil {
		out.Name = string(e.Fields().Data)
	}
	if e := r.all[s.image]; e != nil {
		out.Image = slices.Clone(e.Fields().Data)
	}
	users := slices.SortedFunc(maps.Keys(s.seats), func(a, b identity.UserID) int {
		return cmp.Or(r.compare(s.seats[a].since, s.seats[b].since), bytes.Compare(a[:], b[:]))
	})
	for _, u := range users {
		out.Members = append(out.Members, Member{User: u, Admin: s.seats[u].admin, Since: r.all[s.seats[u].since].Fields().Lamport})
	}
	maps.Copy(out.past, s.past)
	return out
}

func (r *reference) compare(a, b Hash) int {
	return cmp.Or(cmp.Compare(r.all[a].Fields().Lamport, r.all[b].Fields().Lamport), bytes.Compare(a[:], b[:]))
}

// of is what follows from an entry's ancestors.
func (r *reference) of(h Hash) *refFacts {
	if f := r.facts[h]; f != nil {
		return f
	}
	e := r.all[h]
	f := &refFacts{valid: true, before: map[Hash]bool{}, basis: map[Hash]bool{}, voided: map[Hash]bool{}}
	r.facts[h] = f
	for _, p := range e.Fields().Parents {
		if r.all[p] == nil || !r.of(p).valid || r.all[p].Fields().Lamport >= e.Fields().Lamport {
			f.valid = false
			return f
		}
		f.before[p] = true
		maps.Copy(f.before, r.of(p).before)
	}
	if e.Fields().Kind == Create {
		return f
	}
	at := r.reduce(f.before)
	seat, in := at.seats[e.Fields().User]
	f.valid = in && (seat.admin || e.Fields().Kind == Leave)
	for _, u := range e.Fields().Users {
		s, in := at.seats[u]
		f.valid = f.valid && in != (e.Fields().Kind == Add) && (e.Fields().Kind != Admin || s.admin != e.Fields().Admin)
	}
	f.since = seat.since
	for _, b := range []Hash{seat.since, seat.grant} {
		if r.all[b] != nil {
			f.basis[b] = true
			maps.Copy(f.basis, r.of(b).basis)
		}
	}
	for v := range at.void {
		if slices.Contains(r.all[v].Fields().Users, e.Fields().User) {
			f.voided[v] = true
		}
	}
	return f
}

func (r *reference) removal(h Hash) bool {
	f := r.all[h].Fields()
	return f.Kind == Remove || f.Kind == Admin && !f.Admin
}

func (r *reference) hitsOne(removal, g Hash) bool {
	if removal == g || !slices.Contains(r.all[removal].Fields().Users, r.all[g].Fields().User) || r.of(removal).before[g] {
		return false
	}
	return !r.of(g).before[removal] || r.of(g).voided[removal] && r.without != "voided"
}

func (r *reference) hits(removal, e Hash) bool {
	if removal == e || r.without == "removal wins" {
		return false
	}
	if r.hitsOne(removal, e) {
		return true
	}
	for b := range r.of(e).basis {
		if r.without != "basis" && r.hitsOne(removal, b) {
			return true
		}
	}
	return false
}

func (r *reference) judge(set map[Hash]bool) (effective, void map[Hash]bool) {
	effective, void = map[Hash]bool{}, map[Hash]bool{}
	open := map[Hash]bool{}
	for h := range set {
		if r.removal(h) {
			open[h] = true
		}
	}
	for len(open) > 0 {
		progress := false
		for h := range open {
			undecided, hit := false, false
			for o := range set {
				if r.removal(o) && r.hits(o, h) {
					hit = hit || effective[o]
					undecided = undecided || open[o]
				}
			}
			switch {
			case hit:
				void[h] = true
			case !undecided:
				effective[h] = true
			default:
				continue
			}
			delete(open, h)
			progress = true
		}
		if progress {
			continue
		}
		first := r.first(open)
		effective[first] = true
		delete(open, first)
		for o := range open {
			if r.hits(o, first) {
				void[o] = true
				delete(open, o)
			}
		}
	}
	return effective, void
}

// first is the most senior removal of the circles that depend on nothing else.
func (r *reference) first(open map[Hash]bool) Hash {
	reach := map[[2]Hash]bool{}
	for a := range open {
		for b := range open {
			reach[[2]Hash{a, b}] = r.hits(a, b)
		}
	}
	for k := range open {
		for a := range open {
			for b := range open {
				if reach[[2]Hash{a, k}] && reach[[2]Hash{k, b}] {
					reach[[2]Hash{a, b}] = true
				}
			}
		}
	}
	var best Hash
	for c := range open {
		source := reach[[2]Hash{c, c}]
		for a := range open {
			source = source && (!reach[[2]Hash{a, c}] || reach[[2]Hash{c, a}])
		}
		if source && (best == Hash{} || r.rank(c, best) < 0) {
			best = c
		}
	}
	return best
}

func (r *reference) rank(a, b Hash) int {
	bySeniority := r.compare(r.of(a).since, r.of(b).since)
	x, y := r.all[a].Fields().User, r.all[b].Fields().User
	if r.without == "seniority" {
		return bytes.Compare(a[:], b[:])
	}
	return cmp.Or(bySeniority, bytes.Compare(x[:], y[:]), bytes.Compare(a[:], b[:]))
}

func (r *reference) reduce(set map[Hash]bool) *refState {
	s := &refState{seats: map[identity.UserID]refSeat{}, past: map[identity.UserID][]Span{}}
	effective, void := r.judge(set)
	s.void = void
	for _, h := range slices.SortedFunc(maps.Keys(set), r.compare) {
		e := r.all[h].Fields()
		dead := void[h]
		for o := range effective {
			dead = dead || !r.removal(h) && e.Kind != Leave && r.hits(o, h)
		}
		seat, in := s.seats[e.User]
		may := e.Kind == Create || in && (seat.admin || e.Kind == Leave) || r.without == "rights at last"
		if !dead && may {
			r.apply(s, h, e)
		}
	}
	return s
}

func (r *reference) apply(s *refState, h Hash, e Fields) {
	end := func(u identity.UserID) {
		if seat, in := s.seats[u]; in {
			s.past[u] = append(s.past[u], Span{From: r.all[seat.since].Fields().Lamport, To: e.Lamport})
			delete(s.seats, u)
		}
	}
	switch e.Kind {
	case Create:
		s.seats[e.User], s.name = refSeat{admin: true, since: h}, h
	case Name:
		s.name = h
	case Image:
		s.image = h
	case Leave:
		end(e.User)
	}
	for _, u := range e.Users {
		seat, in := s.seats[u]
		switch {
		case e.Kind == Remove:
			end(u)
		case e.Kind == Add && !in && len(s.seats) < MaxMembers:
			s.seats[u] = refSeat{admin: e.Admin, since: h}
			if e.Admin {
				s.seats[u] = refSeat{admin: true, since: h, grant: h}
			}
		case in && seat.admin != e.Admin && (e.Kind == Admin || e.Kind == Add && e.Admin):
			s.seats[u] = refSeat{admin: e.Admin, since: seat.since, grant: h}
		}
	}
	if e.Kind == Leave || r.removal(h) {
		r.inherit(s, h)
	}
}

func (r *reference) inherit(s *refState, h Hash) {
	var heir *identity.UserID
	for u, seat := range s.seats {
		if seat.admin || r.without == "inheritance" {
			return
		}
		if heir == nil || cmp.Or(r.compare(seat.since, s.seats[*heir].since), bytes.Compare(u[:], heir[:])) < 0 {
			heir = &u
		}
	}
	if heir == nil {
		return
	}
	seat := refSeat{admin: true, since: s.seats[*heir].since, grant: h}
	if r.all[h].Fields().Kind == Leave {
		seat.grant = Hash{}
	}
	s.seats[*heir] = seat
}
