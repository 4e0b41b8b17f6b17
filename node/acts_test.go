package node_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// couple is Alice and Bob with two devices each, and two relays.
func couple(t *testing.T) (w *world, a, a2, b, b2 *device) {
	w, a, b = pair(t, "r1", "r2")
	a2, b2 = a.link("alice-2"), b.link("bob-2")
	for _, x := range []*device{a, a2} {
		for _, y := range []*device{b, b2} {
			x.meetDevice(y)
		}
	}
	w.pass(time.Minute)
	w.sent = nil
	return w, a, a2, b, b2
}

// talks does something at a device's desk.
func (d *device) talks(fn func(*talk.Desk) (view.Message, error)) (v view.Message, err error) {
	err = d.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(desk *talk.Desk) error { v, err = fn(desk); return err })
	})
	d.w.settle()
	return v, err
}

func (d *device) must(fn func(*talk.Desk) (view.Message, error)) view.Message {
	d.w.t.Helper()
	v, err := d.talks(fn)
	d.w.must(err)
	return v
}

func (d *device) view(id string) (v view.Message) {
	d.w.t.Helper()
	d.w.must(d.store.View(func(tx store.Tx) (err error) { v, err = talk.Message(tx, id); return err }))
	return v
}

// stored is a message as it lies in the store; empty if it is not there.
func (d *device) stored(id string) *pb.Message {
	m := &pb.Message{}
	_ = d.store.View(func(tx store.Tx) error { m = d.lies(tx, id); return nil })
	return m
}

func (d *device) lies(tx store.Tx, id string) *pb.Message {
	if m, err := talk.FindMessage(tx, id); err == nil {
		return m
	}
	return &pb.Message{}
}

// looks is what a message looks like, without what differs from device to device.
func (d *device) looks(id string) string {
	v := d.view(id)
	var out []string
	for _, e := range v.Edits {
		out = append(out, "was "+e.Text)
	}
	for _, r := range v.Reactions {
		out = append(out, r.Emoji)
	}
	return fmt.Sprintf("%s %q %q edited %t refused %d unsent %t erased %t deleted %t", v.Kind, v.Text, out, v.Edited, v.Refused, v.Unsent, v.Erased, v.Deleted)
}

func wantSeen(t *testing.T, id, want string, on ...*device) {
	t.Helper()
	for _, d := range on {
		if got := d.looks(id); got != want {
			t.Errorf("%s sees\n%s, want\n%s", d.name, got, want)
		}
	}
}

// holds reports whether words lie anywhere in a device's store.
func (d *device) holds(words string) (where []store.Bucket) {
	_ = d.store.View(func(tx store.Tx) error {
		for _, b := range store.Buckets() {
			tx.Scan(b, nil, func(k, v []byte) bool {
				if bytes.Contains(v, []byte(words)) && !slices.Contains(where, b) {
					where = append(where, b)
				}
				return true
			})
		}
		return nil
	})
	return where
}

// Each act is seen on both devices of both people, whether they are there or come back later.
func TestActsAreSeenEverywhere(t *testing.T) {
	for name, away := range map[string]bool{"online": false, "one device of each away": true} {
		t.Run(name, func(t *testing.T) {
			w, a, a2, b, b2 := couple(t)
			id := a.send(b, "dinner?")
			gone := a.send(b, "to be taken back")
			w.pass(time.Second)
			if away {
				a2.stop()
				b2.stop()
			}
			b.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "👍") })
			a.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "🍝") })
			b.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "👎") })
			a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "dinner at 8?") })
			a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "dinner at 9?") })
			a.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "") })
			a.must(func(d *talk.Desk) (view.Message, error) { return d.Unsend(gone) })
			w.pass(time.Minute)
			if away {
				w.pass(3 * time.Hour)
				a2.start()
				b2.start()
				w.pass(time.Minute)
			}
			wantSeen(t, id, `text "dinner at 9?" ["was dinner?" "was dinner at 8?" "👎"] edited true refused 0 unsent false erased false deleted false`, a, a2, b, b2)
			wantSeen(t, gone, `text "" [] edited false refused 0 unsent true erased false deleted false`, a, a2, b, b2)
			for _, d := range []*device{a, a2, b, b2} {
				if where := d.holds("to be taken back"); len(where) > 0 {
					t.Errorf("%s still holds what was taken back, in tables %v", d.name, where)
				}
			}
		})
	}
}

