package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

const day = 24 * time.Hour

// held counts the envelopes at all relays.
func (w *world) held() (n int) {
	for _, r := range w.relays {
		n += r.held()
	}
	return n
}

// Without a relay a message waits; it goes out when the recipient's device has one.
func TestWaitingGoesOutWhenARelayAppears(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	a.stop()
	a.start()
	id := a.send(b, "hello")
	w.pass(time.Minute)
	if s := a.stage(id); s != view.StageWaiting {
		t.Fatalf("without any relay: %s", s)
	}
	b.start()
	b.links = map[string]bool{}
	a.links = map[string]bool{}
	w.relay("r1")
	w.pass(10 * time.Minute) // bob's reach goes through the relay to alice
	b.stop()
	id2 := a.send(b, "second")
	w.pass(10 * time.Minute)
	for _, x := range []string{id, id2} {
		if s := a.stage(x); s != view.StageCustody && s != view.StageDelivered {
			t.Errorf("with a relay: %s\n%s", s, a.outbox())
		}
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello", "second")
}

// A box that is full is said to be full; when there is room, the message goes in by itself.
func TestFullThenRetried(t *testing.T) {
	w, a, b := pair(t, "r1")
	b.stop()
	w.relays[0].rules = mailbox.NewRelay(w.relays[0].key, mailbox.Limits{NoWork: true, BoxCount: 1, BoxBytes: 1 << 20})
	a.send(b, "first")
	w.pass(time.Minute)
	id := a.send(b, "second")
	w.pass(time.Minute)
	if s := a.stage(id); s != view.StageFull {
		t.Fatalf("control: %s", s)
	}
	w.relays[0].rules = mailbox.NewRelay(w.relays[0].key, mailbox.Limits{NoWork: true})
	w.pass(3 * time.Hour)
	if s := a.stage(id); s != view.StageCustody {
		t.Errorf("with room: %s", s)
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "first", "second")
}

// A sender with an old set learns the newer one from a relay that knows it.
func TestRelayHandsOutTheNewerSet(t *testing.T) {
	w, a, b := pair(t, "r1")
	a.stop()
	for _, r := range []string{"r2", "r3", "r4", "r5"} {
		w.relay(r)
	}
	w.pass(time.Minute)
	old := w.relays[0]
	// Bob's mailbox moves away from its first relay.
	w.must(b.store.Update(func(tx store.Tx) error { tx.Delete(store.BucketRelays, old.self.ID); return nil }))
	b.stop()
	b.start()
	w.pass(2 * time.Hour)
	b.stop()
	w.lookup = func(*device, string) []byte { return nil }
	w.lose = func(p parcel) bool { return p.to == a } // and bob cannot tell
	a.start()
	id := a.send(b, "hello")
	w.pass(10 * time.Minute)
	if !a.traced(id, "moved") {
		t.Fatalf("control: the relay did not hand out a newer set\n%s", a.outbox())
	}
	if s := a.stage(id); s != view.StageCustody {
		t.Errorf("stage %s", s)
	}
	w.lose = nil
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
}

// A relay that signs and stores nothing costs nothing while another member is honest; if all lie, the message comes
// once its device is heard.
func TestLyingRelays(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	for _, r := range w.relays[:2] {
		r.lying = true
	}
	id := a.send(b, "two lie")
	w.pass(time.Minute)
	if s := a.stage(id); s != view.StageCustody {
		t.Fatalf("stage %s", s)
	}
	b.start()
	w.pass(10 * time.Second)
	wantTexts(t, b, a, "two lie")

	b.stop()
	for _, r := range w.relays {
		r.lying = true
	}
	id = a.send(b, "all lie")
	w.pass(time.Minute)
	a.links, b.links = map[string]bool{}, map[string]bool{}
	for _, r := range w.relays {
		r.lying = false
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "two lie") // control: nobody has it
	b.send(a, "I am back")
	w.pass(10 * time.Minute)
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s\n%s", s, a.outbox())
	}
	if got := b.texts(a); count(got, func(s string) bool { return s == "all lie" }) != 1 {
		t.Errorf("bob sees %q", got)
	}
}

