package crowd

import (
	"errors"
	"fmt"
	"time"

	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
)

// Crowd is one population. It belongs to one goroutine.
type Crowd struct {
	cfg Config
	w   *simnet.World
	rng model.Dice

	users  []*user
	hosts  []*device // of all users, and those that are gone
	byID   map[string]*device
	relays []*relay // those that are dead too
	groups []*group
	near   []int

	stages []stage // of the set-up, those that are left
	begin  time.Time
	passed time.Duration
	over   bool

	letters map[string]*letter
	order   []*letter // those that may be on their way, by age
	stats   stats
	err     error
}

// stage is a part of the set-up.
type stage struct {
	name string
	do   func() error
}

// warmUp is how long the population lives before it counts.
const warmUp = 30 * time.Minute

// The directory: peers that a node knows of each distance, and walks from which lookups are drawn.
const bucket, walked = 20, 500

// drainTime is what everybody has at the end to get what is there: more than the longest pause between two tries.
const drainTime = 26 * time.Hour

// New makes a population that has yet to be set up, which is what its first steps do.
func New(cfg Config) (*Crowd, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &Crowd{
		cfg: cfg, w: simnet.New(cfg.Seed), rng: model.NewDice(cfg.Seed), byID: map[string]*device{}, letters: map[string]*letter{},
		stats: newStats(),
	}
	if !cfg.Trace {
		c.w.Quiet()
		c.w.Many()
	}
	if cfg.NoRepair {
		c.w.NoRepair()
	}
	if cfg.Links == "world" {
		walks := model.Walks(cfg.directory(), bucket, walked, cfg.Seed)
		c.w.Connect(simnet.Net{RTT: Regions(), Loss: cfg.Loss, Punch: cfg.Punch, Walks: walks, Looked: c.looked})
	}
	c.w.Watch(c.look)
	p := election.DefaultPolicy()
	p.R, p.W, p.S = cfg.R, cfg.W, cfg.S
	c.w.Policy(p)
	c.stages = []stage{
		{"relays", c.makeRelays},
		{"people", c.makePeople},
		{"devices", c.linkDevices},
		{"contacts", c.befriend},
		{"groups", c.makeGroups},
		{"calm", c.settle},
	}
	return c, nil
}

// Step plays a piece: first the set-up, a part at a time, then a thirtieth of the time, at most a day. After Halt has come true there
// is more, which is not played any more.
func (c *Crowd) Step() bool {
	switch {
	case c.err != nil || c.over:
		return false
	case c.w.Halted():
		return true
	case len(c.stages) > 0:
		if err := c.stages[0].do(); !errors.Is(err, errHalted) {
			c.stages = c.stages[1:]
			c.err = err
		}
		return c.err == nil
	case c.passed < c.cfg.For:
		piece := min(max(c.cfg.For/30, 30*time.Minute), 24*time.Hour, c.cfg.For-c.passed)
		from := c.w.Now()
		c.w.Run(piece)
		c.passed += c.w.Now().Sub(from)
		c.sample()
		return true
	case c.cfg.Until == "drain" && !c.stats.drained:
		c.drain()
	}
	if c.w.Halted() {
		return true
	}
	c.close()
	c.over = true
	return false
}

// Halt ends the run in the midst of a piece when enough says so: what has passed until then is its result.
func (c *Crowd) Halt(enough func() bool) { c.w.Halt(enough) }

// errHalted ends a part of the set-up.
var errHalted = errors.New("crowd: halted")

// wait lets time pass in the set-up.
func (c *Crowd) wait(d time.Duration) error {
	if c.w.Run(d); c.w.Halted() {
		return errHalted
	}
	return nil
}

// Err is why the set-up did not succeed, if it did not.
func (c *Crowd) Err() error { return c.err }

// Progress says how far it is.
func (c *Crowd) Progress() string {
	switch {
	case len(c.stages) > 0:
		return "setting up " + c.stages[0].name
	case c.cfg.For < 48*time.Hour:
		return fmt.Sprintf("hour %.1f of %.0f", c.passed.Hours(), c.cfg.For.Hours())
	}
	return fmt.Sprintf("day %d of %d", int(c.passed.Hours()/24), int(c.cfg.For.Hours()/24))
}

// Trace is what happened, line by line, if it is kept.
func (c *Crowd) Trace() []string { return c.w.Trace() }

// World is the network that the population lives on.
func (c *Crowd) World() *simnet.World { return c.w }

// settle lets everything come to rest, and begins to count.
func (c *Crowd) settle() error {
	if err := c.wait(warmUp); err != nil {
		return err
	}
	c.begin = c.w.Now()
	c.stats.base = c.totals()
	for _, d := range c.hosts {
		c.live(d)
	}
	for _, r := range c.relays {
		c.serve(r, true)
	}
	for _, u := range c.users {
		c.nextWrite(u)
	}
	for _, f := range c.cfg.Faults {
		c.w.After(f.At, func() { c.strike(f) })
	}
	c.w.After(time.Hour, c.hour)
	return nil
}

// drain has everybody come back who can, and waits.
func (c *Crowd) drain() {
	c.stats.drained = true
	c.w.Heal()
	for _, r := range c.relays {
		if !r.dead && !r.Up() {
			r.Restart()
		}
	}
	for _, d := range c.hosts {
		if d.gone {
			continue
		}
		if !d.Up() {
			c.start(d)
		}
		c.meet(d)
	}
	c.w.Run(drainTime)
}

var _ result.Run = (*Crowd)(nil)
