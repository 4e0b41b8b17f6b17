package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

func (d *device) leave(all bool) (asked bool, err error) {
	d.w.t.Helper()
	err = d.do(func(e *node.Engine, t *node.Turn) (err error) { asked, err = e.Leave(t, all); return err })
	d.w.settle()
	return asked, err
}

// A device that is not the admin device asks it to be taken off the list, however long that one is away; until then it
// goes on. Contacts learn of it, the other devices go on, and nothing is deleted.
func TestLeavingAlone(t *testing.T) {
	w, a, a2, b := trio(t, "r1", "r2", "r3")
	a.stop()
	if asked, err := a2.leave(false); err != nil || !asked {
		t.Fatalf("asked %v, %v", asked, err)
	}
	w.pass(time.Hour)
	if v := a2.identity(); v.Removed || !v.Leaving {
		t.Errorf("control: it is out although the admin device was away: %+v", v)
	}
	before := a2.rows(store.BucketMessages)
	a.start()
	w.pass(time.Minute)
	if v := a2.identity(); !v.Removed || v.Leaving {
		t.Errorf("it is not out: %+v", v)
	}
	if n := b.contact(a.user()).Devices; n != 1 {
		t.Errorf("bob knows %d devices", n)
	}
	if _, err := a2.trySend(b, "me again"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("it sends: %v", err)
	}
	if n := len(a2.texts(b)); n != 1 || a2.rows(store.BucketMessages) < before-5 {
		t.Errorf("it has forgotten: %d texts", n)
	}
	b.send(a, "still there?")
	w.pass(time.Minute)
	wantTexts(t, a, b, "before", "still there?")
}

// The admin device leaves by itself: the list has no admin device then, nobody signs the next one but the phrase.
func TestTheAdminDeviceLeaves(t *testing.T) {
	w, a, a2, b := trio(t, "r1", "r2", "r3")
	if asked, err := a.leave(false); err != nil || asked {
		t.Fatalf("asked %v, %v", asked, err)
	}
	w.pass(time.Minute)
	if v := a.identity(); !v.Removed || v.Admin {
		t.Errorf("the admin device is not out: %+v", v)
	}
	if n := b.contact(a2.user()).Devices; n != 1 || a2.identity().Devices != 1 {
		t.Errorf("bob knows %d devices", n)
	}
	b.send(a2, "to the other one")
	w.pass(time.Minute)
	wantTexts(t, a2, b, "before", "to the other one")
	if _, err := a2.leave(false); !errors.Is(err, view.ErrRefused) || !contains(err.Error(), "recovery phrase") {
		t.Errorf("leaving without an admin device: %v", err)
	}
	again := w.recover(a2, "alice again")
	w.pass(25 * time.Hour)
	if v := again.identity(); !v.Admin || !a2.identity().Removed {
		t.Errorf("the phrase does not begin anew: %+v", v)
	}
	c := w.person("carol")
	if _, err := c.leave(false); !errors.Is(err, view.ErrUsage) {
		t.Errorf("an only device leaves: %v", err)
	}
	w.pass(time.Minute)
	if _, err := c.leave(true); err != nil || !c.identity().Removed {
		t.Errorf("leaving for good: %v", err)
	}
}

// An admin device that was put back from an older copy knows an older list. It signs nothing before it has read the newest
// one back, and what it signs then follows that one. The control signs without looking, and so forks its own account.
func TestARestoredAdminDeviceReadsBack(t *testing.T) {
	for _, blind := range []bool{false, true} {
		w, a, a2, b := trio(t)
		old := a.copyStore()
		a.link("alice-3")
		w.pass(time.Minute)
		a.stop()
		a.store = old
		remove := func() error {
			return a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, a2.id()); return err })
		}
		w.must(a.load())
		if err := remove(); !errors.Is(err, view.ErrRefused) || !contains(err.Error(), "read back") {
			t.Errorf("it signs before it has looked: %v", err)
		}
		if blind {
			w.hide(a, 'u')
			w.lose = func(p parcel) bool { return p.to == a }
		}
		a.start()
		w.pass(time.Second)
		w.must(remove())
		w.settle()
		w.lookup, w.lose = nil, nil
		a.meetDevice(b)
		_, _ = b.trySend(a, "hello")
		w.pass(2 * time.Minute)
		if c := b.contact(a.user()); c.Forked != blind || !blind && c.Devices != 2 {
			t.Errorf("blind %v: bob has %+v", blind, c)
		}
	}
}
