package crowd

import (
	"strings"
	"time"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/simnet/result"
)

// stats are what a population counts.
type stats struct {
	messages, deliveries, held, refused, pending int
	custody, late, removedRead, clear            int
	lost, lostCustody, expired                   int
	orphaned, dropped, unfinished, deaths        int
	drained                                      bool

	all, there, away, stored result.Histogram
	trips, looks             result.Histogram // of lookups: round trips, milliseconds
	arrivals                 int              // in this hour
	base, end                totals
	series                   []result.Series
}

// totals are sums over all hosts.
type totals struct {
	devices, relays     uint64 // bytes
	deposited, repaired uint64
	turns               uint64
	events              int
	at                  time.Time
}

const (
	deliveriesHour = iota
	onlineDevices
	pendingMail
	storedMean
)

func newStats() stats {
	return stats{
		all: result.NewHistogram(), there: result.NewHistogram(), away: result.NewHistogram(), stored: result.NewHistogram(),
		trips: result.NewHistogram(), looks: result.NewHistogram(),
		series: []result.Series{
			deliveriesHour: {Name: "deliveries.hour", Unit: "deliveries/h"},
			onlineDevices:  {Name: "online.devices", Unit: "devices"},
			pendingMail:    {Name: "pending", Unit: "deliveries"},
			storedMean:     {Name: "stored.relay.bytes", Unit: "B"},
		},
	}
}

func (s *stats) arrived(took time.Duration, there bool) {
	ms := uint64(max(took.Milliseconds(), 0))
	s.all.Add(ms)
	s.arrivals++
	if there {
		s.there.Add(ms)
	} else {
		s.away.Add(ms)
	}
}

// looked hears of a lookup.
func (c *Crowd) looked(trips int, took time.Duration) {
	if !c.begin.IsZero() && !c.stats.drained {
		c.stats.trips.Add(uint64(trips))
		c.stats.looks.Add(uint64(took.Milliseconds()))
	}
}

func (c *Crowd) totals() totals {
	t := totals{events: c.w.Events(), at: c.w.Now()}
	for _, d := range c.hosts {
		x := d.Traffic()
		t.devices += x.Sent + x.Got
		t.turns += d.Turns()
	}
	for _, r := range c.relays {
		x := r.Traffic()
		t.relays += x.Sent + x.Got
		t.deposited += r.Deposited
		t.repaired += r.Repaired
	}
	return t
}

// hour keeps the course of an hour.
func (c *Crowd) hour() {
	if c.stats.drained {
		return
	}
	s := &c.stats
	online, stored := 0, uint64(0)
	for _, d := range c.hosts {
		if d.Here() && !d.gone {
			online++
		}
	}
	living := c.living()
	for _, r := range living {
		stored += r.Stores()
	}
	at := c.w.Now().Sub(c.begin).Seconds()
	for i, v := range [...]float64{
		deliveriesHour: float64(s.arrivals), onlineDevices: float64(online), pendingMail: float64(s.pending),
		storedMean: float64(stored) / float64(max(len(living), 1)),
	} {
		s.series[i].Points = append(s.series[i].Points, [2]float64{at, v})
	}
	s.arrivals = 0
	c.w.After(time.Hour, c.hour)
}

// sample looks at what lies at the relays, and at what has ended.
func (c *Crowd) sample() {
	for _, r := range c.living() {
		c.stats.stored.Add(r.Stores())
	}
	c.judge(false)
	c.stats.end = c.totals()
}

// close judges what has not arrived.
func (c *Crowd) close() { c.judge(true) }

// Result sums up what has passed so far.
func (c *Crowd) Result() *result.Result {
	s := &c.stats
	r := &result.Result{Format: result.Format, Kind: "world", Crypto: agree.Kind, Seed: c.cfg.Seed, Partial: !c.over && c.err == nil, Series: s.series}
	doubled, broken := 0, 0
	for _, f := range c.w.Failures() {
		if strings.HasSuffix(f, "shows a message twice") {
			doubled++
		} else {
			broken++
		}
	}
	if c.err != nil {
		broken++
	}
	add := func(name, unit, better string, v float64) {
		r.Values = append(r.Values, result.Value{Name: name, Unit: unit, Better: better, Value: v})
	}
	count := func(name, better string, n int) { add(name, "", better, float64(n)) }
	count("lost.count", result.Lower, s.lost)
	count("lost.custody.count", result.Lower, s.lostCustody)
	count("doubled.count", result.Lower, doubled)
	count("late.count", result.Lower, s.late)
	count("removed.read.count", result.Lower, s.removedRead)
	count("clear.count", result.Lower, s.clear)
	count("broken.count", result.Lower, broken)
	count("expired.count", "", s.expired)
	count("orphaned.count", "", s.orphaned)
	count("dropped.count", "", s.dropped)
	count("pending.count", "", s.unfinished+s.pending)
	count("refused.count", "", s.refused)
	count("messages.count", "", s.messages)
	count("deliveries.count", "", s.deliveries)
	count("held.count", "", s.held)
	count("users.count", "", len(c.users))
	count("devices.count", "", len(c.hosts))
	count("relays.count", "", len(c.relays))
	count("relay.deaths.count", "", s.deaths)
	add("lost.share", "", result.Lower, part(float64(s.lost), float64(s.deliveries)))
	add("custody.share", "", result.Higher, part(float64(s.custody), float64(s.deliveries)))
	c.costs(add)
	count("events.count", "", c.w.Events())
	// So that two results are the same only if their courses were: two numbers, for a float holds 53 bits.
	add("digest.high", "", "", float64(c.w.Digest()>>32))
	add("digest.low", "", "", float64(c.w.Digest()&0xffffffff))
	r.Spreads = []result.Spread{
		s.all.Spread("delivery.seconds", "s", result.Lower, 1e-3), s.there.Spread("delivery.there.seconds", "s", result.Lower, 1e-3),
		s.away.Spread("delivery.away.seconds", "s", result.Lower, 1e-3), s.stored.Spread("stored.bytes", "B", result.Lower, 1),
		s.trips.Spread("lookup.hops", "hops", result.Lower, 1), s.looks.Spread("lookup.seconds", "s", result.Lower, 1e-3),
	}
	return r
}

// costs are per hour of virtual time, without the set-up and the drain.
func (c *Crowd) costs(add func(name, unit, better string, v float64)) {
	a, b := c.stats.base, c.stats.end
	hours := b.at.Sub(a.at).Hours()
	if hours <= 0 { // before the beginning: the names are there, nothing has cost anything
		hours, b = 1, a
	}
	devices, relays := hours*float64(max(len(c.hosts), 1)), hours*float64(max(len(c.relays), 1))
	add("device.bytes_hour", "B/h", result.Lower, float64(b.devices-a.devices)/devices)
	add("device.turns_hour", "1/h", result.Lower, float64(b.turns-a.turns)/devices)
	add("relay.bytes_hour", "B/h", result.Lower, float64(b.relays-a.relays)/relays)
	add("repair.per_stored", "", result.Lower, part(float64(b.repaired-a.repaired), float64(b.deposited-a.deposited)))
	add("events.hour", "1/h", "", float64(b.events-a.events)/hours)
}

func part(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
