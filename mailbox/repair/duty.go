package repair

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Duty is this relay's part in one box.
type Duty struct {
	Box     mailbox.ID
	Version uint64       // tells the newest set of the box from any other
	Members []dht.Member // of that set, by ascending rank
	Content bool         // it holds live envelopes here
}

// duty is a Duty with its relays resolved.
type duty struct {
	box     mailbox.ID
	version uint64
	place   int // position among the standbys; member or former
	took    bool
	content bool
	over    bool // replaced or gone: lists of peers drop it in passing
	seen    uint64
	number  uint64  // by Take
	slot    uint32  // where its standing is
	others  []*peer // by rank, without this relay
	was     []*peer // stood in the last sets before, and in this one no longer
	before  int     // how many of others stand before this relay
	spare   uint16  // bit i: others[i] is a standby
	behind  uint16  // bit i: others[i] lacked something when last compared
}

// link is a relay's place in a duty.
type link struct {
	*duty
	slot  uint32
	spare bool // it is a standby
	first bool // it stands before this relay
}

// standing is what a round asks of a duty. They lie side by side, for a round goes through all that two relays share, and
// most of that is empty.
type standing uint8

const (
	over    standing = 1 << iota
	active           // this relay keeps the box whole
	full             // it holds live envelopes here
	offered          // whoever does not compare is told of them
	watched          // members are tested: this relay is a standby that waits
)

func (d *duty) standing() (s standing) {
	for _, b := range []struct {
		is  bool
		bit standing
	}{{d.over, over}, {d.active(), active}, {d.content, full}, {d.offers(), offered}, {d.waits(), watched}} {
		if b.is {
			s |= b.bit
		}
	}
	return s
}

// note keeps the standing of a duty up to what is known of it.
func (p *Planner) note(d *duty) { p.standings[d.slot] = d.standing() }

// seat finds room for the standing of a new duty.
func (p *Planner) seat(d *duty) {
	if n := len(p.free); n > 0 {
		d.slot, p.free = p.free[n-1], p.free[:n-1]
		return
	}
	d.slot = uint32(len(p.standings))
	p.standings = append(p.standings, 0)
}

const (
	member = -1 // this relay is a member
	former = -2 // the newest set does not name this relay
)

// active says whether this relay keeps the box whole.
func (d *duty) active() bool { return d.place == member || d.took }

// standby says whether others[i] is one in this set.
func (d *duty) standby(i int) bool { return d.spare>>i&1 == 1 }

// lacks says whether others[i] lacked something when last compared.
func (d *duty) lacks(i int) bool { return d.behind>>i&1 == 1 }

// replicas is how many members the set has, this relay aside or not.
func (d *duty) replicas() int {
	n := 0
	for i := range d.others {
		if !d.standby(i) {
			n++
		}
	}
	if d.place == member {
		n++
	}
	return n
}

// compares says whether an active relay visits others[i] for this box: every
// member, and the standbys before it. Later ones offer what they hold.
func (d *duty) compares(i int) bool {
	return d.active() && (!d.standby(i) || i < d.before)
}

// urge has the box compared soon wherever it is.
func (p *Planner) urge(d *duty, now time.Time) {
	for i, x := range d.others {
		if d.compares(i) {
			p.hurry(x, now, d.box)
		}
	}
}

// watches says whether this relay, a standby that has not taken over, tests
// others[i]: only members are sure to hold something.
func (d *duty) watches(i int) bool { return d.waits() && !d.standby(i) }

// waits says whether this relay is a standby that has not taken over.
func (d *duty) waits() bool { return d.place >= 0 && !d.took }

// offers says whether this relay tells others that it holds something: members
// compare among themselves, the rest must be heard of.
func (d *duty) offers() bool { return d.content && d.place != member }

// See says whether the planner knows this set of a box, and notes
// whether the box holds live envelopes. If not, Take has to follow.
func (p *Planner) See(box mailbox.ID, version uint64, content bool) bool {
	d := p.boxes[box]
	if d == nil || d.version != version {
		return false
	}
	if d.seen = p.round; d.content != content {
		d.content = content
		p.note(d)
	}
	return true
}

