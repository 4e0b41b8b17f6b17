package model

import (
	"crypto/ed25519"
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/repair"
)

// relay is one relay from its first day to its last; whoever follows it is another.
type relay struct {
	peer  dht.Peer
	class uint8
	dead  bool
	turns uint32 // how often it came or went: tells events of an earlier time
	since uint64 // of the last turn
	upFor uint64 // before that
	born  uint64
	aged  uint64   // how long it was there before the beginning
	boxes []uint32 // of those that left, some are still in here
}

// load is what a relay holds, and the most that it held.
type load struct{ bytes, peak uint64 }

// aged is how long the relays of the beginning have been there: long enough to be no newcomers.
const aged = 60 * dayMillis

func (w *World) makeRelays() {
	n := w.cfg.RelayCount
	if n == 0 {
		n = max(w.cfg.Devices/w.cfg.PerRelay, w.cfg.R+w.cfg.S+3)
	}
	w.slots = make([]int32, n)
	for i := range w.slots {
		w.addRelay(i, aged)
	}
}

// addRelay gives a place to a new relay.
func (w *World) addRelay(slot int, age uint64) {
	i := len(w.relays)
	w.slots[slot] = int32(i)
	r := relay{born: w.now, since: w.now, aged: age, class: uint8(w.rng.Pick(len(w.cfg.Relays), func(i int) float64 { return w.cfg.Relays[i].Share }))}
	r.peer = peerOf(w.cfg.Seed, i)
	p := &w.cfg.Relays[r.class]
	w.relays = append(w.relays, r)
	w.loads = append(w.loads, load{})
	if i>>6 == len(w.up) {
		w.up = append(w.up, 0)
	}
	if p.LifeDays > 0 {
		w.plan(Exponential(p.LifeDays*24*60).Draw(w.rng), relayDies, uint32(i), uint32(slot))
	}
	if age == 0 || w.rng.Unit() < p.Churn.Share() {
		w.up.flip(uint32(i))
		w.plan(p.Churn.On.Rest(w.rng), relayTurns, 0, uint32(i))
	} else {
		w.plan(p.Churn.Off.Rest(w.rng), relayTurns, 0, uint32(i))
	}
}

// peerOf is the peer id of a relay, with its number in it, and an address in a network of chance.
func peerOf(seed uint64, i int) dht.Peer {
	var key [ed25519.PublicKeySize]byte
	x := mix(seed, uint64(i))
	binary.BigEndian.PutUint64(key[:], x)
	binary.BigEndian.PutUint32(key[28:], uint32(i))
	return dht.Peer{
		ID:    dht.PeerFromKey(key[:]),
		Addrs: [][]byte{{4, byte(x>>24)%223 + 1, byte(x >> 16), byte(x >> 8), byte(x), 6, 0, 80}},
	}
}

func (w *World) isUp(r int32) bool { return w.up.has(uint32(r)) }

// relayTurn has a relay come or go.
func (w *World) relayTurn(i, turns uint32) {
	r := &w.relays[i]
	if r.dead || r.turns&0xffffff != turns {
		return
	}
	churn := &w.cfg.Relays[r.class].Churn
	up := w.isUp(int32(i))
	if up {
		r.upFor += w.now - r.since
	}
	r.since = w.now
	r.turns++
	w.up.flip(i)
	if up {
		w.gone(i, churn.Off.Draw(w.rng))
		return
	}
	w.plan(churn.On.Draw(w.rng), relayTurns, r.turns, i)
	w.plan(2000+uint64(w.rng.Below(13_000)), relayBack, r.turns, i)
}

// gone plans the return of a relay that is away now.
func (w *World) gone(i uint32, off uint64) {
	w.plan(off, relayTurns, w.relays[i].turns, i)
	w.missing(i, off)
}

// relayLeaves has a relay be away for so long, whether it was there or not.
func (w *World) relayLeaves(i uint32, off uint64) {
	r := &w.relays[i]
	r.turns++ // what was planned for it does not count
	if w.isUp(int32(i)) {
		r.upFor += w.now - r.since
		r.since = w.now
		w.up.flip(i)
	}
	w.gone(i, off)
}

