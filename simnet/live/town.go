package live

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
)

// Town is a population of real nodes. It is made, played and closed in one bubble, by one goroutine; the nodes have theirs.
type Town struct {
	cfg   crowd.Config
	dir   string
	net   *Network
	rng   model.Dice
	shift time.Duration // from the bubble's clock to the population's

	relays  []*resident
	devices []*resident
	users   []*user
	groups  []*group
	near    []int
	policy  *election.Policy
	rtt     [][]time.Duration

	stages []stage
	began  time.Time // when it began to count
	passed time.Duration
	waited time.Duration // for what is to arrive after the end
	over   bool
	queue  events
	number int
	cuts   int // so far: each has a bit
	err    error

	wg    sync.WaitGroup // of what nodes do in the background
	mu    sync.Mutex     // guards what follows: nodes tell of what they show
	tally tally
}

type stage struct {
	name string
	do   func(context.Context) error
}

type user struct {
	crowd.Habits
	n       int
	name    string
	devices []*resident
	friends []*user
	handles map[*user]string
	written int
	backlog []words
}

// group is a conversation of many.
type group struct {
	chat    string
	members []*user
}

// resident is a machine with its habits.
type resident struct {
	*machine
	of      *user // nil: a relay
	class   *model.Part
	wants   bool // to be there, by its habits
	held    int  // faults that keep it away
	gone    bool // for ever: its disk is lost, or it was removed
	removed bool // it is on, and nothing is for it any more
	groups  map[*group]string
}

// Setting up and ending.
const (
	warmUp    = 30 * time.Minute
	drainTime = 26 * time.Hour
	setUpMost = 6 * time.Hour // until everybody knows everybody whom he should
	linkMost  = 10 * time.Minute
	doorCount = 5 // relays that a node knows from the start
	maxNodes  = 2000
)

// New makes a town that its first steps set up, with its nodes' files below dir. It is called in a bubble.
func New(cfg crowd.Config, dir string) (*Town, error) {
	if err := Playable(cfg); err != nil {
		return nil, err
	}
	t := &Town{cfg: cfg, dir: dir, rng: model.NewDice(cfg.Seed), shift: time.Until(simnet.Start), tally: newTally()}
	loss := 0.0
	if cfg.Links == "world" {
		t.rtt, loss = crowd.Regions(), cfg.Loss
	}
	t.net = newNetwork(cfg.Seed, loss, t.leg, t.punched)
	t.net.open = true // while people meet: who links a device has both at hand
	t.stages = []stage{
		{"keys", t.makeKeys},
		{"relays", t.makeRelays},
		{"people", t.makePeople},
		{"devices", t.linkDevices},
		{"contacts", t.befriend},
		{"groups", t.makeGroups},
		{"calm", t.settle},
	}
	p := election.LocalPolicy()
	p.R, p.W, p.S = cfg.R, cfg.W, cfg.S
	t.policy = &p
	return t, nil
}

// Playable says why a population cannot be played with real nodes; nil: it can.
func Playable(cfg crowd.Config) error { return errors.Join(cfg.Check(), playable(&cfg)) }

// playable says what only crowd can play: what a node has no setting for, and nodes that lie.
func playable(cfg *crowd.Config) error {
	switch {
	case cfg.Users+cfg.RelayCount > maxNodes:
		return fmt.Errorf("%d users and %d relays: at most %d real nodes", cfg.Users, cfg.RelayCount, maxNodes)
	case cfg.NoRepair:
		return errors.New("real relays repair")
	case cfg.Directory > 0:
		return errors.New("the directory of real nodes is as large as they are many")
	case cfg.Bandwidth > 0:
		return errors.New("bandwidth is not played with real nodes")
	}
	for _, f := range cfg.Faults {
		if !slices.Contains(played, f.Kind) {
			return fmt.Errorf("faults: %s is not played with real nodes", f.Kind)
		}
	}
	return nil
}

