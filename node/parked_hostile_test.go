package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// forged fills the room for envelopes that wait, with first flights in a contact's name.
func (w *world) forged(to, as *device) {
	w.t.Helper()
	_, list := w.list(as)
	head := list.Head()
	head.Seq += 5
	for i := range 80 {
		keys, err := identity.NewDeviceKeys(seeded(text2("forged", i)))
		w.must(err)
		envelope := w.intruder(to, userID(as), keys, head, chat.KindText, &chatpb.Text{Text: "?"})
		to.input(func(e *node.Engine, t *node.Turn) { e.Received(t, []byte("stranger"), envelope) })
	}
	w.settle()
}

// What strangers have parked in a contact's name goes after its time, also when the contact is silent, and costs no
// handshake whenever the contact writes.
func TestParkedInVain(t *testing.T) {
	w, a, b := pair(t)
	w.forged(a, b)
	if n := a.rows(store.BucketParked); n == 0 {
		t.Fatal("control: nothing is parked")
	}
	parked := a.engine.Stats().Parked
	w.pass(time.Hour) // the list is looked for a few times more: it may be on its way to the directory
	lookups := 0
	w.lookup = func(d *device, key string) []byte { lookups++; return w.records[key] }
	b.send(a, "hello")
	w.pass(time.Second)
	if lookups > 0 {
		t.Errorf("a text had %d first flights tried again", lookups)
	}
	wantTexts(t, a, b, "hello")
	w.lookup = nil
	w.pass(node.Retention + 25*time.Hour)
	if n := a.rows(store.BucketParked); n != 0 {
		t.Errorf("%d envelopes are parked for ever", n)
	}
	w.forged(a, b)
	if a.engine.Stats().Parked <= parked {
		t.Error("the room was not given back")
	}
}

// An envelope that waits for its sender's welcome is not acknowledged, however often it comes: it is not shown yet.
func TestParkedIsNotDelivered(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	var held []parcel
	w.lose = func(p parcel) bool {
		if p.to == b {
			held = append(held, p)
		}
		return p.to == b
	}
	w.must(b.join(a.invite()))
	w.pass(50 * time.Millisecond)
	id := a.send(b, "before the welcome")
	w.lose = func(p parcel) bool { return p.to == b }
	last := held[len(held)-1]
	for range 3 {
		b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, last.envelope) })
		w.settle()
	}
	if b.rows(store.BucketParked) == 0 {
		t.Fatal("control: it is not parked")
	}
	if s := a.stage(id); s == view.StageDelivered {
		t.Error("it is delivered, and bob does not see it")
	}
}
