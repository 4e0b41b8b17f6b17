package repair

import (
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Visit is what to do with one relay now.
type Visit struct {
	Peer    dht.Peer
	Grade   Grade        // of the peer
	Compare []mailbox.ID // boxes to compare and to complete from it
	Show    []mailbox.ID // boxes that it, a standby, only has to know
	Offer   []mailbox.ID // boxes that it should compare with this relay
	Audit   *Audit       // what to test as a standby that only watches
}

// Audit is a test of a relay by one that holds nothing itself: it takes a sample
// from another holder.
type Audit struct {
	Box   mailbox.ID
	Other dht.Peer // whose digest and copy the sample comes from
}

// Due returns the visits that are due and plans the next ones. Call Heard or
// Unreachable, and Visited, for each.
func (p *Planner) Due(now time.Time, rng io.Reader) []Visit {
	p.takeOver(now)
	due := p.agenda.due(now)
	if len(due) == 0 {
		return nil
	}
	out := make([]Visit, 0, len(due))
	for _, x := range due {
		round := !x.next.IsZero() && !x.next.After(now)
		x.visited, x.soon = now, time.Time{}
		v := Visit{Peer: x.Peer, Grade: x.grade(now)}
		named := p.urgent(x, &v)
		if round && len(x.duties) > 0 {
			p.all(x, &v, named, now, rng)
			x.next = now.Add(spread(Every, rng))
			x.rounds = (x.rounds + 1) % allEvery
		} else if round {
			x.next = time.Time{} // a stranger's back-off is over
		}
		p.agenda.book(x)
		out = append(out, v)
	}
	return out
}

// urgent takes what waits for an early visit.
func (p *Planner) urgent(x *peer, v *Visit) map[mailbox.ID]bool {
	if len(x.urgent) == 0 {
		return nil
	}
	named := make(map[mailbox.ID]bool, len(x.urgent))
	for _, box := range x.urgent {
		if d := p.boxes[box]; d != nil && d.active() && !named[box] {
			named[box] = true
			v.Compare = append(v.Compare, box)
		}
	}
	x.urgent = nil
	return named
}

// all adds the boxes of a round. Boxes that are empty here are left to the
// others: whoever holds something says so (see talk.tell). Now and then they are
// compared too, for a relay that has lost its disk knows none of them.
func (p *Planner) all(x *peer, v *Visit, named map[mailbox.ID]bool, now time.Time, rng io.Reader) {
	tested := uint64(0)
	var sample *duty
	for _, l := range x.duties {
		is := p.standings[l.slot]
		if is&over != 0 {
			continue
		}
		switch {
		case is&active == 0 || is&full == 0 && x.rounds > 0 || named != nil && named[l.box]:
		case !l.spare || l.first:
			v.Compare = append(v.Compare, l.box)
		default:
			v.Show = append(v.Show, l.box)
		}
		if is&offered != 0 {
			v.Offer = append(v.Offer, l.box)
		}
		if is&watched != 0 && !l.spare {
			if tested++; draw(rng, tested) == 0 {
				sample = l.duty
			}
		}
	}
	v.Audit = p.audit(sample, x, now, rng)
}

// audit chooses whose word stands against that of x.
func (p *Planner) audit(d *duty, x *peer, now time.Time, rng io.Reader) *Audit {
	if d == nil {
		return nil
	}
	var others []*peer
	for i, o := range d.others {
		if d.watches(i) && o != x && !p.lost(o, now, 0) {
			others = append(others, o)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return &Audit{Box: d.box, Other: others[draw(rng, uint64(len(others)))].Peer}
}

// Outcome is what came of a visit.
type Outcome struct {
	Advert   *dht.Advert
	Compared int
	Level    []mailbox.ID // the same on both sides, or the peer has all of ours
	Behind   []mailbox.ID // the peer lacks something of ours
	Adopted  int          // copies stored
	Refused  int          // copies that this relay's own rules did not take
	Proof    Proof        // of the relay that was visited
	Absent   int          // boxes that the peer does not serve us
	Late     bool         // it took more time than a visit has
}

// Visited notes what came of a visit that the relay answered.
func (p *Planner) Visited(id []byte, now time.Time, o Outcome) {
	x := p.peers[string(id)]
	if x == nil {
		return
	}
	p.Heard(id, now)
	x.busy, x.known = false, true
	p.agenda.book(x)
	if o.Late {
		x.slow = now
	}
	if o.Advert != nil {
		if x.leaving = !o.Advert.LeavingAt.IsZero(); x.leaving {
			p.doubt(x)
		}
		if len(o.Advert.Peer.Addrs) > 0 {
			x.Addrs, x.told = o.Advert.Peer.Addrs, true
		}
	}
	p.tested(id, now, o.Proof)
	if x.behind > 0 {
		for _, box := range o.Level {
			p.mark(box, x, false)
		}
	}
	for _, box := range o.Behind {
		p.mark(box, x, true)
	}
	// The next boxes that it does not know are worth another visit if it took to
	// the last: an owner may have named it who never asked it.
	helped := o.Absent > maxAbsent && (x.absent == 0 || o.Absent < x.absent)
	if x.absent = o.Absent; (o.Late || helped) && len(x.duties) > 0 {
		p.again(x, now)
	}
}

func (p *Planner) mark(box mailbox.ID, x *peer, behind bool) {
	d := p.boxes[box]
	if d == nil {
		return
	}
	i := slices.Index(d.others, x)
	if i < 0 || d.lacks(i) == behind {
		return
	}
	d.behind ^= 1 << i
	if behind {
		x.behind++
	} else {
		x.behind--
	}
}