// What goes with a message arrives with it, and shows the same names on both sides.
func TestWhatGoesWithAMessage(t *testing.T) {
	w, a, a2, b, b2 := couple(t)
	first := b.send(a, "where shall we meet?")
	id := a.must(func(d *talk.Desk) (view.Message, error) {
		return d.Send(b.user(), talk.Words{Text: "ask @bob", Subject: "place", Effect: "slam", Reply: first[:8], Mentions: []string{"bob"}})
	}).ID
	w.pass(time.Second)
	for _, d := range []*device{a, a2, b, b2} {
		v := d.view(id)
		if v.Subject != "place" || v.Effect != "slam" || v.Reply == nil || v.Reply.ID != first || v.Reply.Text != "where shall we meet?" ||
			len(v.Mentions) != 1 || v.Mentions[0].Start != 4 || v.Mentions[0].Length != 4 {
			t.Errorf("%s sees %+v, reply %+v", d.name, v, v.Reply)
		}
	}
	a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "you could ask @bob") })
	w.pass(time.Second)
	if v := b2.view(id); len(v.Mentions) != 1 || v.Mentions[0].Start != 14 {
		t.Errorf("after the edit bob is mentioned in %+v", v.Mentions)
	}
	if b.view(id).Mentions[0].Handle != "me" || a.view(id).Mentions[0].Handle != "bob" || b.view(id).Reply.From != "me" {
		t.Error("a mention or an answer has the wrong name")
	}
	for want, fn := range map[string]func(*talk.Desk) (view.Message, error){
		`location "Prater (48.21650 16.39650)"`: func(d *talk.Desk) (view.Message, error) {
			return d.Location(b.user(), 48.2165, 16.3965, "Prater", "")
		},
		`card "bob"`: func(d *talk.Desk) (view.Message, error) { return d.Card(b.user(), "bob", "") },
		`custom "Tea or coffee?"`: func(d *talk.Desk) (view.Message, error) {
			return d.Custom(b.user(), "org.example.poll", []byte{1}, "Tea or coffee?", "")
		},
		`[kind 9] "[kind 9]"`: func(d *talk.Desk) (view.Message, error) {
			c, err := talk.Find(d.Tx, b.user())
			if err != nil {
				return view.Message{}, err
			}
			return d.Write(c, talk.Draft{Kind: 9, Payload: &chatpb.Text{Text: "of a later version"}})
		},
	} {
		v := a.must(fn)
		w.pass(time.Second)
		wantSeen(t, v.ID, want+` [] edited false refused 0 unsent false erased false deleted false`, a, a2, b, b2)
	}
}

// An act that overtakes its message waits for it, also over a restart.
func TestActsBeforeTheirMessage(t *testing.T) {
	w, a, _, b, b2 := couple(t)
	w.lose = func(p parcel) bool { return p.to == b }
	id := a.send(b, "first")
	late := w.sent[slices.IndexFunc(w.sent, func(p parcel) bool { return p.to == b })].envelope
	w.lose = func(p parcel) bool { return string(p.envelope) == string(late) }
	a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "second") })
	b2.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "👍") })
	w.pass(30 * time.Second)
	if m := b.stored(id); len(m.Id) != 0 {
		t.Fatal("control: the message came first")
	}
	b.stop()
	b.start()
	w.lose = nil
	b.collect()
	w.pass(time.Minute)
	wantSeen(t, id, `text "second" ["was first" "👍"] edited true refused 0 unsent false erased false deleted false`, a, b, b2)
}

