package node_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func (d *device) group(fn func(*node.Engine, *node.Turn) (view.Group, error)) (v view.Group, err error) {
	err = d.do(func(e *node.Engine, t *node.Turn) (err error) { v, err = fn(e, t); return err })
	d.w.settle()
	return v, err
}

func (d *device) tell(who, text string) (v view.Message, err error) {
	err = d.do(func(e *node.Engine, t *node.Turn) (err error) {
		v, err = e.Send(t, node.SendRequest{To: who, Text: text})
		return err
	})
	d.w.settle()
	d.w.pass(time.Minute)
	return v, err
}

func (d *device) groupTexts(who string) (out []string) {
	_ = d.store.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, who, 0)
		for _, m := range all {
			out = append(out, m.Text)
		}
		return err
	})
	return out
}

// ring is a group of three: ann knows both others, who do not know each other.
func ring(t *testing.T) (w *world, ann, bob, carl *device) {
	w = newWorld(t)
	ann, bob, carl = w.person("ann"), w.person("bob"), w.person("carl")
	r := w.relay("relay")
	for _, d := range []*device{ann, bob, carl} {
		d.meet(r)
	}
	w.befriend(ann, bob)
	w.befriend(ann, carl)
	w.pass(time.Minute)
	_, err := ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "Ring", []string{"bob", "carl"})
	})
	w.must(err)
	w.pass(time.Minute)
	return w, ann, bob, carl
}

// A handle is one conversation's alone: what is written to a group never goes to a person who calls itself the same.
func TestAPersonDoesNotTakeTheHandleOfAGroup(t *testing.T) {
	w, ann, bob, _ := ring(t)
	err := ann.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, "bob", "Ring"); return err })
	if !errors.Is(err, view.ErrRefused) {
		t.Errorf("a contact is renamed to a group: %v", err)
	}
	for _, same := range []string{"bob", "robert"} { // as it is, and free
		w.must(ann.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, bob.user(), same); return err }))
	}
	namesake := w.person("ring")
	_, err = namesake.ask(ann, "")
	w.must(err)
	w.pass(time.Minute)
	w.must(ann.change((*node.Engine).AcceptContact, namesake))
	w.pass(time.Minute)
	if c := ann.contact(namesake.user()); c.Handle != "ring-2" {
		t.Errorf("the namesake of a group is called %q", c.Handle)
	}
	other := ann.link("ann's second") // which learns of the group, and of people by other names
	w.must(ann.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.RenameContact(t, "ring-2", "namesake")
		return err
	}))
	w.pass(time.Minute)
	if c := other.contact(namesake.user()); c.Handle != "namesake" {
		t.Errorf("the other device calls it %q", c.Handle)
	}
}

func TestMembersTalkWhoDoNotKnowEachOther(t *testing.T) {
	w, ann, bob, carl := ring(t)
	v, err := bob.tell("ring", "hello")
	w.must(err)
	for _, d := range []*device{ann, bob, carl} {
		if got := d.groupTexts("ring"); !slices.Equal(got, []string{"hello"}) {
			t.Errorf("%s shows %q", d.name, got)
		}
	}
	if c := carl.contact(bob.user()); c.State != "member" || c.Handle != "bob" {
		t.Errorf("carl knows bob as %s %s", c.State, c.Handle)
	}
	if _, err := carl.trySend(bob, "and you?"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("a member that is no contact is written to: %v", err)
	}
	w.must(carl.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, "ring"); return err }))
	w.settle()
	for _, x := range bob.status(v.ID).Deliveries {
		want := view.StageDelivered
		if x.Handle == "carl" {
			want = view.StageRead
		}
		if x.Stage != want {
			t.Errorf("at %s it is %s", x.Handle, x.Stage)
		}
	}
}

// What waits for somebody who was removed is taken back, and comes when it is a member again.
func TestWhoIsRemovedGetsNothing(t *testing.T) {
	w, ann, bob, carl := ring(t)
	carl.stop()
	w.relays[0].up = false // it would have the text already
	early, err := ann.tell("ring", "carl is away")
	w.must(err)
	group := ann.rows(store.BucketOutbox)
	_, err = ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.RemoveFromGroup(t, "ring", []string{"carl"})
	})
	w.must(err)
	if n := ann.rows(store.BucketOutbox); n != group { // the text went, the removal came
		t.Errorf("%d deliveries wait, %d before", n, group)
	}
	if !slices.ContainsFunc(ann.status(early.ID).Deliveries, func(d view.Delivery) bool { return d.Handle == "carl" && d.Stage == view.StageDropped }) {
		t.Error("the text for carl was not taken back")
	}
	w.relays[0].up = true
	_, err = bob.tell("ring", "without carl")
	w.must(err)
	carl.start()
	w.pass(time.Hour)
	if got := carl.groupTexts("ring"); len(got) > 0 {
		t.Errorf("carl reads %q", got)
	}
	if v, err := carl.tell("ring", "am I there?"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("carl writes %v: %v", v.ID, err)
	}
	_, err = ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.AddToGroup(t, "ring", []string{"carl"})
	})
	w.must(err)
	_, err = ann.tell("ring", "back")
	w.must(err)
	w.pass(time.Hour)
	if got := carl.groupTexts("ring"); !slices.Equal(got, []string{"carl is away", "back"}) {
		t.Errorf("carl reads %q", got)
	}
}

