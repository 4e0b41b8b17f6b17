package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// cast is two people, three devices and some relays, each a process.
type cast struct {
	t      testing.TB
	dir    string
	news   *news
	with   company
	relays []*machine
	alice  *device
	bob    *device // the admin device
	phone  *device // Bob's
}

// company says which relays a cast has.
type company struct {
	honest int
	off    bool     // the honest ones do not serve yet
	liars  []string // one for each lie
	pinned bool     // everybody's first relay is the first liar
	// prepare is called with each home folder before anything is in it; nil: nothing is to be done.
	prepare func(m *machine)
}

// assemble makes everybody's home, starts all, links Bob's phone, and makes Alice and Bob contacts.
func assemble(t testing.TB, ctx context.Context, with company) *cast {
	t.Helper()
	c := &cast{t: t, dir: folder(t), news: newNews(), with: with}
	t.Cleanup(c.end)
	for i := range with.honest {
		c.relays = append(c.relays, c.honest(ctx, i+1, !with.off))
	}
	for i, lie := range with.liars {
		c.relays = append(c.relays, c.liar(i+1, lie))
	}
	check(t, c.each(func(m *machine) error { return m.start(ctx) }, c.relays...))
	c.alice, c.bob = c.person(ctx, "alice"), c.person(ctx, "bob")
	c.link(ctx)
	c.befriend(ctx)
	if !with.off {
		for _, d := range c.devices() {
			check(t, d.elects(ctx, min(3, len(c.relays))))
		}
		// Each knows where mail for the others waits; a device of the own person is told together with the contacts.
		check(t, c.alice.meets(ctx, "bob", 2, min(3, len(c.relays))))
		check(t, c.bob.meets(ctx, "alice", 1, min(3, len(c.relays))))
		check(t, c.phone.meets(ctx, "alice", 1, min(3, len(c.relays))))
	}
	return c
}

// honest is a relay that is a kith daemon.
func (c *cast) honest(ctx context.Context, number int, serves bool) *machine {
	c.t.Helper()
	m := newMachine(c.t, c.dir, fmt.Sprintf("relay%d", number), c.news).listens(c.t)
	if serves {
		m.args = append(m.args, "--relay")
	}
	c.prepare(m)
	m.must(c.t, ctx, 0, "init", "--name", m.name)
	return m
}

func (c *cast) prepare(m *machine) {
	if c.with.prepare != nil {
		c.with.prepare(m)
	}
}

// pin lets a device choose the first liar.
func (c *cast) pin(m *machine) {
	if c.with.pinned {
		m.args = append(m.args, "--pin", strings.Join(c.relays[c.with.honest].addrs, ","))
	}
}

// liar is a relay that is a process of ours.
func (c *cast) liar(number int, lie string) *machine {
	c.t.Helper()
	m := newMachine(c.t, c.dir, fmt.Sprintf("liar%d", number), c.news)
	p := port(c.t)
	m.role = roleLiar
	m.args = []string{m.home, lie, fmt.Sprintf("/ip4/127.0.0.1/tcp/%d,/ip4/127.0.0.1/udp/%d/quic-v1", p, p)}
	check(c.t, os.MkdirAll(m.home, 0o700))
	return m
}

// person makes an identity and starts its first device.
func (c *cast) person(ctx context.Context, name string) *device {
	c.t.Helper()
	d := newDevice(c.t, c.dir, name, c.news)
	d.listens(c.t).knows(c.relays...)
	c.pin(d.machine)
	c.prepare(d.machine)
	d.must(c.t, ctx, 0, "init", "--name", name)
	check(c.t, d.start(ctx))
	d.id = d.must(c.t, ctx, 0, "id", "--jq", ".device")
	return d
}

// link makes Bob's phone.
func (c *cast) link(ctx context.Context) {
	c.t.Helper()
	c.phone = newDevice(c.t, c.dir, "phone", c.news)
	c.phone.listens(c.t).knows(c.relays...)
	c.pin(c.phone.machine)
	c.prepare(c.phone.machine)
	offer := c.bob.must(c.t, ctx, 0, "device", "add", "--jq", ".text")
	c.phone.must(c.t, ctx, 0, "init", "--link", offer, "--device-name", "phone", "--no-mdns", "--loopback")
	check(c.t, c.phone.start(ctx))
	c.phone.id = c.phone.must(c.t, ctx, 0, "id", "--jq", ".device")
}

func (c *cast) befriend(ctx context.Context) {
	c.t.Helper()
	invite := c.alice.must(c.t, ctx, 0, "invite", "--jq", ".text")
	c.bob.must(c.t, ctx, 0, "join", invite, "--as", "alice")
	check(c.t, c.alice.meets(ctx, "bob", 2, 0))
	check(c.t, c.bob.meets(ctx, "alice", 1, 0))
	check(c.t, c.phone.meets(ctx, "alice", 1, 0))
}

func (c *cast) devices() []*device { return []*device{c.alice, c.bob, c.phone} }

// machines are all of them, relays first.
func (c *cast) machines() []*machine {
	all := append([]*machine(nil), c.relays...)
	for _, d := range c.devices() {
		if d != nil {
			all = append(all, d.machine)
		}
	}
	return all
}

// each does something to several machines at once.
func (c *cast) each(fn func(*machine) error, of ...*machine) error {
	errs := make([]error, len(of))
	var all sync.WaitGroup
	for i, m := range of {
		all.Go(func() { errs[i] = fn(m) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// up starts whatever does not run.
func (c *cast) up(ctx context.Context, of ...*machine) error {
	return c.each(func(m *machine) error {
		if m.up() {
			return nil
		}
		return m.start(ctx)
	}, of...)
}

// end takes everything down, whatever became of it.
func (c *cast) end() {
	_ = c.each(func(m *machine) error { m.kill(); return nil }, c.machines()...)
	for _, d := range c.devices() {
		if d != nil && d.looking != nil {
			<-d.looking
		}
	}
	for _, m := range c.machines() {
		m.sound(c.t)
		if c.t.Failed() && os.Getenv("KITH_FAULTS_LOGS") != "" {
			raw, _ := os.ReadFile(m.log())
			c.t.Logf("%s:\n%s", m.name, lastLines(raw))
		}
	}
}

// other devices are those that show what one sends: all but itself.
func (c *cast) others(from *device) (out []*device) {
	for _, d := range c.devices() {
		if d != from {
			out = append(out, d)
		}
	}
	return out
}
