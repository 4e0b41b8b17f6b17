package model

import (
	"math/bits"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/outbox"
)

// What travels beside an envelope, in bytes: frames and headers of the link; at a relay a pass and a receipt too.
const (
	directOverhead  = 90
	depositOverhead = mailbox.MaxPass + 330
	fetchOverhead   = 120
)

// When a device that is there hears of mail that no relay gives it: its contacts' engines take an envelope that is not
// acknowledged for lost after repairAfter, then after repairEvery, doubled up to repairMax (package node).
const (
	repairAfter = uint64(time.Minute / time.Millisecond)
	repairEvery = uint64(10 * time.Minute / time.Millisecond)
	repairMax   = uint64(12 * time.Hour / time.Millisecond)
)

// entry is one envelope on its way to a device that is not there.
type entry struct {
	at   uint32 // hundredths of a second
	from uint32
	mask uint8 // seats that hold it
	size uint8
	was  uint8
}

// What an entry was already.
const (
	inCustody = 1 << iota
	destroyed // every copy in custody was lost with its disk
)

// page holds entries of one box: one cache line.
type page struct {
	entries [pageSize]entry
	next    uint32
}

const pageSize = 5

// push adds an entry to a box. The newest lie beside the device, which has just been looked at; full pages go elsewhere.
func (w *World) push(d *device, e entry) {
	at := d.n % pageSize
	if at == 0 && d.n > 0 {
		p := w.free
		if p == 0 {
			w.pages = append(w.pages, page{})
			p = uint32(len(w.pages))
		} else {
			w.free = w.pages[p-1].next
		}
		w.pages[p-1] = d.top
		d.top.next = p
	}
	d.top.entries[at] = e
	d.n++
	w.stats.count(e, 1)
}

// sift goes through the entries of a box and keeps those for which keep says so, as it changed them.
func (w *World) sift(i uint32, keep func(entry) (entry, bool)) {
	w.stats.tally(w.now)
	d := &w.devices[i]
	if d.n == 0 {
		return
	}
	old, used := d.top, (d.n-1)%pageSize+1
	d.n, d.top.next = 0, 0
	for {
		for _, e := range old.entries[:used] {
			w.stats.count(e, -1)
			if e, ok := keep(e); ok {
				w.push(d, e)
			}
		}
		p := old.next
		if p == 0 {
			return
		}
		old, used = w.pages[p-1], pageSize
		w.pages[p-1].next = w.free
		w.free = p
	}
}

// bytesBySeat is what the relays of a box may forget.
type bytesBySeat [maxSeats]uint64

func (f *bytesBySeat) drop(e entry) {
	for m := e.mask; m != 0; m &= m - 1 {
		f[bits.TrailingZeros8(m)] += sizes[e.size] + mailbox.EntryCost
	}
}

func (w *World) forget(i uint32, f *bytesBySeat) {
	for p, r := range w.seatsOf(i) {
		if f[p] > 0 {
			w.loads[r].bytes -= f[p]
		}
	}
}

func (w *World) hold(i uint32, mask uint8, size uint8) {
	seats := w.seatsOf(i)
	for m := mask; m != 0; m &= m - 1 {
		r := &w.loads[seats[bits.TrailingZeros8(m)]]
		r.bytes += sizes[size] + mailbox.EntryCost
		r.peak = max(r.peak, r.bytes)
	}
}

// seatsOf are the relays of a box, by rank.
func (w *World) seatsOf(i uint32) []int32 {
	d := &w.devices[i]
	return d.seats[:d.taken]
}

// upSeats are the seats whose relays are there.
func (w *World) upSeats(i uint32) (mask uint8) {
	for p, r := range w.seatsOf(i) {
		mask |= uint8(w.up[r>>6]>>(r&63)&1) << p
	}
	return mask
}

// targets are the seats that take a deposit now: the members, and a standby for each that cannot be reached.
func (w *World) targets(i uint32) (mask uint8) {
	up := w.upSeats(i)
	for n := w.devices[i].members; n > 0 && up != 0; n-- {
		mask |= up & -up
		up &= up - 1
	}
	return mask
}

// paid counts the bytes of deposits, and says how many they are.
func (w *World) paid(mask uint8, size uint64) uint64 {
	n := uint64(bits.OnesCount8(mask)) * (size + depositOverhead)
	w.stats.Bytes.Deposit += n
	return n
}

// deposit leaves an envelope at the relays of a device; what does not reach custody is tried again. It says how many bytes were
// sent.
func (w *World) deposit(from, to uint32, size uint8) uint64 {
	w.stats.tally(w.now)
	b := &w.devices[to]
	e := entry{at: uint32(w.now / 10), from: from, mask: w.targets(to), size: size}
	sent := w.paid(e.mask, sizes[size])
	w.hold(to, e.mask, size)
	if size != ackSize {
		w.stats.Stored++
	}
	if w.custody(b, &e); e.was&inCustody == 0 {
		w.end(e, &w.stats.Waited)
		w.planRetry(to, 0)
	}
	if bits.OnesCount8(e.mask) < int(b.members) {
		b.short = true
	}
	w.push(b, e)
	if w.there.has(to) {
		w.planChase(to)
	}
	return sent
}

func (w *World) custody(b *device, e *entry) {
	if e.was&inCustody == 0 && b.need > 0 && bits.OnesCount8(e.mask) >= int(b.need) {
		e.was |= inCustody
		if e.size != ackSize {
			w.stats.Custody++
		}
	}
}