// A message that was taken back before its reader was removed is taken back there as well.
func TestWhoIsRemovedKeepsNothingThatWasTakenBack(t *testing.T) {
	w, ann, bob, carl := ring(t)
	v, err := ann.tell("ring", "a slip")
	w.must(err)
	if got := carl.groupTexts("ring"); !slices.Equal(got, []string{"a slip"}) {
		t.Fatalf("carl reads %q", got)
	}
	carl.stop()
	w.relays[0].up = false // the unsend is still on its way when carl is removed
	w.must(ann.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(d *talk.Desk) error { _, err := d.Unsend(v.ID); return err })
	}))
	_, err = ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.RemoveFromGroup(t, "ring", []string{"carl"})
	})
	w.must(err)
	w.relays[0].up = true
	carl.start()
	w.pass(time.Hour)
	for _, d := range []*device{bob, carl} {
		if got := d.groupTexts("ring"); !slices.Equal(got, []string{""}) {
			t.Errorf("%s reads %q", d.name, got)
		}
	}
}

func TestOnlyAdminsGovern(t *testing.T) {
	w, ann, bob, carl := ring(t)
	for name, act := range map[string]func(e *node.Engine, t *node.Turn) (view.Group, error){
		"removes": func(e *node.Engine, t *node.Turn) (view.Group, error) {
			return e.RemoveFromGroup(t, "ring", []string{"carl"})
		},
		"names": func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.NameGroup(t, "ring", "Mine") },
		"makes an admin of": func(e *node.Engine, t *node.Turn) (view.Group, error) {
			return e.SetGroupAdmin(t, "ring", "me", true)
		},
	} {
		if _, err := bob.group(act); !errors.Is(err, view.ErrRefused) {
			t.Errorf("bob %s: %v", name, err)
		}
	}
	_, err := ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.SetGroupAdmin(t, "ring", "bob", true) })
	w.must(err)
	_, err = ann.group(func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.LeaveGroup(t, "ring") })
	w.must(err)
	v, err := bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.NameGroup(t, "ring", "Ours") })
	w.must(err)
	if len(v.Members) != 2 || v.Name != "Ours" {
		t.Errorf("the group is %+v", v)
	}
	if _, err := carl.tell("ring", "still here"); err != nil {
		t.Error(err)
	}
	if _, err := ann.tell("ring", "me too"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("who has left writes: %v", err)
	}
}

// A device that joins later has the groups; what other devices of ours say in them is there as well.
func TestANewDeviceHasTheGroups(t *testing.T) {
	w, ann, bob, _ := ring(t)
	two := bob.link("bob-2")
	two.meet(w.relays[0])
	w.pass(time.Hour)
	_, err := ann.tell("ring", "to all")
	w.must(err)
	_, err = two.tell("ring", "from the new one")
	w.must(err)
	for _, d := range []*device{ann, bob, two} {
		if got := d.groupTexts("ring"); !slices.Equal(got, []string{"to all", "from the new one"}) {
			t.Errorf("%s shows %q", d.name, got)
		}
	}
}

// Messages wait for somebody who is not found yet; there is an end to that, which is said and not silent.
func TestWhatWaitsForAPersonIsBounded(t *testing.T) {
	w, ann, bob, carl := ring(t)
	wait := func(d, on *device, n int) {
		w.must(d.store.Update(func(tx store.Tx) error {
			user, _ := node.ParseUser(on.user())
			c := &pb.Contact{}
			store.Row(tx, store.BucketContacts, user[:talk.ContactKeySize], c)
			c.List, c.Waiting = nil, slices.Repeat([][]byte{make([]byte, 32)}, n)
			store.PutRow(tx, store.BucketContacts, user[:talk.ContactKeySize], c)
			return nil
		}))
	}
	ended := func(id string, on *device) bool {
		return slices.ContainsFunc(ann.status(id).Deliveries, func(x view.Delivery) bool { return x.User == on.user() && x.Stage == view.StageDropped })
	}
	write := func(who string) (string, error) {
		var v view.Message
		err := ann.do(func(e *node.Engine, t *node.Turn) (err error) {
			v, err = e.Send(t, node.SendRequest{To: who, Text: "hello"})
			return err
		})
		return v.ID, err
	}
	wait(ann, carl, 1023)
	id, err := write("ring")
	w.must(err)
	if ended(id, carl) {
		t.Error("a message does not wait though there is room")
	}
	if id, err = write("ring"); err != nil || !ended(id, carl) || ended(id, bob) {
		t.Errorf("one message too many: %v, %+v", err, ann.status(id).Deliveries)
	}
	if _, err = write("carl"); !errors.Is(err, view.ErrRefused) {
		t.Errorf("one message too many for a contact: %v", err)
	}
}
