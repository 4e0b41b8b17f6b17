package node_test

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// A contact fills groups with people who do not exist: so many are known and no more, and who is removed makes room.
func TestNobodyFillsTheTableOfContacts(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	keys, err := identity.ParseDeviceKeys(bob.row().DeviceKeys)
	w.must(err)
	list, err := listOf(bob.row().List)
	w.must(err)
	next := uint32(1)
	crowd := func() (users []identity.UserID) {
		for range group.MaxUsers {
			u := identity.UserID{0xee}
			binary.BigEndian.PutUint32(u[1:], next)
			users, next = append(users, u), next+1
		}
		return users
	}
	fill := func(members int, gone bool) {
		first, err := group.Sign(keys, group.Fields{User: userID(bob), List: list.Head(), Lamport: uint64(next), Act: group.Act{Kind: group.Create, Data: []byte("x")}})
		w.must(err)
		l := group.NewLog(first.Group())
		l.Merge([]*group.Entry{first})
		all := []*group.Entry{first}
		act := func(kind group.Kind, users []identity.UserID) {
			x, err := group.Sign(keys, l.Act(userID(bob), list.Head(), 1, group.Act{Kind: kind, Users: users}))
			w.must(err)
			if added, _ := l.Merge([]*group.Entry{x}); len(added) != 1 {
				t.Fatal("control: the entry is refused")
			}
			all = append(all, x)
		}
		act(group.Add, []identity.UserID{userID(alice)})
		var came [][]identity.UserID
		for range members / group.MaxUsers {
			came = append(came, crowd())
			act(group.Add, came[len(came)-1])
		}
		for i := 0; gone && i < len(came); i++ {
			act(group.Remove, came[i])
		}
		for some := range slices.Chunk(all, 4) {
			page := &chatpb.Group{Lists: [][]byte{list.Bytes()}}
			for _, x := range some {
				page.Entries = append(page.Entries, x.Bytes())
			}
			bob.sayIn(alice, chat.ChatID(first.Group()), chat.KindGroup, page)
		}
	}
	fill(240, true)
	gone := alice.rows(store.BucketContacts)
	for range 9 {
		fill(240, false)
	}
	if got := alice.rows(store.BucketContacts); got > 2048+1 || got < 2000 || gone < 2 {
		t.Errorf("%d contacts", got)
	}
	carol := w.person("carol")
	w.befriend(alice, carol)
	g, err := alice.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"carol"})
	})
	if err != nil || len(g.Members) != 2 {
		t.Errorf("%+v, %v", g, err)
	}
}

// An admin whose clock is ahead, on purpose or not, adds somebody: what that member says is heard at once all the same.
func TestWhoIsAddedInTheFutureIsHeard(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	w.befriend(bob, carol)
	alice.skew = 20 * time.Hour
	_, err := alice.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"bob", "carol"})
	})
	w.must(err)
	w.settle()
	w.must(bob.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "ring", Text: "hello"})
		return err
	}))
	w.pass(time.Minute)
	if got := carol.groupTexts("ring"); len(got) != 1 {
		t.Errorf("carol shows %q", got)
	}
}

// A group in which we are not, and which we do not see, makes nobody known to us.
func TestAGroupOfOthersMakesNobodyKnown(t *testing.T) {
	w := newWorld(t)
	alice, bob, mallory := w.person("alice"), w.person("bob"), w.person("mallory")
	w.befriend(alice, bob)
	w.befriend(bob, mallory)
	g, err := bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"mallory"})
	})
	w.must(err)
	raw, err := hex.DecodeString(g.Chat)
	w.must(err)
	page := &chatpb.Group{}
	w.must(bob.store.View(func(tx store.Tx) error {
		l := talk.LoadLog(tx, chat.ChatID(raw))
		for _, x := range l.Beyond(nil) {
			page.Entries = append(page.Entries, x.Bytes())
		}
		page.Lists = [][]byte{bob.row().List, mallory.row().List}
		return nil
	}))
	bob.sayIn(alice, chat.ChatID(raw), chat.KindGroup, page)
	if !alice.hasChat(chat.ChatID(raw)) {
		t.Fatal("control: the log was not taken")
	}
	if got := alice.rows(store.BucketContacts); got != 1 {
		t.Errorf("%d people are known, want bob alone", got)
	}
	_, err = bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.AddToGroup(t, "ring", []string{"alice"})
	})
	w.must(err)
	w.pass(time.Minute)
	if got := alice.rows(store.BucketContacts); got != 2 {
		t.Errorf("control: %d people are known to a member", got)
	}
}

