package node_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// say has a device's keys say something that its engine would not: the device is in hostile hands.
func (d *device) say(to *device, kind chat.Kind, payload proto.Message) {
	d.w.t.Helper()
	d.sayIn(to, chat.Direct(userID(d), userID(to)), kind, payload)
}

func (d *device) sayIn(to *device, in chat.ChatID, kind chat.Kind, payload proto.Message) {
	d.w.t.Helper()
	d.sayRaw(to, d.content(in, kind, payload))
}

func (d *device) sayRaw(to *device, content []byte) {
	d.w.t.Helper()
	d.sayBody(to, session.Body{Counter: 1 << 20, Content: content})
}

func (d *device) sayBody(to *device, body session.Body) {
	d.w.t.Helper()
	var envelope []byte
	d.w.must(d.store.Update(func(tx store.Tx) error {
		var all []*session.Session
		var keys [][]byte
		tx.Scan(store.BucketSessions, nil, func(k, v []byte) bool {
			if s, err := session.ParseSession(v); err == nil && s.Peer().Device().String() == to.id() {
				all, keys = append(all, s), append(keys, k)
			}
			return true
		})
		i := session.Choose(all)
		if i < 0 {
			d.w.t.Fatalf("%s has no session with %s", d.name, to.name)
		}
		var err error
		envelope, err = all[i].Seal(d.rng, body)
		tx.Put(store.BucketSessions, keys[i], all[i].Marshal())
		return err
	}))
	to.input(func(e *node.Engine, t *node.Turn) { e.Received(t, d.self.ID, envelope) })
	d.w.settle()
}

func (d *device) content(in chat.ChatID, kind chat.Kind, payload proto.Message) []byte {
	raw, err := proto.Marshal(payload)
	d.w.must(err)
	c, err := chat.New(d.rng, kind, in, uint64(d.w.now.UnixMilli()), raw)
	d.w.must(err)
	return c.Bytes()
}

func sliceOf(u identity.UserID) []byte { return u[:] }

func userID(d *device) (u identity.UserID) { copy(u[:], d.row().User); return u }

func (d *device) row() *pb.Self {
	self := &pb.Self{}
	_ = d.store.View(func(tx store.Tx) error { return proto.Unmarshal(tx.Get(store.BucketMeta, []byte("self")), self) })
	return self
}

// messageID is the whole id of a message of d's conversation.
func (d *device) messageID(short string) []byte {
	var found []byte
	_ = d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketMessages, nil, func(k, _ []byte) bool {
			if len(k) == 32 && chat.ID(k).String() == short {
				found = k
			}
			return true
		})
		return nil
	})
	return found
}

// An acknowledgement counts for the device that gives it: neither another device of the recipient nor another contact
// can speak for it. A receipt counts from the recipient only.
func TestForgedAcknowledgements(t *testing.T) {
	w, a, b := pair(t)
	b2, m := b.link("bob-2"), w.person("mallory")
	a.meetDevice(b2)
	w.befriend(a, m)
	w.pass(10 * time.Minute)
	b.stop()
	id := a.send(b, "for bob")
	w.pass(time.Minute)
	full := a.messageID(id)
	m.say(a, chat.KindAck, &chatpb.Ids{Ids: [][]byte{full}})
	b2.say(a, chat.KindAck, &chatpb.Ids{Ids: [][]byte{full}})
	m.say(a, chat.KindRead, &chatpb.Ids{Ids: [][]byte{full}})
	for _, x := range a.status(id).Deliveries {
		switch x.Device {
		case b.id():
			if x.Stage != view.StageWaiting && x.Stage != view.StageQueued {
				t.Errorf("bob's stopped device: %s", x.Stage)
			}
		case b2.id():
			if x.Stage != view.StageDelivered {
				t.Errorf("control: the other device: %s", x.Stage)
			}
		}
	}
	if s := a.stage(id); s == view.StageDelivered || s == view.StageRead {
		t.Errorf("the message is %s although a device does not have it", s)
	}
	b2.say(a, chat.KindRead, &chatpb.Ids{Ids: [][]byte{full}})
	if !slices.ContainsFunc(a.status(id).Deliveries, func(x view.Delivery) bool { return x.Device == b2.id() && x.Stage == view.StageRead }) {
		t.Error("control: a receipt of the recipient does not count")
	}
	b.start()
	w.pass(10 * time.Minute)
	if n := a.rows(store.BucketOutbox); n != 0 || a.status(id).Stage == view.StageWaiting {
		t.Errorf("the real acknowledgement does not end it: %s", a.stage(id))
	}
}

