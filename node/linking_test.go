package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func (d *device) offer() string {
	d.w.t.Helper()
	var v view.Invite
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) (err error) { v, err = e.OfferDevice(t, 0); return err }))
	return v.Text
}

func (d *device) hello(frame []byte) (out []byte, err error) {
	err = d.do(func(e *node.Engine, t *node.Turn) (err error) { out, err = e.LinkHello(t, frame); return err })
	return out, err
}

func (d *device) record(frame []byte) (out []byte, err error) {
	err = d.do(func(e *node.Engine, t *node.Turn) (err error) { out, err = e.LinkRecord(t, frame); return err })
	return out, err
}

// Every frame may come again, its answer having been lost, also after a restart; a second device cannot use the link.
func TestLinkingFramesMayRepeat(t *testing.T) {
	w, a, b := pair(t, "r1")
	text := a.offer()
	n := w.blank("alice-2")
	l, err := node.NewLinker(w.now, n.rng, text, "two")
	w.must(err)
	first, err := a.hello(l.Hello())
	w.must(err)
	a.stop()
	a.start()
	again, err := a.hello(l.Hello())
	w.must(err)
	if string(first) == string(again) {
		t.Error("control: the answer is sealed anew each time")
	}
	other, err := node.NewLinker(w.now, seeded("other"), text, "three")
	w.must(err)
	if _, err := a.hello(other.Hello()); err == nil {
		t.Error("a second device may use the link")
	}
	var record []byte
	w.must(n.store.Update(func(tx store.Tx) (err error) { record, err = l.Welcome(n.turn(tx), again, n.self); return err }))
	for range 2 {
		w.settle()
		listed, err := a.record(record)
		w.must(err)
		a.stop()
		a.start()
		w.must(n.store.Update(func(tx store.Tx) error { return l.Finish(n.turn(tx), listed) }))
	}
	_, list := w.list(a)
	if len(list.Devices()) != 2 || list.Seq() != 2 {
		t.Errorf("number %d of the list names %d devices", list.Seq(), len(list.Devices()))
	}
	n.start()
	n.meetDevice(a)
	n.meetDevice(b)
	w.pass(2 * time.Minute)
	b.send(a, "hello both")
	n.send(b, "from the new one")
	w.pass(time.Minute)
	wantTexts(t, n, b, "hello both", "from the new one")
	wantTexts(t, a, b, "hello both", "from the new one")
}

// Without the link's secret nothing is answered and nothing changes; with it, after it expired, neither.
func TestLinkingNeedsTheSecret(t *testing.T) {
	w, a, _ := pair(t)
	text := a.offer()
	forged, err := link.Parse(text)
	w.must(err)
	forged.Secret[3] ^= 1
	l, err := node.NewLinker(w.now, seeded("mallory"), forged.Text(), "m")
	w.must(err)
	before := a.dump()
	hello := l.Hello()
	right, err := link.Parse(text)
	w.must(err)
	id := right.ID()
	named := append(append([]byte{}, id[:]...), hello[8:]...) // the right link's id, another's MAC
	for name, frame := range map[string][]byte{"another secret": hello, "the link's id": named, "nothing": nil, "half": hello[:len(hello)/2]} {
		if _, err := a.hello(frame); err == nil {
			t.Errorf("%s is answered", name)
		}
		if _, err := a.record(frame); err == nil {
			t.Errorf("%s is listed", name)
		}
	}
	if a.dump() != before {
		t.Error("the store changed")
	}
	honest, err := node.NewLinker(w.now, seeded("honest"), text, "two")
	w.must(err)
	sealed, err := a.hello(honest.Hello())
	w.must(err) // control
	if a.dump() == before {
		t.Error("control: the honest hello changes nothing either")
	}
	n := w.blank("wrong")
	if err := n.store.Update(func(tx store.Tx) error { _, err := l.Welcome(n.turn(tx), sealed, n.self); return err }); err == nil {
		t.Error("a snapshot sealed for another opens")
	}
	late := a.offer()
	l, err = node.NewLinker(w.now, seeded("late"), late, "late")
	w.must(err)
	w.pass(3 * time.Hour)
	if _, err := a.hello(l.Hello()); err == nil {
		t.Error("an expired link works")
	}
}

