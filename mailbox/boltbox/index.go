package boltbox

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// index is the committed state in memory: everything but the envelopes and the
// sets. Only apply, in apply.go, changes it.
type index struct {
	boxes map[mailbox.ID]mailbox.Box
	order []mailbox.ID // ascending: the ids of boxes, and some of boxes that are gone
	held  map[mailbox.ID]*content
	days  map[mailbox.Day]*day
	certs map[mailbox.ID]map[pass.ID]pass.Cert
	total mailbox.Usage // Boxes is not kept here
	clock mailbox.Clock
	leave time.Time
	seq   uint64 // last arrival number given
}

// content is what one box holds. Neither the entries nor the map have pointers,
// which keeps the garbage collector away from them.
type content struct {
	parts []part                        // by ascending day; none is empty
	seqs  map[mailbox.EnvelopeID]uint64 // Seq of its entry
	usage mailbox.Usage
	by    map[pass.ID]mailbox.Usage // parts of usage
}

// part is what a box holds of one day of expiry, so that to drop a day is to
// look at its own entries alone.
type part struct {
	day     mailbox.Day
	entries []mailbox.Entry // by ascending Seq
}

type certKey struct {
	box mailbox.ID
	id  pass.ID
}

// day is what the store knows of one day of expiry.
type day struct {
	entries int
	sum     sum
}

func newIndex() *index {
	return &index{
		boxes: map[mailbox.ID]mailbox.Box{}, held: map[mailbox.ID]*content{}, days: map[mailbox.Day]*day{},
		certs: map[mailbox.ID]map[pass.ID]pass.Cert{},
	}
}

func (x *index) putBox(id mailbox.ID, b mailbox.Box) {
	if _, known := x.boxes[id]; !known {
		if at, there := slices.BinarySearchFunc(x.order, id, compareIDs); !there {
			x.order = slices.Insert(x.order, at, id)
		}
	}
	x.boxes[id] = b
}

func compareIDs(a, b mailbox.ID) int { return bytes.Compare(a[:], b[:]) }

// from returns the position of the first entry with Seq >= seq.
func (p *part) from(seq uint64) (at int, there bool) {
	return slices.BinarySearchFunc(p.entries, seq, func(e mailbox.Entry, s uint64) int { return cmp.Compare(e.Seq, s) })
}

// part returns the position of a day.
func (c *content) part(d mailbox.Day) (at int, there bool) {
	return slices.BinarySearchFunc(c.parts, d, func(p part, d mailbox.Day) int { return cmp.Compare(p.day, d) })
}

// of are the entries of a day. A box that is not there has none.
func (c *content) of(d mailbox.Day) []mailbox.Entry {
	if c == nil {
		return nil
	}
	if at, there := c.part(d); there {
		return c.parts[at].entries
	}
	return nil
}

// after goes through the entries with Seq > seq in order of arrival.
func (c *content) after(seq uint64) iter.Seq[mailbox.Entry] {
	return func(yield func(mailbox.Entry) bool) {
		heads := make([][]mailbox.Entry, 0, len(c.parts))
		for i := range c.parts {
			if at, _ := c.parts[i].from(seq + 1); at < len(c.parts[i].entries) {
				heads = append(heads, c.parts[i].entries[at:])
			}
		}
		for len(heads) > 0 {
			first := 0
			for i := range heads {
				if heads[i][0].Seq < heads[first][0].Seq {
					first = i
				}
			}
			if !yield(heads[first][0]) {
				return
			}
			if heads[first] = heads[first][1:]; len(heads[first]) == 0 {
				heads = slices.Delete(heads, first, first+1)
			}
		}
	}
}

func (x *index) find(box mailbox.ID, id mailbox.EnvelopeID) *mailbox.Entry {
	c := x.held[box]
	if c == nil {
		return nil
	}
	seq, ok := c.seqs[id]
	for i := range c.parts {
		if at, there := c.parts[i].from(seq); ok && there {
			return &c.parts[i].entries[at]
		}
	}
	return nil
}

func (x *index) has(box mailbox.ID, id mailbox.EnvelopeID) bool {
	c := x.held[box]
	if c == nil {
		return false
	}
	_, ok := c.seqs[id]
	return ok
}

// add takes an entry in; the caller sees to ascending Seq.
func (x *index) add(box mailbox.ID, e mailbox.Entry) {
	c := x.held[box]
	if c == nil {
		c = &content{seqs: map[mailbox.EnvelopeID]uint64{}, by: map[pass.ID]mailbox.Usage{}}
		x.held[box] = c
	}
	at, there := c.part(e.Day())
	if !there {
		c.parts = slices.Insert(c.parts, at, part{day: e.Day()})
	}
	c.parts[at].entries = append(c.parts[at].entries, e)
	c.seqs[e.ID] = e.Seq
	x.count(c, e.Share(), one(e))
	x.day(e.Day()).entries++
	x.seq = max(x.seq, e.Seq)
}

