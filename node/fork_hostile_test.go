package node_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// forge signs, with somebody's real account key, a list that follows first and names a device of an attacker beside.
func (w *world) forge(name string, first *identity.DeviceList, seq uint64) (*identity.DeviceList, *identity.DeviceKeys) {
	w.t.Helper()
	keys, err := identity.NewDeviceKeys(seeded("ghost"))
	w.must(err)
	d := keys.Public(0, seq)
	return w.sign(name, first.Epoch(), first, seq, first.Hash(), append(first.Devices(), d)...), keys
}

func (d *device) code(of *device) string {
	d.w.t.Helper()
	var v view.Contact
	d.w.must(d.store.View(func(tx store.Tx) (err error) { v, err = node.Contact(tx, nil, of.user()); return err }))
	return v.Code
}

func (d *device) compare(with *device, code string) (found *view.Problem) {
	d.w.t.Helper()
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) (err error) {
		_, found, err = e.CompareCode(t, with.user(), code)
		return err
	}))
	d.w.settle()
	return found
}

func proofText(t *testing.T, a, b *identity.DeviceList) string {
	t.Helper()
	p, err := witness.NewProof(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return p.Text()
}

func (d *device) proof(who string) (v view.Proof, err error) {
	err = d.store.View(func(tx store.Tx) (err error) { v, err = node.Proof(tx, who); return err })
	return v, err
}

// served is a directory that shows one reader another list of alice than everybody else.
func (w *world) served(reader *device, key string, raw []byte) {
	w.lookup = func(d *device, k string) []byte {
		if d == reader && k == key {
			return raw
		}
		return w.records[k]
	}
}

// Whoever has alice's account key serves carol a list with one device more, and everybody else the honest one. One message
// each way between carol and alice shows both of them two lists with one number: carol stops, alice tells all who know her,
// each holds a proof that a stranger can check. The control, without the other list, sees nothing.
func TestForkServedToTwoReaders(t *testing.T) {
	for _, attack := range []bool{false, true} {
		w, a, _, b := trio(t)
		carol := w.person("carol")
		w.befriend(carol, a)
		carol2 := carol.link("carol's second")
		w.pass(time.Minute)
		key, honest := w.list(a)
		a2 := honest.Devices()[1]
		next := w.sign("alice", 1, honest, honest.Seq()+1, honest.Hash(), honest.Devices()[0])
		_ = a2
		forged, _ := w.forge("alice", honest, honest.Seq()+1)
		if attack {
			w.served(carol, key, forged.Bytes())
			carol.looked(key, forged.Bytes())
		} else {
			carol.looked(key, next.Bytes())
		}
		a.looked(key, next.Bytes())
		w.pass(time.Second)
		carol.send(a, "hello")
		w.pass(time.Second)
		for _, d := range []*device{carol, carol2, b} {
			p, err := d.proof(a.user())
			if (err == nil) != attack || d.contact(a.user()).EpochChanged != attack {
				t.Errorf("attack %v: %s has %v, %v", attack, d.name, p, err)
			}
			if !attack {
				continue
			}
			if _, v, err := node.ReadProof(nil, p.Text); err != nil || v.User != a.user() {
				t.Errorf("a stranger does not believe %s's proof: %v", d.name, err)
			}
			if _, err := d.trySend(a, "no"); !errors.Is(err, view.ErrEpochChanged) {
				t.Errorf("%s sends: %v", d.name, err)
			}
		}
		if a.warned("account key") != attack {
			t.Errorf("attack %v: alice is told: %v", attack, !attack)
		}
		if _, err := a.proof("me"); (err == nil) != attack {
			t.Errorf("attack %v: alice's own proof: %v", attack, err)
		}
	}
}

// A proof that somebody mails counts as one's own find: sending stops, also what was queued, and goes on when a person
// accepts. One of a stranger, or one that was changed, does nothing.
func TestProofFromElsewhere(t *testing.T) {
	w, a, b := pair(t)
	_, first := w.list(a)
	a.stop()
	queued := b.send(a, "queued before")
	w.pass(time.Minute)
	next := w.sign("alice", 1, first, 2, first.Hash(), first.Devices()...)
	forged, _ := w.forge("alice", first, 2)
	dave := w.person("dave") // knows nobody, and finds both lists
	take := func(d *device, text string) (v view.Proof, err error) {
		err = d.do(func(e *node.Engine, t *node.Turn) (err error) { v, err = e.TakeProof(t, text); return err })
		w.settle()
		return v, err
	}
	p := proofText(t, next, forged)
	if v, err := take(dave, p); err != nil || v.Held || v.Handle != "" {
		t.Errorf("dave: %+v, %v", v, err)
	}
	if _, err := take(b, strings.Replace(p, "A", "B", 1)); !errors.Is(err, view.ErrRefused) {
		t.Errorf("a changed proof: %v", err)
	}
	if b.contact(a.user()).EpochChanged {
		t.Fatal("control: blocked before")
	}
	if v, err := take(b, p); err != nil || !v.Held || v.Handle != "alice" {
		t.Errorf("bob: %+v, %v", v, err)
	}
	w.lookup = func(d *device, k string) []byte { return nil }
	w.sent = nil
	a.start()
	a.meetDevice(b)
	w.pass(time.Minute)
	if s := b.stage(queued); s != view.StageQueued && s != view.StageWaiting {
		t.Errorf("what was queued is %s", s)
	}
	w.must(b.change((*node.Engine).AcceptContact, a))
	b.send(a, "after")
	w.pass(time.Minute)
	wantTexts(t, a, b, "queued before", "after")
}

// A device that is linked later holds back as well. Control: before the proof it sends.
func TestANewDeviceHearsOfProofs(t *testing.T) {
	for _, proven := range []bool{false, true} {
		w, a, b := pair(t)
		_, first := w.list(a)
		next := w.sign("alice", 1, first, 2, first.Hash(), first.Devices()...)
		forged, _ := w.forge("alice", first, 2)
		text := proofText(t, next, forged)
		if proven {
			w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.TakeProof(t, text); return err }))
		}
		second := b.link("bob's second")
		w.pass(time.Minute)
		if _, err := second.trySend(a, "hello"); errors.Is(err, view.ErrEpochChanged) != proven || !proven && err != nil {
			t.Errorf("proven %v: %v", proven, err)
		}
	}
}

