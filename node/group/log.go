package group

import (
	"bytes"
	"slices"

	"github.com/kith-im/kith/crypto/identity"
)

// Log is what a device knows of one group. It belongs to one goroutine.
type Log struct {
	id    ID
	nodes []node
	index map[Hash]int32
	short map[[16]byte]int32
	order []int32 // all nodes by (Lamport, hash)

	people  []identity.UserID
	who     map[identity.UserID]int32
	targets map[int32]bitset // person -> removals that name it
	tips    map[int32]int    // person -> entries of its own that nothing builds on

	removals bitset
	threats  []bitset // see threatened; of the first nodes

	now *view // the state of the whole log; nil: to be reduced
}

// node is an entry with what follows from its ancestors alone.
type node struct {
	*Entry
	author   int32
	users    []int32
	before   bitset // its ancestors
	after    bitset // those whose ancestor it is
	since    int32  // the entry that made its author a member: its seniority
	grant    int32  // the entry that made its author an admin, if it was another: by these two, and theirs, it may do it
	voided   bitset // removals of its author among its ancestors that were void in their state
	children int
}

const none int32 = -1

// NewLog is the empty log of a group.
func NewLog(id ID) *Log {
	return &Log{
		id: id, index: map[Hash]int32{}, short: map[[16]byte]int32{}, who: map[identity.UserID]int32{},
		targets: map[int32]bitset{}, tips: map[int32]int{},
	}
}

// ID is the group.
func (l *Log) ID() ID { return l.id }

// Len is the number of entries.
func (l *Log) Len() int { return len(l.nodes) }

// Has reports whether the log has an entry; it takes the part of its hash that rides in messages.
func (l *Log) Has(short [16]byte) bool {
	_, ok := l.short[short]
	return ok
}

// Merge takes in entries in any order. It returns those that were new, parents first, and the parents that are missing
// for others to enter: ask for them, and bring those entries again. What is refused is not in either. The caller has
// proved the entries (Entry.By) or restored them.
func (l *Log) Merge(entries []*Entry) (added []*Entry, missing []Hash) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, (*Entry).compare)
	needed := map[Hash]bool{} // somebody else builds on it
	author := map[Hash]identity.UserID{}
	for _, e := range entries {
		author[e.hash] = e.f.User
		for _, p := range e.f.Parents {
			if u, here := author[p]; here && u != e.f.User {
				needed[p] = true
			}
		}
	}
	for _, e := range entries {
		if _, known := l.index[e.hash]; known || e.Group() != l.id || len(l.nodes) >= MaxEntries {
			continue
		}
		if lack := l.lack(e); len(lack) > 0 {
			for _, h := range lack {
				if _, here := author[h]; !here && !slices.Contains(missing, h) {
					missing = append(missing, h)
				}
			}
			continue
		}
		if l.add(e, needed[e.hash]) {
			added = append(added, e)
		}
	}
	return added, missing
}

// Lacks reports whether something that an entry builds on is not in the log.
func (l *Log) Lacks(e *Entry) bool { return len(l.lack(e)) > 0 }

func (l *Log) lack(e *Entry) (lack []Hash) {
	for _, p := range e.f.Parents {
		if _, ok := l.index[p]; !ok {
			lack = append(lack, p)
		}
	}
	return lack
}

// add takes in one entry whose parents are here, if its author may do what it does.
func (l *Log) add(e *Entry, needed bool) bool {
	if (e.f.Kind == Create) != (len(l.nodes) == 0) {
		return false
	}
	n := node{Entry: e, since: none, grant: none, before: newBitset(len(l.nodes))}
	for _, h := range e.f.Parents {
		p := l.index[h]
		if l.nodes[p].f.Lamport >= e.f.Lamport {
			return false
		}
		n.before = n.before.join(l.nodes[p].before)
		n.before.set(p)
	}
	at := l.viewOf(n.before)
	author, known := l.who[e.f.User]
	if e.f.Kind != Create && (!known || !at.may(author, e.f.Kind) || !l.changes(at, e) || !needed && l.tips[author] >= maxTips) {
		return false
	}
	n.author = l.person(e.f.User)
	for _, u := range e.f.Users {
		n.users = append(n.users, l.person(u))
	}
	if e.f.Kind != Create {
		seat := at.seats[n.author]
		n.since, n.grant = seat.since, seat.grant
		n.voided = at.void.and(l.targets[n.author])
	}
	l.insert(n, at)
	return true
}

// changes reports whether an act does something to everybody that it names.
func (l *Log) changes(at *view, e *Entry) bool {
	return !slices.ContainsFunc(e.f.Users, func(u identity.UserID) bool {
		var seat seat
		if p, known := l.who[u]; known {
			seat = at.seat(p)
		}
		switch e.f.Kind {
		case Add:
			return seat.in
		case Admin:
			return !seat.in || seat.admin == e.f.Admin
		}
		return !seat.in
	})
}

func (l *Log) person(u identity.UserID) int32 {
	p, ok := l.who[u]
	if !ok {
		p = int32(len(l.people))
		l.who[u], l.people = p, append(l.people, u)
	}
	return p
}

