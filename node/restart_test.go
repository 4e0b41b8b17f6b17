package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
)

// hide makes the directory withhold the records of one kind from a device.
func (w *world) hide(from *device, kind byte) {
	w.lookup = func(d *device, key string) []byte {
		if k, _, err := dht.ParseKey(key); err == nil && k == kind && d == from {
			return nil
		}
		return w.records[key]
	}
}

// What was asked for before a crash is asked for again: a join whose inviter was not found yet, and a message to a
// device whose record was not found yet.
func TestLookupsSurviveARestart(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	w.hide(b, dht.KindUser)
	w.must(b.join(a.invite()))
	w.pass(time.Minute)
	if c := a.contact(b.user()); c.State != "" {
		t.Fatalf("control: the join arrived without a list: %+v", c)
	}
	b.stop()
	w.lookup = nil
	b.start()
	w.pass(time.Minute)
	if c := b.contact(a.user()); c.State != "accepted" {
		t.Fatalf("the join was forgotten: %+v", c)
	}

	b.stop()
	a2 := a.link("alice-2")
	w.hide(b, dht.KindDevice)
	w.lose = func(p parcel) bool { return p.to == b } // they would tell bob more than the directory does
	b.start()
	b.meetDevice(a2)
	w.pass(25 * time.Hour)
	b.send(a, "asks for the list")
	w.pass(time.Minute)
	a.stop()
	b.send(a, "to both")
	w.pass(time.Minute)
	if got := a2.texts(b); slices.Contains(got, "to both") {
		t.Fatalf("control: it arrived without a record: %q", got)
	}
	b.stop()
	w.lookup = nil
	b.start()
	w.pass(10 * time.Minute)
	wantTexts(t, a2, b, "asks for the list", "to both") // the first from the other device, which knew that it was missed
}

// A device that was removed comes to rest, also after a restart: it has nothing to renew, elect or look up.
func TestRemovedDeviceRests(t *testing.T) {
	w := newWorld(t)
	w.relay("r")
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	a2 := a.link("alice-2")
	w.pass(time.Hour)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, a2.id()); return err }))
	w.pass(time.Hour)
	if !a2.identity().Removed {
		t.Fatal("the removed device was not told")
	}
	w.pass(30 * 24 * time.Hour)
	a2.stop()
	a2.start()
	w.pass(30 * 24 * time.Hour)
	if _, err := a2.trySend(b, "am I still here?"); err == nil {
		t.Error("a removed device sends")
	}
}

// The tombstone is published again after a restart, so that senders who look are told.
func TestTombstoneStaysPublished(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	w.befriend(a, b)
	b.stop()
	key := ""
	for k := range w.records {
		if l, err := listOf(w.records[k]); err == nil && l.User().String() == a.user() {
			key = k
		}
	}
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.Leave(t, true); return err }))
	a.stop()
	delete(w.records, key) // the directory lost it
	a.start()
	w.pass(time.Minute)
	if l, err := listOf(w.records[key]); err != nil || !l.Tombstone() {
		t.Error("the tombstone is not in the directory")
	}
	b.start()
	w.pass(48 * time.Hour)
	_, _ = b.trySend(a, "the first after a day asks for the list")
	w.pass(time.Minute)
	if _, err := b.trySend(a, "hello?"); err == nil || !b.contact(a.user()).Left {
		t.Errorf("sending to a person who left: %v", err)
	}
}
