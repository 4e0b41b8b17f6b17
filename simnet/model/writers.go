package model

import (
	"math"
	"math/bits"
)

// letter is a message that will be written.
type letter struct {
	at   uint64
	x    uint64 // what is decided by chance: to whom, how long, on which device
	from uint32 // user
	to   uint32 // user; of a group the first member
	// group is how many members a group has; 0: it goes to one.
	group uint32
}

// writers are all who write, as one Poisson process: the sum of everybody's own is one, whose rate changes when the hour
// does, and each of its points belongs to somebody by how much they write. Nobody needs a clock in the queue, and who
// writes next, and to whom, is known before: what that will need is looked at in time.
type writers struct {
	rng    Dice
	zones  []zoneWriters
	rate   float64 // of all, messages a millisecond
	until  float64 // when the rate changes
	at     float64 // of the last one drawn
	drawn  [lookAhead]letter
	taken  int
	number int
}

// zoneWriters are the people of a time zone: they follow each other.
type zoneWriters struct {
	first, n int
	perHour  float64 // what they write together, on average over their day
	now      float64 // messages a millisecond, now
	ahead    uint64  // of their clock, and a day
}

// lookAhead is how many messages are drawn at a time: what they need has room in a cache, and their misses overlap.
const lookAhead = 64

// makeWriters shares out who writes how much.
func (w *World) makeWriters(rates []float64) {
	w.writers.rng = NewDice(w.cfg.Seed ^ 0x77726974)
	for i, n := 0, len(rates); i < n; {
		z, first, sum := zoneOf(float64(i)/float64(n)), i, 0.0
		for ; i < n && zoneOf(float64(i)/float64(n)) == z; i++ {
			sum += rates[i]
		}
		w.writers.zones = append(w.writers.zones, zoneWriters{
			first: first, n: i - first, perHour: sum, ahead: uint64(24+zones[z].hours) * hourMillis,
		})
		w.alias(first, rates[first:i], sum)
	}
	w.changeRate()
}

// alias makes a table by which somebody is drawn by weight with one look: whoever is hit stays with its own chance, else it
// is another (Walker 1974, in the form of Vose 1991).
func (w *World) alias(first int, rates []float64, sum float64) {
	if sum == 0 {
		return
	}
	weights, people := make([]float64, len(rates)), w.users[first:]
	var few, many []uint32
	for i, r := range rates {
		weights[i] = r / sum * float64(len(rates))
		if people[i].keeps = math.MaxUint32; weights[i] < 1 {
			few = append(few, uint32(i))
		} else {
			many = append(many, uint32(i))
		}
	}
	for len(few) > 0 && len(many) > 0 {
		s, l := few[len(few)-1], many[len(many)-1]
		few = few[:len(few)-1]
		people[s].keeps, people[s].other = uint32(min(weights[s]*(1<<32), math.MaxUint32)), uint32(first)+l
		if weights[l] -= 1 - weights[s]; weights[l] < 1 {
			many = many[:len(many)-1]
			few = append(few, l)
		}
	}
}

// changeRate sets what everybody writes from w.writers.until on.
func (w *World) changeRate() {
	u := &w.writers
	now := uint64(u.until)
	until := now + hourMillis - now%hourMillis
	if w.cfg.Flat {
		until = forever
	}
	u.rate = 0
	for i := range u.zones {
		z := &u.zones[i]
		factor, lasts := w.cfg.rushed(now, z.ahead)
		if z.now = z.perHour * factor / hourMillis; !w.cfg.Flat {
			z.now *= diurnal[(now+z.ahead)/hourMillis%24]
		}
		u.rate += z.now
		until = min(until, now+lasts)
	}
	u.until = float64(until)
}

// nextLetter is when the next message is written.
func (w *World) nextLetter() uint64 {
	if w.writers.taken == w.writers.number {
		w.drawLetters()
	}
	return w.writers.drawn[w.writers.taken].at
}

// drawLetters draws the next messages.
func (w *World) drawLetters() {
	u := &w.writers
	u.taken, u.number = 0, 0
	for u.number < lookAhead {
		l := &u.drawn[u.number]
		u.number++
		if l.at = w.drawTime(); l.at == forever {
			break
		}
		l.x = u.rng.Uint64()
		l.from, l.to = w.drawWriter()
		w.seen += w.users[l.from].keeps
	}
	drawn := u.drawn[:u.number]
	for i := range drawn {
		if l, p := &drawn[i], &w.users[drawn[i].from]; l.to > p.keeps {
			l.from = p.other
		}
	}
	w.address(drawn)
}

// drawTime is when somebody writes next.
func (w *World) drawTime() uint64 {
	u := &w.writers
	for left := u.rng.Exp(); ; w.changeRate() {
		room := u.rate * (u.until - u.at)
		if left < room {
			u.at += left / u.rate
			return uint64(u.at) + 1
		}
		left -= room
		if u.at = u.until; u.at >= float64(uint64(w.cfg.Days)*dayMillis) {
			return forever // nobody writes again before the end
		}
	}
}

// drawWriter draws who is hit, and with which part of 2^32 (see alias).
func (w *World) drawWriter() (who, part uint32) {
	u := &w.writers
	x, i := u.rng.Unit()*u.rate, 0
	for ; i < len(u.zones)-1 && x >= u.zones[i].now; i++ {
		x -= u.zones[i].now
	}
	z := &u.zones[i]
	high, low := bits.Mul64(u.rng.Uint64(), uint64(z.n))
	return uint32(z.first) + uint32(high), uint32(low >> 32)
}

// address decides to whom messages go, and looks at what they will need. People write in no order of memory: asked for one by
// one, most of the time would go into waiting for it. Each loop here asks for what the one before has found, and in none
// does a decision wait for memory, so that the waits overlap.
func (w *World) address(some []letter) {
	for i := range some {
		l := &some[i]
		if l.to, l.group = w.groupOf(l.from, l.x); l.group == 0 {
			l.to = w.contact(l.from, l.x)
		}
		w.seen += w.users[l.to].first + w.users[l.from].first
	}
	for i := range some {
		for _, u := range [2]uint32{some[i].to, some[i].from} {
			for to, end := w.users[u].devices(); to < end; to++ {
				w.lookAtBox(to)
			}
		}
	}
}

// lookAtBox looks at a device and the end of its box.
func (w *World) lookAtBox(i uint32) { w.seen += w.devices[i].n + w.devices[i].top.next }
