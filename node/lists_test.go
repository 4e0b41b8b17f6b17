package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// root is the recovery phrase of a person of the world.
func root(name string) *identity.Root {
	var seed [32]byte
	copy(seed[:], "root of "+name)
	return identity.NewRootFromSeed(seed)
}

// list is the newest list of a person in the directory.
func (w *world) list(d *device) (string, *identity.DeviceList) {
	w.t.Helper()
	for key, raw := range w.records {
		if l, err := listOf(raw); err == nil && l.User().String() == d.user() {
			return key, l
		}
	}
	w.t.Fatal("no list")
	return "", nil
}

// sign makes a list that follows l, with the person's real account key of an epoch.
func (w *world) sign(name string, epoch uint32, l *identity.DeviceList, seq uint64, prev [32]byte, devices ...identity.Device) *identity.DeviceList {
	w.t.Helper()
	next, err := root(name).Account(epoch).SignList(identity.ListFields{
		Seq: seq, Prev: prev, Issued: w.now, NotAfter: w.now.Add(14 * 24 * time.Hour), Devices: devices,
	})
	w.must(err)
	return next
}

func (d *device) looked(key string, raw []byte) {
	d.input(func(e *node.Engine, t *node.Turn) { e.Looked(t, key, raw) })
	d.w.settle()
}

func (d *device) remove(who *device) {
	d.w.t.Helper()
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, who.id()); return err }))
	d.w.settle()
}

// trio is alice with two devices, both known to bob, everybody connected.
func trio(t *testing.T, relays ...string) (w *world, a, a2, b *device) {
	w, a, b = pair(t, relays...)
	a2 = a.link("alice-2")
	b.meetDevice(a2)
	w.pass(2 * time.Minute)
	b.send(a, "before")
	w.pass(time.Minute)
	wantTexts(t, a2, b, "before") // control: the second device is served while it is listed
	w.sent = nil
	return w, a, a2, b
}

// Whoever has seen the new list sends nothing to the device that it does not name: neither over a stream, nor through
// its relays, nor what was queued before, nor what was planned earlier in the same turn.
func TestRemovedDeviceGetsNothing(t *testing.T) {
	w, a, a2, b := trio(t, "r1", "r2", "r3")
	a2.stop()
	queued := b.send(a, "queued for both")
	w.pass(30 * time.Second)
	b.stop()
	a.remove(a2)
	w.pass(time.Second)
	_, next := w.list(a)
	w.lose = func(p parcel) bool { return p.to == b } // nobody but the directory tells
	b.start()
	w.sent = nil
	w.must(b.do(func(e *node.Engine, t *node.Turn) error {
		if _, err := e.Send(t, node.SendRequest{To: a.user(), Text: "planned in the turn that learns"}); err != nil {
			return err
		}
		e.Looked(t, dht.UserKey(next.User()), next.Bytes())
		return nil
	}))
	w.lose = nil
	w.settle()
	b.send(a, "after")
	a2.start()
	a2.meetDevice(b)
	w.pass(2 * time.Hour)
	if n := count(w.sent, func(p parcel) bool { return p.from == b && p.to == a2 }); n != 0 {
		t.Errorf("%d envelopes went to the removed device", n)
	}
	boxes := map[string]bool{}
	w.must(a2.store.View(func(tx store.Tx) error {
		for _, x := range a2.engine.Watches(&node.Turn{Now: w.now, Tx: tx, Out: &node.Effects{}}) {
			boxes[string(x.Box[:])] = true
		}
		return nil
	}))
	if n := count(w.sent, func(p parcel) bool { return p.from == b && p.relay != nil && boxes[string(p.box[:])] }); n != 0 {
		t.Errorf("%d envelopes went into the removed device's boxes", n)
	}
	for _, x := range b.status(queued).Deliveries {
		if x.Device == a2.id() && x.Stage != view.StageDropped {
			t.Errorf("the queued delivery is %s", x.Stage)
		}
	}
	wantTexts(t, a, b, "before", "queued for both", "planned in the turn that learns", "after")
}