// alive says whether the outbox that an entry came from can send it again.
func (w *World) alive(e entry) bool {
	return w.wrote(e) && (!w.cfg.SendersDie || e.was&inCustody == 0)
}

// wrote says whether the device that wrote an entry is still the one in its place.
func (w *World) wrote(e entry) bool { return !w.second.has(e.from) || w.devices[e.from].born <= e.at }

func (w *World) over(e entry) bool { return w.now-uint64(e.at)*10 >= retention }

// planRetry plans another try of what has no custody.
func (w *World) planRetry(i uint32, age uint64) {
	b := &w.devices[i]
	if b.retries {
		return
	}
	b.retries = true
	b.tries = min(b.tries+1, 100)
	ceiling := outbox.Ceiling(int(b.tries)+2, time.Duration(age)*time.Millisecond)
	w.plan(max(uint64(outbox.RetryFloor/time.Millisecond), uint64(w.rng.Unit()*float64(ceiling/time.Millisecond))), retries, 0, i)
}

// retry deposits again what has no custody yet, as far as its author is there.
func (w *World) retry(i uint32) {
	b := &w.devices[i]
	b.retries = false
	targets := w.targets(i)
	open, oldest := false, uint64(0)
	var freed bytesBySeat
	w.sift(i, func(e entry) (entry, bool) {
		if e.was&inCustody != 0 {
			return e, true
		}
		if w.over(e) {
			freed.drop(e)
			w.end(e, &w.stats.Expired)
			return e, false
		}
		if w.alive(e) && w.there.has(e.from) {
			more := targets &^ e.mask
			w.paid(more, sizes[e.size])
			w.hold(i, more, e.size)
			e.mask |= more
			w.custody(b, &e)
		}
		if e.was&inCustody == 0 && w.alive(e) {
			open, oldest = true, max(oldest, w.now-uint64(e.at)*10)
		}
		return e, true
	})
	w.forget(i, &freed)
	if open {
		w.planRetry(i, oldest)
		return
	}
	b.tries = 0
}

// end counts what became of a message that was not delivered.
func (w *World) end(e entry, counter *uint64) {
	if e.size != ackSize {
		*counter++
	}
}

// drain gives a device that is there what its relays hold, and takes leave of what nobody has any more.
func (w *World) drain(i uint32) { w.collect(i, false) }

// collect drains a box; chase also takes what authors who are there send anew.
func (w *World) collect(i uint32, chase bool) {
	w.stats.Wakes++
	givers := w.givers(i)
	up := w.upSeats(i) & givers
	leg := latencyMin + w.rng.Uint64()&0xffff*2*latencyMin>>16
	var freed bytesBySeat
	w.authors = w.authors[:0]
	w.sift(i, func(e entry) (entry, bool) {
		switch {
		case w.over(e):
			w.end(e, &w.stats.Expired)
		case e.mask&up != 0:
			w.stats.Bytes.Fetch += sizes[e.size] + fetchOverhead
			w.fetched(e, fetchLegs*leg)
		case chase && w.alive(e) && w.there.has(e.from):
			w.stats.Bytes.Direct += sizes[e.size] + directOverhead
			w.end(e, &w.stats.Recovered)
			w.fetched(e, dialLegs*leg)
		case e.mask&givers == 0 && !w.alive(e):
			w.end(e, &w.stats.Lost)
		default:
			return e, true
		}
		freed.drop(e)
		return e, false
	})
	w.forget(i, &freed)
	for _, a := range w.authors {
		w.lookAtBox(a)
	}
	w.uplink = 0
	for _, a := range w.authors {
		w.deliver(i, a, ackSize, true)
	}
	if b := &w.devices[i]; b.n > 0 {
		w.planChase(i)
	} else {
		b.chases, b.short = 0, false
	}
}

// fetched counts what a device got late; its author hears of it, once for all that one drain brought.
func (w *World) fetched(e entry, after uint64) {
	if e.size == ackSize {
		return
	}
	took := w.now - uint64(e.at)*10 + after
	w.stats.later.Add(took)
	w.stats.all.Add(took)
	for _, a := range w.authors[max(0, len(w.authors)-8):] {
		if a == e.from {
			return
		}
	}
	if w.wrote(e) {
		w.authors = append(w.authors, e.from)
	}
}

func (w *World) planChase(i uint32) {
	b := &w.devices[i]
	if b.chased {
		return
	}
	b.chased = true
	wait := repairAfter
	if b.chases > 0 {
		wait = min(repairEvery<<(b.chases-1), repairMax)
	}
	b.chases = min(b.chases+1, 20)
	w.plan(wait, chases, 0, i)
}

// chase brings to a device that is there what relays do not give it.
func (w *World) chase(i uint32) {
	b := &w.devices[i]
	b.chased = false
	if !w.there.has(i) || b.n == 0 {
		b.chases = 0
		return
	}
	w.collect(i, true)
}

// expire drops what was too old for a device that is away for longer than mail lives.
func (w *World) expire(i uint32) {
	if w.there.has(i) {
		return
	}
	var freed bytesBySeat
	w.sift(i, func(e entry) (entry, bool) {
		if !w.over(e) {
			return e, true
		}
		freed.drop(e)
		w.end(e, &w.stats.Expired)
		return e, false
	})
	w.forget(i, &freed)
	w.plan(dayMillis, expires, 0, i)
}
