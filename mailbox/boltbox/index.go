package boltbox

import (
	"bytes"
	"cmp"
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

// content is what one box holds. Neither the slice nor the map has pointers,
// which keeps the garbage collector away from them.
type content struct {
	entries []mailbox.Entry               // by ascending Seq
	seqs    map[mailbox.EnvelopeID]uint64 // Seq of its entry
	usage   mailbox.Usage
	by      map[pass.ID]mailbox.Usage // parts of usage
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
func (c *content) from(seq uint64) int {
	at, _ := slices.BinarySearchFunc(c.entries, seq, func(e mailbox.Entry, s uint64) int { return cmp.Compare(e.Seq, s) })
	return at
}

func (x *index) find(box mailbox.ID, id mailbox.EnvelopeID) *mailbox.Entry {
	c := x.held[box]
	if c == nil {
		return nil
	}
	seq, ok := c.seqs[id]
	if !ok {
		return nil
	}
	return &c.entries[c.from(seq)]
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
	c.entries = append(c.entries, e)
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
	at := c.from(e.Seq)
	x.count(c, e.Share(), negative(one(c.entries[at])))
	c.entries = slices.Delete(c.entries, at, at+1)
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
		gone := tally{}
		rest := c.entries[:0]
		for i := range c.entries {
			e := &c.entries[i]
			if e.Day() != d {
				rest = append(rest, *e)
				continue
			}
			gone.add(e.Share(), one(*e))
			delete(c.seqs, e.ID)
		}
		c.entries = rest
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
	if c := x.held[box]; c != nil && len(c.entries) == 0 {
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
