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
	n, half := w.users.len(), max(w.cfg.Contacts/2, 1)
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
	n := w.users.len()
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

// nextWrite is when a user writes next: the next point of a Poisson process whose rate follows the hours of its day.
func (w *World) nextWrite(i uint32) uint64 {
	left, mean := w.rng.Exp(), float64(w.users.rate[i])
	if w.cfg.Flat && w.cfg.Rush.For == 0 {
		return uint64(left/mean*60*minute) + 1
	}
	ahead := uint64(24+zones[w.users.zone[i]].hours) * 60 * minute // of the clock there, and a day
	for passed := uint64(0); ; {
		at := w.now + passed + ahead
		factor, until := w.cfg.rushed(w.now+passed, ahead)
		rate := mean * factor / (60 * minute)
		if !w.cfg.Flat {
			rate *= diurnal[at/(60*minute)%24]
		}
		room := min(60*minute-at%(60*minute), until)
		if left < rate*float64(room) {
			return passed + uint64(left/rate) + 1
		}
		left -= rate * float64(room)
		passed += room
		if passed > forever/2 {
			return passed
		}
	}
}

// write has a user write a message, if one of its devices is there; else it does when one is.
func (w *World) write(i uint32) {
	x := w.words(i, w.now)
	w.plan(w.nextWrite(i), writes, 0, i)
	first, end := w.users.of(i)
	n := end - first
	for k := range n {
		from := first + (uint32(x>>40)+k)%n
		if w.there.has(from) {
			w.send(i, from, x)
			return
		}
	}
	if !w.cfg.NotHeld && w.users.backlog[i] < math.MaxUint16 {
		w.users.backlog[i]++
		w.stats.Held++
	}
}

// words decides what a user writes at a time, and to whom. It can be asked before: see ahead.
func (w *World) words(i uint32, at uint64) uint64 { return mix(at, w.cfg.Seed^uint64(i)<<32) }

// ahead looks at what an event will look at. Events come in the order of their time, and that is no order in memory: asked for
// one by one, most of the time would go into waiting for it.
func (w *World) ahead(e Event) {
	i := uint32(e.What)
	switch kind(e.What >> 56) {
	case writes:
		to, _ := w.users.of(w.contact(i, w.words(i, e.At)))
		w.seen += w.devices[to].n + w.devices[to].top.next + uint32(w.users.rate[i])
	case deviceTurns:
		w.seen += w.devices[i].n + w.devices[i].top.next
	}
}

// send fans a message out: to each device of the recipient and each other one of the author, as the engine does.
func (w *World) send(me, from uint32, x uint64) {
	size := uint8(x >> 9 & 15)
	w.stats.Messages++
	w.stats.Wakes++
	for _, u := range [2]uint32{w.contact(me, x), me} {
		to, end := w.users.of(u)
		for ; to < end; to++ {
			if to != from {
				w.stats.Deliveries++
				w.deliver(from, to, size, false)
			}
		}
	}
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

// deliver brings an envelope to a device: at once if it is there, else to its relays.
func (w *World) deliver(from, to uint32, size uint8, ack bool) {
	if !w.there.has(to) {
		w.deposit(from, to, size)
		return
	}
	x := w.rng.Uint64()
	leg := latencyMin + x&0xffff*2*latencyMin>>16
	if x>>16&0xffff < uint64(w.cfg.DirectPart*65536) {
		legs := uint64(1)
		if x>>32&3 == 0 { // no stream is held
			legs = dialLegs
		}
		w.stats.Bytes.Direct += sizes[size] + directOverhead
		w.arrived(legs*leg, size, ack)
		return
	}
	mask := w.targets(to)
	if mask == 0 {
		w.deposit(from, to, size)
		return
	}
	w.paid(mask, sizes[size])
	w.stats.Bytes.Fetch += sizes[size] + fetchOverhead
	w.stats.Pushed++
	w.arrived(headStart+relayLegs*leg, size, ack)
}

// arrived counts what reached a device that was there.
func (w *World) arrived(after uint64, size uint8, ack bool) {
	w.stats.Wakes++
	if ack {
		return
	}
	w.stats.there.Add(after)
	w.stats.all.Add(after)
	w.stats.Bytes.Direct += sizes[ackSize] + directOverhead
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
	for waiting := &w.users.backlog[d.user]; *waiting > 0; *waiting-- {
		w.send(d.user, i, w.rng.Uint64())
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
