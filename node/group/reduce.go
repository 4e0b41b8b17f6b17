package group

import "bytes"

// view is the state of a set of entries.
type view struct {
	seats       []seat // by person
	members     int
	name, image int32 // the entries that set them; none
	past        []span
	void        bitset // removals without effect
	admins      int
}

// seat is a person's place in a group.
type seat struct {
	in, admin bool
	since     int32 // the entry that added it
	grant     int32 // the entry that made it an admin; none where nobody gave it that
}

// span is a membership that has ended.
type span struct {
	who      int32
	from, to uint64
}

func (v *view) seat(p int32) seat {
	if int(p) >= len(v.seats) {
		return seat{}
	}
	return v.seats[p]
}

// may reports whether a person may do a kind of act.
func (v *view) may(p int32, k Kind) bool {
	s := v.seat(p)
	return s.in && (s.admin || k == Leave)
}

// reduce is the state of a set of entries that holds all ancestors of its own.
func (l *Log) reduce(set bitset) *view {
	v := &view{name: none, image: none}
	acting := newBitset(len(l.nodes)) // the removals with effect
	for r, verdict := range l.judge(set) {
		if verdict == effective {
			acting.set(r)
		} else {
			v.void.set(r)
		}
	}
	for _, i := range l.order {
		if set.has(i) && !l.isVoid(i, acting) {
			v.apply(l, i)
		}
	}
	return v
}

// isVoid reports whether an entry has no effect, given the removals that have.
func (l *Log) isVoid(i int32, acting bitset) bool {
	n := &l.nodes[i]
	if n.f.removes() {
		return !acting.has(i)
	}
	return n.f.Kind != Leave && l.threatened()[i].meets(acting, i)
}

// apply does what an entry says, if its author may by now.
func (v *view) apply(l *Log, i int32) {
	n := &l.nodes[i]
	if missing := len(l.people) - len(v.seats); missing > 0 {
		v.seats = append(v.seats, make([]seat, missing)...)
	}
	if n.f.Kind != Create && !v.may(n.author, n.f.Kind) {
		return
	}
	switch n.f.Kind {
	case Create:
		v.seats[n.author], v.members, v.admins = seat{in: true, admin: true, since: i, grant: none}, 1, 1
		v.name = i
	case Add:
		for _, u := range n.users {
			v.add(u, i, n.f.Admin)
		}
	case Remove:
		for _, u := range n.users {
			v.end(l, u, n.f.Lamport)
		}
	case Leave:
		v.end(l, n.author, n.f.Lamport)
	case Admin:
		for _, u := range n.users {
			if s := &v.seats[u]; s.in && s.admin != n.f.Admin {
				v.promote(s, n.f.Admin, i)
			}
		}
	case Name:
		v.name = i
	case Image:
		v.image = i
	}
	if n.f.Kind == Leave || n.f.removes() {
		v.inherit(l, i)
	}
}

func (v *view) add(u, i int32, admin bool) {
	s := &v.seats[u]
	switch {
	case s.in && admin && !s.admin: // somebody else added it at the same time, as less
		v.promote(s, true, i)
	case !s.in && v.members < MaxMembers:
		*s = seat{in: true, since: i, grant: none}
		if admin {
			v.promote(s, true, i)
		}
		v.members++
	}
}

// promote makes a member an admin, or none any more, by entry i.
func (v *view) promote(s *seat, admin bool, i int32) {
	if s.admin, s.grant = admin, i; admin {
		v.admins++
	} else {
		v.admins--
	}
}

func (v *view) end(l *Log, u int32, at uint64) {
	if s := &v.seats[u]; s.in {
		v.past = append(v.past, span{who: u, from: l.nodes[s.since].f.Lamport, to: at})
		if v.members--; s.admin {
			v.admins--
		}
		*s = seat{}
	}
}

// inherit makes the most senior member an admin when entry i left none. What it does then is void when that entry is,
// unless its author just left, which nothing makes void.
func (v *view) inherit(l *Log, i int32) {
	if v.admins > 0 {
		return
	}
	heir := none
	for p, s := range v.seats {
		switch {
		case !s.in:
		case heir == none || l.seniority(s.since, int32(p), v.seats[heir].since, heir) < 0:
			heir = int32(p)
		}
	}
	if heir == none {
		return
	}
	s := &v.seats[heir]
	v.promote(s, true, i)
	if l.nodes[i].f.Kind == Leave {
		s.grant = none
	}
}

// seniority compares two members by the entries that added them, then by user id: the senior is less.
func (l *Log) seniority(since, p, otherSince, other int32) int {
	if since != otherSince {
		return l.nodes[since].compare(l.nodes[otherSince].Entry)
	}
	a, b := l.people[p], l.people[other]
	return bytes.Compare(a[:], b[:])
}
