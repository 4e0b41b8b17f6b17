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

	users   []user
	writers writers
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
	times    []uint64
	uplink   uint64 // bytes of this message that its author has sent

	near  []int // offsets of contacts
	liked [256]uint8
	stats stats

	halts func() bool // nil: never
	seen  uint32      // nothing: so that looking ahead is not left out
}

// user is somebody: a quarter of a cache line.
type user struct {
	first   uint32 // device; the others follow
	keeps   uint32 // see writers
	other   uint32
	backlog uint16 // messages for when a device is there again
	number  uint8  // of devices
}

// devices are the devices of a user: from the first to before the last.
func (u *user) devices() (from, to uint32) { return u.first, u.first + uint32(u.number) }

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
	rates := w.makePeople()
	if err := w.enough(); err != nil {
		return nil, err
	}
	for i := range w.devices {
		w.elect(uint32(i))
		if c.Epoch > 0 {
			w.plan(uint64(w.rng.Below(int(millis(c.Epoch)))), epochEnds, 0, uint32(i))
		}
	}
	w.planFaults()
	w.makeWriters(rates)
	return w, nil
}

// makePeople makes users and their devices. rates are how many messages an hour each of them writes.
func (w *World) makePeople() (rates []float64) {
	c := &w.cfg
	w.devices = make([]device, 0, c.Devices)
	for len(w.devices) < c.Devices {
		n := min(1+w.rng.Pick(len(c.PerUser), func(i int) float64 { return c.PerUser[i] }), c.Devices-len(w.devices))
		w.users = append(w.users, user{first: uint32(len(w.devices)), number: uint8(n)})
		for range n {
			w.devices = append(w.devices, device{user: uint32(len(w.users) - 1)})
		}
		rates = append(rates, w.activity()*c.Messages/24)
	}
	w.there, w.second = make(bitset, (c.Devices+63)/64), make(bitset, (c.Devices+63)/64)
	w.makeFriends()
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
	return rates
}

// Halt ends the run in the midst of a day when enough says so: what has passed until then is its result. A step that follows goes on.
func (w *World) Halt(enough func() bool) { w.halts = enough }

// askEvery is how many events lie between two questions whether it is enough.
const askEvery = 1 << 14

// Step lets a day pass; false: it was the last.
func (w *World) Step() bool {
	if w.day == w.cfg.Days {
		return false
	}
	limit := uint64(w.day+1) * dayMillis
	for {
		if w.stats.events%askEvery == 0 && w.halts != nil && w.halts() {
			return true
		}
		written := w.nextLetter()
		if e, ok := w.queue.PopUpTo(min(written, limit-1)); ok {
			w.passTo(e.At)
			w.happen(kind(e.What>>56), uint32(e.What>>32)&0xffffff, uint32(e.What))
			continue
		}
		if written >= limit {
			break
		}
		w.passTo(written)
		w.write(&w.writers.drawn[w.writers.taken])
		w.writers.taken++
	}
	w.hours(limit)
	w.now = limit
	w.day++
	w.sample()
	return w.day < w.cfg.Days
}

// passTo lets time pass until something happens.
func (w *World) passTo(t uint64) {
	w.hours(t)
	w.now = t
	w.stats.events++
}

// Progress says how far it is.
func (w *World) Progress() string { return fmt.Sprintf("day %d of %d", w.day, w.cfg.Days) }

// Days is how many days have passed.
func (w *World) Days() int { return w.day }

func (w *World) happen(k kind, extra, i uint32) {
	switch k {
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
