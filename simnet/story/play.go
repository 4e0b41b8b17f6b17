package story

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// patience is how long virtual time may pass before an expectation counts as broken.
const patience = 10 * time.Minute

// errSkip is what a command is that has nothing to do: the device is down, the relay runs already.
var errSkip = errors.New("nothing to do")

// Person is somebody with devices; the first is the admin.
type Person struct {
	Name    string
	Devices []*Device
	Read    map[string]bool // by message id, what somebody has read on one of the devices
	User    string          // id
}

// Device is one device of the story.
type Device struct {
	Node
	World   *simnet.Device // nil where real nodes play
	Owner   *Person
	Removed bool            // from the account, by the admin
	Lost    bool            // with its disk, for ever
	Has     map[string]bool // by message id, what it told of, and what Got found
	ID      string
	name    string
	up      bool
}

// Name is the device's name in the story.
func (d *Device) Name() string { return d.name }

// Up reports whether its process runs.
func (d *Device) Up() bool { return d.up && (d.World == nil || d.World.Up()) }

// Relay is one relay of the story.
type Relay struct {
	Server
	World  *simnet.Relay // nil where real nodes play
	name   string
	up     bool
	Lost   bool // with its disk, for ever
	Wiped  time.Time
	Liar   bool
	Leaves bool
}

// Name is the relay's name in the story.
func (r *Relay) Name() string { return r.name }

// Up reports whether its process runs.
func (r *Relay) Up() bool { return r.up }

// Message is one that was said in the story.
type Message struct {
	ID, Text string
	From     *Device
	To       string // person or group
	At       time.Time
	TTL      time.Duration
	Due      []*Device // in the end, by the lists that the sender knew
	Not      []*Device // removed, as the sender knew
	Changed  bool      // unsent, deleted: it need not be anywhere
	Strange  []*Person // no members of the group, as the sender knew
}

// Play is a script that is being played.
type Play struct {
	World *simnet.World // nil where real nodes play
	Stage
	People   []*Person
	Relays   []*Relay
	Messages []*Message

	// Lenient: a command that is refused, or has nothing to do, is no failure. So is every part of a script then still a
	// script, which is how a search shortens one.
	Lenient bool

	// Changed is when relays or the network were last meddled with.
	Changed time.Time
	Parted  bool // the network is cut in two
	// Noticed, if set, hears what a device tells its person, and After, if set, looks at the play after every line.
	Noticed func(*Device, view.Notice)
	After   func()
	// Made and MadeRelay, if set, get each device and relay before it runs, to plant a fault.
	Made      func(*Device)
	MadeRelay func(*Relay)
	// Carried, if set, sees everything on links and in the directory.
	Carried func(simnet.Parcel)
	// Crash, if set, is told when a host's process ends, with its name.
	Crash func(host string)

	seed   uint64
	script Script
	next   int
	rng    *rand.Rand
	links  links
	broken []string
	groups map[string]*circle
}

// circle is a group of the story.
type circle struct {
	chat   string
	people []*Person // nil once anybody came or went: who is in it is then for those in it to agree on
	went   []*Person // removed, or left, at any time
}

// New makes a play of a script in the simulated world, with the chance of a seed.
func New(s Script, seed uint64) *Play {
	w := simnet.New(seed)
	p := On(worldStage{w}, s, seed)
	p.World = w
	w.Tap(p.fate)
	return p
}

// On makes a play of a script on another stage. What that cannot do is refused.
func On(stage Stage, s Script, seed uint64) *Play {
	return &Play{Stage: stage, seed: seed, script: s, rng: rand.New(rand.NewPCG(seed, 5)), groups: map[string]*circle{}, Changed: stage.Now()}
}

// Next plays one line, and reports whether there was one.
func (p *Play) Next() bool {
	if p.next == len(p.script) {
		return false
	}
	l := p.script[p.next]
	p.next++
	claims := l.Verb == "expect" || l.Verb == "deny"
	if !claims {
		p.Log("story", "%s", l)
	}
	err := verbs[l.Verb].do(p, l.Args)
	switch {
	case err == nil:
	case p.Lenient && !claims:
		p.Log("story", "no: %v", err)
	default:
		p.Fail("line %d: %s: %v", l.Number, l, err)
	}
	if p.After != nil {
		p.After()
	}
	return p.next < len(p.script)
}

