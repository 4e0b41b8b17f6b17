package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// copyStore is a copy of a device's files, as a person may put one back.
func (d *device) copyStore() store.Store {
	d.w.t.Helper()
	copied := store.NewMemory()
	d.w.must(d.store.View(func(from store.Tx) error {
		return copied.Update(func(to store.Tx) error {
			for _, b := range store.Buckets() {
				from.Scan(b, nil, func(k, v []byte) bool { to.Put(b, k, v); return true })
			}
			return nil
		})
	}))
	return copied
}

// putBack puts an older copy back and starts the device with it.
func (d *device) putBack(s store.Store) {
	d.stop()
	d.store = s
	d.notices = nil
	d.start()
}

// A device whose store was put back from an older copy notices it by its own record in the directory, begins anew, and gets
// again what it had: from the outboxes, and by the counters what it had acknowledged. Acts come again as well.
func TestARestoredDeviceGetsBackWhatItHad(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"r1", "r2", "r3"} {
		w.relay(n)
	}
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	w.pass(time.Minute)
	first := a.send(b, "before the copy")
	b.send(a, "an answer")
	w.pass(time.Minute)
	old := b.copyStore()
	for i := range 5 {
		a.send(b, text(i))
		b.send(a, "of bob, forgotten "+text(i))
		w.pass(time.Minute)
	}
	a.edit(first, "before the copy, edited")
	w.pass(30 * time.Hour) // bob's bundle is renewed
	if got := b.texts(a); !slices.Contains(got, "before the copy, edited") {
		t.Fatalf("control: %q", got)
	}
	b.putBack(old)
	if got := b.texts(a); slices.Contains(got, text(0)) {
		t.Fatalf("control: the copy is not older: %q", got)
	}
	w.pass(time.Hour)
	if !b.told("older copy") {
		t.Error("nobody was told")
	}
	b.send(a, "on as well")
	a.send(b, "and on")
	w.pass(time.Minute)
	want := []string{"before the copy, edited", "an answer", text(0), text(1), text(2), text(3), text(4), "on as well", "and on"}
	if got := b.texts(a); !slices.Equal(got, want) {
		t.Errorf("bob has %q, want %q", got, want)
	}
	if got := a.texts(b); len(got) != 14 || !slices.Contains(got, "on as well") {
		t.Errorf("alice has %q", got)
	}
	if n := b.rows(store.BucketOutbox) + a.rows(store.BucketOutbox); n != 0 {
		t.Errorf("%d envelopes are on their way still:\n%s%s", n, a.outbox(), b.outbox())
	}
}

func (d *device) edit(id, text string) {
	d.w.t.Helper()
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(desk *talk.Desk) error { _, err := desk.Edit(id, text); return err })
	}))
	d.w.settle()
}

func (d *device) told(part string) bool {
	return slices.ContainsFunc(d.notices, func(n view.Notice) bool { return n.Type == "device" && contains(n.Text, part) })
}

// Without a directory the peer tells: it has had more than the device knows to have sent. Until it does, each of the two
// seals what the other cannot open.
func TestAPeerShowsThatADeviceWasPutBack(t *testing.T) {
	w, a, b := pair(t)
	for i := range 3 {
		a.send(b, text(i))
		b.send(a, "of bob "+text(i))
		w.pass(time.Minute)
	}
	w.lose = func(p parcel) bool { return p.to == b } // so that bob goes on in one chain
	b.send(a, "of bob")
	w.pass(time.Second)
	old := b.copyStore()
	b.send(a, "of bob, forgotten")
	w.pass(time.Second)
	w.hide(b, dht.KindDevice)
	b.putBack(old)
	id := b.send(a, "under a key that was used")
	w.pass(time.Second)
	if got := a.texts(b); slices.Contains(got, "under a key that was used") {
		t.Fatal("control: the old session still serves")
	}
	w.lose = nil
	a.send(b, "hello?")
	w.pass(5 * time.Minute)
	if got := a.texts(b); !slices.Contains(got, "under a key that was used") || b.stage(id) != view.StageDelivered {
		t.Errorf("alice has %q, stage %s", got, b.stage(id))
	}
	wantTexts(t, b, a, "text 0", "of bob text 0", "text 1", "of bob text 1", "text 2", "of bob text 2", "of bob", "under a key that was used", "hello?")
}

// Nothing opens in either direction, nobody has a newer record, and nothing is heard: over its own stream a device brings
// what does not open, and then the next message goes by a new session.
func TestSessionsThatDiffer(t *testing.T) {
	w, a, b := pair(t)
	old := b.copyStore()
	for i := range 3 {
		a.send(b, text(i))
		b.send(a, "of bob "+text(i))
		w.pass(time.Minute)
	}
	w.hide(b, dht.KindDevice)
	b.putBack(old)
	for i := range 3 {
		a.send(b, "unheard "+text(i))
	}
	w.pass(2 * time.Second)
	if got := b.texts(a); len(got) != 0 {
		t.Fatalf("control: bob hears %q", got)
	}
	b.send(a, "are you there?")
	w.pass(30 * time.Minute)
	want := []string{text(0), text(1), text(2), "unheard " + text(0), "unheard " + text(1), "unheard " + text(2), "are you there?"}
	if got := b.texts(a); !slices.Equal(got, want) {
		t.Errorf("bob has %q, want %q", got, want)
	}
}

// A device that has acknowledged nothing for two days and publishes newer bundles has lost its side of the session.
func TestTwoDaysOfSilence(t *testing.T) {
	for name, renewed := range map[string]bool{"it publishes": true, "control: it does not": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.relay("r1")
			a, b := w.person("alice"), w.person("bob")
			w.befriend(a, b)
			w.pass(time.Minute)
			w.lose = func(p parcel) bool { return p.to == b } // all that alice sends is lost, also at the relay
			a.send(b, "into the void")
			if !renewed {
				b.stop()
			}
			w.pass(60 * time.Hour)
			firsts := count(w.sent, func(p parcel) bool {
				_, first := session.ParseFirstFlight(p.envelope)
				return first && p.from == a && p.at.After(w.now.Add(-24*time.Hour))
			})
			if (firsts > 0) != renewed {
				t.Errorf("%d first flights", firsts)
			}
		})
	}
}