// One scan shows a device that somebody added in secret, and that one of two people is behind; what is missing is looked
// for, and then the codes agree.
func TestCodesExcludeGhosts(t *testing.T) {
	w, a, b := pair(t)
	if f := b.compare(a, a.code(b)); f != nil {
		t.Fatalf("control: %v", f)
	}
	if f := b.compare(a, b.code(a)); f == nil || !errors.Is(f, view.ErrEpochChanged) {
		t.Errorf("one's own code: %v", f)
	}
	key, first := w.list(a)

	// Bob is behind: alice has a device more.
	w.hide(b, dht.KindUser)
	w.lose = func(p parcel) bool { return p.to == b || p.from == b }
	a2 := a.link("alice's second")
	_ = a2
	w.pass(time.Minute)
	if f := b.compare(a, a.code(b)); !errors.Is(f, view.ErrRefused) || !contains(f.Message, "newer") && !contains(f.Message, "does not know yet") {
		t.Errorf("bob is behind: %v", f)
	}
	w.lookup, w.lose = nil, nil
	b.compare(a, a.code(b))
	w.pass(time.Minute)
	if f := b.compare(a, a.code(b)); f != nil {
		t.Errorf("after looking: %v", f)
	}

	// Whoever has the account key shows bob a device more, and nobody else.
	_, now := w.list(a)
	ghost, _ := w.forge("alice", now, now.Seq()+1)
	w.lose = func(p parcel) bool { return true }
	b.looked(key, ghost.Bytes())
	if f := b.compare(a, a.code(b)); !errors.Is(f, view.ErrEpochChanged) || !contains(f.Message, "added a device") {
		t.Errorf("a ghost: %v", f)
	}
	_ = first
}

