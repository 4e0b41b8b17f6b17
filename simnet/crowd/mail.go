package crowd

import (
	"bytes"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// words are what somebody writes.
type words struct {
	to     *user
	in     *group // instead of to
	length int
}

// letter is one message that has not reached every device it is for.
type letter struct {
	id   string
	at   time.Time
	from *device
	due  []due
	not  []*device // that it must not reach: the author knew that they were removed
	had  []*user   // who were shown it, on whatever device
	old  bool      // its time is over: it may still come, and must not
}

type due struct {
	to      *device
	there   bool // when it was written
	custody bool
}

// slack is how much later than its end a message may be shown, for clocks differ.
const slack = 10 * time.Minute

// nextWrite plans when a user writes next.
func (c *Crowd) nextWrite(u *user) {
	if wait, ok := c.cfg.NextWrite(c.rng, c.w.Now(), u.Habits); ok {
		c.w.After(wait, func() {
			c.write(u)
			c.nextWrite(u)
		})
	}
}

// write has a user write a message, if one of its devices is there; else it does when one is.
func (c *Crowd) write(u *user) {
	if c.stats.drained {
		return
	}
	c.cfg.Texts(c.rng, c.w.Now().Sub(c.begin), u.Zone, func(length int) {
		x := words{length: length}
		author := c.address(u, &x)
		if d := c.deviceOf(author); d != nil {
			c.say(d, x)
		} else {
			author.backlog = append(author.backlog, x)
			c.stats.held++
		}
	})
}

// address decides whom words are for; of those in a group, any member may write.
func (c *Crowd) address(u *user, x *words) (author *user) {
	to, in := c.cfg.Address(c.rng, c.near, u.n)
	if in < 0 {
		x.to = c.users[to]
		return u
	}
	x.in = c.groups[in]
	return x.in.members[c.rng.Below(len(x.in.members))]
}

// deviceOf is a device of a user that is there; nil: none is.
func (c *Crowd) deviceOf(u *user) *device {
	d, _ := OneHere(c.rng, u.devices, func(d *device) bool { return !d.gone && d.Here() })
	return d
}

// say has a device send.
func (c *Crowd) say(d *device, x words) {
	to := ""
	if x.in != nil {
		to = d.handle(x.in)
	} else {
		to = x.to.name
	}
	d.of.written++
	l := &letter{at: c.w.Now(), from: d}
	c.forbid(l, x)
	err := d.Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.Send(t, node.SendRequest{To: to, Text: text(d.Name(), d.of.written, x.length)})
		l.id = v.ID
		return err
	})
	if err != nil {
		c.stats.refused++
		c.w.Log(d.Name(), "does not send: %v", err)
		return
	}
	c.stats.messages++
	people := []*user{d.of}
	if x.in != nil {
		people = x.in.members
	} else if x.to != d.of {
		people = append(people, x.to)
	}
	for _, u := range people {
		for _, o := range u.devices {
			if o != d && !o.gone {
				l.due = append(l.due, due{to: o, there: o.Here()})
			}
		}
	}
	c.stats.deliveries += len(l.due)
	c.stats.pending += len(l.due)
	if len(l.due)+len(l.not) > 0 {
		c.letters[l.id] = l
		c.order = append(c.order, l)
	}
}

// forbid notes the devices that the author knows were removed.
func (c *Crowd) forbid(l *letter, x words) {
	people := []*user{x.to, l.from.of}
	if x.in != nil {
		people = x.in.members
	}
	for _, u := range people {
		all := 0
		var removed []*device
		for _, o := range u.devices {
			if o.removed {
				removed = append(removed, o)
			} else if !o.gone {
				all++
			}
		}
		if len(removed) > 0 && l.from.knows(u) == all {
			l.not = append(l.not, removed...)
		}
	}
}

// knows is how many devices a device believes that a user has.
func (d *device) knows(u *user) (n int) {
	d.View(func(tx store.Tx) error {
		if u == d.of {
			v, err := node.Identity(tx)
			n = v.Devices
			return err
		}
		all, err := node.Contacts(tx, nil)
		for _, c := range all {
			if c.Handle == u.name {
				n = c.Devices
			}
		}
		return err
	})
	return n
}

