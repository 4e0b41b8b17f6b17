package model

import (
	"fmt"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox/repair"
)

// Fault is something that happens to a part of a population at a moment.
type Fault struct {
	Kind  string        `json:"kind"`
	Share float64       `json:"share"` // of the relays or devices that were there at the beginning
	At    time.Duration `json:"at"`
	For   time.Duration `json:"for"` // 0: for ever, where that makes sense
}

// Kinds of faults.
const (
	RelaysDie      = "relays-die"      // with their disks; others follow
	RelaysAway     = "relays-away"     // nobody reaches them: they are off, or their addresses are blocked
	RelaysWithhold = "relays-withhold" // they sign for everything and give nothing, neither to owners nor to other relays
	DevicesAway    = "devices-away"
)

// FaultKinds are the kinds of faults that a population knows.
func FaultKinds() []string { return []string{RelaysDie, RelaysAway, RelaysWithhold, DevicesAway} }

// Rush is a time in which people write more.
type Rush struct {
	At     time.Duration `json:"at"`
	For    time.Duration `json:"for"` // 0: there is none
	Factor float64       `json:"factor"`
	Local  bool          `json:"local"` // by the clock of each time zone, as midnight is
}

// Times is how often somebody writes what it would write once, at a time since the beginning, whose clock is so many hours ahead.
func (r *Rush) Times(at time.Duration, hours int) float64 {
	if r.Local {
		at += time.Duration(hours) * time.Hour
	}
	if r.For > 0 && at >= r.At && at < r.At+r.For {
		return r.Factor
	}
	return 1
}

const maxFaults = 64

func (c *Config) checkFaults() error {
	if len(c.Faults) > maxFaults {
		return Refuse("fault", "there are %d, at most %d", len(c.Faults), maxFaults)
	}
	for i, f := range c.Faults {
		if err := f.check(fmt.Sprintf("fault.%d.", i), c.length()); err != nil {
			return err
		}
	}
	switch r := c.Rush; {
	case r.At < 0 || r.For < 0 || r.At+r.For > maxDays*24*time.Hour:
		return Refuse("rush_at", "%v for %v", r.At, r.For)
	case r.For > 0 && r.At >= c.length():
		return Refuse("rush_at", "%v, in a run of %v", r.At, c.length())
	case r.For > 0 && !(r.Factor >= 0 && r.Factor <= 1000):
		return Refuse("rush_factor", "%g, want 0 to 1000", r.Factor)
	case !(c.HotShare >= 0 && c.HotShare <= 1):
		return Refuse("hot_share", "%g, want 0 to 1", c.HotShare)
	case c.HotShare > 0 && (c.HotUsers < 1 || c.HotUsers > 1<<20):
		return Refuse("hot_share", "%g of all messages, and hot_users is %d, want 1 to %d", c.HotShare, c.HotUsers, 1<<20)
	case c.Silent < minRepair || c.Silent > maxDays*24*time.Hour:
		return Refuse("silent", "%v, want at least %v", c.Silent, minRepair)
	case c.Visits < minRepair || c.Visits > maxDays*24*time.Hour:
		return Refuse("visits", "%v, want at least %v", c.Visits, minRepair)
	case c.Epoch != 0 && (c.Epoch < time.Hour || c.Epoch > maxDays*24*time.Hour):
		return Refuse("epoch", "%v, want at least %v, or 0", c.Epoch, time.Hour)
	}
	return nil
}

// length is how long a run takes.
func (c *Config) length() time.Duration { return time.Duration(c.Days) * 24 * time.Hour }

func (f Fault) check(key string, length time.Duration) error {
	switch {
	case !slices.Contains(FaultKinds(), f.Kind):
		return Refuse(key+"kind", "%q is none that a population knows", f.Kind)
	case !(f.Share > 0 && f.Share <= 1):
		return Refuse(key+"share", "%g of %s, want more than 0 and at most 1", f.Share, f.Kind)
	case f.At < 0 || f.At > maxDays*24*time.Hour || f.For < 0 || f.For > maxDays*24*time.Hour:
		return Refuse(key+"at", "%s at %v for %v", f.Kind, f.At, f.For)
	case f.At >= length:
		return Refuse(key+"at", "%s at %v, in a run of %v", f.Kind, f.At, length)
	case f.For == 0 && (f.Kind == RelaysAway || f.Kind == DevicesAway):
		return Refuse(key+"for", "is missing: for how long are %s?", f.Kind)
	case f.For > 0 && (f.Kind == RelaysDie || f.Kind == RelaysWithhold):
		return Refuse(key+"for", "%s lasts, for how long makes no sense", f.Kind)
	}
	return nil
}