// Until a verified contact's new account epoch is accepted its devices are held apart by every way: what they say, what
// they sign in a group, and what another device of ours passes on without a person's word. Then all of it counts. The
// control is a contact that nobody verified.
func TestQuarantine(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b2 := b.link("bob's second")
	w.pass(time.Minute)
	carol := w.person("carol")
	w.befriend(carol, a)
	w.befriend(carol, b)
	g, err := carol.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "friends", []string{"alice", "bob"})
	})
	w.must(err)
	_, err = carol.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.SetGroupAdmin(t, g.Handle, "alice", true)
	})
	w.must(err)
	w.pass(time.Minute)
	a.stop()
	again := w.recover(a, "alice again")
	w.pass(time.Minute)
	w.must(carol.do(func(e *node.Engine, t *node.Turn) error {
		e.Looked(t, dht.UserKey(w.listNow(again).User()), w.listNow(again).Bytes())
		return nil
	}))
	w.must(carol.change((*node.Engine).AcceptContact, again))
	w.pass(time.Minute)
	for _, d := range []*device{b, b2} {
		d.looked(dht.UserKey(w.listNow(again).User()), w.listNow(again).Bytes())
		if !d.contact(again.user()).EpochChanged {
			t.Fatalf("control: %s does not hold the new epoch", d.name)
		}
	}

	// A rename on one device goes to the other: it is no acceptance.
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, again.user(), "al"); return err }))
	w.pass(time.Minute)
	if c := b2.contact(again.user()); !c.EpochChanged || c.Handle != "al" {
		t.Errorf("after a rename elsewhere: %+v", c)
	}
	if _, err := again.ask(b, "me"); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	for _, d := range []*device{b, b2} {
		if c := d.contact(again.user()); !c.EpochChanged {
			t.Errorf("%s took the new epoch", d.name)
		}
	}

	// Carol accepted her, so she is in the group again, and names it. Carol's words carry that entry to bob.
	if _, err := again.ask(carol, ""); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	_, err = carol.tell(g.Handle, "welcome back")
	w.must(err)
	w.pass(time.Minute)
	_, err = again.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.NameGroup(t, again.groupOf().Handle, "enemies")
	})
	w.must(err)
	w.pass(time.Minute)
	_, err = carol.tell(carol.groupOf().Handle, "what is this?")
	w.must(err)
	w.pass(10 * time.Minute)
	if carol.groupOf().Name != "enemies" {
		t.Fatalf("control: carol calls the group %q", carol.groupOf().Name)
	}
	for _, d := range []*device{b, b2} {
		if got := d.groupOf().Name; got != "friends" {
			t.Errorf("%s calls the group %q", d.name, got)
		}
	}

	w.must(b.change((*node.Engine).AcceptContact, again))
	w.pass(time.Minute)
	_, err = carol.tell(carol.groupOf().Handle, "and now?")
	w.must(err)
	w.pass(10 * time.Minute)
	for _, d := range []*device{b, b2} {
		if c := d.contact(again.user()); c.EpochChanged {
			t.Errorf("%s does not know that it was accepted", d.name)
		}
		if got := d.groupOf().Name; got != "enemies" {
			t.Errorf("after accepting %s calls the group %q", d.name, got)
		}
	}
}

// groupOf is how a device calls the one group that it is in.
func (d *device) groupOf() (g view.Group) {
	d.w.must(d.store.View(func(tx store.Tx) error {
		for _, c := range talk.Groups(tx) {
			g = talk.GroupView(tx, talk.Me(tx), c)
		}
		return nil
	}))
	return g
}

func (w *world) listNow(d *device) *identity.DeviceList {
	w.t.Helper()
	_, l := w.list(d)
	return l
}

// One device of ours took a new epoch of a contact whom nobody had verified there, while on another a person verified the
// contact: that one holds it, until a person says so.
func TestSyncIsNoAcceptance(t *testing.T) {
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
	b2 := b.link("bob's second")
	w.pass(time.Minute)
	au, _ := node.ParseUser(a.user())
	bu, _ := node.ParseUser(b.user())
	w.lose = func(p parcel) bool { return p.to == b || p.to == b2 || p.relay != nil }
	w.must(b2.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.VerifyContact(t, a.user(), identity.SafetyNumber(au, bu))
		return err
	}))
	w.pass(time.Second)
	a.stop()
	again := w.recover(a, "alice again")
	w.pass(time.Second)
	next := w.listNow(again)
	b.looked(dht.UserKey(au), next.Bytes())
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, a.user(), "al"); return err }))
	w.lookup = func(*device, string) []byte { return nil }
	w.lose = nil
	w.pass(time.Hour)
	if b.contact(a.user()).EpochChanged {
		t.Error("control: the device on which nobody verified alice holds her new epoch")
	}
	if c := b2.contact(a.user()); !c.EpochChanged || !c.Verified || c.Handle != "al" {
		t.Errorf("the device on which she was verified has %+v", c)
	}
	w.must(b2.change((*node.Engine).AcceptContact, a))
	if b2.contact(a.user()).EpochChanged {
		t.Error("accepting does not end it")
	}
}
