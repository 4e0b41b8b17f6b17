package node_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// pair is two befriended devices, with relays that both know.
func pair(t testing.TB, relays ...string) (w *world, a, b *device) {
	w = newWorld(t)
	for _, name := range relays {
		w.relay(name)
	}
	a, b = w.person("alice"), w.person("bob")
	w.befriend(a, b)
	w.pass(time.Minute)
	w.sent = nil
	return w, a, b
}

// One envelope that comes over the stream and out of three mailboxes is shown once.
func TestShownOnceByBothWays(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	w.lose = func(p parcel) bool { return p.to == a } // no acknowledgement: the relays get their copies, too
	a.send(b, "once")
	for _, r := range w.relays {
		r.mute = true
	}
	w.pass(time.Minute)
	held := w.relays[0].held() + w.relays[1].held() + w.relays[2].held()
	if held < 3 {
		t.Fatalf("control: only %d copies lie at relays", held)
	}
	for _, r := range w.relays {
		r.mute = false
	}
	b.collect()
	w.settle()
	wantTexts(t, b, a, "once")
	if b.engine.Stats().Duplicate == 0 {
		t.Error("control: no copy came twice")
	}
	for _, r := range w.relays {
		if r.held() != 0 {
			t.Errorf("%s was not told to forget the copy", r.name)
		}
	}
}

// A device that seems to have missed a message gets it sealed anew, under a new envelope: shown once, acknowledged again.
func TestShownOnceWhenSealedAnew(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return p.to == a }
	id := a.send(b, "once")
	original := w.sent[0].envelope
	w.pass(2 * time.Minute)
	w.lose = func(p parcel) bool { return string(p.envelope) == string(original) }
	b.send(a, "I am here")
	w.pass(5 * time.Minute)
	if !a.traced(id, "again") {
		t.Fatal("control: it was not sealed anew")
	}
	wantTexts(t, b, a, "once", "I am here")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
}

// What was sealed anew left when it was written itself, not when the envelope before it was: else hearing of its device would count
// against a copy that has not left.
func TestSealedAnewLeavesLater(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return p.to == a }
	id := a.send(b, "once")
	w.pass(2 * time.Minute)
	w.lose = func(p parcel) bool { return p.to == b }
	b.send(a, "I am here")
	w.pass(5 * time.Minute)
	if !a.traced(id, "again") {
		t.Fatal("control: it was not sealed anew")
	}
	seen := 0
	w.must(a.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketOutbox, nil, func(_, raw []byte) bool {
			d := new(pb.Delivery)
			w.must(proto.Unmarshal(raw, d))
			if d.Resealed == 0 {
				return true
			}
			if seen++; d.Left < d.Resealed {
				t.Errorf("sealed anew at %d, left at %d", d.Resealed, d.Left)
			}
			return true
		})
		return nil
	}))
	if seen == 0 {
		t.Error("control: nothing that was sealed anew waits")
	}
}

// Without a relay, and with an acknowledgement lost on a stream that broke: the next copy of the same envelope is
// answered again.
func TestLostAcknowledgementIsRepeated(t *testing.T) {
	w, a, b := pair(t)
	w.lose = func(p parcel) bool { return p.to == a }
	id := a.send(b, "once")
	w.pass(10 * time.Second)
	if s := a.stage(id); s == view.StageDelivered {
		t.Fatal("control: the acknowledgement was not lost")
	}
	w.lose = nil
	w.pass(time.Minute)
	wantTexts(t, b, a, "once")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
}

// Nothing changes when an attacker alters, cuts, or repeats envelopes, and there is one answer to all of it: none.
func TestBrokenEnvelopesLeaveNoTrace(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	a.send(b, "the real one")
	w.pass(time.Second)
	b.start()
	w.lose = func(p parcel) bool { return true }
	var envelope []byte
	for _, p := range w.sent {
		if p.to == b {
			envelope = p.envelope
		}
	}
	before := b.dump()
	for i := 0; i < len(envelope); i += 7 {
		bad := append([]byte{}, envelope...)
		bad[i] ^= 1 << (i % 8)
		b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, bad) })
		b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, envelope[:i]) })
		if len(b.last.Directs)+len(b.last.Deposits) > 0 {
			t.Fatal("an answer")
		}
	}
	if after := b.dump(); after != before {
		t.Error("the store changed")
	}
	b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, envelope) })
	wantTexts(t, b, a, "the real one")
	if b.dump() == before {
		t.Error("control: the honest envelope changes nothing either")
	}
	after := b.dump()
	b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, []byte("somebody else"), envelope) })
	if b.dump() != after || len(b.last.Directs)+len(b.last.Deposits) > 0 {
		t.Error("a replay by a third party has an effect")
	}
}

// A message that overtakes its sender's welcome waits for it.
func TestMessageBeforeTheWelcome(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	held := []parcel{}
	w.lose = func(p parcel) bool {
		if p.to == b {
			held = append(held, p)
		}
		return p.to == b
	}
	w.must(b.join(a.invite()))
	w.pass(50 * time.Millisecond)
	a.send(b, "welcome, by the way")
	w.lose = nil
	if len(held) < 2 {
		t.Fatalf("control: %d envelopes", len(held))
	}
	for i := len(held) - 1; i >= 0; i-- {
		b.input(func(e *node.Engine, t *node.Turn) { e.Received(t, a.self.ID, held[i].envelope) })
		if b.contact(a.user()).State != "accepted" && len(b.texts(a)) > 0 {
			t.Error("shown before the welcome")
		}
	}
	wantTexts(t, b, a, "welcome, by the way")
	w.pass(time.Minute)
	if b.rows(store.BucketParked) != 0 {
		t.Error("parked envelopes stay")
	}
}

// An unacknowledged control message must not be tried for 30 days: everything comes to an end.
func TestOutboxesRunDry(t *testing.T) {
	w, a, b := pair(t, "r1")
	a2 := a.link("alice-2")
	b2 := b.link("bob-2")
	b2.meetDevice(a)
	b2.meetDevice(a2)
	a2.meetDevice(b)
	a.send(b, "hi")
	b.send(a, "ho")
	c := w.person("carol")
	for _, d := range []*device{a, a2, b, b2} {
		c.meetDevice(d)
	}
	w.must(c.join(a2.invite()))
	w.pass(15 * time.Minute)
	for _, d := range w.devices {
		if n := d.rows(store.BucketOutbox); n != 0 {
			t.Errorf("%s still has %d deliveries:\n%s", d.name, n, d.outbox())
		}
		if n := d.rows(store.BucketParked); n != 0 {
			t.Errorf("%s still has %d parked", d.name, n)
		}
	}
	wantTexts(t, b2, a, "hi", "ho")
	wantTexts(t, a2, b, "hi", "ho")
}