// Step implements result.Run.
func (t *Town) Step() bool {
	ctx := context.Background()
	switch {
	case t.err != nil || t.over:
		return false
	case len(t.stages) > 0:
		s := t.stages[0]
		if t.err = s.do(ctx); t.err != nil {
			t.err = fmt.Errorf("setting up %s: %w", s.name, t.err)
		}
		t.stages = t.stages[1:]
		return t.err == nil
	case t.passed < t.cfg.For:
		t.play(ctx, min(max(t.cfg.For/30, 30*time.Minute), 24*time.Hour, t.cfg.For-t.passed))
		return true
	case t.cfg.Until == "drain" && t.waited < drainTime:
		if t.waited == 0 {
			t.drain(ctx)
		}
		t.waited += drainTime / 13
		rest(drainTime / 13)
		return true
	}
	t.over = true
	return false
}

// Err is why the town could not be played.
func (t *Town) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.err, t.tally.failed)
}

func (t *Town) fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tally.failed == nil {
		t.tally.failed = fmt.Errorf(format, args...)
	}
}

// Progress implements result.Run.
func (t *Town) Progress() string {
	switch {
	case len(t.stages) > 0:
		return "setting up " + t.stages[0].name
	case t.passed >= t.cfg.For && t.cfg.Until == "drain":
		return fmt.Sprintf("everybody is back, hour %.0f of %.0f", t.waited.Hours(), drainTime.Hours())
	case t.cfg.For < 48*time.Hour:
		return fmt.Sprintf("hour %.1f of %.0f", t.passed.Hours(), t.cfg.For.Hours())
	}
	return fmt.Sprintf("day %d of %d", int(t.passed.Hours()/24), int(t.cfg.For.Hours()/24))
}

// Close ends every node and waits for all that they did.
func (t *Town) Close() {
	for _, r := range append(t.devices, t.relays...) {
		r.stop()
	}
	t.wg.Wait()
	t.net.close()
}

var _ result.Run = (*Town)(nil)

// doors are the relays by which a node finds the directory.
func (t *Town) doors(m *machine) (out []dht.Peer) {
	for _, r := range t.relays {
		if r.machine != m && r.node != nil && len(out) < doorCount {
			out = append(out, r.node.Self())
		}
	}
	return out
}

// makeKeys makes the relays, and people with their first devices, all of them off. A key from recovery words takes 64 MiB,
// and what lives among so much garbage keeps its pages from the machine: nothing lives yet.
func (t *Town) makeKeys(context.Context) error {
	var all []*resident
	for range t.cfg.RelayCount {
		all = append(all, t.relay())
	}
	for i := range t.cfg.Users {
		u := &user{n: i, name: fmt.Sprintf("u%d", i), handles: map[*user]string{}, Habits: t.cfg.Person(t.rng, i)}
		t.users = append(t.users, u)
		all = append(all, t.device(u))
	}
	var wg sync.WaitGroup
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, r := range all {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := r.identity(); err != nil {
				t.fail("%s: %v", r.name, err)
			}
		})
	}
	wg.Wait()
	debug.FreeOSMemory()
	return t.Err()
}

func (t *Town) makeRelays(ctx context.Context) error {
	for _, r := range t.relays {
		if err := r.start(ctx); err != nil {
			return err
		}
		rest(time.Second)
	}
	rest(15 * time.Minute) // until they have let go of the connections by which they got to know each other
	return nil
}

// relay is a further relay, not yet on and without a key.
func (t *Town) relay() *resident {
	r := &resident{machine: t.machine(fmt.Sprintf("r%d", len(t.relays)), true), wants: true}
	r.class = &t.cfg.Relays[t.rng.Pick(len(t.cfg.Relays), func(i int) float64 { return t.cfg.Relays[i].Share })]
	region, _ := model.Zone(t.rng.Unit())
	t.put(r, region, false)
	t.relays = append(t.relays, r)
	return r
}

