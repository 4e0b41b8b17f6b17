package faults

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// The clock stories run in this process: only here can time be given to a node.

const day = 24 * time.Hour

// clock is the time of every node of a story.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// timed is a node with a clock that we hold.
type timed struct {
	t     testing.TB
	c     p2p.Config
	clock *clock
	*p2p.Node
}

func (n *timed) start(ctx context.Context) {
	n.t.Helper()
	var err error
	n.Node, err = p2p.Start(ctx, n.c)
	check(n.t, err)
}

func (n *timed) stop() {
	n.t.Helper()
	if n.Node != nil {
		check(n.t, n.Close())
		n.Node = nil
	}
}

// newTimed makes an identity and starts a node on loopback, on the port that its key chooses.
func newTimed(t testing.TB, ctx context.Context, c *clock, dir, name string, relay bool, peers ...dht.Peer) *timed {
	t.Helper()
	home := filepath.Join(dir, name)
	_, _, err := p2p.Init(home, p2p.InitParams{Name: name, DeviceName: name, Now: c.now})
	check(t, err)
	n := &timed{t: t, clock: c, c: timedConfig(c, home, relay)}
	n.c.Bootstrap = peers
	n.start(ctx)
	t.Cleanup(n.stop)
	return n
}

func timedConfig(c *clock, home string, relay bool) p2p.Config {
	return p2p.Config{Home: home, Relay: relay, Loopback: true, Now: c.now}
}

func (n *timed) name() string { return filepath.Base(n.c.Home) }

// other is the handle of the other person: a story has two.
func (n *timed) other() string {
	if n.name() == "alice" {
		return "bob"
	}
	return "alice"
}

// write puts a text into the outbox.
func (n *timed) write(ctx context.Context, to, text string) (id string) {
	n.t.Helper()
	n.do(ctx, func(e *node.Engine, t *node.Turn) error {
		m, err := e.Send(t, node.SendRequest{To: to, Text: text})
		id = m.ID
		return err
	})
	return id
}

// do runs something in a turn.
func (n *timed) do(ctx context.Context, fn func(*node.Engine, *node.Turn) error) {
	n.t.Helper()
	check(n.t, n.Do(ctx, fn))
}

func (n *timed) stage(id string) view.Stage {
	n.t.Helper()
	var s view.Status
	check(n.t, n.View(func(tx store.Tx) (err error) {
		s, err = talk.Status(tx, id)
		return err
	}))
	return s.Stage
}

// texts are those of a conversation.
func (n *timed) texts(who string) (out []string) {
	n.t.Helper()
	check(n.t, n.View(func(tx store.Tx) error {
		list, err := talk.Messages(tx, who, 0)
		for _, m := range list {
			out = append(out, m.Text)
		}
		return err
	}))
	return out
}

func (n *timed) knows(ctx context.Context, who string, relays int) error {
	return asking(ctx, func() bool {
		var list []view.Contact
		err := n.Look(ctx, func(tx store.Tx, e *node.Engine, _ time.Time) (err error) {
			list, err = node.Contacts(tx, e)
			return err
		})
		return err == nil && len(list) == 1 && list[0].Handle == who && list[0].State == "accepted" && list[0].Relays >= relays
	})
}

// era is two people and three relays in time.
type era struct {
	*clock
	relays     []*timed
	alice, bob *timed
}

func newEra(t testing.TB, ctx context.Context) *era {
	t.Helper()
	e := &era{clock: &clock{}}
	dir := folder(t)
	var peers []dht.Peer
	for _, name := range []string{"relay1", "relay2", "relay3"} {
		r := newTimed(t, ctx, e.clock, dir, name, true)
		e.relays, peers = append(e.relays, r), append(peers, r.Self())
	}
	e.alice = newTimed(t, ctx, e.clock, dir, "alice", false, peers...)
	e.bob = newTimed(t, ctx, e.clock, dir, "bob", false, peers...)
	befriend(t, ctx, e.alice, e.bob, 3)
	return e
}

// befriend makes two people contacts who know each other's relays.
func befriend(t testing.TB, ctx context.Context, alice, bob *timed, relays int) {
	t.Helper()
	var link string
	alice.do(ctx, func(g *node.Engine, t *node.Turn) error {
		v, err := g.CreateInvite(t, 0)
		link = v.Text
		return err
	})
	bob.do(ctx, func(g *node.Engine, t *node.Turn) error {
		_, err := g.Join(t, link, "alice")
		return err
	})
	check(t, alice.knows(ctx, "bob", relays))
	check(t, bob.knows(ctx, "alice", relays))
}

// leave lets Bob go and Alice write until relays have signed.
func (e *era) leave(t testing.TB, ctx context.Context, text string) (id string) {
	t.Helper()
	e.bob.stop()
	id = e.alice.write(ctx, "bob", text)
	check(t, asking(ctx, func() bool { return e.alice.stage(id) == view.StageCustody }))
	return id
}

// TestMailWaits29Days: Bob comes back on the last day, long after Alice stopped her node.
func TestMailWaits29Days(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	e := newEra(t, ctx)
	id := e.leave(t, ctx, "in good time")
	e.alice.stop()
	e.advance(29*day + 21*time.Hour + 36*time.Minute) // 29.9 days
	e.bob.start(ctx)
	check(t, asking(ctx, func() bool { return len(e.bob.texts("alice")) == 1 }))
	e.alice.start(ctx)
	check(t, asking(ctx, func() bool { return e.alice.stage(id) == view.StageDelivered }))
	if got := e.bob.texts("alice"); len(got) != 1 || got[0] != "in good time" {
		t.Errorf("Bob has %q", got)
	}
}

// TestMailIsOverOnDay45: nobody gets it any more, and Alice is told so. What she writes then arrives.
func TestMailIsOverOnDay45(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	e := newEra(t, ctx)
	id := e.leave(t, ctx, "too late")
	e.alice.stop() // a dial to Bob that began before the jump would find him after it
	e.advance(45 * day)
	e.alice.start(ctx)
	check(t, asking(ctx, func() bool { return e.alice.stage(id) == view.StageExpired }))
	e.bob.start(ctx)
	next := e.alice.write(ctx, "bob", "long time")
	check(t, asking(ctx, func() bool { return e.alice.stage(next) == view.StageDelivered }))
	if got := e.bob.texts("alice"); len(got) != 1 || got[0] != "long time" {
		t.Errorf("Bob has %q", got)
	}
	if s := e.alice.stage(id); s != view.StageExpired {
		t.Errorf("the old text is %s", s)
	}
}
