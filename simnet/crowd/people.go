package crowd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
)

// user is a person.
type user struct {
	n       int
	name    string
	devices []*device
	Habits
	met     []*user // beyond the neighbours
	backlog []words // for when a device is there again
	written int
}

// device is one engine with its place and its habits.
type device struct {
	*simnet.Device
	n  int
	of *user
	habit
	gone    bool // for ever: its disk is lost, or it was removed
	removed bool
	since   time.Time // it came or went
	handles map[*group]string
}

// group is a conversation of many.
type group struct {
	chat    string
	members []*user
}

func (c *Crowd) makePeople() error {
	for i := range c.cfg.Users {
		u := &user{n: i, name: fmt.Sprintf("u%d", i), Habits: c.cfg.Person(c.rng, i)}
		c.users = append(c.users, u)
		if _, err := c.addDevice(u, func(name string) (*simnet.Device, error) { return c.w.AddDevice(name) }); err != nil {
			return err
		}
		if err := c.pace(i + 1); err != nil {
			return err
		}
	}
	return c.wait(5 * time.Minute)
}

func (c *Crowd) addDevice(u *user, add func(name string) (*simnet.Device, error)) (*device, error) {
	name := u.name
	if len(u.devices) > 0 {
		name = fmt.Sprintf("%s-%d", u.name, len(u.devices)+1)
	}
	s, err := add(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &device{Device: s, n: len(c.hosts), of: u, habit: habit{wants: true}, since: c.w.Now(), handles: map[*group]string{}}
	d.class = &c.cfg.People[c.rng.Pick(len(c.cfg.People), func(i int) float64 { return c.cfg.People[i].Share })]
	d.Put(c.place(u.Region, d.class.Churn.Name, c.cfg.Behind(name)))
	d.Skew(time.Duration(c.rng.Normal() * float64(c.cfg.Skew)))
	d.Know(c.candidates()...)
	d.Notices(func(n view.Notice) { c.told(d, n) })
	u.devices = append(u.devices, d)
	c.hosts = append(c.hosts, d)
	c.byID[d.ID()] = d
	return d, d.Start()
}

// pace lets a second pass after every so many of a round of the set-up.
func (c *Crowd) pace(done int) error {
	if done%atOnce(c.cfg.Users) == 0 {
		return c.wait(time.Second)
	}
	return nil
}

// atOnce is how many of a round of the set-up happen in one second, so that people meet within ten minutes: all live meanwhile.
func atOnce(users int) int { return (users + longestRound - 1) / longestRound }

const longestRound = 600 // seconds

// linkDevices adds the devices that people have beside their first.
func (c *Crowd) linkDevices() error {
	linked := 0
	for _, u := range c.users {
		for range c.rng.Pick(len(c.cfg.PerUser), func(i int) float64 { return c.cfg.PerUser[i] }) {
			if err := c.link(u); err != nil {
				return err
			}
			linked++
			if err := c.pace(linked); err != nil {
				return err
			}
		}
	}
	return c.wait(5 * time.Minute)
}

func (c *Crowd) link(u *user) error {
	_, err := c.addDevice(u, func(name string) (*simnet.Device, error) { return c.w.LinkDevice(name, u.devices[0].Device) })
	return err
}

// befriend has people know each other.
func (c *Crowd) befriend() error {
	n := len(c.users)
	c.near = c.cfg.Neighbours(c.rng)
	for _, off := range c.near {
		for i, u := range c.users {
			if o := c.users[(i+off)%n]; off*2 != n || i < off {
				if err := c.introduce(u, o); err != nil {
					return err
				}
			}
			if err := c.pace(i + 1); err != nil {
				return err
			}
		}
		if err := c.wait(time.Minute); err != nil {
			return err
		}
	}
	if c.cfg.HotShare > 0 {
		return c.gather(c.users[0], c.users[1:])
	}
	return nil
}

// gather has one person know many.
func (c *Crowd) gather(one *user, many []*user) error {
	for i, o := range many {
		if !c.friends(one, o) {
			if err := c.introduce(one, o); err != nil {
				return err
			}
			one.met, o.met = append(one.met, o), append(o.met, one)
		}
		if i%32 == 31 { // so many links may be open
			if err := c.wait(time.Minute); err != nil {
				return err
			}
		}
	}
	return c.wait(time.Minute)
}

func (c *Crowd) friends(a, b *user) bool {
	for _, off := range c.near {
		if (a.n+off)%c.cfg.Users == b.n || (b.n+off)%c.cfg.Users == a.n {
			return true
		}
	}
	return slices.Contains(a.met, b)
}

// introduce has b answer an invite of a.
func (c *Crowd) introduce(a, b *user) error {
	var link string
	err := a.devices[0].Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 0)
		link = v.Text
		return err
	})
	if err == nil {
		err = b.devices[0].Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err })
	}
	if err != nil {
		return fmt.Errorf("%s and %s: %w", a.name, b.name, err)
	}
	return nil
}

