package model

import (
	"math"
	"time"

	"github.com/kith-im/kith/crypto/session"
)

// Latencies, in milliseconds.
const (
	latencyMin  = 20 // one way; up to three times as much
	dialLegs    = 3  // one-way trips of a stream that has yet to be made
	headStart   = 250
	relayLegs   = 4 // deposit, receipt beside it, push, and half a trip of doubt
	fetchLegs   = 4
	contentHead = 40 // bytes of a message's content beside its text
)

// makeFriends draws who knows whom: everybody knows those at the same distances, most of them near, which is to say in
// the same time zone. Knowing is mutual. People write to the first most: like 1/rank.
func (w *World) makeFriends() {
	n, half := len(w.users), max(w.cfg.Contacts/2, 1)
	for i := range half {
		reach := max(n/200, 20)
		if i%5 == 4 {
			reach = n / 2
		}
		w.near = append(w.near, 1+w.rng.Below(max(min(reach, n/2), 1)))
	}
	for i := range w.liked {
		rank := math.Pow(float64(half)+1, (float64(i)+0.5)/256) - 1
		w.liked[i] = uint8(min(int(rank), half-1, 255))
	}
}

// contact is somebody whom u knows.
func (w *World) contact(u uint32, x uint64) uint32 {
	if v, ok := w.hot(x); ok && v != u {
		return v
	}
	n := len(w.users)
	off := w.near[w.liked[x&0xff]]
	if x&0x100 != 0 {
		off = n - off
	}
	v := int(u) + off
	if v >= n {
		v -= n
	}
	return uint32(v)
}

func zoneOf(x float64) uint8 {
	for i, z := range zones {
		if x -= z.share; x < 0 {
			return uint8(i)
		}
	}
	return uint8(len(zones) - 1)
}

// activity is how much more than others a user writes, with mean 1.
func (w *World) activity() float64 {
	s := w.cfg.Uneven
	if s == 0 {
		return 1
	}
	return math.Exp(s*w.rng.dist.NormFloat64() - s*s/2)
}

// write has a user write a message, if one of its devices is there; else it does when one is.
func (w *World) write(l *letter) {
	u := &w.users[l.from]
	n := uint32(u.number)
	for k := range n {
		from := u.first + (uint32(l.x>>40)+k)%n
		if w.there.has(from) {
			w.send(l, from)
			return
		}
	}
	if !w.cfg.NotHeld && u.backlog < math.MaxUint16 {
		u.backlog++
		w.stats.Held++
	}
}

// ahead looks at what events will look at; see address.
func (w *World) ahead(events []Event) {
	var pages [chunkSize]uint32
	n := 0
	for _, e := range events {
		switch kind(e.What >> 56) {
		case deviceTurns, retries, chases, expires:
			w.lookAtBox(uint32(e.What))
			w.seen += w.devices[uint32(e.What)].user
			pages[n] = uint32(e.What)
			n++
		}
	}
	for i, d := range pages[:n] {
		w.seen += uint32(w.users[w.devices[d].user].backlog)
		pages[i] = w.devices[d].top.next
	}
	for range 6 {
		some := pages[:n]
		n = 0
		for _, p := range some {
			if p != 0 {
				pages[n] = w.pages[p-1].next
				n++
			}
		}
	}
	w.seen += pages[0]
}

// send fans a message out: to each device of the recipient and each other one of the author, as the engine does.
func (w *World) send(l *letter, from uint32) {
	size := uint8(l.x >> 9 & 15)
	w.stats.Messages++
	w.stats.Wakes++
	if w.uplink = 0; l.group > 0 {
		w.sendToGroup(l, from, size)
		return
	}
	for _, u := range [2]uint32{l.to, l.from} {
		for to, end := w.users[u].devices(); to < end; to++ {
			if to != from {
				w.sendOne(from, to, size)
			}
		}
	}
}

// sendOne brings a message to one device. It says how long that takes; of one that is not there, for ever.
func (w *World) sendOne(from, to uint32, size uint8) uint64 {
	w.stats.Deliveries++
	return w.deliver(from, to, size, false)
}

// ackSize stands for the size of an acknowledgement in an entry.
const ackSize = 16

// sizes are the bytes of envelopes: by the number of a text's length, and of an acknowledgement.
var sizes = func() (out [ackSize + 1]uint64) {
	for i, n := range lengths {
		out[i] = uint64(session.EnvelopeSize(contentHead+n, false))
	}
	out[ackSize] = uint64(session.EnvelopeSize(contentHead, false))
	return out
}()