// look is shown everything that links carry: no text may be among it.
func (c *Crowd) look(p simnet.Parcel) {
	if bytes.Contains(p.Bytes, []byte(mark)) {
		c.stats.clear++
		c.w.Log(p.From, "sends a text in the clear to %s", p.To)
	}
}

// told is a notice of a device, after its commit.
func (c *Crowd) told(d *device, n view.Notice) {
	switch n.Type {
	case "message":
		c.shown(d, n.ID)
	case "stage":
		if n.Stage.Stage == view.StageCustody {
			c.inCustody(n.ID, n.Stage)
		}
	}
}

func (c *Crowd) shown(d *device, id string) {
	l := c.letters[id]
	if l == nil || l.from == d {
		return
	}
	if slices.Contains(l.not, d) {
		c.stats.removedRead++
		c.w.Log(d.Name(), "READS what was not for it")
	}
	took := c.w.Now().Sub(l.at)
	if took > mailbox.MaxTTL+slack && d.of != l.from.of && !slices.Contains(l.had, d.of) { // devices of a person tell each other
		c.stats.late++
		c.w.Log(d.Name(), "shows a message after its end")
	}
	l.had = append(l.had, d.of)
	i := slices.IndexFunc(l.due, func(x due) bool { return x.to == d })
	if i < 0 {
		return
	}
	c.stats.arrived(took, l.due[i].there)
	c.drop(l, i)
}

// drop takes one device off those that a letter is due at.
func (c *Crowd) drop(l *letter, i int) {
	l.due = slices.Delete(l.due, i, i+1)
	c.stats.pending--
	if len(l.due)+len(l.not) == 0 && !l.old {
		delete(c.letters, l.id)
	}
}

// inCustody hears of each receipt of a delivery that has enough of them, which may be after it arrived.
func (c *Crowd) inCustody(id string, s *view.Delivery) {
	first := s.Custody == c.cfg.W && !c.begin.IsZero()
	if l := c.letters[id]; l != nil {
		if i := slices.IndexFunc(l.due, func(x due) bool { return x.to.ID() == s.Device }); i >= 0 {
			first = !l.due[i].custody
			l.due[i].custody = true
		}
	}
	if first {
		c.stats.custody++
	}
}

// forget takes a device that is gone off everything that is due.
func (c *Crowd) forget(d *device) {
	for _, l := range c.order {
		if i := slices.IndexFunc(l.due, func(x due) bool { return x.to == d }); i >= 0 {
			c.drop(l, i)
			c.stats.dropped++
		}
	}
}

// judge says of what is older than mail lives, or of everything at the end, what became of it.
func (c *Crowd) judge(end bool) {
	now, kept := c.w.Now(), c.order[:0]
	for _, l := range c.order {
		over := now.Sub(l.at) > mailbox.MaxTTL+time.Hour
		l.old = l.old || over && len(l.due) > 0
		for i := len(l.due) - 1; i >= 0 && (over || end); i-- {
			c.fate(l, l.due[i], over)
			c.drop(l, i)
		}
		if len(l.due) > 0 {
			kept = append(kept, l)
		}
	}
	clear(c.order[len(kept):])
	c.order = kept
}

// fate counts what became of a delivery that did not arrive.
func (c *Crowd) fate(l *letter, x due, over bool) {
	s := &c.stats
	absent := func(d *device) bool { return !d.gone && !d.Here() && d.since.Before(l.at.Add(slack)) }
	returned := c.stats.drained && x.to.since.Sub(l.at) > mailbox.MaxTTL-time.Hour
	switch {
	case l.from.removed: // nobody believes it any more, also what it wrote before
		s.dropped++
	case l.from.gone && !x.custody:
		s.orphaned++
	case over && (absent(x.to) || absent(l.from) && !x.custody), returned:
		s.expired++
	case !over && !c.stats.drained:
		s.unfinished++
	default:
		s.lost++
		if x.custody {
			s.lostCustody++
		}
		c.w.Log(x.to.Name(), "never got %s of %s, written at %v, custody %t", l.id[:8], l.from.Name(), l.at.Sub(c.begin), x.custody)
	}
}
