package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Whoever comes back with the recovery words stands above every account epoch before, without having to find its list:
// a second list of the first epoch would be a fork of one's own identity.
func TestRecoveryIsANewEpoch(t *testing.T) {
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	first, again := node.RecoveryEpoch(day), node.RecoveryEpoch(day.Add(2*time.Minute))
	if first < 2 || again <= first {
		t.Errorf("epochs %d, %d: neither above the first account nor rising", first, again)
	}
	for _, clock := range []time.Time{{}, time.Unix(0, 0), day.AddDate(9000, 0, 0)} {
		if e := node.RecoveryEpoch(clock); e < 2 {
			t.Errorf("clock at %v: epoch %d collides with the first account", clock, e)
		}
	}
}

// recover is a person who comes back with nothing but the recovery phrase.
func (w *world) recover(of *device, name string) *device {
	w.t.Helper()
	d := w.blank(name)
	person := w.personOf(of)
	w.must(d.store.Update(func(tx store.Tx) error {
		return node.Create(d.turn(tx), node.CreateParams{Root: root(person), Name: person, DeviceName: name, Epoch: node.RecoveryEpoch(w.now)})
	}))
	d.start()
	return d
}

// personOf is by what name the world made somebody's root.
func (w *world) personOf(d *device) string {
	for _, o := range w.devices {
		if u := root(o.name).User(); u.String() == d.user() {
			return o.name
		}
	}
	w.t.Fatal("nobody's device")
	return ""
}

// Whoever comes back with the phrase is alone on the new list. The old devices find out by themselves, say so, tell the
// contacts as their last word, take nothing more in and send nothing more. A contact who verified the person stops, shows
// both keys, and goes on when it is accepted: with what was written before, too.
func TestRecovery(t *testing.T) {
	w, a, a2, b := trio(t, "r1", "r2", "r3")
	user := a.user()
	_, old := w.list(a)
	a.stop()
	a2.stop()
	waits := b.send(a, "written to devices that are lost")
	w.pass(time.Minute)
	again := w.recover(a, "alice again")
	w.pass(time.Minute)
	if b.contact(user).EpochChanged {
		t.Fatal("control: bob knows already")
	}
	a.start()
	w.pass(time.Minute)
	if !a.identity().Removed || !a.noticed("begun anew") {
		t.Error("the old admin device does not know that it is out")
	}
	if c := b.contact(again.user()); !c.EpochChanged || !b.noticed("nothing is sent") {
		t.Errorf("bob was not told by the old device: %+v", c)
	}
	_, err := b.trySend(again, "no")
	_, next := w.list(a)
	if !errors.Is(err, view.ErrEpochChanged) || !contains(err.Error(), old.Fingerprint()) || !contains(err.Error(), next.Fingerprint()) {
		t.Errorf("sending: %v", err)
	}
	if _, err := a.trySend(b, "still me"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("an old device sends: %v", err)
	}
	if n := len(a.texts(b)); n != 1 {
		t.Errorf("the old device shows %d texts: it took in what came after", n)
	}

	// What the new device says is held apart, until bob accepts it.
	w.sent = nil
	if _, err := again.ask(b, "me, from a new machine"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	if n := count(w.sent, func(p parcel) bool { return p.from == b && p.to == again }); n != 0 {
		t.Errorf("bob sent %d envelopes to devices that nobody accepted", n)
	}
	w.must(b.change((*node.Engine).AcceptContact, again))
	w.pass(2 * time.Hour)
	wantTexts(t, again, b, "written to devices that are lost")
	if s := b.status(waits).Stage; s != view.StageDelivered {
		t.Errorf("the message that waited is %s", s)
	}
	again.send(b, "hello again")
	w.pass(time.Minute)
	wantTexts(t, b, again, "before", "written to devices that are lost", "hello again")
	a2.start()
	w.pass(time.Minute)
	if !a2.identity().Removed {
		t.Error("the old second device does not know that it is out")
	}
}

// A device that runs on finds out within hours that it is out, although nobody tells it; a control that cannot look stays.
func TestOldDevicesLookForThemselves(t *testing.T) {
	w, a, a2, _ := trio(t)
	w.hide(a2, dht.KindUser)
	w.lose = func(p parcel) bool { return p.to == a2 }
	w.recover(a, "alice again")
	w.pass(9 * time.Hour)
	if !a.identity().Removed {
		t.Error("the admin device did not look")
	}
	if a2.identity().Removed {
		t.Error("control: who cannot look knows nevertheless")
	}
}

// Of a contact whom nobody verified a new epoch is taken and told; what waited goes to the new devices.
func TestRecoveryOfAnUnverifiedContact(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a, b := w.person("alice"), w.person("bob")
	if _, err := b.ask(a, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	w.must(a.change((*node.Engine).AcceptContact, b))
	w.pass(time.Minute)
	user := a.user()
	a.stop()
	again := w.recover(a, "alice again")
	w.pass(25 * time.Hour)
	id, err := b.trySend(again, "to whoever she is now")
	w.must(err)
	w.pass(time.Minute)
	if c := b.contact(user); c.EpochChanged || c.Verified || !b.noticed("new account key") {
		t.Errorf("bob has %+v", c)
	}
	for _, d := range b.status(id).Deliveries {
		if d.Device == again.id() {
			return
		}
	}
	t.Error("nothing is on its way to the new device")
}