// missing plans what others do about a relay that will be away for so long: its standbys take over, its owners elect.
func (w *World) missing(i uint32, off uint64) {
	turns := w.relays[i].turns
	noticed := uint64(w.rng.Below(int(millis(w.cfg.Visits)))) // by the first visit that fails
	for j := range w.cfg.S {
		if wait := w.cfg.patience(j) + noticed; wait < off && !w.cfg.NoRepair {
			w.plan(wait, relaySilent, turns, i)
		}
	}
	if wait := uint64(w.policy.Dead/time.Millisecond) + uint64(w.rng.Below(60*minute)); wait < off {
		w.plan(wait, relayMissed, turns, i)
	}
}

// relayDie ends a relay and its disk. Somebody else begins one.
func (w *World) relayDie(slot, who uint32) {
	i := uint32(w.slots[slot])
	if i&0xffffff != who&0xffffff {
		return // it died before its time
	}
	r := &w.relays[i]
	w.stats.Deaths++
	if w.isUp(int32(i)) {
		w.up.flip(i)
		r.since = w.now
	}
	r.dead = true
	w.loads[i].bytes = 0
	r.turns++
	w.missing(i, forever)
	w.eachBox(i, func(b uint32, p int) {
		w.devices[b].short = true
		w.sift(b, func(e entry) (entry, bool) {
			had := e.mask
			e.mask &^= 1 << p
			if had != 0 && e.mask == 0 && e.was&(inCustody|destroyed) == inCustody {
				e.was |= destroyed
				w.end(e, &w.stats.Destroyed)
			}
			return e, true
		})
	})
	w.addRelay(int(slot), 0)
}

// eachBox goes through the boxes that a relay has a seat of.
func (w *World) eachBox(i uint32, fn func(b uint32, p int)) {
	kept := w.relays[i].boxes[:0]
	for _, b := range w.relays[i].boxes {
		for p, r := range w.seatsOf(b) {
			if r == int32(i) {
				kept = append(kept, b)
				fn(b, p)
				break
			}
		}
	}
	w.relays[i].boxes = kept
}

func (w *World) relaySilent(i, turns uint32) {
	if w.relays[i].turns&0xffffff == turns {
		w.eachBox(i, func(b uint32, _ int) { w.complete(b) })
	}
}

// relayMissed has the owners of boxes elect without a relay.
func (w *World) relayMissed(i, turns uint32) {
	if w.relays[i].turns&0xffffff != turns {
		return
	}
	for _, b := range append([]uint32(nil), w.relays[i].boxes...) {
		if w.devices[b].stale = true; w.there.has(b) {
			w.elect(b)
		}
	}
}

// relayBack has a relay that is there again give and get what was missed.
func (w *World) relayBack(i, turns uint32) {
	if w.relays[i].turns&0xffffff != turns {
		return
	}
	w.eachBox(i, func(b uint32, _ int) {
		x := &w.devices[b]
		if x.short {
			w.complete(b)
		}
		if x.n > 0 && w.there.has(b) {
			w.drain(b)
		}
	})
}

// active are the seats that keep a box whole: members, and standbys that have taken over.
func (w *World) active(i uint32) uint8 {
	seats, members := w.seatsOf(i), int(w.devices[i].members)
	mask := uint8(1)<<members - 1
	for j := range len(seats) - members {
		patience := w.cfg.patience(j)
		lost := 0
		for _, r := range seats[:members+j] {
			if !w.isUp(r) && w.now-w.relays[r].since >= patience {
				lost++
			}
		}
		if repair.TakesOver(j, lost) {
			mask |= 1 << (members + j)
		}
	}
	return mask
}

// complete copies to each active relay of a box that is there what another one that is there holds.
func (w *World) complete(i uint32) {
	b := &w.devices[i]
	if b.n == 0 || w.cfg.NoRepair {
		return
	}
	up, active := w.upSeats(i), w.active(i)
	give := up & w.givers(i)
	b.short = false
	w.sift(i, func(e entry) (entry, bool) {
		if more := active & up &^ e.mask; more != 0 && e.mask&give != 0 && !w.over(e) {
			n := uint64(bits.OnesCount8(more))
			w.stats.Copies += n
			w.stats.Bytes.Repair += n * (sizes[e.size] + fetchOverhead)
			w.hold(i, more, e.size)
			e.mask |= more
		}
		b.short = b.short || active&^e.mask != 0
		return e, true
	})
}

