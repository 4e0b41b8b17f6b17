package crowd

import (
	"fmt"
	"time"

	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
)

// relay is one relay from its first day to its last; whoever follows it is another.
type relay struct {
	*simnet.Relay
	n int
	habit
	dead bool
}

func (c *Crowd) makeRelays() error {
	for range c.cfg.RelayCount {
		c.addRelay(0)
	}
	return nil
}

// addRelay makes a relay, in a network of its own unless one is given.
func (c *Crowd) addRelay(network uint16) *relay {
	n := len(c.relays)
	if network == 0 {
		network = uint16(11+n%200)<<8 | uint16(n/200%256)
	}
	r := &relay{Relay: c.w.AddRelayIn(fmt.Sprintf("r%d", n), network), n: n, habit: habit{wants: true}}
	r.class = &c.cfg.Relays[c.rng.Pick(len(c.cfg.Relays), func(i int) float64 { return c.cfg.Relays[i].Share })]
	region, _ := model.Zone(c.rng.Unit())
	p := c.place(region, r.class.Churn.Name, false)
	p.Up, p.Down = 10*c.cfg.Bandwidth, 10*c.cfg.Bandwidth
	r.Put(p)
	r.Skew(time.Duration(c.rng.Normal() * float64(c.cfg.Skew)))
	c.relays = append(c.relays, r)
	return r
}

// candidates are relays that a device has heard of.
func (c *Crowd) candidates() []*simnet.Relay {
	var alive []*relay
	for _, r := range c.relays {
		if !r.dead {
			alive = append(alive, r)
		}
	}
	n := min(c.cfg.Candidates, len(alive))
	out := make([]*simnet.Relay, 0, n)
	for i := range n {
		j := i + c.rng.Below(len(alive)-i)
		alive[i], alive[j] = alive[j], alive[i]
		out = append(out, alive[i].Relay)
	}
	return out
}

// serve begins the habits of a relay: at a random moment of them, or with its first day.
func (c *Crowd) serve(r *relay, aged bool) {
	p := r.class
	if p.LifeDays > 0 {
		c.w.After(millis(model.Exponential(p.LifeDays*24*60).Draw(c.rng)), func() { c.die(r, true) })
	}
	c.begins(&r.habit, aged, func() bool { return r.dead }, func() { c.followRelay(r) })
}

func (c *Crowd) followRelay(r *relay) {
	if c.stats.drained {
		return
	}
	switch here := r.inclined(); {
	case here && !r.Up():
		r.Restart()
	case !here && r.Up():
		r.Kill()
	}
}

// die ends a relay and its disk. Somebody else begins one, of which those who knew the old one hear, if it is to be followed.
func (c *Crowd) die(r *relay, followed bool) {
	if r.dead || c.stats.drained {
		return
	}
	r.dead = true
	c.stats.deaths++
	if r.Up() {
		r.Kill()
	}
	r.Wipe()
	if !followed {
		return
	}
	next := c.addRelay(0)
	for _, d := range c.hosts {
		d.Forget(r.Relay, next.Relay)
	}
	c.serve(next, false)
}

// Regions are those of model.Zone, with the round trips between data centres of a large provider.
//
// Source: Microsoft, "Azure network round-trip latency statistics", medians of the 30 days to 9 April 2024, in ms: West US, East
// US, Brazil South, UK South, Germany West Central, UAE North, Central India, East Asia. The page gives both directions, which
// differ by up to 4 ms; this is one of them. Within a region 12 ms are assumed, which is what it gives for neighbours.
func Regions() [][]time.Duration {
	const within = 12
	ms := [8][8]int{
		{within, 69, 186, 137, 149, 254, 220, 151},
		{69, within, 117, 77, 88, 191, 207, 203},
		{186, 117, within, 180, 193, 293, 310, 329},
		{137, 77, 180, within, 17, 118, 134, 187},
		{149, 88, 193, 17, within, 117, 133, 186},
		{254, 191, 293, 118, 117, within, 38, 116},
		{220, 207, 310, 134, 133, 38, within, 84},
		{151, 203, 329, 187, 186, 116, 84, within},
	}
	out := make([][]time.Duration, len(ms))
	for i, row := range ms {
		for _, n := range row {
			out[i] = append(out[i], time.Duration(n)*time.Millisecond)
		}
	}
	return out
}

// Last miles, one way. Assumed.
const (
	mileHome  = 8 * time.Millisecond
	milePhone = 25 * time.Millisecond
	mileVPS   = time.Millisecond
)

// Mile is the last mile of a host of a class.
func Mile(class string) time.Duration {
	switch class {
	case "phone":
		return milePhone
	case "vps":
		return mileVPS
	}
	return mileHome
}

// place is where a host of a class is.
func (c *Crowd) place(region int, class string, nat bool) simnet.Place {
	return simnet.Place{Region: region, Mile: Mile(class), Up: c.cfg.Bandwidth, Down: 5 * c.cfg.Bandwidth, NAT: nat}
}
