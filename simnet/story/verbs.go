package story

import (
	"errors"
	"slices"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// verb is one command: the form of its words, and what it does with them.
type verb struct {
	form string
	do   func(p *Play, args []string) error
}

// verbs is the language. It is filled by init, because expectations are commands that look at it.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{
		"relays": {"NEWRELAY…", (*Play).addRelays},
		"people": {"NEWPERSON…", (*Play).addPeople},
		"device": {"PERSON NEWDEVICE", (*Play).addDevice},
		"skew":   {"HOST WORD", (*Play).skew},
		"know":   {"PERSON PERSON", (*Play).know},
		"repair": {"on|off", (*Play).repair},

		"send":   {"DEVICE WHO NEWTEXT [TIME]", (*Play).send},
		"edit":   {"DEVICE TEXT WORD", (*Play).edit},
		"react":  {"DEVICE TEXT WORD", (*Play).react},
		"unsend": {"DEVICE TEXT", (*Play).unsend},
		"delete": {"DEVICE TEXT", (*Play).remove},
		"read":   {"DEVICE WHO", (*Play).read},
		"unlink": {"DEVICE DEVICE", (*Play).unlink},
		"group":  {"DEVICE NEWGROUP PERSON…", (*Play).group},
		"add":    {"DEVICE GROUP PERSON…", (*Play).add},
		"remove": {"DEVICE GROUP PERSON…", (*Play).expel},
		"leave":  {"DEVICE GROUP", (*Play).leave},

		"stop":  {"HOST…", each((*Play).stop)},
		"start": {"HOST…", each((*Play).start)},
		"lose":  {"HOST…", each((*Play).lose)},
		"away":  {"DEVICE…", each((*Play).away)},
		"back":  {"DEVICE…", each((*Play).back)},
		"wipe":  {"RELAY…", each((*Play).wipe)},
		"lie":   {"RELAY LIE", (*Play).lie},
		"drain": {"RELAY", each((*Play).drain)},
		"cut":   {"HOST…", (*Play).cut},
		"heal":  {"", (*Play).heal},
		"links": {"SHARE SHARE TIME", (*Play).setLinks},

		"wait":   {"TIME", (*Play).wait},
		"expect": {"WORD…", (*Play).expect},
		"deny":   {"WORD…", (*Play).deny},
	}
}

// each plays a command for one host after the other.
func each(do func(p *Play, name string) error) func(*Play, []string) error {
	return func(p *Play, args []string) error {
		var errs []error
		for _, a := range args {
			errs = append(errs, do(p, a))
		}
		return errors.Join(errs...)
	}
}

func (p *Play) addRelays(names []string) error {
	for _, n := range names {
		made, err := p.Relay(n)
		if err != nil {
			return err
		}
		r := &Relay{Server: made, name: n, up: true}
		if w, ok := made.(worldRelay); ok {
			r.World = w.Relay
		}
		p.Relays = append(p.Relays, r)
		if p.MadeRelay != nil {
			p.MadeRelay(r)
		}
	}
	return nil
}

func (p *Play) addPeople(names []string) error {
	for _, n := range names {
		made, err := p.Person(n)
		if err != nil {
			return err
		}
		who := &Person{Name: n, Read: map[string]bool{}}
		p.People = append(p.People, who)
		if err := p.enrol(who, n, made); err != nil {
			return err
		}
	}
	return nil
}

func (p *Play) addDevice(args []string) error {
	who := p.person(args[0])
	made, err := p.Device(args[1], who.Devices[0].Node)
	if err != nil {
		return err
	}
	return p.enrol(who, args[1], made)
}

func (p *Play) skew(args []string) error {
	by, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	var host any
	if r := p.relay(args[0]); r != nil {
		host = r.Server
	} else {
		d, err := p.device(args[0])
		if err != nil {
			return err
		}
		host = d.Node
	}
	x, ok := host.(interface{ Skew(by time.Duration) })
	if !ok {
		return errNotHere
	}
	x.Skew(by)
	return nil
}