// Take adds a box or replaces its set. The relays of a new set are visited at
// once; a standby that took over begins anew.
func (p *Planner) Take(now time.Time, in Duty) {
	old := p.boxes[in.Box]
	if old != nil {
		p.end(old)
	}
	p.taken++
	d := &duty{box: in.Box, version: in.Version, content: in.Content, seen: p.round, number: p.taken, place: former}
	p.seat(d)
	standbys := 0
	for _, m := range in.Members[:min(len(in.Members), dht.MaxMembers)] {
		if string(m.Peer.ID) == p.self {
			d.place, d.before = member, len(d.others)
			if m.Standby {
				d.place = standbys
			}
			continue
		}
		x := p.at(m.Peer.ID, m.Peer.Addrs)
		if m.Standby {
			standbys++
		}
		if x == nil {
			continue
		}
		if m.Standby {
			d.spare |= 1 << len(d.others)
		}
		d.others = append(d.others, x)
		if x.next.IsZero() {
			p.again(x, now)
		}
	}
	for i, x := range d.others {
		x.duties = append(x.duties, link{d, d.slot, d.standby(i), i < d.before})
	}
	d.succeeds(old)
	p.note(d)
	p.boxes[in.Box] = d
	p.urge(d, now)
	if d.place >= 0 {
		p.fresh = append(p.fresh, d)
	}
}

// end puts a duty out of force.
func (p *Planner) end(d *duty) {
	d.over = true
	p.note(d)
	p.ended = append(p.ended, d.slot)
	for i, x := range d.others {
		if d.lacks(i) {
			x.behind--
		}
	}
}

// succeeds keeps in mind who stood in the sets before: they may have mail to hand
// over, and strangers must not keep them from it.
func (d *duty) succeeds(old *duty) {
	if old == nil {
		return
	}
	for _, x := range append(old.was, old.others...) {
		if !slices.Contains(d.others, x) && !slices.Contains(d.was, x) {
			x.former = true
			d.was = append(d.was, x)
		}
	}
	d.was = d.was[max(0, len(d.was)-maxFormer):]
}

// Sweep forgets the boxes that See and Take have not named since the last
// Sweep, and the relays that no box and no offer needs.
func (p *Planner) Sweep() {
	for box, d := range p.boxes {
		if d.seen != p.round {
			p.end(d)
			delete(p.boxes, box)
		}
	}
	p.round++
	p.Tidy()
}

// Tidy forgets the relays that no box and no offer needs. It is Sweep for who knows
// that no box has gone.
func (p *Planner) Tidy() {
	for _, x := range p.order {
		x.former = false
	}
	for _, d := range p.boxes {
		for _, x := range d.was {
			x.former = true
		}
	}
	p.order = slices.DeleteFunc(p.order, func(x *peer) bool {
		x.duties = slices.DeleteFunc(x.duties, func(l link) bool { return p.standings[l.slot]&over != 0 })
		x.urgent = slices.DeleteFunc(x.urgent, func(box mailbox.ID) bool { return p.boxes[box] == nil })
		if len(x.duties) > 0 || len(x.urgent) > 0 || x.former {
			return false
		}
		delete(p.peers, string(x.ID))
		p.agenda.drop(x)
		return true
	})
	p.doubted = slices.DeleteFunc(p.doubted, func(x *peer) bool { return p.peers[string(x.ID)] != x })
	p.free, p.ended = append(p.free, p.ended...), p.ended[:0] // nobody has a link to these any more
}