// What a removed device says is not heard, in its old session or in a new one.
func TestRemovedDeviceIsNotHeard(t *testing.T) {
	w, a, a2, b := trio(t)
	a2.stop()
	a.remove(a2)
	w.pass(time.Minute)
	own, _ := w.list(a)
	w.lookup = func(d *device, key string) []byte {
		if d == a2 && key == own {
			return nil // it does not know, or does not want to
		}
		return w.records[key]
	}
	w.lose = func(p parcel) bool { return p.to == a2 }
	a2.start()
	if a2.identity().Removed {
		t.Fatal("control: it knows")
	}
	b2 := b.link("bob-2")
	b2.meetDevice(a2)
	w.pass(25 * time.Hour)
	_, _ = a2.trySend(b, "still me")
	w.pass(10 * time.Minute)
	_, _ = a2.trySend(b, "still me, to the new device as well")
	w.pass(10 * time.Minute)
	for _, d := range []*device{b, b2} {
		if count(w.sent, func(p parcel) bool { return p.from == a2 && p.to == d }) == 0 {
			t.Fatalf("control: it sent nothing to %s", d.name)
		}
		if len(d.texts(a)) > 1 {
			t.Errorf("%s shows %q", d.name, d.texts(a))
		}
		if n := d.rows(store.BucketParked); n != 0 {
			t.Errorf("%s keeps %d envelopes of it", d.name, n)
		}
	}
}

// A sender that the directory is withheld from learns of a removal from any message of any other device.
func TestStaleListIsCorrectedInSession(t *testing.T) {
	w, a, a2, b := trio(t)
	b.stop()
	w.lose = func(p parcel) bool { return p.from == a && p.to == b } // the push goes nowhere
	a.remove(a2)
	w.pass(time.Minute)
	w.hide(b, dht.KindUser)
	b.start()
	if b.contact(a.user()).Devices != 2 {
		t.Fatal("control: bob knows already")
	}
	for _, d := range []*device{a} { // drop the push for good: what is repaired is not the point here
		w.must(d.do(func(e *node.Engine, t *node.Turn) error { return nil }))
	}
	w.lose = nil
	b.send(a, "hello")
	w.pass(10 * time.Second)
	if n := b.contact(a.user()).Devices; n != 1 {
		t.Errorf("bob still believes in %d devices", n)
	}
}

// A verified contact with a new account key gets nothing until a person accepts it: neither new messages nor queued
// ones. The old list's stolen device gets nothing ever.
func TestNewEpochStopsSending(t *testing.T) {
	w, a, b := pair(t)
	a.stop()
	queued := b.send(a, "queued")
	w.pass(time.Minute)
	keys, err := identity.NewDeviceKeys(seeded("recovered"))
	w.must(err)
	key, old := w.list(a)
	next := w.sign("alice", 2, old, 1, [32]byte{}, keys.Public(identity.FlagAdmin, 1))
	b.looked(key, next.Bytes())
	b.looked(key, next.Bytes())
	if n := count(b.notices, func(n view.Notice) bool { return n.Type == "identity" }); n != 1 {
		t.Errorf("told %d times", n)
	}
	if !b.contact(a.user()).EpochChanged {
		t.Fatal("not shown")
	}
	_, err = b.trySend(a, "no")
	if !errors.Is(err, view.ErrEpochChanged) {
		t.Errorf("sending: %v", err)
	}
	w.sent = nil
	a.start() // the thief
	a.meetDevice(b)
	w.pass(time.Hour)
	if n := count(w.sent, func(p parcel) bool { return p.from == b }); n != 0 {
		t.Errorf("%d envelopes left although nobody accepted", n)
	}
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.AcceptContact(t, a.user()); return err }))
	w.pass(time.Hour)
	if c := b.contact(a.user()); c.EpochChanged || c.Verified || c.State != "accepted" {
		t.Errorf("after accepting: %+v", c)
	}
	if n := count(w.sent, func(p parcel) bool { return p.from == b && p.to == a }); n != 0 {
		t.Errorf("%d envelopes went to the old list's device", n)
	}
	if n := len(b.status(queued).Deliveries); n != 2 {
		t.Errorf("the queued message has %d deliveries: it is not on its way to the new device", n)
	}
	if _, err := b.trySend(a, "yes"); err != nil {
		t.Error(err)
	}
}