// A relay that withholds, or hands the same envelope out again and again, neither loses nor doubles a message.
func TestWithheldAndReplayed(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	a.send(b, "once")
	w.pass(time.Minute)
	w.relays[0].mute, w.relays[1].mute = true, true
	var copies []node.Collected
	var box mailbox.ID
	for _, p := range w.sent {
		if p.relay != nil && p.from == a {
			copies = append(copies, node.Collected{Box: p.box, ID: mailbox.EnvelopeIDOf(p.envelope), Envelope: p.envelope})
			box = p.box
		}
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "once")
	for range 3 {
		for _, x := range copies {
			x.Box = box
			b.input(func(e *node.Engine, t *node.Turn) { e.Collected(t, w.relays[0].self, []node.Collected{x}) })
		}
		b.stop()
		b.start()
	}
	w.relays[0].mute, w.relays[1].mute = false, false
	b.collect()
	w.pass(time.Minute)
	wantTexts(t, b, a, "once")
	if n := w.held(); n != 0 {
		t.Errorf("%d copies are still held", n)
	}
}

// All members of a set but one lose their disks: delivered.
func TestAllMembersButOneDie(t *testing.T) {
	for alive := range 3 {
		w, a, b := pair(t, "r1", "r2", "r3")
		b.stop()
		id := a.send(b, "hello")
		w.pass(time.Minute)
		if s := a.stage(id); s != view.StageCustody {
			t.Fatalf("stage %s", s)
		}
		a.stop()
		for i, r := range w.relays {
			if i != alive {
				r.up, r.store = false, mailbox.NewMemory()
			}
		}
		w.pass(day)
		b.start()
		w.pass(time.Minute)
		wantTexts(t, b, a, "hello")
	}
}

// The sender is gone for ever. On day 29.9 the message is still there; on day 45 it is not, and the sender's own device
// says so.
func TestExpiry(t *testing.T) {
	for _, x := range []struct {
		after time.Duration
		want  []string
	}{{29*day + 21*time.Hour, []string{"hello"}}, {45 * day, nil}} {
		w, a, b := pair(t, "r1", "r2", "r3")
		b.stop()
		id := a.send(b, "hello")
		w.pass(time.Minute)
		a.stop()
		w.pass(x.after)
		b.start()
		w.pass(time.Hour)
		wantTexts(t, b, a, x.want...)
		if x.want != nil {
			continue
		}
		b.stop()
		a.start()
		w.pass(time.Hour)
		if s := a.stage(id); s != view.StageExpired {
			t.Errorf("the sender shows %s", s)
		}
		if n := a.rows(store.BucketOutbox); n > 10 {
			t.Errorf("%d deliveries are still tried", n)
		}
	}
}

// The recipient is away for three weeks, and so is its word: senders use the sets that it signed ahead, one epoch after
// the other. What lies in an earlier epoch's box is not deposited again.
func TestAwayForThreeWeeks(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	boxes := map[mailbox.ID]bool{}
	var want []string
	for i := range 4 {
		id := a.send(b, text(i))
		want = append(want, text(i))
		w.pass(time.Minute)
		if s := a.stage(id); s != view.StageCustody {
			t.Fatalf("week %d: %s\n%s", i, s, a.outbox())
		}
		w.pass(7*day - time.Minute)
	}
	deposits := map[string]int{}
	for _, p := range w.sent {
		if p.relay != nil && p.from == a {
			boxes[p.box] = true
			deposits[string(p.envelope)]++
		}
	}
	if len(boxes) < 4 {
		t.Errorf("only %d boxes were used", len(boxes))
	}
	for _, n := range deposits {
		if n > 3 {
			t.Errorf("%d deposits of one envelope at 3 relays", n)
		}
	}
	a.stop()
	b.start()
	w.pass(time.Hour)
	wantTexts(t, b, a, want...)
}