// takeOver lets this relay's standby places begin that too many relays before
// them are lost for. A place is asked when it is new, and when one more relay
// before it counts as lost for it: all others have been found not to begin.
func (p *Planner) takeOver(now time.Time) {
	if p.asked && len(p.fresh) == 0 && (p.recheck.IsZero() || now.Before(p.recheck)) {
		return
	}
	begin := p.fresh
	p.fresh, p.asked, p.recheck = nil, true, time.Time{}
	p.doubted = slices.DeleteFunc(p.doubted, func(x *peer) bool {
		was := x.rated
		if x.rated = p.rate(x, now); x.rated > was {
			for _, l := range x.duties {
				if l.first && l.place >= was && l.place < x.rated {
					begin = append(begin, l.duty)
				}
			}
		}
		if at := x.worsens(); !at.IsZero() && (p.recheck.IsZero() || at.Before(p.recheck)) {
			p.recheck = at
		}
		x.doubted = x.doubtful()
		return !x.doubted
	})
	slices.SortFunc(begin, func(a, b *duty) int { return cmp.Compare(a.number, b.number) })
	for _, d := range begin {
		if p.bereft(d, now) {
			d.took = true
			p.note(d)
			p.urge(d, now)
		}
	}
}

// rate says for how many standbys of a set, from the first on, a relay counts as lost.
func (p *Planner) rate(x *peer, now time.Time) int {
	for j := range dht.MaxMembers {
		if !p.lost(x, now, j) {
			return j
		}
	}
	return dht.MaxMembers
}

// worsens is when time alone may have a relay count as lost for one more standby, at the earliest; zero: never.
func (x *peer) worsens() time.Time {
	since := x.down
	if since.IsZero() || !x.lacking.IsZero() && x.lacking.Before(since) {
		since = x.lacking
	}
	if since.IsZero() || x.rated == dht.MaxMembers {
		return time.Time{}
	}
	return since.Add(Patience(x.rated))
}

// bereft says whether a duty is a standby's that waits, and too many before it are lost.
func (p *Planner) bereft(d *duty, now time.Time) bool {
	if d.over || !d.waits() {
		return false
	}
	lost := 0
	for _, x := range d.others[:d.before] {
		if p.lost(x, now, d.place) {
			lost++
		}
	}
	return TakesOver(d.place, lost)
}

// Status sums up what the planner knows.
type Status struct {
	Boxes   int // with a set
	Peers   int // relays in their sets
	Lost    int // relays that count as lost
	Took    int // boxes that this relay took over as a standby
	Deficit int // boxes x members that are lost or lacked something when last compared
}

// Status is what is known at now.
func (p *Planner) Status(now time.Time) Status {
	s := Status{Boxes: len(p.boxes)}
	gone := map[*peer]bool{}
	for _, x := range p.order {
		if len(x.duties) == 0 {
			continue
		}
		s.Peers++
		if p.lost(x, now, 0) {
			gone[x] = true
			s.Lost++
		}
	}
	for _, d := range p.boxes {
		if d.took {
			s.Took++
		}
		if !d.active() || !d.content {
			continue
		}
		for i, x := range d.others {
			if !d.standby(i) && (d.lacks(i) || gone[x]) {
				s.Deficit++
			}
		}
	}
	return s
}

// Look reads from a store what this relay's part in one box is. A box with content
// of which no set is known, or a spoilt one, has no other relays. A relay that
// gave no lease has no part in it: whoever owns a box may name any.
func (p *Planner) Look(tx mailbox.Tx, now time.Time, box mailbox.ID) {
	var version uint64
	raw, err := tx.Set(box) // a spoilt one is counted by the store
	if err == nil && len(raw) >= 8 {
		version = binary.BigEndian.Uint64(raw[len(raw)-8:]) // of the owner's signature
	}
	content := tx.Usage(box).Count > 0
	if p.See(box, version, content) {
		return
	}
	var members []dht.Member
	var bound []byte
	if version != 0 {
		members, bound, _ = dht.SetMembers(raw)
		members = slices.DeleteFunc(members, func(m dht.Member) bool { return string(m.Peer.ID) != p.self && !slices.Contains(bound, m.Rank) })
	}
	if len(members) > 0 || content {
		p.Take(now, Duty{Box: box, Version: version, Members: members, Content: content})
	}
}