func (x *index) bury(box mailbox.ID, id mailbox.EnvelopeID) {
	e := x.find(box, id)
	c := x.held[box]
	was := one(*e)
	e.Buried, e.Size = true, 0
	x.count(c, e.Share(), plus(one(*e), negative(was)))
}

// forget removes an entry: its envelope comes again.
func (x *index) forget(box mailbox.ID, e mailbox.Entry) {
	c := x.held[box]
	day, _ := c.part(e.Day())
	p := &c.parts[day]
	at, _ := p.from(e.Seq)
	x.count(c, e.Share(), negative(one(p.entries[at])))
	if p.entries = slices.Delete(p.entries, at, at+1); len(p.entries) == 0 {
		c.parts = slices.Delete(c.parts, day, day+1)
	}
	delete(c.seqs, e.ID)
	if day := x.day(e.Day()); day.entries > 1 {
		day.entries--
	} else {
		delete(x.days, e.Day())
	}
}

func (x *index) day(d mailbox.Day) *day {
	if x.days[d] == nil {
		x.days[d] = &day{}
	}
	return x.days[d]
}

// dropDay forgets all entries of a day.
func (x *index) dropDay(d mailbox.Day) {
	for _, c := range x.held {
		at, there := c.part(d)
		if !there {
			continue
		}
		gone := tally{}
		for i := range c.parts[at].entries {
			e := &c.parts[at].entries[i]
			gone.add(e.Share(), one(*e))
			delete(c.seqs, e.ID)
		}
		c.parts = slices.Delete(c.parts, at, at+1)
		for id, used := range gone.all {
			x.count(c, id, negative(used))
		}
	}
	delete(x.days, d)
}

// tally adds up usage by share. Most boxes have few, so one is kept by itself.
type tally struct {
	id   pass.ID
	used mailbox.Usage // of id; zero: nothing was added
	rest map[pass.ID]mailbox.Usage
}

func (t *tally) add(id pass.ID, u mailbox.Usage) {
	if t.used == (mailbox.Usage{}) {
		t.id = id
	}
	if t.id == id {
		t.used = plus(t.used, u)
		return
	}
	set(&t.rest, id, plus(t.rest[id], u))
}

// all goes through the shares that something was added to.
func (t *tally) all(yield func(pass.ID, mailbox.Usage) bool) {
	if t.used == (mailbox.Usage{}) || !yield(t.id, t.used) {
		return
	}
	for id, used := range t.rest {
		if !yield(id, used) {
			return
		}
	}
}

func (x *index) putPass(box mailbox.ID, c pass.Cert) {
	if x.certs[box] == nil {
		x.certs[box] = map[pass.ID]pass.Cert{}
	}
	x.certs[box][c.ID()] = c
}

func (x *index) dropPass(box mailbox.ID, id pass.ID) {
	if delete(x.certs[box], id); len(x.certs[box]) == 0 {
		delete(x.certs, box)
	}
}

func (x *index) dropBox(box mailbox.ID) {
	delete(x.boxes, box)
	if len(x.order) > 2*len(x.boxes)+64 { // now and then: a sweep drops many boxes
		x.order = slices.DeleteFunc(x.order, func(id mailbox.ID) bool { _, known := x.boxes[id]; return !known })
	}
	if c := x.held[box]; c != nil && len(c.parts) == 0 {
		delete(x.held, box)
	}
}

func (x *index) count(c *content, share pass.ID, by mailbox.Usage) {
	was := c.usage.OverFloor()
	c.usage, x.total = plus(c.usage, by), plus(x.total, by)
	x.total.Over += c.usage.OverFloor() - was
	if c.by[share] = plus(c.by[share], by); c.by[share] == (mailbox.Usage{}) {
		delete(c.by, share)
	}
}

// one is the usage of a single entry.
func one(e mailbox.Entry) mailbox.Usage {
	if e.Buried {
		return mailbox.Usage{Tombs: 1}
	}
	return mailbox.Usage{Count: 1, Bytes: uint64(e.Size)}
}

func plus(a, b mailbox.Usage) mailbox.Usage {
	return mailbox.Usage{Boxes: a.Boxes + b.Boxes, Count: a.Count + b.Count, Tombs: a.Tombs + b.Tombs, Bytes: a.Bytes + b.Bytes, Over: a.Over + b.Over}
}

// negative wraps the bytes, so that plus takes them away.
func negative(u mailbox.Usage) mailbox.Usage {
	return mailbox.Usage{Boxes: -u.Boxes, Count: -u.Count, Tombs: -u.Tombs, Bytes: -u.Bytes, Over: -u.Over}
}
