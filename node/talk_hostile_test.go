package node_test

import (
	"encoding/hex"
	"math"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// sayAt is sayIn with a time of the speaker's own choice.
func (d *device) sayAt(to *device, in chat.ChatID, kind chat.Kind, payload proto.Message, at uint64) {
	d.w.t.Helper()
	raw, err := proto.Marshal(payload)
	d.w.must(err)
	c, err := chat.New(d.rng, kind, in, at, raw)
	d.w.must(err)
	d.sayRaw(to, c.Bytes())
}

func (d *device) chatWith(who string) (v view.Chat) {
	d.w.t.Helper()
	d.w.must(d.do(func(_ *node.Engine, t *node.Turn) error {
		c, err := talk.Find(t.Tx, who)
		if err != nil {
			return err
		}
		v = talk.ChatView(t.Tx, talk.Me(t.Tx), c)
		return nil
	}))
	return v
}

// A timer from the end of time would be the last word for ever: what the other sets after it has to count.
func TestATimerFromTheFutureIsOverruled(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	in := chat.Direct(userID(alice), userID(bob))
	bob.sayAt(alice, in, chat.KindTimer, &chatpb.Timer{Seconds: 2}, uint64(w.now.Add(dht.MaxSkew-time.Second).UnixMilli()))
	bob.sayAt(alice, in, chat.KindTimer, &chatpb.Timer{Seconds: 1}, math.MaxUint64)
	if got := alice.chatWith("bob").Timer; got != 2 {
		t.Fatalf("the timer is %d s, not that of a clock that is ahead", got)
	}
	off := uint32(0)
	w.must(alice.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(d *talk.Desk) error { _, err := d.SetChat("bob", talk.ChatChange{Timer: &off}); return err })
	}))
	w.pass(time.Second)
	if got := alice.chatWith("bob").Timer; got != 0 {
		t.Errorf("messages still disappear after %d s", got)
	}
	if got := bob.chatWith("alice").Timer; got != 0 {
		t.Errorf("at bob's they disappear after %d s", got)
	}
}

// Whoever names the conversation that we have with ourselves, or will have with somebody, as a group of unknown members
// takes nothing from us.
func TestNobodyTakesTheIDOfAConversation(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(alice, bob)
	head := &chatpb.Text{Text: "x", Heads: [][]byte{make([]byte, 16)}}
	for _, in := range []chat.ChatID{chat.Direct(userID(alice), userID(alice)), chat.Direct(userID(alice), userID(carol)), {1}} {
		bob.sayIn(alice, in, chat.KindText, head)
	}
	if !alice.hasChat(chat.ChatID{1}) {
		t.Fatal("control: no group is made for what names unknown entries")
	}
	w.must(alice.do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.Send(t, node.SendRequest{To: "me", Text: "a note"})
		return err
	}))
	w.befriend(alice, carol)
	carol.send(alice, "hello")
	w.settle()
	wantTexts(t, alice, carol, "hello")
	if v := alice.chatWith("me"); v.Kind != "self" || v.Last == nil {
		t.Errorf("the conversation with oneself is %+v", v)
	}
}

func (d *device) hasChat(id chat.ChatID) (has bool) {
	d.w.must(d.do(func(_ *node.Engine, t *node.Turn) error { has = talk.Chat(t.Tx, id) != nil; return nil }))
	return has
}

// Reactions to a message that disappears book its end once.
func TestReactionsDoNotFillTheTableOfTimes(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	in := chat.Direct(userID(alice), userID(bob))
	bob.sayIn(alice, in, chat.KindText, &chatpb.Text{Text: "soon gone", TtlSeconds: 3600})
	w.must(alice.do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, "bob"); return err }))
	before := alice.rows(store.BucketTimes)
	if before == 0 {
		t.Fatal("control: nothing is booked")
	}
	id := alice.lastID("bob")
	for i := range 20 {
		bob.sayAt(alice, in, chat.KindReact, &chatpb.React{Target: id, Emoji: strconv.Itoa(i)}, uint64(w.now.UnixMilli()+int64(i)))
	}
	if got := alice.rows(store.BucketTimes); got != before {
		t.Errorf("%d times are booked, %d before the reactions", got, before)
	}
	w.pass(2 * time.Hour)
	if got := alice.texts(bob); len(got) != 0 && got[0] != "" {
		t.Errorf("control: %q is still there", got)
	}
}

func (d *device) lastID(who string) (id []byte) {
	d.w.must(d.do(func(_ *node.Engine, t *node.Turn) error {
		c, err := talk.Find(t.Tx, who)
		if err == nil {
			ids := talk.IDs(t.Tx, c)
			id = ids[len(ids)-1]
		}
		return err
	}))
	return id
}

// Who says for hours that he types leaves nothing on the disk.
func TestTypingLeavesNothing(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	in := chat.Direct(userID(alice), userID(bob))
	rows := func() (n int) {
		for _, b := range []store.Bucket{store.BucketSeen, store.BucketSeenDays, store.BucketMessages, store.BucketEvents, store.BucketOutbox} {
			n += alice.rows(b)
		}
		return n
	}
	before := rows()
	for i := range 20 {
		bob.sayIn(alice, in, chat.KindTyping, &chatpb.Typing{On: i%2 == 0})
	}
	if got := rows(); got != before {
		t.Errorf("%d rows more", got-before)
	}
	bob.sayIn(alice, in, chat.KindText, &chatpb.Text{Text: "control"})
	if got := rows(); got == before {
		t.Error("control: a text leaves nothing either")
	}
}