func (c *Crowd) makeGroups() error {
	for i, g := range c.cfg.Groups {
		x := &group{}
		first := c.rng.Below(len(c.users))
		for k := range g.Size {
			x.members = append(x.members, c.users[(first+k)%len(c.users)])
		}
		owner := x.members[0]
		if err := c.gather(owner, x.members[1:]); err != nil {
			return err
		}
		var ids []string
		for _, u := range x.members[1:] {
			u.devices[0].View(func(tx store.Tx) error { ids = append(ids, talk.Me(tx).String()); return nil })
		}
		err := owner.devices[0].Do(func(e *node.Engine, t *node.Turn) error {
			v, err := e.CreateGroup(t, fmt.Sprintf("group %d", i), ids)
			x.chat = v.Chat
			return err
		})
		if err != nil {
			return fmt.Errorf("a group of %d: %w", g.Size, err)
		}
		c.groups = append(c.groups, x)
		if err := c.wait(5 * time.Minute); err != nil {
			return err
		}
	}
	return nil
}

// handle is what a device calls a group; empty: it does not know it.
func (d *device) handle(g *group) string {
	if d.handles[g] == "" {
		d.View(func(tx store.Tx) error {
			for _, x := range talk.Groups(tx) {
				if v := talk.GroupView(tx, talk.Me(tx), x); v.Chat == g.chat {
					d.handles[g] = v.Handle
				}
			}
			return nil
		})
	}
	return d.handles[g]
}

// habit is when a host wants to be there.
type habit struct {
	class *model.Part
	wants bool // by its habits
	held  int  // faults that keep it away
}

func (h *habit) inclined() bool { return h.wants && h.held == 0 }

// live begins the habits of a device, at a random moment of them.
func (c *Crowd) live(d *device) {
	c.begins(&d.habit, true, func() bool { return d.gone }, func() { c.follow(d) })
}

// begins begins the habits of a host: at a random moment of them, or as it comes for the first time. follow brings it to where it
// wants to be, until it is over.
func (c *Crowd) begins(h *habit, aged bool, over func() bool, follow func()) {
	churn := &h.class.Churn
	turn := func() { c.turn(h, over, follow) }
	if !aged || c.rng.Unit() < churn.Share() {
		c.w.After(millis(churn.On.Rest(c.rng)), turn)
		return
	}
	h.wants = false
	follow()
	c.w.After(millis(churn.Off.Rest(c.rng)), turn)
}

func millis(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

// turn has a host come or go.
func (c *Crowd) turn(h *habit, over func() bool, follow func()) {
	if over() || c.stats.drained {
		return
	}
	h.wants = !h.wants
	next := h.class.Churn.Off
	if h.wants {
		next = h.class.Churn.On
	}
	c.w.After(millis(next.Draw(c.rng)), func() { c.turn(h, over, follow) })
	follow()
}

// follow brings a device to where it wants to be, if no fault keeps it away.
func (c *Crowd) follow(d *device) {
	if c.stats.drained {
		return
	}
	if d.inclined() && d.Up() {
		c.meet(d)
	} else if d.Here() {
		d.since = c.w.Now()
		d.Leave()
	}
}

// meet brings a device onto the network; people write then what they had wanted to.
func (c *Crowd) meet(d *device) {
	if !d.Here() {
		d.since = c.w.Now()
		d.Return()
	}
	waiting := d.of.backlog
	d.of.backlog = nil
	for _, x := range waiting {
		c.say(d, x)
	}
}

// start begins the process of a device anew.
func (c *Crowd) start(d *device) {
	if err := d.Start(); err != nil {
		c.w.Log(d.Name(), "does not start: %v", err)
	}
}

// mark begins every text: nothing else holds it.
const mark = "~text of "

// text is what somebody writes: it names itself, and has at least the length that chance gave it.
func text(who string, n, length int) string {
	s := fmt.Sprintf("%s%s/%d.", mark, who, n)
	return s + strings.Repeat("x", max(length-len(s), 0))
}