// The bundle rotates daily; a first flight to an old one opens as long as one may be waiting, and its secret is gone afterwards.
func TestBundlesRotate(t *testing.T) {
	w := newWorld(t)
	w.relay("r1")
	a, b := w.person("alice"), w.person("bob")
	w.pass(time.Minute)
	_, list := w.list(b)
	key := dht.DeviceKey(list.Devices()[0].ID())
	old := w.records[key]
	w.pass(60 * day)
	if string(w.records[key]) == string(old) {
		t.Fatal("control: no rotation")
	}
	if n := b.rows(store.BucketPrekeys); n < 3 || n > 6 {
		t.Errorf("%d prekeys are kept after 60 days", n)
	}
	rec, err := dht.ParseDeviceRecord(old)
	w.must(err)
	hash := rec.Bundle().Hash()
	gone := true
	w.must(b.store.View(func(tx store.Tx) error { gone = tx.Get(store.BucketPrekeys, hash[:8]) == nil; return nil }))
	if !gone {
		t.Error("a prekey of 60 days ago is kept")
	}
	// Away for 40 days: the mail that came meanwhile needs prekeys that are due to go.
	stale := w.records[key]
	w.pass(2 * day) // superseded after one
	var text string
	w.must(b.do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.CreateInvite(t, 30*day)
		text = v.Text
		return err
	}))
	w.lookup = func(d *device, k string) []byte {
		if d == a && k == key {
			return stale
		}
		return w.records[k]
	}
	b.stop()
	w.must(a.join(text))
	w.pass(time.Minute)
	a.stop()
	if w.held() == 0 {
		t.Fatalf("control: the join is not at the front door\n%s", a.outbox())
	}
	w.pass(28 * day)
	w.relays[0].mute = true
	b.start()
	w.pass(10 * time.Minute)
	w.relays[0].mute = false
	b.collect()
	w.pass(time.Minute)
	if c := b.contact(a.user()); c.State != "accepted" {
		t.Errorf("the join was lost: %+v", c)
	}
}

// The outbox is on disk with its back-off: a restart neither forgets a message nor hammers.
func TestOutboxSurvivesRestarts(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	id := a.send(b, "hello")
	w.pass(2 * time.Hour)
	next := a.status(id).Deliveries[0].NextTry
	attempts := a.status(id).Deliveries[0].Attempts
	if attempts < 5 || !next.After(w.now.Add(time.Second)) {
		t.Fatalf("control: %d attempts, next at %v", attempts, next)
	}
	for range 50 {
		a.stop()
		a.start()
		w.pass(10 * time.Millisecond)
	}
	if got := a.status(id).Deliveries[0]; got.Attempts > attempts+1 || got.NextTry.Before(next.Add(-time.Second)) {
		t.Errorf("50 restarts: %d attempts after %d, next at %v after %v", got.Attempts, attempts, got.NextTry, next)
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
}

// A network that comes back after hours is used at once, whatever the back-off says.
func TestNetworkComesBack(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	for _, r := range w.relays {
		r.up = false
		a.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, r.self.ID) })
	}
	a.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, b.self.ID) })
	id := a.send(b, "hello")
	w.pass(9 * time.Hour)
	if next := a.status(id).Deliveries[0].NextTry; next.Before(w.now.Add(2 * time.Minute)) {
		t.Fatalf("control: it would be tried soon in any case: in %v", next.Sub(w.now))
	}
	for _, r := range w.relays {
		r.up = true
	}
	a.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, w.relays[0].self.ID) })
	w.pass(10 * time.Second)
	if s := a.stage(id); s != view.StageCustody {
		t.Errorf("ten seconds after the network came back: %s", s)
	}
}
