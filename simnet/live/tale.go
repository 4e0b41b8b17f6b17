package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/story"
)

// Tale is a story that real nodes play. It is made, played and closed in one bubble.
type Tale struct {
	*story.Play
	stage *troupe
}

// Tell begins a story with the nodes' files below dir. What real nodes cannot do is a line that does not hold.
func Tell(s story.Story, dir string) *Tale {
	t := &troupe{
		Town: &Town{dir: dir, rng: model.NewDice(s.Seed), shift: time.Until(simnet.Start)}, ctx: context.Background(),
	}
	t.net = newNetwork(s.Seed, 0, t.leg, t.punched)
	return &Tale{story.On(t, s.Script, s.Seed), t}
}

// Trace is what the story's lines came to, and when.
func (t *Tale) Trace() []string { return t.stage.lines }

// Close ends every node.
func (t *Tale) Close() { t.stage.Close() }

// troupe is real nodes as the stage of a story.
type troupe struct {
	*Town
	ctx   context.Context
	lines []string
}

// poll is how often it is looked whether something has come to hold.
const poll = time.Second

func (t *troupe) Now() time.Time      { return time.Now().Add(t.shift) }
func (t *troupe) Run(d time.Duration) { rest(d) }

func (t *troupe) RunUntil(d time.Duration, cond func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); rest(poll) {
		if cond() {
			return true
		}
	}
	return cond()
}

func (t *troupe) Log(who, format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf("%12s  %-14s %s", t.Now().Sub(simnet.Start).Round(time.Millisecond), who, fmt.Sprintf(format, args...)))
}

// Person makes a first device.
func (t *troupe) Person(name string) (story.Node, error) {
	a := t.actor(name, false)
	return a, a.identity()
}

// Device links one.
func (t *troupe) Device(name string, old story.Node) (story.Node, error) {
	a := t.actor(name, false)
	return a, a.link(t.ctx, old.(*actor).machine)
}

// Relay makes one that runs.
func (t *troupe) Relay(name string) (story.Server, error) {
	a := t.actor(name, true)
	if err := a.identity(); err != nil {
		return nil, err
	}
	return a, a.Start()
}

func (t *troupe) actor(name string, relay bool) *actor {
	a := &actor{t.machine(name, relay), t}
	if relay {
		t.relays = append(t.relays, &resident{machine: a.machine})
	} else {
		t.devices = append(t.devices, &resident{machine: a.machine})
	}
	return a
}

// actor is one machine of a story.
type actor struct {
	*machine
	t *troupe
}

func (a *actor) Do(fn func(*node.Engine, *node.Turn) error) error {
	if a.node == nil {
		return errors.New("it is off")
	}
	return a.do(a.t.ctx, fn)
}

// View reads what a node that is on has stored.
func (a *actor) View(fn func(store.Tx) error) {
	if a.node != nil {
		if err := a.node.View(fn); err != nil {
			a.t.Log(a.name, "view: %v", err)
		}
	}
}

func (a *actor) Start() error          { return a.start(a.t.ctx) }
func (a *actor) Restart() error        { return a.start(a.t.ctx) }
func (a *actor) Stop()                 { a.stop() }
func (a *actor) Kill()                 { a.stop() }
func (a *actor) Skew(by time.Duration) { a.skew = by }

// Held counts the envelopes of a relay.
func (a *actor) Held() int {
	if a.node == nil {
		return -1
	}
	return int(a.node.Relay().Envelopes)
}

// Wipe takes what lies on the disk of a relay because it serves.
func (a *actor) Wipe() {
	on := a.node != nil
	err := a.wipe(true)
	if err == nil && on {
		err = a.Start()
	}
	if err != nil {
		a.t.fail("%s: %v", a.name, err)
	}
}
