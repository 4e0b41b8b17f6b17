package model

import (
	"fmt"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
)

// start is when every world begins: a Tuesday, so that no hour is special.
var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// retention is how long an envelope lives, in milliseconds.
const retention = uint64(mailbox.MaxTTL / time.Millisecond)

// World is a population in virtual time. It belongs to one goroutine.
type World struct {
	cfg    Config
	policy election.Policy
	rng    Dice
	queue  Queue
	now    uint64 // milliseconds since start
	day    int

	users   users
	devices []device
	relays  []relay
	loads   []load  // of the relays
	slots   []int32 // of the population of relays: who has the place now
	up      bitset  // relays that are there
	there   bitset  // devices that are there
	second  bitset  // devices that are not the first in their place
	liars   bitset  // relays that sign and give nothing
	pages   []page
	free    uint32

	oldSeats []int32 // for reuse
	known    []election.Candidate
	serving  []election.Incumbent
	authors  []uint32

	near  []int // offsets of contacts
	liked [256]uint8
	stats stats
	seen  uint32 // nothing: so that looking ahead is not left out
}

// users lie apart by what is asked of them: whoever is written to is looked at by its devices alone.
type users struct {
	first   []uint32  // device; the others follow, up to the next user's first
	rate    []float32 // messages an hour, on average over the day
	backlog []uint16  // messages for when a device is there again
	zone    []uint8
}

func (u *users) len() int { return len(u.first) - 1 }

// of are the devices of a user: from the first to before the last.
func (u *users) of(i uint32) (from, to uint32) { return u.first[i], u.first[i+1] }

// device is a device with its mailbox: two cache lines.
type device struct {
	user    uint32
	born    uint32 // hundredths of a second; before that another device had its place
	n       uint32 // entries
	seats   [maxSeats]int32
	members uint8 // how many seats are members'; those of standbys follow
	taken   uint8
	need    uint8 // receipts that make custody
	tries   uint8 // of retries
	chases  uint8
	class   uint8
	retries bool // an event is planned
	chased  bool
	short   bool   // a seat may lack something
	stale   bool   // it has to elect
	turns   uint16 // how often it came or went: tells events of an earlier time
	_       [8]byte
	top     page // its newest mail, and where the rest is
}

// bitset answers what is asked of everybody all the time without a look at a device, which would be a cache miss.
type bitset []uint64

func (b bitset) has(i uint32) bool { return b[i>>6]>>(i&63)&1 == 1 }
func (b bitset) flip(i uint32)     { b[i>>6] ^= 1 << (i & 63) }

// kind of an event; it stands in the top byte of What.
type kind uint64

// Events of one moment happen in this order.
const (
	relayDies kind = iota
	relayTurns
	relaySilent
	relayMissed
	relayBack
	deviceDies
	deviceTurns
	expires
	retries
	chases
	writes
	epochEnds
	faultBegins
)

// plan plans an event after so many milliseconds. extra has 24 bits.
func (w *World) plan(after uint64, k kind, extra, index uint32) {
	w.queue.Push(Event{At: w.now + after, What: uint64(k)<<56 | uint64(extra&0xffffff)<<32 | uint64(index)})
}

// New makes a population at its beginning. Who is there and who is away is as it would be after a long time; boxes are
// empty.
func New(c Config) (*World, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	w := &World{cfg: c, policy: c.policy(), rng: NewDice(c.Seed), stats: newStats()}
	w.queue.Ahead = w.ahead
	w.makeRelays()
	w.makePeople()
	for i := range w.devices {
		w.elect(uint32(i))
		if c.Epoch > 0 {
			w.plan(uint64(w.rng.Below(int(millis(c.Epoch)))), epochEnds, 0, uint32(i))
		}
	}
	w.planFaults()
	return w, nil
}

// makePeople makes users and their devices.
func (w *World) makePeople() {
	c := &w.cfg
	w.devices = make([]device, 0, c.Devices)
	u := &w.users
	for len(w.devices) < c.Devices {
		n := min(1+w.rng.Pick(len(c.PerUser), func(i int) float64 { return c.PerUser[i] }), c.Devices-len(w.devices))
		for range n {
			w.devices = append(w.devices, device{user: uint32(len(u.first))})
		}
		u.first = append(u.first, uint32(len(w.devices)-n))
	}
	u.first = append(u.first, uint32(c.Devices))
	w.there, w.second = make(bitset, (c.Devices+63)/64), make(bitset, (c.Devices+63)/64)
	w.makeFriends()
	u.rate, u.backlog, u.zone = make([]float32, u.len()), make([]uint16, u.len()), make([]uint8, u.len())
	for i := range u.len() {
		u.zone[i] = zoneOf(float64(i) / float64(u.len()))
		if u.rate[i] = float32(w.activity() * c.Messages / 24); u.rate[i] > 0 {
			w.plan(w.nextWrite(uint32(i)), writes, 0, uint32(i))
		}
	}
	for i := range w.devices {
		d := &w.devices[i]
		d.class = uint8(w.rng.Pick(len(c.People), func(i int) float64 { return c.People[i].Share }))
		p := &c.People[d.class]
		if w.rng.Unit() < p.Churn.Share() {
			w.there.flip(uint32(i))
			w.stats.online++
			w.plan(p.Churn.On.Rest(w.rng), deviceTurns, 0, uint32(i))
		} else {
			w.away(uint32(i), p.Churn.Off.Rest(w.rng))
		}
		if p.LifeDays > 0 {
			w.plan(Exponential(p.LifeDays*24*60).Draw(w.rng), deviceDies, 0, uint32(i))
		}
	}
}

// Step lets a day pass; false: it was the last.
func (w *World) Step() bool {
	if w.day == w.cfg.Days {
		return false
	}
	w.day++
	limit := uint64(w.day) * dayMillis
	for {
		e, ok := w.queue.Pop()
		if !ok {
			break
		}
		if e.At >= limit {
			w.queue.Push(e)
			break
		}
		w.hours(e.At)
		w.now = e.At
		w.stats.events++
		w.happen(kind(e.What>>56), uint32(e.What>>32)&0xffffff, uint32(e.What))
	}
	w.hours(limit)
	w.now = limit
	w.sample()
	return w.day < w.cfg.Days
}

// Progress says how far it is.
func (w *World) Progress() string { return fmt.Sprintf("day %d of %d", w.day, w.cfg.Days) }

// Days is how many days have passed.
func (w *World) Days() int { return w.day }

func (w *World) happen(k kind, extra, i uint32) {
	switch k {
	case writes:
		w.write(i)
	case deviceTurns:
		w.turn(i, extra)
	case deviceDies:
		w.replace(i)
	case expires:
		w.expire(i)
	case retries:
		w.retry(i)
	case chases:
		w.chase(i)
	case relayTurns:
		w.relayTurn(i, extra)
	case relayDies:
		w.relayDie(i, extra)
	case relaySilent:
		w.relaySilent(i, extra)
	case relayMissed:
		w.relayMissed(i, extra)
	case relayBack:
		w.relayBack(i, extra)
	case epochEnds:
		w.renew(i)
	case faultBegins:
		w.faultBegins(i)
	}
}