// elect has a device choose its relays anew, and the new ones get what the old ones hold.
func (w *World) elect(i uint32) {
	b := &w.devices[i]
	old := append(w.oldSeats[:0], w.seatsOf(i)...)
	w.oldSeats = old
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], mix(w.cfg.Seed, uint64(i)<<1))
	members, standbys, need := election.Choose(seed, w.candidates(i, old), w.incumbents(old), nil, w.policy, w.moment())
	w.stats.Elections++
	if b.stale = len(members) == 0; b.stale {
		return
	}
	b.members, b.taken, b.need = uint8(len(members)), uint8(len(members)+len(standbys)), uint8(need)
	now := w.seatsOf(i)
	for p := range now {
		peer := standbys
		at := p - len(members)
		if at < 0 {
			peer, at = members, p
		}
		now[p] = numberOf(peer[at])
	}
	w.move(i, old, now)
}

func numberOf(p dht.Peer) int32 {
	return int32(binary.BigEndian.Uint32(p.ID[len(p.ID)-4:]))
}

// move takes the entries of a box from its old seats to the new ones.
func (w *World) move(i uint32, old, now []int32) {
	var to [maxSeats]uint8
	same := len(old) == len(now)
	for q, r := range now {
		known := false
		for p, o := range old {
			if o == r {
				to[p], known = 1<<q, true
				same = same && p == q
			}
		}
		if !known {
			same = false
			w.relays[r].boxes = append(w.relays[r].boxes, i)
		}
	}
	if same || w.devices[i].n == 0 {
		return
	}
	var left bytesBySeat
	w.sift(i, func(e entry) (entry, bool) {
		mask := uint8(0)
		for m := e.mask; m != 0; m &= m - 1 {
			mask |= to[bits.TrailingZeros8(m)]
		}
		held := e
		for p := range old {
			if to[p] != 0 {
				held.mask &^= 1 << p
			}
		}
		left.drop(held)
		e.mask = mask
		return e, true
	})
	for p, r := range old {
		w.loads[r].bytes -= min(left[p], w.loads[r].bytes)
	}
	w.devices[i].short = true
	w.complete(i)
}

func (w *World) incumbents(seats []int32) []election.Incumbent {
	w.serving = w.serving[:0]
	for _, r := range seats {
		w.serving = append(w.serving, election.Incumbent{Peer: w.relays[r].peer.ID, Since: start.Add(-time.Duration(mix(uint64(r), 7)%100) * 24 * time.Hour)})
	}
	return w.serving
}

// candidates are the relays that a device knows, as it has observed them. One that is away does not answer when it is
// asked to serve, unless it serves already and is waited for.
func (w *World) candidates(i uint32, serving []int32) []election.Candidate {
	w.known = w.known[:0]
	for j := range w.cfg.Candidates {
		n := w.slots[mix(uint64(i)<<8|uint64(j), w.cfg.Seed)%uint64(len(w.slots))]
		r := &w.relays[n]
		up := w.isUp(n)
		serves := false
		for _, s := range serving {
			serves = serves || s == n
		}
		if !up && !serves {
			continue
		}
		upFor, seen := r.upFor, w.moment()
		if up {
			upFor += w.now - r.since
		} else {
			seen = start.Add(time.Duration(r.since) * time.Millisecond)
		}
		share := w.cfg.Relays[r.class].Churn.Share()
		all := float64(w.now-r.born) + float64(r.aged) + 1
		share = (share*float64(r.aged) + float64(upFor) + 1) / all
		good, week := uint32(share*720), uint32(share*168)
		w.known = append(w.known, election.Candidate{
			Peer: r.peer, Source: election.Source(2 + j%5), Known: start.Add(time.Duration(r.born)*time.Millisecond - time.Duration(r.aged)*time.Millisecond),
			LastSeen: seen, Good: good, Bad: 720 - good, WeekGood: week, WeekBad: 168 - week,
		})
	}
	return w.known
}