func (t *Town) makePeople(ctx context.Context) error {
	for _, u := range t.users {
		if err := u.devices[0].start(ctx); err != nil {
			return err
		}
		rest(10 * time.Second)
	}
	rest(5 * time.Minute)
	return nil
}

// device is a further machine of a user, not yet on.
func (t *Town) device(u *user) *resident {
	name := u.name
	if len(u.devices) > 0 {
		name = fmt.Sprintf("%s-%d", u.name, len(u.devices)+1)
	}
	d := &resident{machine: t.machine(name, false), of: u, wants: true, groups: map[*group]string{}}
	d.class = &t.cfg.People[t.rng.Pick(len(t.cfg.People), func(i int) float64 { return t.cfg.People[i].Share })]
	t.put(d, u.Region, t.cfg.Behind(name))
	u.devices = append(u.devices, d)
	t.devices = append(t.devices, d)
	return d
}

func (t *Town) linkDevices(ctx context.Context) error {
	for _, u := range t.users {
		for range t.rng.Pick(len(t.cfg.PerUser), func(i int) float64 { return t.cfg.PerUser[i] }) {
			d := t.device(u)
			if err := t.link(ctx, d); err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if err := d.start(ctx); err != nil {
				return err
			}
			rest(time.Second)
		}
	}
	rest(5 * time.Minute)
	return nil
}

// link adds a device to its user's account.
func (t *Town) link(ctx context.Context, d *resident) error {
	ctx, cancel := context.WithTimeout(ctx, linkMost)
	defer cancel()
	return d.link(ctx, d.of.devices[0].machine)
}

// befriend has people know each other.
func (t *Town) befriend(ctx context.Context) error {
	n := len(t.users)
	t.near = t.cfg.Neighbours(t.rng)
	for _, off := range t.near {
		for i, u := range t.users {
			if o := t.users[(i+off)%n]; off*2 != n || i < off {
				if err := t.introduce(ctx, u, o); err != nil {
					return fmt.Errorf("%s and %s: %w", u.name, o.name, err)
				}
			}
			rest(time.Second)
		}
		rest(time.Minute)
	}
	if t.cfg.HotShare > 0 {
		if err := t.gather(ctx, t.users[0], t.users[1:]); err != nil {
			return err
		}
	}
	return t.await(t.strangers)
}

// gather has one person know many.
func (t *Town) gather(ctx context.Context, one *user, many []*user) error {
	for _, u := range many {
		if err := t.introduce(ctx, one, u); err != nil {
			return fmt.Errorf("%s and %s: %w", one.name, u.name, err)
		}
		rest(2 * time.Second) // so many links may be open
	}
	return nil
}

// await lets time pass until nothing is missing.
func (t *Town) await(missing func() string) error {
	for waited := time.Duration(0); ; waited += time.Minute {
		what := missing()
		if what == "" {
			return nil
		}
		if waited > setUpMost {
			return fmt.Errorf("after %v %s", setUpMost, what)
		}
		rest(time.Minute)
	}
}

// introduce has b answer an invite of a.
func (t *Town) introduce(ctx context.Context, a, b *user) error {
	if slices.Contains(a.friends, b) {
		return nil
	}
	var link string
	err := a.devices[0].do(ctx, func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 0)
		link = v.Text
		return err
	})
	if err == nil {
		err = b.devices[0].do(ctx, func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err })
	}
	a.friends, b.friends = append(a.friends, b), append(b.friends, a)
	return err
}

// strangers names somebody who cannot write yet to a friend of his.
func (t *Town) strangers() string {
	for _, u := range t.users {
		for _, d := range u.devices {
			if n := d.contacts(); n < len(u.friends) {
				return fmt.Sprintf("%s can write to %d of %d", d.name, n, len(u.friends))
			}
		}
	}
	return ""
}

// rest lets virtual time pass.
func rest(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
