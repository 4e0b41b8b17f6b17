// Package scenario holds the stories that the simulated network plays: who is there, what they do, and what must come
// of it. Every story is a function of a seed.
package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// Result is what a story came to.
type Result struct {
	Name   string
	Seed   uint64
	Trace  []string
	Events int
	Time   time.Duration // virtual
	Broken []string      // invariants and expectations that did not hold
}

// Story plays one scenario.
type Story func(seed uint64) (Result, error)

// Stories are the built-in scenarios by name, with the question that each answers.
var Stories = map[string]struct {
	Run      Story
	Question string
}{
	"first-steps":    {FirstSteps, "Does a message reach somebody who is away while its relay restarts?"},
	"long-absence":   {LongAbsence, "Does mail wait for three weeks over a relay's death, and expire after 30 days?"},
	"removed-device": {RemovedDevice, "Does a removed device get nothing, and everybody else everything?"},
}

// Names lists the stories in order.
func Names() []string {
	var out []string
	for name := range Stories {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// patience is how long virtual time may pass before an expectation counts as broken.
const patience = 10 * time.Minute

// FirstSteps is a story: two people get to know each other; one is away; the other sends; the relay restarts in between; the first
// returns and has the message, once, and the sender learns it.
func FirstSteps(seed uint64) (Result, error) {
	w := simnet.New(seed)
	p := &play{w: w}
	relay := w.AddRelay("relay-1")
	alice, bob := p.person("alice"), p.person("bob")
	p.befriend(alice, bob)
	p.expect("bob's mailbox is elected and told", func() bool { return p.contact(alice, "bob").Relays > 0 })

	p.do(func() error { bob.Stop(); return nil })
	id := p.send(alice, "bob", "are you there?")
	p.expect("the relay signs custody", func() bool { return p.stage(alice, id) == view.StageCustody })
	relay.Kill()
	w.Run(time.Hour)
	relay.Restart()
	w.Run(time.Minute)
	p.do(bob.Start)
	p.expect("bob has the message", func() bool { return len(bob.Shown) == 1 })
	p.expect("alice learns that it was delivered", func() bool { return p.stage(alice, id) == view.StageDelivered })
	p.expect("the relay forgets it", func() bool { return relay.Held() == 0 })
	p.do(func() error {
		return bob.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, "alice"); return err })
	})
	p.expect("alice learns that it was read", func() bool { return p.stage(alice, id) == view.StageRead })
	return p.result("first-steps", seed)
}

// play drives a world and collects what went wrong.
type play struct {
	w      *simnet.World
	err    error
	broken []string
}

func (p *play) result(name string, seed uint64) (Result, error) {
	return Result{
		Name: name, Seed: seed, Trace: p.w.Trace(), Events: p.w.Events(), Time: p.w.Now().Sub(simnet.Start),
		Broken: append(p.broken, p.w.Failures()...),
	}, p.err
}

func (p *play) do(fn func() error) {
	if p.err == nil {
		p.err = fn()
	}
}

// expect lets time pass until cond holds.
func (p *play) expect(what string, cond func() bool) {
	if p.err != nil {
		return
	}
	if p.w.RunUntil(patience, cond) {
		p.w.Log("story", "%s", what)
		return
	}
	p.broken = append(p.broken, what)
	p.w.Log("story", "NOT: %s", what)
}

func (p *play) person(name string) *simnet.Device {
	d, err := p.w.AddDevice(name)
	p.err = errors.Join(p.err, err)
	p.do(d.Start)
	return d
}

// befriend has b answer an invite of a.
func (p *play) befriend(a, b *simnet.Device) {
	var link string
	p.do(func() error {
		return a.Do(func(e *node.Engine, t *node.Turn) error {
			v, err := e.CreateInvite(t, 0)
			link = v.Text
			return err
		})
	})
	p.do(func() error {
		return b.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err })
	})
	for _, x := range []struct{ of, with *simnet.Device }{{a, b}, {b, a}} {
		p.expect(fmt.Sprintf("%s and %s know each other", x.of.Name(), x.with.Name()), func() bool {
			c := p.contact(x.of, x.with.Name())
			return c.State == "accepted" && c.Verified
		})
	}
}

func (p *play) send(from *simnet.Device, to, text string) string {
	var id string
	p.do(func() error {
		return from.Do(func(e *node.Engine, t *node.Turn) error {
			v, err := e.Send(t, node.SendRequest{To: to, Text: text})
			id = v.ID
			return err
		})
	})
	return id
}

func (p *play) contact(d *simnet.Device, handle string) view.Contact {
	var found view.Contact
	d.View(func(tx store.Tx) error {
		all, err := node.Contacts(tx, nil)
		for _, c := range all {
			if strings.EqualFold(c.Handle, handle) {
				found = c
			}
		}
		return err
	})
	return found
}

func (p *play) stage(d *simnet.Device, id string) view.Stage {
	var s view.Status
	d.View(func(tx store.Tx) (err error) { s, err = talk.Status(tx, id); return err })
	return s.Stage
}
