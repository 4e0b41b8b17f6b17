//go:build root

package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
)

// healWithin is how long after a partition everything may take to arrive.
const healWithin = 90 * time.Second

// island is two network namespaces that see a third, the relay's, and not each other: it does not forward.
type island struct {
	t                   *testing.T
	west, east, between string
}

func newIsland(t *testing.T) *island {
	t.Helper()
	id := fmt.Sprintf("kith%d", os.Getpid()%100_000)
	n := &island{t: t, west: id + "w", east: id + "e", between: id + "r"}
	for _, ns := range []string{n.west, n.east, n.between} {
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		n.ip("netns", "add", ns)
		n.ip("-n", ns, "link", "set", "lo", "up")
	}
	n.wire(n.west, "west", "10.77.1")
	n.wire(n.east, "east", "10.77.2")
	n.ip("netns", "exec", n.between, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
	return n
}

func (n *island) ip(args ...string) {
	n.t.Helper()
	if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, said)
	}
}

// wire connects a namespace to the one between; its way everywhere leads there.
func (n *island) wire(ns, name, net string) {
	n.t.Helper()
	n.ip("link", "add", name, "netns", n.between, "type", "veth", "peer", "name", "eth0", "netns", ns)
	n.ip("-n", n.between, "addr", "add", net+".1/24", "dev", name)
	n.ip("-n", n.between, "link", "set", name, "up")
	n.ip("-n", ns, "addr", "add", net+".2/24", "dev", "eth0")
	n.ip("-n", ns, "link", "set", "eth0", "up")
	n.ip("-n", ns, "route", "add", "default", "via", net+".1")
}

// cut and heal take the western wire away and give it back.
func (n *island) cut()  { n.ip("-n", n.between, "link", "set", "west", "down") }
func (n *island) heal() { n.ip("-n", n.between, "link", "set", "west", "up") }

func inside(ns string) []string { return []string{"ip", "netns", "exec", ns} }

const everywhere = "/ip4/0.0.0.0/tcp/4101,/ip4/0.0.0.0/udp/4101/quic-v1"

// settle puts a relay between, Alice in the west and Bob in the east, and makes them contacts.
func (n *island) settle(ctx context.Context) *cast {
	t := n.t
	t.Helper()
	c := &cast{t: t, dir: folder(t), news: newNews()}
	t.Cleanup(c.end)
	relay := newMachine(t, c.dir, "relay", c.news, inside(n.between)...)
	relay.args = []string{"--relay", "--listen", everywhere}
	relay.must(t, ctx, 0, "init", "--name", "relay")
	check(t, relay.start(ctx))
	c.relays = []*machine{relay}
	c.alice = n.person(ctx, c, "alice", n.west, "10.77.1.1")
	c.bob = n.person(ctx, c, "bob", n.east, "10.77.2.1")
	invite := c.alice.must(t, ctx, 0, "invite", "--jq", ".text")
	c.bob.must(t, ctx, 0, "join", invite, "--as", "alice")
	check(t, c.alice.meets(ctx, "bob", 1, 1))
	check(t, c.bob.meets(ctx, "alice", 1, 1))
	return c
}

// person knows the relay's address on the own side, and nothing else.
func (n *island) person(ctx context.Context, c *cast, name, ns, relay string) *device {
	n.t.Helper()
	d := newDevice(n.t, c.dir, name, c.news, inside(ns)...)
	var near []string
	for _, a := range c.relays[0].addrs {
		if strings.Contains(a, relay+"/") {
			near = append(near, a)
		}
	}
	d.args = []string{"--listen", everywhere, "--bootstrap", strings.Join(near, ",")}
	d.must(n.t, ctx, 0, "init", "--name", name)
	check(n.t, d.start(ctx))
	d.id = d.must(n.t, ctx, 0, "id", "--jq", ".device")
	return d
}