// Lists that were forged, rolled back or forked change nothing; a fork is shown and stops sending until accepted.
func TestHostileLists(t *testing.T) {
	w, a, a2, b := trio(t)
	key, first := w.list(a)
	evil, err := identity.NewDeviceKeys(seeded("evil"))
	w.must(err)
	forged := w.sign("mallory", 1, first, first.Seq()+1, first.Hash(), evil.Public(identity.FlagAdmin, 1))
	b.looked(key, forged.Bytes())
	a.remove(a2)
	w.pass(time.Minute)
	if n := b.contact(a.user()).Devices; n != 1 {
		t.Fatalf("control: the honest list is not known: %d devices", n)
	}
	b.looked(key, first.Bytes())
	if n := b.contact(a.user()).Devices; n != 1 || b.warned("") {
		t.Errorf("a rolled-back list: %d devices", n)
	}
	_, now := w.list(a)
	fork := w.sign("alice", 1, first, now.Seq(), first.Hash(), evil.Public(identity.FlagAdmin, 1))
	b.looked(key, fork.Bytes())
	b.looked(key, fork.Bytes())
	if n := count(b.notices, func(n view.Notice) bool { return n.Type == "identity" }); n != 1 {
		t.Errorf("told %d times of a fork", n)
	}
	if _, err := b.trySend(a, "no"); !errors.Is(err, view.ErrEpochChanged) {
		t.Errorf("sending over a fork: %v", err)
	}
	a.looked(key, fork.Bytes())
	if !a.warned("account key") {
		t.Error("alice is not told of the fork of her own list")
	}
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.AcceptContact(t, a.user()); return err }))
	b.looked(key, fork.Bytes())
	b.send(a, "yes")
	w.pass(time.Minute)
	wantTexts(t, a, b, "before", "yes")
}

// A device record that is not the device's own, or older than the one known, changes nothing.
func TestHostileRecords(t *testing.T) {
	w, a, a2, b := trio(t)
	_, list := w.list(a)
	key := dht.DeviceKey(list.Devices()[0].ID())
	first := w.records[key]
	w.pass(36 * time.Hour) // the bundle rotates
	second := w.records[key]
	if string(first) == string(second) {
		t.Fatal("control: the record did not change")
	}
	b.looked(key, second)
	before := b.dump()
	b.looked(key, first)
	other := w.records[dht.DeviceKey(list.Devices()[1].ID())]
	b.looked(key, other)
	b.looked(key, append(append([]byte{}, second[:len(second)-1]...), second[len(second)-1]^1))
	if b.dump() != before {
		t.Error("a hostile record changed the store")
	}
	_ = a2
	// A device cannot be claimed by somebody else's list.
	mallory := w.person("mallory")
	w.befriend(b, mallory)
	mkey, mlist := w.list(mallory)
	claim := w.sign("mallory", 1, mlist, mlist.Seq()+1, mlist.Hash(), append(mlist.Devices(), list.Devices()[1])...)
	b.looked(mkey, claim.Bytes())
	w.pass(time.Minute)
	w.sent = nil
	b.send(mallory, "for mallory only")
	w.pass(time.Minute)
	if n := count(w.sent, func(p parcel) bool { return p.from == b && p.to == a2 }); n != 0 {
		t.Errorf("%d envelopes went to a device that never said it is mallory's", n)
	}
	b.send(a, "and alice's second device is still hers")
	w.pass(time.Minute)
	wantTexts(t, a2, b, "before", "and alice's second device is still hers")
}

// A contact that claims our friend's peer as its own does not cut the friend off.
func TestClaimedEndpoint(t *testing.T) {
	w, a, b := pair(t)
	mallory := w.person("mallory")
	w.befriend(b, mallory)
	mallory.self.ID = a.self.ID
	honest := mallory.links
	mallory.input(func(e *node.Engine, t *node.Turn) { e.SetHost(t, mallory.self) })
	w.pass(time.Minute)
	mallory.links = honest
	b.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, a.self.ID) })
	a.stop()
	id := b.send(a, "hi")
	w.pass(20 * time.Hour)
	w.sent = nil
	a.start()
	w.pass(10 * time.Second)
	if s := b.stage(id); s != view.StageDelivered {
		t.Errorf("a connection of alice did not wake what waits for her: %s", s)
	}
}