// Edits by others, and edits that say that they come too late, are refused and counted; taking back others' messages
// does nothing.
func TestForgedAndLateEditsAreRefused(t *testing.T) {
	w, a, b := pair(t)
	id := a.send(b, "mine")
	w.pass(time.Second)
	target := b.stored(id).Id
	b.say(a, chat.KindEdit, &chatpb.Edit{Target: target, Text: "forged"})
	b.say(a, chat.KindUnsend, &chatpb.Unsend{Target: target})
	w.pass(20 * time.Minute)
	a.say(b, chat.KindEdit, &chatpb.Edit{Target: target, Text: "late"})
	a.say(b, chat.KindUnsend, &chatpb.Unsend{Target: target})
	w.pass(time.Minute)
	wantSeen(t, id, `text "mine" [] edited false refused 1 unsent false erased false deleted false`, a, b)
	for name, fn := range map[string]func(*talk.Desk) (view.Message, error){
		"a late edit":   func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "late") },
		"a late unsend": func(d *talk.Desk) (view.Message, error) { return d.Unsend(id) },
		"another's":     func(d *talk.Desk) (view.Message, error) { return d.Edit(id[:31], "late") },
		"no emoji":      func(d *talk.Desk) (view.Message, error) { return d.React(id, "two words") },
		"a long subject": func(d *talk.Desk) (view.Message, error) {
			return d.Send(b.user(), talk.Words{Text: "x", Subject: strings.Repeat("x", 129)})
		},
		"an odd effect": func(d *talk.Desk) (view.Message, error) {
			return d.Send(b.user(), talk.Words{Text: "x", Effect: "A b"})
		},
		"nowhere": func(d *talk.Desk) (view.Message, error) { return d.Location(b.user(), 91, 0, "", "") },
		"a stranger's id": func(d *talk.Desk) (view.Message, error) {
			return d.Send(b.user(), talk.Words{Text: "x", Reply: "ffffffff"})
		},
	} {
		if _, err := a.talks(fn); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Acts on messages that never come are bounded for each person.
func TestActsThatWaitAreBounded(t *testing.T) {
	w, a, b := pair(t)
	before := b.rows(store.BucketMessages)
	for i := range 300 {
		a.say(b, chat.KindUnsend, &chatpb.Edit{Target: bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16)})
	}
	w.pass(time.Second)
	if n := b.rows(store.BucketMessages) - before; n != 2*256 { // a row of the person and one of the message
		t.Errorf("%d rows wait", n)
	}
	w.pass(46 * 24 * time.Hour)
	if n := b.rows(store.BucketMessages) - before; n > 0 {
		t.Errorf("%d still wait after 46 days", n)
	}
}

// A disappearing message is gone in time from every device: from the author's by when it was sent, from the reader's by
// when one of them read it, and from a device that was away as soon as it hears of it.
func TestDisappearing(t *testing.T) {
	w, a, a2, b, b2 := couple(t)
	timer := uint32(60)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(d *talk.Desk) error { _, err := d.SetChat(b.user(), talk.ChatChange{Timer: &timer}); return err })
	}))
	w.pass(time.Second)
	b2.stop()
	id := a.send(b, "this will vanish")
	w.pass(70 * time.Second)
	const over = `text "" [] edited false refused 0 unsent false erased true deleted false`
	wantSeen(t, id, over, a, a2)
	if v := b.view(id); v.Erased || v.Text != "this will vanish" || !v.Expires.IsZero() || v.TTL != 60 {
		t.Fatalf("before it is read: %+v", v)
	}
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, a.user()); return err }))
	w.pass(59 * time.Second)
	if b.view(id).Erased {
		t.Error("it went before its time")
	}
	w.pass(2 * time.Second)
	wantSeen(t, id, over, b)
	w.pass(time.Hour)
	b2.start()
	w.pass(5 * time.Minute)
	wantSeen(t, id, over, b2)
	for _, d := range []*device{a, a2, b, b2} {
		if where := d.holds("this will vanish"); len(where) > 0 {
			t.Errorf("%s still holds what has disappeared, in tables %v", d.name, where)
		}
	}
	timer = 0
	w.must(a.do(func(e *node.Engine, turn *node.Turn) error {
		return e.Talk(turn, func(d *talk.Desk) error {
			c, err := d.SetChat(b.user(), talk.ChatChange{Timer: &timer})
			if err == nil && (c.Last.Kind != "timer" || talk.Wiped(a.lies(d.Tx, c.Last.ID)) || c.Timer != 0) {
				t.Errorf("the timer is off: %+v", c.Last)
			}
			return err
		})
	}))
	w.pass(time.Minute)
	if v := b.view(a.send(b, "this stays")); v.TTL != 0 {
		t.Errorf("the timer is off, and bob sees %+v", v)
	}
	own := a.must(func(d *talk.Desk) (view.Message, error) { return d.Send(b.user(), talk.Words{Text: "for 5 s", TTL: 5}) })
	a.stop()
	w.pass(time.Minute)
	if a.start(); !a.view(own.ID).Erased {
		t.Error("a device that was off when the time was over still shows it")
	}
}