// Contacts may not say what only our own devices may, nor speak in somebody else's conversation.
func TestWhatContactsMayNotSay(t *testing.T) {
	w, a, b := pair(t)
	m := w.person("mallory")
	w.befriend(a, m)
	w.pass(10 * time.Minute)
	before := a.contact(b.user())
	_, blist := w.list(b)
	person := &chatpb.Person{User: sliceOf(blist.User()), Handle: "owned", Name: "owned", State: 4, Verified: true, List: blist.Bytes(), Changed: 1 << 60}
	m.say(a, chat.KindSync, &chatpb.Sync{People: []*chatpb.Person{person}})
	if after := a.contact(b.user()); after.State != before.State || after.Handle != before.Handle {
		t.Errorf("a contact changed another: %+v", after)
	}
	m.sayIn(a, chat.Direct(userID(a), userID(b)), chat.KindText, &chatpb.Text{Text: "I am bob"})
	wantTexts(t, a, b)
	m.say(a, chat.KindText, &chatpb.Text{Text: "I am mallory"})
	wantTexts(t, a, m, "I am mallory") // control
	a2 := a.link("alice-2")
	w.pass(time.Minute)
	a2.say(a, chat.KindSync, &chatpb.Sync{People: []*chatpb.Person{person}})
	if after := a.contact(b.user()); after.State != "blocked" || after.Handle != "owned" {
		t.Errorf("control: an own device cannot either: %+v", after)
	}
}

// Payloads that do not parse, or pass their limits, change nothing and do not end the session.
func TestMalformedPayloads(t *testing.T) {
	w, a, b := pair(t)
	many := &chatpb.Ids{}
	for range chat.MaxIDs + 1 {
		many.Ids = append(many.Ids, make([]byte, 32))
	}
	for _, k := range []chat.Kind{chat.KindAck, chat.KindRead} {
		b.say(a, k, many)
	}
	for k := chat.KindAck; k < 40; k++ {
		b.say(a, k, &chatpb.Ids{Ids: [][]byte{nil, {1}, make([]byte, 31), make([]byte, 32)}})
		b.say(a, k, &chatpb.Reach{Number: 1 << 62, FirstEpoch: 1<<32 - 1, Boxes: make([][]byte, 1000), Endpoint: &chatpb.Endpoint{Id: []byte{1}, Addrs: make([][]byte, 100)}})
		b.say(a, k, &chatpb.Records{Lists: [][]byte{{1, 2, 3}, nil}, Devices: [][]byte{{4}}})
	}
	b.say(a, chat.KindText, &chatpb.Text{Text: "still here"})
	wantTexts(t, a, b, "still here")
	a.stop()
	a.start()
	id := a.send(b, "and back")
	w.pass(time.Minute)
	wantTexts(t, b, a, "and back")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("after malformed payloads: %s", s)
	}
}

// intruder makes a first flight to a device with keys that nobody listed, claiming to be a user.
func (w *world) intruder(to *device, user identity.UserID, keys *identity.DeviceKeys, head identity.Head, kind chat.Kind, payload proto.Message) []byte {
	w.t.Helper()
	_, list := w.list(to)
	rec, err := dht.ParseDeviceRecord(w.records[dht.DeviceKey(list.Devices()[0].ID())])
	w.must(err)
	s, err := session.Initiate(seeded("intruder"), session.Self{User: user, Keys: keys, Head: head}, rec.Bundle())
	w.must(err)
	content := to.content(chat.Direct(user, list.User()), kind, payload)
	envelope, err := s.Seal(seeded("seal"), session.Body{Counter: 1, Content: content})
	w.must(err)
	return envelope
}