// Somebody comes into a group, writes and goes before a member hears of it, who then learns of both at once: what was said
// in between is heard to the end.
func TestWhoPassedIsHeard(t *testing.T) {
	w := newWorld(t)
	w.relay("r")
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(alice, bob)
	w.befriend(bob, carol)
	g, err := bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"alice"})
	})
	w.must(err)
	w.settle()
	w.lose = func(p parcel) bool { return p.to == alice }
	_, err = bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.AddToGroup(t, "ring", []string{"carol"})
	})
	w.must(err)
	w.pass(time.Minute)
	w.must(carol.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "ring", Text: "hello and goodbye"})
		return err
	}))
	w.pass(time.Minute)
	_, err = bob.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.RemoveFromGroup(t, "ring", []string{"carol"})
	})
	w.must(err)
	w.pass(time.Minute)
	raw, err := hex.DecodeString(g.Chat)
	w.must(err)
	page := &chatpb.Group{}
	w.must(bob.store.View(func(tx store.Tx) error {
		for _, x := range talk.LoadLog(tx, chat.ChatID(raw)).Beyond(nil) {
			page.Entries = append(page.Entries, x.Bytes())
		}
		return nil
	}))
	bob.sayIn(alice, chat.ChatID(raw), chat.KindGroup, page)
	if got := alice.groupTexts("ring"); len(got) != 0 {
		t.Fatalf("control: alice shows %q before carol's message came", got)
	}
	w.lose = nil
	alice.stop() // and collects what she did not get
	alice.start()
	w.pass(time.Hour)
	if got := alice.groupTexts("ring"); !slices.Equal(got, []string{"hello and goodbye"}) {
		t.Errorf("alice shows %q", got)
	}
}

// Who was removed while another admin did not know of it learns from that one that he was, and nothing that came after.
func TestWhoWentHearsNothingMore(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	w.befriend(bob, carol)
	act := func(d *device, fn func(e *node.Engine, t *node.Turn) (view.Group, error)) (g view.Group) {
		t.Helper()
		g, err := d.group(fn)
		w.must(err)
		w.pass(time.Minute)
		return g
	}
	g := act(alice, func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"bob", "carol"})
	})
	act(alice, func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.SetGroupAdmin(t, "ring", "carol", true)
	})
	w.lose = func(p parcel) bool { return p.from == alice }
	act(alice, func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.RemoveFromGroup(t, "ring", []string{"bob"})
	})
	act(alice, func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.NameGroup(t, "ring", "not for bob") })
	act(carol, func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.NameGroup(t, "ring", "our ring") })
	raw, err := hex.DecodeString(g.Chat)
	w.must(err)
	entries := func(d *device) (out []*group.Entry) {
		w.must(d.store.View(func(tx store.Tx) error {
			out = talk.LoadLog(tx, chat.ChatID(raw)).Beyond(nil)
			return nil
		}))
		return out
	}
	page := &chatpb.Group{}
	for _, x := range entries(alice) {
		page.Entries = append(page.Entries, x.Bytes())
	}
	alice.sayIn(carol, chat.ChatID(raw), chat.KindGroup, page)
	w.pass(time.Minute)
	removed := false
	for _, x := range entries(bob) {
		f := x.Fields()
		removed = removed || f.Kind == group.Remove
		if string(f.Data) == "not for bob" {
			t.Error("bob knows what the group was called after he had been removed")
		}
	}
	if !removed {
		t.Error("bob does not know that he was removed")
	}
}