// Deleting is for one's own devices, can be undone for 30 days, and is for good then.
func TestDeletedForMe(t *testing.T) {
	w, a, b := pair(t)
	a2 := a.link("alice-2")
	a2.meetDevice(b)
	w.pass(time.Minute)
	id := b.send(a, "not for long")
	w.pass(time.Second)
	list := func(d *device, deleted bool) (n int) {
		_ = d.store.View(func(tx store.Tx) error {
			find := talk.Messages
			if deleted {
				find = talk.Deleted
			}
			all, err := find(tx, b.user(), 0)
			n = len(all)
			return err
		})
		return n
	}
	del := func(d *device, deleted bool) {
		d.must(func(x *talk.Desk) (view.Message, error) { return x.Delete(id, deleted) })
		w.pass(time.Minute)
	}
	del(a, true)
	if list(a, false) != 0 || list(a2, false) != 0 || list(a2, true) != 1 || b.view(id).Deleted {
		t.Fatal("a deleted message is shown on another device of ours, or hidden from its author")
	}
	if hits := found(a2, "long"); hits != 0 {
		t.Error("a deleted message is found")
	}
	del(a2, false)
	if list(a, false) != 1 || list(a2, false) != 1 || found(a, "long") != 1 {
		t.Fatal("a recovered message is not shown on both devices")
	}
	del(a, true)
	w.pass(31 * 24 * time.Hour)
	for _, d := range []*device{a, a2} {
		if _, err := d.talks(func(x *talk.Desk) (view.Message, error) { return x.Delete(id, false) }); err == nil {
			t.Errorf("%s has it back after 31 days", d.name)
		}
		if where := d.holds("not for long"); len(where) > 0 {
			t.Errorf("%s still holds it, in tables %v", d.name, where)
		}
	}
}

func found(d *device, words string) (n int) {
	_ = d.store.View(func(tx store.Tx) error {
		hits, err := talk.Search(tx, talk.SearchQuery{Words: words, Limit: 10})
		n = len(hits)
		return err
	})
	return n
}

// An edit changes what a message is found by.
func TestEditedIsFound(t *testing.T) {
	w, a, b := pair(t)
	id := a.send(b, "apples")
	a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "pears") })
	w.pass(time.Second)
	for _, d := range []*device{a, b} {
		if found(d, "apples") != 0 || found(d, "pears") != 1 {
			t.Errorf("%s finds the old words, or not the new ones", d.name)
		}
	}
}

// What was taken back before it could be sealed is never sent.
func TestTakenBackInTime(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	id := a.send(b, "too fast")
	a.must(func(d *talk.Desk) (view.Message, error) { return d.Unsend(id) })
	w.pass(time.Minute)
	b.start()
	w.pass(2 * time.Hour)
	if m := b.stored(id); len(m.Id) > 0 && !b.view(id).Unsent {
		t.Error("it is shown")
	}
	for _, d := range []*device{a, b} {
		if where := d.holds("too fast"); len(where) > 0 {
			t.Errorf("%s holds it, in tables %v", d.name, where)
		}
	}
}