// A device of our own in hostile hands says that things happened beyond the end of the calendar: what cannot be shown
// would end every turn and every list that shows it.
func TestASiblingsTimesAreBounded(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	phone := alice.link("phone")
	w.settle()
	in := chat.Direct(userID(alice), userID(bob))
	self := chat.Direct(userID(alice), userID(alice))
	for name, value := range map[string]string{talk.SettingMute: strconv.Itoa(math.MaxInt64)} {
		phone.sayIn(alice, self, chat.KindSync, &chatpb.Sync{Settings: []*chatpb.Setting{
			{Chat: in[:], Name: name, Value: []byte(value), At: math.MaxUint64, Device: deviceOf(phone)},
		}})
	}
	content := phone.content(in, chat.KindText, &chatpb.Text{Text: "forged"})
	bobs := userID(bob)
	row := &chatpb.HistoryRow{
		Id: make([]byte, 32), Content: content, User: bobs[:], Device: deviceOf(phone), Received: math.MaxInt64, Order: math.MaxUint64,
	}
	row.Id[0] = 1
	phone.sayIn(alice, self, chat.KindHistory, &chatpb.History{Part: &chatpb.HistoryPart{Chat: in[:], Rows: []*chatpb.HistoryRow{row}}})
	if got := alice.rows(store.BucketChats); got == 0 {
		t.Fatal("control: the row was not taken")
	}
	bob.sayIn(alice, in, chat.KindReact, &chatpb.React{Target: row.Id, Emoji: "x"})
	v := alice.chatWith("bob")
	if _, err := v.Muted.MarshalJSON(); err != nil {
		t.Error(err)
	}
	if v.Last == nil || len(v.Last.Reactions) != 1 {
		t.Errorf("the newest message is %+v", v.Last)
	}
	w.must(alice.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(d *talk.Desk) error {
			_, err := d.SetChat("bob", talk.ChatChange{Muted: &time.Time{}})
			return err
		})
	}))
	if got := alice.chatWith("bob").Muted; !got.IsZero() {
		t.Errorf("muted until %v: it can never be set again", got)
	}
}

func deviceOf(d *device) []byte {
	raw, err := hex.DecodeString(d.id())
	d.w.must(err)
	return raw
}

// Who asks for a log, or for the past, and acknowledges nothing, has us send it once.
func TestAnswersToWhoTakesNoneAreBounded(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.person("alice"), w.person("bob")
	w.befriend(alice, bob)
	phone := alice.link("phone")
	g, err := alice.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"bob"})
	})
	w.must(err)
	w.settle()
	raw, err := hex.DecodeString(g.Chat)
	w.must(err)
	in := chat.ChatID(raw)
	bob.stop()
	for range 30 {
		bob.sayIn(alice, in, chat.KindGroupAsk, &chatpb.GroupAsk{})
		bob.sayIn(alice, chat.ChatID{7}, chat.KindGroupAsk, &chatpb.GroupAsk{})
		w.pass(6 * time.Second)
	}
	if got := alice.onTheWay(chat.KindGroup); got < 1 || got > 4 { // a small log is a page or two
		t.Errorf("%d pages are on their way", got)
	}
	phone.stop()
	self := chat.Direct(userID(alice), userID(alice))
	for range 600 {
		phone.sayIn(alice, self, chat.KindHistory, &chatpb.History{Ask: &chatpb.HistoryAsk{Pass: 1}})
	}
	if got := alice.onTheWay(chat.KindHistory); got < 100 || got > 520 {
		t.Errorf("%d answers are on their way", got)
	}
}

func (d *device) onTheWay(kind chat.Kind) (n int) {
	_ = d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketOutbox, nil, func(_, value []byte) bool {
			if row := (&pb.Delivery{}); proto.Unmarshal(value, row) == nil && chat.Kind(row.Kind) == kind {
				n++
			}
			return true
		})
		return nil
	})
	return n
}

// An admin that says of somebody that it came long ago does not have everybody send all of the past.
func TestAnAdminDoesNotSendThePast(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.person("alice"), w.person("bob"), w.person("carol")
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	g, err := alice.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "ring", []string{"bob"})
	})
	w.must(err)
	_, err = alice.group(func(e *node.Engine, t *node.Turn) (view.Group, error) { return e.SetGroupAdmin(t, "ring", "bob", true) })
	w.must(err)
	w.settle()
	say := func(n int) {
		for i := range n {
			w.must(alice.do(func(e *node.Engine, t *node.Turn) error {
				_, err := e.Send(t, node.SendRequest{To: "ring", Text: text(i)})
				return err
			}))
			w.settle()
		}
	}
	say(10)
	w.pass(31 * 24 * time.Hour)
	say(3)
	raw, err := hex.DecodeString(g.Chat)
	w.must(err)
	keys, err := identity.ParseDeviceKeys(bob.row().DeviceKeys)
	w.must(err)
	list, err := listOf(bob.row().List)
	w.must(err)
	var entry *group.Entry
	w.must(bob.store.View(func(tx store.Tx) error {
		l := talk.LoadLog(tx, chat.ChatID(raw))
		add := group.Act{Kind: group.Add, Users: []identity.UserID{userID(carol)}}
		entry, err = group.Sign(keys, l.Act(userID(bob), list.Head(), 0, add)) // right after it became an admin
		return err
	}))
	carol.stop()
	bob.sayIn(alice, chat.ChatID(raw), chat.KindGroup, &chatpb.Group{Entries: [][]byte{entry.Bytes()}, Lists: [][]byte{list.Bytes()}})
	if got := alice.onTheWay(chat.KindText); got != 3 {
		t.Errorf("%d earlier messages are on their way to carol, want the 3 of the last month", got)
	}
}
