package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// cast is two people, three devices and some relays, each a process.
type cast struct {
	t      testing.TB
	dir    string
	news   *news
	relays []*machine
	alice  *device
	bob    *device // the admin device
	phone  *device // Bob's
}

// assemble makes everybody's home, starts all, links Bob's phone, and makes Alice and Bob contacts. Relays may be given;
// otherwise there are count honest ones.
func assemble(t testing.TB, ctx context.Context, count int, relays ...func(dir string, n *news) *machine) *cast {
	t.Helper()
	c := &cast{t: t, dir: folder(t), news: newNews()}
	t.Cleanup(c.end)
	for i := range count {
		relays = append(relays, func(dir string, n *news) *machine {
			m := newMachine(t, dir, fmt.Sprintf("relay%d", i+1), n).listens(t)
			m.args = append(m.args, "--relay")
			return m
		})
	}
	for _, make := range relays {
		r := make(c.dir, c.news)
		r.must(t, ctx, 0, "init", "--name", r.name)
		c.relays = append(c.relays, r)
	}
	check(t, c.each(func(m *machine) error { return m.start(ctx) }, c.relays...))
	c.alice, c.bob = c.person(ctx, "alice"), c.person(ctx, "bob")
	c.link(ctx)
	c.befriend(ctx)
	return c
}

// person makes an identity and starts its first device.
func (c *cast) person(ctx context.Context, name string) *device {
	c.t.Helper()
	d := newDevice(c.t, c.dir, name, c.news)
	d.listens(c.t).knows(c.relays...)
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
	offer := c.bob.must(c.t, ctx, 0, "device", "add", "--jq", ".text")
	c.phone.must(c.t, ctx, 0, "init", "--link", offer, "--device-name", "phone", "--no-mdns", "--loopback")
	check(c.t, c.phone.start(ctx))
	c.phone.id = c.phone.must(c.t, ctx, 0, "id", "--jq", ".device")
}

func (c *cast) befriend(ctx context.Context) {
	c.t.Helper()
	invite := c.alice.must(c.t, ctx, 0, "invite", "--jq", ".text")
	c.bob.must(c.t, ctx, 0, "join", invite, "--as", "alice")
	check(c.t, c.alice.meets(ctx, "bob", 2))
	check(c.t, c.bob.meets(ctx, "alice", 1))
	check(c.t, c.phone.meets(ctx, "alice", 1))
	for _, d := range c.devices() {
		check(c.t, d.elects(ctx, min(2, len(c.relays))))
	}
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