// Settings follow to our other devices; without receipts nobody hears that we read.
func TestSettingsFollow(t *testing.T) {
	w, a, _, b, b2 := couple(t)
	yes, draft, until, off := true, "half a thought", w.now.Add(time.Hour).UTC(), "off"
	set := func(d *device, x talk.ChatChange) {
		w.must(d.do(func(e *node.Engine, t *node.Turn) error {
			return e.Talk(t, func(desk *talk.Desk) error { _, err := desk.SetChat(a.user(), x); return err })
		}))
		w.settle()
	}
	b2.stop()
	set(b, talk.ChatChange{Pinned: &yes, Draft: &draft, Muted: &until, Receipts: &off})
	w.pass(time.Hour)
	b2.start()
	w.pass(time.Minute)
	for _, d := range []*device{b, b2} {
		var c view.Chat
		w.must(d.store.View(func(tx store.Tx) error {
			all, err := talk.Inbox(tx)
			c = all[0]
			return err
		}))
		if !c.Pinned || c.Draft != draft || !c.Muted.Equal(until) || c.Receipts != "off" {
			t.Errorf("%s has %+v", d.name, c)
		}
	}
	id := a.send(b, "read this")
	read := func() {
		w.pass(time.Minute)
		w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, a.user()); return err }))
		w.settle()
		w.pass(time.Minute)
	}
	if read(); a.stage(id) != view.StageDelivered || !b2.view(id).Read {
		t.Errorf("without receipts: stage %s, read on the other device %t", a.stage(id), b2.view(id).Read)
	}
	on := "on"
	set(b2, talk.ChatChange{Receipts: &on})
	w.pass(time.Minute)
	id = a.send(b, "and this")
	read()
	if n := count(a.status(id).Deliveries, func(d view.Delivery) bool { return d.Stage == view.StageRead }); n != 1 {
		t.Errorf("control: with receipts alice hears of %d devices that it was read", n)
	}
}

// Typing goes to whoever has a stream, is kept by nobody, and is over by itself.
func TestTyping(t *testing.T) {
	w, a, _, b, b2 := couple(t)
	b2.stop()
	w.sent = nil
	events, rows, mail := b.rows(store.BucketEvents), b.rows(store.BucketMessages), a.rows(store.BucketOutbox)
	write := func(on bool) {
		w.must(a.do(func(e *node.Engine, t *node.Turn) error { return e.Typing(t, "bob", on) }))
		w.settle()
	}
	write(true)
	write(true) // said again too soon: not at all
	if len(b.signals) != 1 || !b.signals[0].Typing.On || b.signals[0].Typing.From != "alice" || b.signals[0].Typing.Chat != "alice" {
		t.Fatalf("bob hears %+v", b.signals)
	}
	w.pass(5 * time.Second)
	if write(true); len(b.signals) != 1 {
		t.Error("still writing is news")
	}
	w.pass(5 * time.Second)
	if len(b.signals) != 1 {
		t.Error("it was over too soon")
	}
	if w.pass(2 * time.Second); len(b.signals) != 2 || b.signals[1].Typing.On {
		t.Errorf("it is not over by itself: %+v", b.signals)
	}
	write(true)
	if write(false); len(b.signals) != 4 || b.signals[3].Typing.On {
		t.Errorf("bob is not told that she stopped: %+v", b.signals)
	}
	w.pass(10 * time.Second)
	write(true)
	a.send(b, "done")
	if last := b.signals[len(b.signals)-1]; last.Typing.On {
		t.Error("she still writes after her message came")
	}
	for _, p := range w.sent[:6] {
		if p.relay != nil {
			t.Error("typing was deposited")
		}
	}
	w.pass(time.Minute)
	n := count(b.notices, func(n view.Notice) bool { return n.Type == "typing" })
	if n > 0 || b.rows(store.BucketEvents) > events+2 || b.rows(store.BucketMessages) > rows+2 || a.rows(store.BucketOutbox) > mail+1 {
		t.Errorf("something of it was kept: %d events", n)
	}
	off := false
	w.must(b.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(d *talk.Desk) error { _, err := d.SetAll(nil, &off); return err })
	}))
	before := len(b.signals)
	w.pass(10 * time.Second)
	if write(true); len(b.signals) != before {
		t.Error("who does not tell is told")
	}
}