// Do plays a command that is in no script. What is refused, or has nothing to do, has no effect.
func (p *Play) Do(verb string, args ...string) { _ = verbs[verb].do(p, args) }

// Fail notes that something is not as it has to be.
func (p *Play) Fail(format string, args ...any) {
	p.broken = append(p.broken, fmt.Sprintf(format, args...))
	p.Log("story", "BROKEN: "+format, args...)
}

// Broken lists what was not as it has to be: expectations, and invariants of the world.
func (p *Play) Broken() []string {
	if p.World == nil {
		return p.broken
	}
	return slices.Concat(p.broken, p.World.Failures())
}

// Devices are all devices of all people.
func (p *Play) Devices() (out []*Device) {
	for _, x := range p.People {
		out = append(out, x.Devices...)
	}
	return out
}

func (p *Play) person(name string) *Person {
	i := slices.IndexFunc(p.People, func(x *Person) bool { return x.Name == name })
	if i < 0 {
		return nil
	}
	return p.People[i]
}

// device finds a device by its name.
func (p *Play) device(name string) (*Device, error) {
	for _, d := range p.Devices() {
		if d.Name() == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s is not there", name) // the line that brings it was refused, or taken out
}

func (p *Play) relay(name string) *Relay {
	i := slices.IndexFunc(p.Relays, func(r *Relay) bool { return r.Name() == name })
	if i < 0 {
		return nil
	}
	return p.Relays[i]
}

// ByID finds a device by its id in hex.
func (p *Play) ByID(id string) *Device {
	for _, d := range p.Devices() {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// said finds a message by its first text.
func (p *Play) said(text string) (*Message, error) {
	for _, m := range p.Messages {
		if m.Text == text {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%q was not said", text)
}

// Shows is a message as a device has it: nil if it has none, or nothing of it is left.
func (d *Device) Shows(id string) (found *view.Message) {
	d.View(func(tx store.Tx) error {
		if m, err := talk.Message(tx, id); err == nil && !m.Erased && !m.Deleted && !m.Unsent {
			found = &m
		}
		return nil
	})
	return found
}

// Got reports whether the device ever told of a message, or has it: the past that a device of the same person hands over is
// not told message by message.
func (d *Device) Got(id string) bool {
	if !d.Has[id] {
		d.View(func(tx store.Tx) error { _, err := talk.Message(tx, id); d.Has[id] = err == nil; return nil })
	}
	return d.Has[id]
}

// Status is how far a message came, as its author's device knows it.
func (d *Device) Status(id string) (s view.Status) {
	d.View(func(tx store.Tx) error { s, _ = talk.Status(tx, id); return nil })
	return s
}

// enrol takes a device into the play, and starts it.
func (p *Play) enrol(who *Person, name string, made Node) error {
	d := &Device{Node: made, Owner: who, Has: map[string]bool{}, name: name}
	who.Devices = append(who.Devices, d)
	if w, ok := made.(*simnet.Device); ok {
		d.World = w
		w.Notices(func(n view.Notice) {
			if n.Type == "message" {
				d.Has[n.ID] = true
			}
			if p.Noticed != nil {
				p.Noticed(d, n)
			}
		})
	}
	if p.Made != nil {
		p.Made(d)
	}
	return d.start()
}

// start starts the device's process, of which its id may be learnt first.
func (d *Device) start() error {
	if err := d.Start(); err != nil {
		return err
	}
	d.up = true
	if d.ID == "" {
		d.View(func(tx store.Tx) error { v, err := node.Identity(tx); d.ID = v.Device; return err })
	}
	if d.Owner.User == "" {
		d.View(func(tx store.Tx) error { d.Owner.User = talk.Me(tx).String(); return nil })
	}
	return nil
}