// Only the admin device adds and removes devices; others name it.
func TestOnlyTheAdminDeviceChangesTheList(t *testing.T) {
	w, a, _ := pair(t)
	a2 := a.link("alice-2")
	for name, do := range map[string]func(*node.Engine, *node.Turn) error{
		"add":    func(e *node.Engine, t *node.Turn) error { _, err := e.OfferDevice(t, 0); return err },
		"remove": func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, a.id()); return err },
		"leave":  func(e *node.Engine, t *node.Turn) error { _, err := e.Leave(t, true); return err },
	} {
		if err := a2.do(do); err == nil {
			t.Errorf("%s works on the second device", name)
		}
	}
	a.remove(a2) // control
	w.pass(time.Second)
	if _, list := w.list(a); len(list.Devices()) != 1 {
		t.Error("control: it does not work on the admin device either")
	}
}

// A linked device knows what the other knows: contacts with their verification, and whom it blocks. What changes later
// follows.
func TestDevicesStayInStep(t *testing.T) {
	w, a, b := pair(t)
	c := w.person("carol")
	w.befriend(a, c)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.BlockContact(t, c.user()); return err }))
	a2 := a.link("alice-2")
	w.pass(time.Minute)
	for _, x := range []*device{b, c} {
		got, want := a2.contact(x.user()), a.contact(x.user())
		if got.State != want.State || got.Verified != want.Verified || got.Handle != want.Handle {
			t.Errorf("the new device sees %+v, the old one %+v", got, want)
		}
	}
	w.must(a2.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, b.user(), "robert"); return err }))
	d := w.person("dora")
	a2.meetDevice(d)
	a.meetDevice(d)
	w.must(d.join(a2.invite()))
	w.pass(2 * time.Minute)
	if got := a.contact(b.user()); got.Handle != "robert" {
		t.Errorf("the old device calls him %q", got.Handle)
	}
	if got := a.contact(d.user()); got.State != "accepted" {
		t.Errorf("the old device sees the new friend as %+v", got)
	}
	d.send(a, "hi both")
	w.pass(time.Minute)
	wantTexts(t, a, d, "hi both")
	wantTexts(t, a2, d, "hi both")
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, d.user()); return err }))
	w.pass(time.Minute)
	for _, x := range []*device{a, a2} {
		w.must(x.store.View(func(tx store.Tx) error {
			all, err := talk.Inbox(tx)
			for _, chat := range all {
				if chat.Unread != 0 {
					t.Errorf("%s shows %d unread of %s", x.name, chat.Unread, chat.Handle)
				}
			}
			return err
		}))
	}
}

// More contacts than fit the snapshot come by sync.
func TestManyContactsReachANewDevice(t *testing.T) {
	w := newWorld(t)
	a := w.person("alice")
	const many = 1500
	for i := range many {
		name := fmt.Sprintf("friend %d", i)
		list := w.list0(name)
		a.adopt(list, name)
	}
	n, err := a.tryLink("alice-2")
	w.must(err)
	inSnapshot := n.rows(store.BucketContacts)
	if inSnapshot == many || inSnapshot == 0 {
		t.Fatalf("control: %d contacts fit the snapshot", inSnapshot)
	}
	n.start()
	n.meetDevice(a)
	w.pass(10 * time.Minute)
	if got := n.rows(store.BucketContacts); got != many {
		t.Errorf("the new device knows %d of %d contacts", got, many)
	}
}

// One idempotency key is one message, also after a restart.
func TestIdempotentSend(t *testing.T) {
	w, a, b := pair(t)
	ids := map[string]bool{}
	for range 3 {
		w.must(a.do(func(e *node.Engine, t *node.Turn) error {
			v, err := e.Send(t, node.SendRequest{To: b.user(), Text: "once", Key: "k1"})
			ids[v.ID] = true
			return err
		}))
		a.stop()
		a.start()
	}
	a.send(b, "once")
	w.pass(time.Minute)
	if len(ids) != 1 {
		t.Errorf("%d messages for one key", len(ids))
	}
	wantTexts(t, b, a, "once", "once")
}

// What was read on one device before it came to another is read there, too.
func TestReadBeforeItArrives(t *testing.T) {
	w, a, b := pair(t, "r1")
	a2 := a.link("alice-2")
	a2.meetDevice(b)
	w.pass(2 * time.Minute)
	w.lose = func(p parcel) bool { return p.to == a2 && p.from != a }
	b.send(a, "read me")
	w.pass(10 * time.Second)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, b.user()); return err }))
	w.pass(10 * time.Second)
	if len(a2.texts(b)) != 0 {
		t.Fatal("control: it came first")
	}
	w.lose = nil
	a2.collect()
	w.pass(10 * time.Minute)
	wantTexts(t, a2, b, "read me")
	w.must(a2.store.View(func(tx store.Tx) error {
		all, err := talk.Inbox(tx)
		if len(all) != 1 || all[0].Unread != 0 {
			t.Errorf("inbox: %+v", all)
		}
		return err
	}))
}