// know makes the second person answer an invite of the first.
func (p *Play) know(args []string) error {
	a, b := p.person(args[0]).Devices[0], p.person(args[1]).Devices[0]
	var link string
	if err := a.Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 0)
		link = v.Text
		return err
	}); err != nil {
		return err
	}
	if err := b.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err }); err != nil {
		return err
	}
	if !p.RunUntil(patience, func() bool { return knows(a, b.Owner) && knows(b, a.Owner) }) {
		return errors.New("they do not get to know each other")
	}
	return nil
}

func knows(d *Device, who *Person) bool {
	c := contact(d, who.Name)
	return c.State == "accepted" && c.Verified
}

func contact(d *Device, handle string) (found view.Contact) {
	d.View(func(tx store.Tx) error {
		all, err := node.Contacts(tx, nil)
		if i := slices.IndexFunc(all, func(c view.Contact) bool { return c.Handle == handle }); i >= 0 {
			found = all[i]
		}
		return err
	})
	return found
}

func (p *Play) repair(args []string) error {
	if p.World == nil {
		return errNotHere
	}
	if args[0] == "off" {
		p.World.NoRepair()
	}
	return nil
}

// act is one turn of a device's person.
func (p *Play) act(name string, fn func(d *Device, e *node.Engine, t *node.Turn) error) error {
	d, err := p.device(name)
	if err != nil {
		return err
	}
	if !d.Up() {
		return errSkip
	}
	return d.Do(func(e *node.Engine, t *node.Turn) error { return fn(d, e, t) })
}

// at is one turn at the conversations of a device, with the message that has a text.
func (p *Play) at(name, text string, fn func(*talk.Desk, *Message) error) error {
	m, err := p.said(text)
	if err != nil {
		return err
	}
	return p.act(name, func(_ *Device, e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(desk *talk.Desk) error { return fn(desk, m) })
	})
}

func (p *Play) send(args []string) error {
	m := &Message{Text: args[2], To: args[1], At: p.Now()}
	if len(args) > 3 {
		m.TTL, _ = duration(args[3])
	}
	d, err := p.device(args[0])
	if err != nil || d.Removed {
		return skip(err)
	}
	m.From = d
	p.deliveries(m)
	err = p.act(args[0], func(_ *Device, e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(desk *talk.Desk) error {
			v, err := desk.Send(m.To, talk.Words{Text: m.Text, TTL: uint32(m.TTL / time.Second)})
			m.ID = v.ID
			return err
		})
	})
	if err == nil {
		p.Messages = append(p.Messages, m)
	}
	return err
}

// deliveries notes which devices a message is for, and which its sender knows to be removed.
func (p *Play) deliveries(m *Message) {
	var to []*Person
	if x := p.person(m.To); x != nil {
		to = []*Person{x}
	} else if g := p.groups[m.To]; g != nil {
		to = g.people
		known := p.Roster(m.From, m.To)
		m.Strange = slices.DeleteFunc(slices.Clone(p.People), func(x *Person) bool { return slices.Contains(known, x.User) })
	}
	if len(to) == 0 || m.To == m.From.Owner.Name {
		return
	}
	for _, who := range to {
		if who != m.From.Owner {
			m.reaches(who, contact(m.From, who.Name).Devices)
		}
	}
	own := 0
	m.From.View(func(tx store.Tx) error { v, err := node.Identity(tx); own = v.Devices; return err })
	m.reaches(m.From.Owner, own)
}

// reaches notes one person, of whom the sender knows so many devices.
func (m *Message) reaches(who *Person, known int) {
	left := len(slices.DeleteFunc(slices.Clone(who.Devices), func(d *Device) bool { return d.Removed }))
	for _, o := range who.Devices {
		switch {
		case o == m.From:
		case !o.Removed:
			m.Due = append(m.Due, o)
		case known == left:
			m.Not = append(m.Not, o)
		}
	}
}

