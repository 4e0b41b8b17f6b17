package crowd

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	roster "github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
)

// hamlet is a population that is small enough for a test: everybody is there half of the time.
func hamlet(change func(*Config)) Config {
	half := model.Churn{Name: "half", On: model.Weibull{Shape: 1, Scale: 120}, Off: model.Weibull{Shape: 1, Scale: 120}}
	c := Default()
	c.Users, c.Contacts, c.RelayCount, c.Candidates = 4, 2, 5, 5
	c.For, c.Messages, c.Flat = 5*time.Hour, 60, true
	c.PerUser = []float64{0.5, 0.5}
	c.People = []model.Part{{Churn: half, Share: 1}}
	c.Relays = []model.Part{{Churn: model.Presets["always"], Share: 1}}
	if change != nil {
		change(&c)
	}
	return c
}

// play plays a population to its end. plant may put a fault in once it is set up.
func play(t *testing.T, c Config, plant func(*Crowd)) *Crowd {
	t.Helper()
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for x.Step() {
		if len(x.stages) == 0 && plant != nil {
			plant(x)
			plant = nil
		}
	}
	if x.Err() != nil {
		t.Fatal(x.Err())
	}
	return x
}

func (c *Crowd) figure(t *testing.T, name string) float64 {
	t.Helper()
	v, ok := c.Result().Figure(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return v.Value
}

// invariants are what has to be nothing in every population.
var invariants = []string{"lost.count", "doubled.count", "late.count", "removed.read.count", "clear.count", "broken.count"}

// One seed gives one result and one trace, byte for byte, on one processor or several; another seed gives others.
func TestOneSeedOneResult(t *testing.T) {
	c := hamlet(func(c *Config) {
		c.For, c.Trace, c.Until = 2*time.Hour, true, "now"
		c.Faults = []Fault{{At: time.Hour, For: 20 * time.Minute, Kind: "partition", Share: 0.5}, {At: time.Hour, Kind: "relays-die", Share: 0.2}}
	})
	result := func(x *Crowd) []byte {
		raw, err := x.Result().JSON()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	first := play(t, c, nil)
	before := runtime.GOMAXPROCS(1)
	again := play(t, c, nil)
	runtime.GOMAXPROCS(before)
	if !bytes.Equal(result(first), result(again)) || !slices.Equal(first.Trace(), again.Trace()) || len(first.Trace()) < 100 {
		t.Errorf("%d and %d lines\n%s\n%s", len(first.Trace()), len(again.Trace()), result(first), result(again))
	}
	if c.Seed++; bytes.Equal(result(first), result(play(t, c, nil))) {
		t.Error("control: another seed gives the same result")
	}
	c.Seed--
	c.Trace = false
	if !bytes.Equal(result(first), result(play(t, c, nil))) {
		t.Error("with a trace the result is another")
	}
}

// Whatever happens, what was promised holds.
func TestPromisesHold(t *testing.T) {
	for _, f := range [][]Fault{
		{{At: time.Hour, For: time.Hour, Kind: "partition", Share: 0.5}, {At: time.Hour, For: time.Hour, Kind: "devices-crash", Share: 0.5}},
		{{At: time.Hour, Kind: "relays-die", Share: 0.4}, {At: 3 * time.Hour, For: time.Hour, Kind: "relays-away", Share: 1}},
		{{Kind: "relays-forge", Share: 0.2}, {Kind: "relays-delete", Share: 0.2}, {At: time.Hour, Kind: "device-removed", Share: 1}},
		{{Kind: "sybils", Share: 1}, {At: time.Hour, For: 2 * time.Hour, Kind: "bootstrap-blocked", Share: 0.5}},
		{{At: time.Hour, For: 2 * time.Hour, Kind: "relays-blocked", Share: 0.5}, {At: 2 * time.Hour, Kind: "devices-lose-disk", Share: 0.2}},
		{{At: time.Hour, Kind: "relays-lose-disk", Share: 0.2}, {At: time.Hour, Kind: "device-added", Share: 0.5}, {Kind: "relays-withhold", Share: 0.2}},
	} {
		x := play(t, hamlet(func(c *Config) { c.Faults = f; c.Trace = true }), nil)
		for _, name := range invariants {
			if n := x.figure(t, name); n != 0 {
				t.Errorf("%v: %s is %g\n%s", f, name, n, tail(x))
			}
		}
		if n := x.figure(t, "delivery.seconds.n"); n < 20 {
			t.Errorf("control: %g deliveries", n)
		}
	}
}

func tail(x *Crowd) string {
	lines := slices.DeleteFunc(slices.Clone(x.Trace()), func(l string) bool { return !strings.Contains(l, "never got") && !strings.Contains(l, "INVARIANT") })
	return strings.Join(lines[:min(len(lines), 10)], "\n")
}

// Every invariant sees what it looks for.
func TestPlantedFaultsAreSeen(t *testing.T) {
	for name, plant := range map[string]func(*Crowd){
		"lost.count": func(c *Crowd) { // relays that sign and keep nothing, nobody who asks them, and senders that try once
			for _, r := range c.relays {
				r.Lie()
			}
			for _, d := range c.hosts {
				d.Deafen()
				d.Wrap(func(s store.Store) store.Store { return careless{s} })
			}
		},
		"doubled.count": func(c *Crowd) { // devices that know no message again, on links that lose acknowledgements
			for _, d := range c.hosts {
				d.Wrap(func(s store.Store) store.Store { return amnesiac{s} })
			}
			n := 0
			c.w.Tap(func(p simnet.Parcel) simnet.Fate {
				if n++; p.Kind == "direct" && n%2 == 0 {
					return nil
				}
				return simnet.Fate{0}
			})
		},
		"late.count": func(c *Crowd) { // as if it had been written long ago
			c.again(func(l *letter) { l.at = l.at.Add(-30*24*time.Hour - slack) })
		},
		"late.count of what was given up": func(c *Crowd) { // it comes when nobody waits for it any more
			var age func()
			age = func() {
				for _, l := range c.order {
					l.at = l.at.Add(-40 * 24 * time.Hour)
				}
				c.judge(false)
				c.w.After(time.Minute, age)
			}
			age()
		},
		"removed.read.count": func(c *Crowd) { // it goes to a device that its author knows was removed
			c.again(func(l *letter) { l.not = append(l.not, l.due[0].to) })
		},
		"broken.count": func(c *Crowd) { // a relay whose disk cannot be read
			c.relays[0].Wrap(func(s mailbox.Store) mailbox.Store { return unreadable{s} })
		},
		"clear.count": func(c *Crowd) { // a text that travels as it is
			c.w.After(time.Hour, func() { c.look(simnet.Parcel{Bytes: []byte("…" + text("u0", 1, 30) + "…")}) })
		},
	} {
		x := play(t, hamlet(nil), plant)
		figure, _, _ := strings.Cut(name, " ")
		if n := x.figure(t, figure); n == 0 {
			t.Errorf("%s: nothing was seen", name)
		}
	}
}

// At the end everybody is there, whatever habit or fault kept them away.
func TestEverybodyComesBack(t *testing.T) {
	x := play(t, hamlet(func(c *Config) {
		c.Faults = []Fault{{At: 4 * time.Hour, For: 2 * time.Hour, Kind: "devices-away", Share: 1}, {At: 4 * time.Hour, For: 2 * time.Hour, Kind: "relays-away", Share: 1}}
	}), nil)
	inclined := 0
	for _, d := range x.hosts {
		if !d.Here() {
			t.Errorf("%s is away", d.Name())
		}
		if !d.wants {
			inclined++
		}
	}
	for _, r := range x.relays {
		if !r.Up() {
			t.Errorf("%s is away", r.Name())
		}
	}
	if inclined == 0 {
		t.Error("control: nobody would be away by habit")
	}
}

// A set-up that does not succeed is a failure and no interruption.
func TestASetUpThatFails(t *testing.T) {
	x, err := New(hamlet(nil))
	if err != nil {
		t.Fatal(err)
	}
	x.stages = append(x.stages[:2:2], stage{"trouble", func() error { return errors.New("trouble") }})
	for x.Step() {
	}
	if r := x.Result(); x.Err() == nil || r.Partial || x.figure(t, "broken.count") == 0 {
		t.Errorf("%v, partial %t", x.Err(), r.Partial)
	}
}

type unreadable struct{ mailbox.Store }

func (unreadable) View(func(mailbox.Tx) error) error { return errors.New("unreadable") }

// again changes, every ten minutes, what was written since.
func (c *Crowd) again(change func(*letter)) {
	c.w.After(10*time.Minute, func() {
		for _, l := range c.order {
			if len(l.due) > 0 && c.w.Now().Sub(l.at) < 10*time.Minute {
				change(l)
			}
		}
		c.again(change)
	})
}

// amnesiac does not find messages of others by their id: the check that makes a message shown once.
type amnesiac struct{ store.Store }

func (a amnesiac) Update(fn func(store.Tx) error) error {
	return a.Store.Update(func(tx store.Tx) error { return fn(amnesiacTx{tx}) })
}

type amnesiacTx struct{ store.Tx }

func (t amnesiacTx) Get(b store.Bucket, key []byte) []byte {
	v := t.Tx.Get(b, key)
	if m := (&pb.Message{}); b == store.BucketSeen || b == store.BucketMessages && !(proto.Unmarshal(v, m) == nil && m.Mine) {
		return nil
	}
	return v
}

// careless forgets what is in its outbox.
type careless struct{ store.Store }

func (c careless) Update(fn func(store.Tx) error) error {
	return c.Store.Update(func(tx store.Tx) error { return fn(carelessTx{tx}) })
}

type carelessTx struct{ store.Tx }

func (t carelessTx) Get(b store.Bucket, key []byte) []byte {
	if b == store.BucketOutbox {
		return nil
	}
	return t.Tx.Get(b, key)
}

// A rush has people write so many times as much, groups and one whom everybody knows get their share, and a slow link takes its time.
func TestWhatPeopleDo(t *testing.T) {
	figure := func(name string, change func(*Config)) float64 {
		return play(t, hamlet(func(c *Config) { c.For = 2 * time.Hour; change(c) }), nil).figure(t, name)
	}
	alone := func(c *Config) {
		c.PerUser, c.Uneven, c.People[0].Churn = []float64{1}, 0, model.Presets["always"]
	}
	rush := func(factor float64) float64 {
		return figure("messages.count", func(c *Config) { alone(c); c.Messages = 240; c.Rush = model.Rush{For: c.For, Factor: factor} })
	}
	usual := rush(1)
	if none, many := rush(0), rush(4); none != 0 || usual < 60 || many < 2.5*usual || many > 6*usual {
		t.Errorf("%g messages, %g without a rush, %g in one of four times as many", none, usual, many)
	}
	two := figure("deliveries.count", alone) / figure("messages.count", alone)
	group := func(c *Config) { alone(c); c.Groups = []Group{{Size: 4, Share: 1}} }
	if four := figure("deliveries.count", group) / figure("messages.count", group); two != 1 || four != 3 {
		t.Errorf("%g deliveries a message, %g in a group of four", two, four)
	}
	if lost := figure("lost.count", group); lost != 0 {
		t.Errorf("%g lost in a group", lost)
	}
	slow := func(c *Config) { alone(c); c.Bandwidth = 1000 }
	if fast, late := figure("delivery.there.seconds.p50", alone), figure("delivery.there.seconds.p50", slow); late < 1.5*fast {
		t.Errorf("%g s, on a slow link %g s", fast, late)
	}
}

// What makes no sense is refused.
func TestConfigsAreChecked(t *testing.T) {
	for what, change := range map[string]func(*Config){
		"users":     func(c *Config) { c.Users = 1 },
		"time":      func(c *Config) { c.For = time.Minute },
		"links":     func(c *Config) { c.Links = "moon" },
		"policy":    func(c *Config) { c.W = c.R + 1 },
		"kind":      func(c *Config) { c.Faults = []Fault{{Kind: "flood"}} },
		"fault":     func(c *Config) { c.Faults = []Fault{{Kind: "relays-die", At: 1000 * time.Hour}} },
		"rush":      func(c *Config) { c.Rush = model.Rush{At: c.For, For: time.Hour, Factor: 2} },
		"share":     func(c *Config) { c.Faults = []Fault{{Kind: "relays-die", Share: 2}} },
		"group":     func(c *Config) { c.Groups = []Group{{Size: 2, Share: 0.1}} },
		"shares":    func(c *Config) { c.HotShare, c.Groups = 0.6, []Group{{Size: 3, Share: 0.6}} },
		"loss":      func(c *Config) { c.Loss = 0.9 },
		"bandwidth": func(c *Config) { c.Bandwidth = 5 },
		"classes":   func(c *Config) { c.People = nil },
	} {
		c := hamlet(change)
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	c := hamlet(func(c *Config) { c.Users, c.Groups = 300, []Group{{Size: roster.MaxMembers + 1, Share: 0.1}} })
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "at most 256: kith sim run group-sizes") {
		t.Errorf("a group that no engine takes: %v", err)
	}
	if c.Groups[0].Size--; c.Check() != nil {
		t.Errorf("control: %v", c.Check())
	}
	if _, err := New(hamlet(nil)); err != nil {
		t.Errorf("control: %v", err)
	}
}

// Lookups take as many round trips as the model's walk takes in a directory of that size, and time in proportion.
func TestLookupsGrowWithTheDirectory(t *testing.T) {
	last, each := 0.0, 0.0
	for _, nodes := range []int{0, 100_000} {
		c := hamlet(func(c *Config) { c.For, c.Until, c.Directory = 24*time.Hour, "now", nodes })
		x := play(t, c, nil)
		want := 0.0
		for _, hops := range model.Walks(c.directory(), bucket, walked, c.Seed) {
			want += float64(max(hops, 1)) / walked
		}
		got, took := x.figure(t, "lookup.hops.mean"), x.figure(t, "lookup.seconds.mean")
		if n := x.figure(t, "lookup.hops.n"); n < 50 || math.Abs(got-want) > 0.25 {
			t.Errorf("%d nodes: %.2f round trips in %.0f lookups, want %.2f", c.directory(), got, n, want)
		}
		if got <= last || each != 0 && math.Abs(took/got-each) > each/10 {
			t.Errorf("%d nodes: %.2f round trips and %.3f s, before %.2f and %.3f s for one", c.directory(), got, took, last, each)
		}
		last, each = got, took/got
	}
}