// say sends a text from one of the two to the other.
func (n *island) say(ctx context.Context, from, to *device, body string) *text {
	n.t.Helper()
	x := &text{from: from, screens: []*device{to}, to: to.name, body: body}
	id, err := from.send(ctx, x.to, body, "")
	check(n.t, err)
	x.queued(id)
	return x
}

func (n *island) wait(ctx context.Context, c *cast, what string, stage int, texts ...*text) {
	n.t.Helper()
	if err := c.news.until(ctx, what, func() bool { return least(texts) >= stage && (stage < 3 || shown(texts)) }); err != nil {
		n.t.Fatalf("%v\n%s", err, c.traces(texts))
	}
}

// apart fails the test if one of the two is connected to anybody but the relay.
func (n *island) apart(ctx context.Context, ds ...*device) {
	n.t.Helper()
	for _, d := range ds {
		var l api.Peers
		check(n.t, d.call(ctx, "peers", api.None{}, &l))
		if len(l.Peers) != 1 || !l.Peers[0].Relay || l.Peers[0].Direct {
			n.t.Errorf("%s is connected to %+v", d.name, l.Peers)
		}
	}
}

// TestTwoPeopleWhoShareOnlyARelay cannot see each other; texts go both ways, with both there and with one away.
func TestTwoPeopleWhoShareOnlyARelay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	n := newIsland(t)
	c := n.settle(ctx)
	begun := time.Now()
	all := []*text{n.say(ctx, c.alice, c.bob, "east, do you hear?"), n.say(ctx, c.bob, c.alice, "west, I do")}
	n.wait(ctx, c, "both there", 3, all...)
	t.Logf("both there: delivered both ways in %.2f s", time.Since(begun).Seconds())
	n.apart(ctx, c.alice, c.bob)
	for _, away := range []*device{c.bob, c.alice} {
		from := c.alice
		if away == c.alice {
			from = c.bob
		}
		away.kill()
		x := n.say(ctx, from, away, "while "+away.name+" was away")
		n.wait(ctx, c, "custody", 2, x)
		from.kill()
		check(t, away.start(ctx))
		check(t, c.news.until(ctx, "arrival", func() bool { return shown([]*text{x}) }))
		check(t, from.start(ctx))
		n.wait(ctx, c, "the acknowledgement", 3, x)
		all = append(all, x)
	}
	n.apart(ctx, c.alice, c.bob)
	for _, x := range all {
		if x.screens[0].times(x.body) != 1 {
			t.Errorf("%q is shown %d times", x.body, x.screens[0].times(x.body))
		}
	}
	c.alice.sane(t)
	c.bob.sane(t)
}

// TestAPartitionHeals: the west is cut off until it knows, both sides write, and after the wire is back all is delivered.
func TestAPartitionHeals(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	n := newIsland(t)
	c := n.settle(ctx)
	n.wait(ctx, c, "before", 3, n.say(ctx, c.alice, c.bob, "before"))
	n.cut()
	all := []*text{n.say(ctx, c.alice, c.bob, "cut off"), n.say(ctx, c.bob, c.alice, "and you?")}
	begun := time.Now()
	check(t, asking(ctx, func() bool {
		var s api.Status
		return c.alice.call(ctx, "status", api.None{}, &s) == nil && s.Net.Peers == 0
	}))
	t.Logf("the west knew after %.1f s", time.Since(begun).Seconds())
	all = append(all, n.say(ctx, c.alice, c.bob, "still cut off"))
	n.wait(ctx, c, "custody in the east", 2, all[1])
	if shown(all[:1]) || shown(all[1:2]) || shown(all[2:]) {
		t.Error("the wire is not cut")
	}
	n.heal()
	begun = time.Now()
	healed, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	n.wait(healed, c, "after", 3, all...)
	t.Logf("all delivered %.1f s after the wire was back", time.Since(begun).Seconds())
	for _, x := range all {
		if x.screens[0].times(x.body) != 1 {
			t.Errorf("%q is shown %d times", x.body, x.screens[0].times(x.body))
		}
	}
}