// Whoever has our bundle can write to us. Without the link's secret, or posing as a contact, it leaves no trace; a join
// with another's proof is one of those.
func TestIntruders(t *testing.T) {
	w, a, b := pair(t)
	keys, err := identity.NewDeviceKeys(seeded("intruder keys"))
	w.must(err)
	m := root("mallory").User()
	mlist, err := root("mallory").Account(1).SignList(identity.ListFields{
		Seq: 1, Issued: w.now, NotAfter: w.now.Add(time.Hour), Devices: []identity.Device{keys.Public(identity.FlagAdmin, 1)},
	})
	w.must(err)
	l, err := link.Parse(a.invite())
	w.must(err)
	id := l.ID()
	stolen := link.JoinProof(l.Secret, userID(a), userID(b), keys.ID()) // for another person
	_, blist := w.list(b)
	newer := blist.Head()
	newer.Seq += 5
	spare, err := identity.NewDeviceKeys(seeded("spare"))
	w.must(err)
	without, err := root("mallory").Account(1).SignList(identity.ListFields{
		Seq: 1, Issued: w.now, NotAfter: w.now.Add(time.Hour), Devices: []identity.Device{spare.Public(identity.FlagAdmin, 1)},
	})
	w.must(err)
	text := &chatpb.Text{Text: "hello"}
	before := a.dump()
	for name, envelope := range map[string][]byte{
		"a stranger's text":                 w.intruder(a, m, keys, mlist.Head(), chat.KindText, text),
		"a stranger's acknowledgement":      w.intruder(a, m, keys, mlist.Head(), chat.KindAck, &chatpb.Ids{}),
		"a join with another's proof":       w.intruder(a, m, keys, mlist.Head(), chat.KindJoin, &chatpb.Join{Invite: id[:], Proof: stolen, Name: "m", List: mlist.Bytes()}),
		"a join with another's list":        w.intruder(a, m, keys, mlist.Head(), chat.KindJoin, &chatpb.Join{Invite: id[:], Proof: link.JoinProof(l.Secret, userID(a), m, keys.ID()), List: blist.Bytes()}),
		"a join from a device off its list": w.intruder(a, m, keys, mlist.Head(), chat.KindJoin, &chatpb.Join{Invite: id[:], Proof: link.JoinProof(l.Secret, userID(a), m, keys.ID()), List: without.Bytes()}),
		"posing as a contact":               w.intruder(a, userID(b), keys, blist.Head(), chat.KindText, text),
		"posing as one of our own":          w.intruder(a, userID(a), keys, identity.Head{Epoch: 1, Seq: 1}, chat.KindSync, &chatpb.Sync{}),
	} {
		a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, m[:], envelope) })
		if a.dump() != before || len(a.last.Directs)+len(a.last.Deposits)+len(a.last.Notices) > 0 {
			t.Errorf("%s leaves a trace", name)
		}
	}
	// One that claims a newer list of a contact is kept aside for it, within bounds, and never shown.
	for i := range 300 {
		keys, err := identity.NewDeviceKeys(seeded(text2("many", i)))
		w.must(err)
		envelope := w.intruder(a, userID(b), keys, newer, chat.KindText, text)
		a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, m[:], envelope) })
	}
	if n := a.rows(store.BucketParked); n == 0 || n > 64 {
		t.Errorf("%d envelopes parked", n)
	}
	wantTexts(t, a, b)
	good := w.intruder(a, m, keys, mlist.Head(), chat.KindJoin, &chatpb.Join{Invite: id[:], Proof: link.JoinProof(l.Secret, userID(a), m, keys.ID()), Name: "m", List: mlist.Bytes()})
	a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, m[:], good) })
	if c := a.contact(m.String()); c.State != "accepted" {
		t.Errorf("control: with the secret it is no contact either: %+v", c)
	}
}
