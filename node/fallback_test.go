package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func (d *device) unreachable() []view.Notice {
	var out []view.Notice
	for _, n := range d.notices {
		if n.Type == "unreachable" {
			out = append(out, n)
		}
	}
	return out
}

func (d *device) fellBack(id string) {
	d.w.t.Helper()
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) error { return e.FellBack(t, id) }))
	d.w.settle()
}

func (d *device) message(with *device, i int) (v view.Message) {
	d.w.t.Helper()
	d.w.must(d.store.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, with.user(), 0)
		if err == nil {
			v = all[i]
		}
		return err
	}))
	return v
}

// Another way is asked for once, after the time that was set, and for nothing that a relay or a device has. Every view of
// the message says so afterwards, on every device of ours; the safe way goes on.
func TestFallbackIsAskedForOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	w.pass(time.Minute)
	a.stop()
	a.config.Unreachable = 10 * time.Minute
	a.start()
	a2 := a.link("alice's second")
	a2.meetDevice(b)
	w.pass(time.Minute)
	got := a.send(b, "he is there")
	b2 := b.link("bob's second")
	w.pass(time.Minute)
	b.stop()
	b2.stop()
	id := a.send(b, "nobody is there")
	w.pass(9 * time.Minute)
	if n := a.unreachable(); len(n) != 0 {
		t.Fatalf("too early: %+v", n)
	}
	w.pass(2 * time.Hour)
	n := a.unreachable()
	if len(n) != 1 || n[0].Message == nil || n[0].ID != id || n[0].Message.Text != "nobody is there" || n[0].Message.With != "bob" {
		t.Fatalf("asked %d times: %+v", len(n), n)
	}
	if m := a.message(b, 1); m.Fallback != "" {
		t.Errorf("control: it was handed to nobody yet: %+v", m)
	}
	a.fellBack(id)
	w.pass(time.Minute)
	for _, d := range []*device{a, a2} {
		if m := d.message(b, 1); m.Fallback == "" {
			t.Errorf("%s does not say that %q went another way", d.name, m.Text)
		}
		if m := d.message(b, 0); m.Fallback != "" {
			t.Errorf("%s says that %q did", d.name, m.Text)
		}
	}
	if a.stage(got) != view.StageDelivered {
		t.Errorf("control: %s", a.stage(got))
	}
	b.start()
	w.pass(2 * time.Minute)
	wantTexts(t, b, a, "he is there", "nobody is there")
	if n := a.unreachable(); len(n) != 1 {
		t.Errorf("asked %d times", len(n))
	}
}

// What relays hold for one of a person's devices is on its way; and without a hook nothing is ever asked.
func TestNoFallbackForCustody(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := newWorld(t)
		var relays []*relay
		for _, r := range []string{"r1", "r2", "r3"} {
			relays = append(relays, w.relay(r))
		}
		a, b := w.person("alice"), w.person("bob")
		if on {
			a.stop()
			a.config.Unreachable = time.Minute
			a.start()
		}
		w.pass(time.Minute)
		w.befriend(a, b)
		b.stop()
		id := a.send(b, "held")
		w.pass(time.Hour)
		if s := a.stage(id); s != view.StageCustody {
			t.Fatalf("control: %s", s)
		}
		if n := a.unreachable(); len(n) != 0 {
			t.Errorf("asked for what relays hold: %+v", n)
		}
		for _, r := range relays {
			r.up = false
		}
		a.send(b, "not held")
		w.pass(time.Hour)
		if n := len(a.unreachable()); n != map[bool]int{true: 1, false: 0}[on] {
			t.Errorf("with a hook %t: asked %d times", on, n)
		}
	}
}

// Who has left is written to another way or not at all.
func TestFallbackForWhoHasLeft(t *testing.T) {
	for _, on := range []bool{true, false} {
		w := newWorld(t)
		a, b := w.person("alice"), w.person("bob")
		if on {
			a.stop()
			a.config.Unreachable = time.Hour
			a.start()
		}
		w.befriend(a, b)
		b.stop()
		a.send(b, "on its way")
		w.lose = func(p parcel) bool { return p.from == a }
		b.start()
		w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.Leave(t, true); return err }))
		w.pass(10 * time.Minute)
		if x := a.contact(b.user()); !x.Left {
			t.Fatalf("control: %+v", x)
		}
		id, err := a.trySend(b, "after it")
		if (err == nil) != on {
			t.Errorf("with a hook %t: %v", on, err)
		}
		if on && a.stage(id) != view.StageDropped {
			t.Errorf("stage %s", a.stage(id))
		}
		if n := a.unreachable(); len(n) != map[bool]int{true: 2, false: 0}[on] {
			t.Errorf("with a hook %t: %d asked", on, len(n))
		}
	}
}