const minRepair = time.Minute

// planFaults plans what the configuration says.
func (w *World) planFaults() {
	for i, f := range w.cfg.Faults {
		w.plan(millis(f.At), faultBegins, 0, uint32(i))
	}
}

func millis(d time.Duration) uint64 { return uint64(d / time.Millisecond) }

// struck says whether a fault strikes one of the population, by its number.
func (w *World) struck(fault, i uint32) bool {
	f := &w.cfg.Faults[fault]
	return float64(mix(w.cfg.Seed^0x6661756c74, uint64(fault)<<32|uint64(i))>>11)/(1<<53) < f.Share
}

func (w *World) faultBegins(n uint32) {
	f := &w.cfg.Faults[n]
	if f.Kind == DevicesAway {
		for i := range uint32(len(w.devices)) {
			if w.struck(n, i) {
				w.sendAway(i, millis(f.For))
			}
		}
		return
	}
	for slot := range uint32(len(w.slots)) {
		if !w.struck(n, slot) {
			continue
		}
		i := uint32(w.slots[slot])
		switch f.Kind {
		case RelaysDie:
			w.relayDie(slot, i)
		case RelaysAway:
			w.relayLeaves(i, millis(f.For))
		case RelaysWithhold:
			w.withholds(i)
		}
	}
}

// withholds has a relay give nothing from now on.
func (w *World) withholds(i uint32) {
	for int(i>>6) >= len(w.liars) {
		w.liars = append(w.liars, 0)
	}
	if !w.liars.has(i) {
		w.liars.flip(i)
	}
}

// givers are the seats of a box that would give what they hold, if they are there.
func (w *World) givers(i uint32) (mask uint8) {
	for p, r := range w.seatsOf(i) {
		if int(r>>6) >= len(w.liars) || !w.liars.has(uint32(r)) {
			mask |= 1 << p
		}
	}
	return mask
}

// sendAway has a device be away for so long, whether it was there or not.
func (w *World) sendAway(i uint32, d uint64) {
	w.stats.tally(w.now)
	if w.there.has(i) {
		w.there.flip(i)
		w.stats.online--
	}
	w.devices[i].turns++ // what was planned for it does not count
	w.away(i, d)
}

// rushed is by how much more people write at a moment, and for how long that stays so. ahead is by how much a clock of
// theirs is ahead of that of the world.
func (c *Config) rushed(now, ahead uint64) (factor float64, until uint64) {
	r := &c.Rush
	if r.For == 0 {
		return 1, forever
	}
	at, end := millis(r.At), millis(r.At+r.For)
	if r.Local { // whose clock is a day ahead is as late as whose is not
		at, end, now = at+dayMillis, end+dayMillis, now+ahead
	}
	switch {
	case now < at:
		return 1, at - now
	case now < end:
		return r.Factor, end - now
	}
	return 1, forever
}

// patience is how long a relay has to be silent for the standby at position j to count it as lost.
func (c *Config) patience(j int) uint64 {
	return millis(repair.Patience(j) - repair.SilentFor + c.Silent)
}

// renew has a device elect for the next epoch, when it is there.
func (w *World) renew(i uint32) {
	w.plan(millis(w.cfg.Epoch), epochEnds, 0, i)
	if w.devices[i].stale = true; w.there.has(i) {
		w.elect(i)
	}
}

// hot is one of the few to whom much is written, if x says so.
func (w *World) hot(x uint64) (user uint32, ok bool) {
	c := &w.cfg
	if c.HotShare == 0 || float64(x>>16&0xffff) >= c.HotShare*65536 {
		return 0, false
	}
	n := len(w.users)
	few := uint64(min(c.HotUsers, n))
	return uint32(mix(x, 0x686f74) % few * uint64(n) / few), true
}