// deliver brings an envelope to a device: at once if it is there, else to its relays. It says how long that takes; to a device
// that is not there, for ever.
func (w *World) deliver(from, to uint32, size uint8, ack bool) uint64 {
	if !w.there.has(to) {
		w.sends(w.deposit(from, to, size))
		return forever
	}
	x := w.rng.Uint64()
	leg := latencyMin + x&0xffff*2*latencyMin>>16
	if x>>16&0xffff < uint64(w.cfg.DirectPart*65536) {
		legs := uint64(1)
		if x>>32&3 == 0 { // no stream is held
			legs = dialLegs
		}
		w.stats.Bytes.Direct += sizes[size] + directOverhead
		return w.arrived(w.sends(sizes[size]+directOverhead)+legs*leg, size, ack)
	}
	mask := w.targets(to)
	if mask == 0 {
		w.sends(w.deposit(from, to, size))
		return forever
	}
	sent := w.sends(w.paid(mask, sizes[size]))
	w.stats.Bytes.Fetch += sizes[size] + fetchOverhead
	w.stats.Pushed++
	return w.arrived(sent+headStart+relayLegs*leg, size, ack)
}

// sends puts bytes of a message on its author's link, behind those that are on it, and says when they have left.
func (w *World) sends(bytes uint64) uint64 {
	if w.cfg.Bandwidth == 0 {
		return 0
	}
	w.uplink += bytes
	return uint64(float64(w.uplink) * 1000 / w.cfg.Bandwidth)
}

// arrived counts what reached a device that was there, after some time.
func (w *World) arrived(after uint64, size uint8, ack bool) uint64 {
	w.stats.Wakes++
	if ack {
		return after
	}
	w.stats.there.Add(after)
	w.stats.all.Add(after)
	w.stats.Bytes.Direct += sizes[ackSize] + directOverhead
	return after
}

// turn has a device come or go.
func (w *World) turn(i, turns uint32) {
	d := &w.devices[i]
	if uint32(d.turns) != turns {
		return
	}
	w.stats.tally(w.now)
	churn := &w.cfg.People[d.class].Churn
	d.turns++
	w.there.flip(i)
	if !w.there.has(i) {
		w.stats.online--
		w.away(i, churn.Off.Draw(w.rng))
		return
	}
	w.stats.online++
	w.plan(churn.On.Draw(w.rng), deviceTurns, uint32(d.turns), i)
	if d.n > 0 {
		w.drain(i)
	}
	if d.stale {
		w.elect(i)
	}
	w.catchUp(d.user, i)
}

// catchUp has a user write, on a device that came, what it could not write before.
func (w *World) catchUp(me, from uint32) {
	var some [lookAhead]letter
	for u := &w.users[me]; u.backlog > 0; {
		n := min(int(u.backlog), len(some))
		for i := range some[:n] {
			l := &some[i]
			l.x, l.from = w.rng.Uint64(), me
		}
		w.address(some[:n])
		for i := range some[:n] {
			w.send(&some[i], from)
		}
		u.backlog -= uint16(n)
	}
}

// away plans the return of a device; of a long absence it plans the expiry of its mail too.
func (w *World) away(i uint32, d uint64) {
	w.plan(d, deviceTurns, uint32(w.devices[i].turns), i)
	if d > retention {
		w.plan(retention, expires, 0, i)
	}
}

// replace ends the life of a device: its box and its outbox go, another takes its place, empty.
func (w *World) replace(i uint32) {
	d := &w.devices[i]
	w.stats.Replaced++
	var freed bytesBySeat
	w.sift(i, func(e entry) (entry, bool) {
		freed.drop(e)
		w.end(e, &w.stats.Orphaned)
		return e, false
	})
	w.forget(i, &freed)
	if d.born = uint32(w.now/10) + 1; !w.second.has(i) {
		w.second.flip(i)
	}
	w.plan(Exponential(w.cfg.People[d.class].LifeDays*24*60).Draw(w.rng), deviceDies, 0, i)
}

// moment is the time of the present, as elections take it.
func (w *World) moment() time.Time { return start.Add(time.Duration(w.now) * time.Millisecond) }

// Zone is the time zone, in hours, of somebody at x of the population, which lies in [0, 1), and its number from west to east.
func Zone(x float64) (number, hours int) {
	z := zoneOf(x)
	return int(z), zones[z].hours
}

// Activity is how much people write in an hour of their day, with mean 1.
func Activity(hour int) float64 { return diurnal[hour%24] }

// TextLength is the length of a text, in bytes, by chance.
func TextLength(x uint64) int { return lengths[x&15] }