// Acts mean something in the conversation of their message alone: not from another one, not for what people do not see,
// and not from somebody who is blocked.
func TestActsStayInTheirConversation(t *testing.T) {
	w, a, b := pair(t)
	c := w.person("carol")
	w.befriend(c, b)
	w.pass(time.Minute)
	id := a.send(b, "between us")
	w.pass(time.Second)
	target := b.stored(id).Id
	c.say(b, chat.KindReact, &chatpb.React{Target: target, Emoji: "👎"}) // as a member of a group of ours would know the id
	c.say(b, chat.KindEdit, &chatpb.Edit{Target: target, Text: "between all"})
	c.say(b, chat.KindUnsend, &chatpb.Unsend{Target: target})
	c.sayIn(b, chat.Direct(userID(a), userID(b)), chat.KindReact, &chatpb.React{Target: target, Emoji: "👎"})
	a.say(b, chat.KindReact, &chatpb.React{Target: target, Emoji: "\x1b[2J"})
	a.say(b, chat.KindReact, &chatpb.React{Target: target, Emoji: strings.Repeat("x", 33)})
	a.say(b, chat.KindReact, &chatpb.React{Target: target[:31], Emoji: "👎"})
	const same = `text "between us" [] edited false refused 0 unsent false erased false deleted false`
	wantSeen(t, id, same, a, b)
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.BlockContact(t, "alice"); return err }))
	a.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "you cannot see this") })
	w.pass(time.Minute)
	wantSeen(t, id, same, b)
}

// A reaction of somebody again and again costs one register, and events no more than its id.
func TestAFloodOfReactions(t *testing.T) {
	w, a, b := pair(t)
	id := a.must(func(d *talk.Desk) (view.Message, error) { return d.Send("bob", talk.Words{Text: "x", TTL: 3600}) }).ID
	w.pass(time.Second)
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, "alice"); return err }))
	target := b.stored(id).Id
	for i := range 200 {
		w.now = w.now.Add(time.Millisecond)
		a.say(b, chat.KindReact, &chatpb.React{Target: target, Emoji: fmt.Sprint(i)})
	}
	if n := b.rows(store.BucketTimes); n != 1 {
		t.Errorf("%d times are booked for one message", n)
	}
	if n := len(b.stored(id).State); n > 300 {
		t.Errorf("the row has %d bytes of state", n)
	}
	largest := 0
	_ = b.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketEvents, nil, func(_, v []byte) bool {
			if bytes.Contains(v, []byte("message_changed")) {
				largest = max(largest, len(v))
			}
			return true
		})
		return nil
	})
	if v := b.view(id); len(v.Reactions) != 1 || v.Reactions[0].Emoji != "199" || largest == 0 || largest > 300 {
		t.Errorf("%+v; the largest event has %d bytes", v.Reactions, largest)
	}
}

// Notes to oneself have acts, too, and follow to one's other devices.
func TestActsOnNotes(t *testing.T) {
	w, a, a2, _, _ := couple(t)
	id := a.must(func(d *talk.Desk) (view.Message, error) { return d.Send("me", talk.Words{Text: "milk"}) }).ID
	w.pass(time.Second)
	a2.must(func(d *talk.Desk) (view.Message, error) { return d.Edit(id, "milk and bread") })
	a2.must(func(d *talk.Desk) (view.Message, error) { return d.React(id, "✅") })
	w.pass(time.Minute)
	wantSeen(t, id, `text "milk and bread" ["was milk" "✅"] edited true refused 0 unsent false erased false deleted false`, a, a2)
}

// In a group those who are in it are seen to write, and nobody else.
func TestTypingInAGroup(t *testing.T) {
	w, a, b := pair(t)
	c := w.person("carol")
	w.befriend(a, c)
	w.befriend(b, c)
	var g view.Group
	w.must(a.do(func(e *node.Engine, t *node.Turn) (err error) {
		g, err = e.CreateGroup(t, "friends", []string{"bob"})
		return err
	}))
	w.pass(time.Minute)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { return e.Typing(t, g.Handle, true) }))
	w.settle()
	var in chat.ChatID
	w.must(b.store.View(func(tx store.Tx) error {
		c, err := talk.Find(tx, "friends")
		in = talk.IDOf(c)
		return err
	}))
	c.sayIn(b, in, chat.KindTyping, &chatpb.Typing{On: true})
	if len(b.signals) != 1 || b.signals[0].Typing.From != "alice" || b.signals[0].Typing.Chat != "friends" {
		t.Errorf("bob sees %+v", b.signals)
	}
}