func (p *Play) edit(args []string) error {
	return p.at(args[0], args[1], func(d *talk.Desk, m *Message) error { _, err := d.Edit(m.ID, args[2]); return err })
}

func (p *Play) react(args []string) error {
	return p.at(args[0], args[1], func(d *talk.Desk, m *Message) error { _, err := d.React(m.ID, args[2]); return err })
}

func (p *Play) unsend(args []string) error {
	return p.at(args[0], args[1], func(d *talk.Desk, m *Message) error {
		_, err := d.Unsend(m.ID)
		m.Changed = m.Changed || err == nil
		return err
	})
}

func (p *Play) remove(args []string) error {
	return p.at(args[0], args[1], func(d *talk.Desk, m *Message) error {
		_, err := d.Delete(m.ID, true)
		m.Changed = m.Changed || err == nil
		return err
	})
}

func (p *Play) read(args []string) error {
	return p.act(args[0], func(d *Device, e *node.Engine, t *node.Turn) error {
		all, err := talk.Messages(t.Tx, args[1], 0)
		if err != nil {
			return err
		}
		for _, m := range all {
			if !m.Mine {
				d.Owner.Read[m.ID] = true
			}
		}
		_, err = e.MarkRead(t, args[1])
		return err
	})
}

func (p *Play) unlink(args []string) error {
	gone, err := p.device(args[1])
	if err != nil {
		return err
	}
	err = p.act(args[0], func(_ *Device, e *node.Engine, t *node.Turn) error {
		_, err := e.RemoveDevice(t, gone.ID)
		return err
	})
	gone.Removed = gone.Removed || err == nil
	return err
}

func (p *Play) group(args []string) error {
	return p.act(args[0], func(d *Device, e *node.Engine, t *node.Turn) error {
		v, err := e.CreateGroup(t, args[1], args[2:])
		if err == nil {
			g := &circle{chat: v.Chat, people: []*Person{d.Owner}}
			for _, name := range args[2:] {
				g.people = append(g.people, p.person(name))
			}
			p.groups[args[1]] = g
		}
		return err
	})
}

func (p *Play) add(args []string) error {
	return p.govern(args, func(e *node.Engine, t *node.Turn) error { _, err := e.AddToGroup(t, args[1], args[2:]); return err })
}

func (p *Play) expel(args []string) error {
	err := p.govern(args, func(e *node.Engine, t *node.Turn) error {
		_, err := e.RemoveFromGroup(t, args[1], args[2:])
		return err
	})
	for _, name := range args[2:] {
		p.goes(args[1], p.person(name), err)
	}
	return err
}

func (p *Play) leave(args []string) error {
	err := p.govern(args, func(e *node.Engine, t *node.Turn) error { _, err := e.LeaveGroup(t, args[1]); return err })
	if d, missing := p.device(args[0]); missing == nil {
		p.goes(args[1], d.Owner, err)
	}
	return err
}

// goes notes that somebody is no longer in a group, unless that was refused.
func (p *Play) goes(group string, who *Person, refused error) {
	if g := p.groups[group]; g != nil && refused == nil {
		g.went = append(g.went, who)
	}
}

// Went says whether somebody was removed from a group, or left it, at any time.
func (p *Play) Went(group string, who *Person) bool {
	g := p.groups[group]
	return g != nil && slices.Contains(g.went, who)
}

// govern changes who is in a group.
func (p *Play) govern(args []string, fn func(*node.Engine, *node.Turn) error) error {
	if g := p.groups[args[1]]; g != nil {
		g.people = nil
	}
	return p.act(args[0], func(_ *Device, e *node.Engine, t *node.Turn) error { return fn(e, t) })
}

func (p *Play) wait(args []string) error {
	d, err := duration(args[0])
	p.Run(d)
	return err
}