// insert makes n a node. If it builds on all there is, then the state moves on by this one entry.
func (l *Log) insert(n node, at *view) {
	i := int32(len(l.nodes))
	l.nodes = append(l.nodes, n)
	l.index[n.hash], l.short[n.hash.Short()] = i, i
	for _, h := range n.f.Parents {
		p := &l.nodes[l.index[h]]
		if p.children++; p.children == 1 {
			l.tips[p.author]--
		}
	}
	l.tips[n.author]++
	where, _ := slices.BinarySearchFunc(l.order, n.Entry, func(o int32, e *Entry) int { return l.nodes[o].compare(e) })
	l.order = slices.Insert(l.order, where, i)
	n.before.each(func(b int32) bool { l.nodes[b].after.set(i); return true })
	if n.f.removes() {
		l.removals.set(i)
		for _, u := range n.users {
			set := l.targets[u]
			set.set(i)
			l.targets[u] = set
		}
		l.threats = nil // what was done at the same time is hit by it
	}
	if at != l.now { // it does not build on all there is
		l.now = nil
		return
	}
	l.now.apply(l, i)
}

// viewOf is the state of a set of entries that has all ancestors of its own.
func (l *Log) viewOf(set bitset) *view {
	if set.count() != len(l.nodes) {
		return l.reduce(set)
	}
	if l.now == nil {
		l.now = l.reduce(set)
	}
	return l.now
}

func (l *Log) view() *view {
	if l.now == nil {
		l.now = l.reduce(l.all())
	}
	return l.now
}

func (l *Log) all() bitset {
	all := newBitset(len(l.nodes))
	for i := range l.nodes {
		all.set(int32(i))
	}
	return all
}

// Heads are the entries that nothing builds on yet, the newest first.
func (l *Log) Heads() []Hash {
	var heads []Hash
	for _, i := range slices.Backward(l.order) {
		if l.nodes[i].children == 0 {
			heads = append(heads, l.nodes[i].hash)
		}
	}
	return heads
}

// Latest is the greatest time in the log: an entry that builds on all of it needs a greater one.
func (l *Log) Latest() uint64 {
	if len(l.order) == 0 {
		return 0
	}
	return l.nodes[l.order[len(l.order)-1]].f.Lamport
}

// Beyond lists the entries that somebody lacks who has these (the short parts of their hashes) and all that they build
// on, parents first. What this log does not know itself is passed over.
func (l *Log) Beyond(have [][16]byte) []*Entry {
	has := l.past(have)
	return l.list(func(i int32) bool { return !has.has(i) })
}

// Undoing is what some people have to see.
type Undoing struct {
	Users   []identity.UserID
	Entries []*Entry
}

// mostTrials bounds the states that Undo computes, which a hostile log makes dear: whoever comes after is told what was done
// to it, unexamined.
const mostTrials = 8

// Undo is what shows people that they are no members who have these entries and all that they build on, and are by them:
// what was done to them, else also what was done to those entries' authors, else all removals; with what that builds on,
// parents first. What came later is none of their business.
func (l *Log) Undo(have [][16]byte, users []identity.UserID) (out []Undoing) {
	has, authors := l.past(have), bitset{}
	for _, h := range have {
		if i, ok := l.short[h]; ok {
			authors = authors.join(l.targets[l.nodes[i].author])
		}
	}
	var sets, tried []bitset
	var views []*view
	for _, u := range users {
		p, set := l.who[u], has.clone()
		for _, more := range []bitset{l.ends(p), authors, l.removals, l.all()} {
			more.each(func(i int32) bool {
				set = set.join(l.nodes[i].before)
				set.set(i)
				return true
			})
			at := slices.IndexFunc(tried, func(o bitset) bool { return slices.Equal(o, set) })
			if at < 0 && len(tried) < mostTrials {
				at, tried, views = len(tried), append(tried, set.clone()), append(views, l.viewOf(set))
			}
			if at < 0 || at >= 0 && !views[at].seat(p).in {
				break
			}
		}
		at := slices.IndexFunc(sets, func(o bitset) bool { return slices.Equal(o, set) })
		if at < 0 {
			at, sets = len(sets), append(sets, set)
			out = append(out, Undoing{Entries: l.list(func(i int32) bool { return set.has(i) && !has.has(i) })})
		}
		out[at].Users = append(out[at].Users, u)
	}
	return out
}

// ends are the entries that ended a person's memberships, or its being an admin.
func (l *Log) ends(p int32) bitset {
	set := l.targets[p].clone()
	for i := range l.nodes {
		if n := &l.nodes[i]; n.f.Kind == Leave && n.author == p {
			set.set(int32(i))
		}
	}
	return set
}

// past is these entries and all that they build on.
func (l *Log) past(of [][16]byte) bitset {
	set := newBitset(len(l.nodes))
	for _, h := range of {
		if i, ok := l.short[h]; ok {
			set = set.join(l.nodes[i].before)
			set.set(i)
		}
	}
	return set
}

// list is the entries of which keep holds, parents first.
func (l *Log) list(keep func(i int32) bool) (out []*Entry) {
	for _, i := range l.order {
		if keep(i) {
			out = append(out, l.nodes[i].Entry)
		}
	}
	return out
}

// End lists the entries that ended a person's memberships, with all that they build on, parents first.
func (l *Log) End(u identity.UserID) []*Entry {
	p, known := l.who[u]
	set := newBitset(len(l.nodes))
	for i := range l.nodes {
		n := &l.nodes[i]
		if known && (n.f.Kind == Remove && slices.Contains(n.users, p) || n.f.Kind == Leave && n.author == p) {
			set.join(n.before)
			set.set(int32(i))
		}
	}
	return l.list(set.has)
}

// Act makes the fields of the next entry of an author: it builds on the newest heads, and is later than they are.
func (l *Log) Act(author identity.UserID, list identity.Head, now uint64, act Act) Fields {
	heads := l.Heads()
	f := Fields{Group: l.id, User: author, List: list, Lamport: max(now, l.Latest()+1), Act: act}
	f.Parents = heads[:min(len(heads), MaxParents)]
	slices.SortFunc(f.Parents, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	return f
}
