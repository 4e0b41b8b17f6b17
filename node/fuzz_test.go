package node_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

var errUndo = errors.New("undone")

// try runs a turn that is not committed: the device is as before, whatever came.
func (d *device) try(t *testing.T, size int, fn func(*node.Engine, *node.Turn)) {
	t.Helper()
	d.w.t = t
	fuzztest.Bounded(t, size, 64, func() {
		_ = d.do(func(e *node.Engine, turn *node.Turn) error { fn(e, turn); return errUndo })
	})
	d.w.queue, d.failed = nil, 0
}

// sealed is an envelope of d's present session with another device, without a step of the session.
func (d *device) sealed(to *device, body session.Body) (envelope []byte) {
	_ = d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketSessions, nil, func(_, v []byte) bool {
			if s, err := session.ParseSession(v); err == nil && s.Peer().Device().String() == to.id() {
				envelope, err = s.Seal(seeded("fuzz"), body)
				d.w.must(err)
			}
			return true
		})
		return nil
	})
	return envelope
}

// crowd is a device with everything that somebody may write to: a contact, a sibling, a group, relays, an open link.
func crowd(f *testing.F) (w *world, a, b, b2 *device) {
	w, a, b = pair(f, "r1")
	b2 = b.link("bob-2")
	a.meetDevice(b2)
	w.pass(time.Minute)
	_, err := a.group(func(e *node.Engine, t *node.Turn) (view.Group, error) {
		return e.CreateGroup(t, "Ring", []string{"bob"})
	})
	w.must(err)
	a.send(b, "hello")
	b.send(a, "hello")
	b2.send(a, "hello")
	w.pass(time.Minute)
	return w, a, b, b2
}

// FuzzContent: whatever a contact or a device of one's own says, of any kind, costs no more than it weighs and breaks
// nothing.
func FuzzContent(f *testing.F) {
	w, a, b, b2 := crowd(f)
	id := make([]byte, 32)
	for kind, x := range map[chat.Kind]proto.Message{
		chat.KindText: &chatpb.Text{Text: "hi", Mentions: []*chatpb.Mention{{User: id}}}, chat.KindAck: &chatpb.Ids{Ids: [][]byte{id}},
		chat.KindRead: &chatpb.Ids{Ids: [][]byte{id}}, chat.KindSync: &chatpb.Sync{People: []*chatpb.Person{{User: id, Handle: "x", State: 3}}},
		chat.KindReach: &chatpb.Reach{Number: 9, Boxes: [][]byte{id}}, chat.KindRecords: &chatpb.Records{Lists: [][]byte{id}, Devices: [][]byte{id}},
	} {
		raw, err := proto.Marshal(x)
		w.must(err)
		f.Add(uint16(kind), false, true, raw)
		f.Add(uint16(kind), true, false, raw)
	}
	for kind := range uint16(64) {
		f.Add(kind, kind%2 == 0, kind%3 == 0, []byte{10, 3, 'a', 'b', 'c', 16, 5, 0x22, 2, 8, 1})
	}
	direct := chat.Direct(userID(a), userID(b))
	f.Fuzz(func(t *testing.T, kind uint16, sibling, elsewhere bool, payload []byte) {
		w.t = t
		from, in := a, direct
		if sibling {
			from = b2
		}
		if elsewhere && len(payload) > 0 {
			in = chat.ChatID{payload[0]}
		}
		c, err := chat.New(seeded("content"), chat.Kind(kind), in, uint64(w.now.UnixMilli()), payload)
		if err != nil || len(c.Bytes()) > session.MaxContent {
			return
		}
		envelope := from.sealed(b, session.Body{Counter: 1 << 20, Content: c.Bytes()})
		b.try(t, len(envelope), func(e *node.Engine, turn *node.Turn) { e.Received(turn, from.self.ID, envelope) })
	})
}

// FuzzReceived: an envelope that nobody sealed has no effect.
func FuzzReceived(f *testing.F) {
	_, a, b, _ := crowd(f)
	genuine := a.sealed(b, session.Body{Counter: 1 << 20, Content: []byte("x")})
	f.Add(genuine)
	f.Add(genuine[:len(genuine)-1])
	f.Add(append([]byte{2}, make([]byte, 1634)...))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if slices.Equal(envelope, genuine) {
			return
		}
		b.try(t, len(envelope), func(e *node.Engine, turn *node.Turn) {
			dropped := e.Stats().Dropped
			e.Received(turn, a.self.ID, envelope)
			if o := turn.Out; len(o.Directs)+len(o.Deposits)+len(o.Notices)+len(o.Lookups)+len(o.Acks) > 0 || e.Stats().Dropped == dropped {
				t.Error("an envelope that nobody sealed has an effect")
			}
		})
	})
}

// FuzzLooked: whatever the directory answers, to whatever question.
func FuzzLooked(f *testing.F) {
	w, a, b, _ := crowd(f)
	for key, value := range w.records {
		f.Add(key, value)
		f.Add(key, value[:len(value)/2])
	}
	key, list := w.list(a)
	f.Add("list", list.Bytes())
	f.Add("device", w.records[dht.DeviceKey(list.Devices()[0].ID())])
	f.Fuzz(func(t *testing.T, at string, value []byte) {
		switch at {
		case "list":
			at = key
		case "device":
			at = dht.DeviceKey(list.Devices()[0].ID())
		}
		b.try(t, len(value), func(e *node.Engine, turn *node.Turn) { e.Looked(turn, at, value) })
	})
}

// FuzzLinkingFrames: what comes to an old device with an open link, and to a new one.
func FuzzLinkingFrames(f *testing.F) {
	w, _, b, _ := crowd(f)
	var offer view.Invite
	w.must(b.do(func(e *node.Engine, t *node.Turn) (err error) { offer, err = e.OfferDevice(t, 0); return err }))
	n := w.blank("new")
	l, err := node.NewLinker(w.now, seeded("linker"), offer.Text, "new")
	w.must(err)
	hello := l.Hello()
	f.Add(hello)
	f.Add(hello[:len(hello)-1])
	f.Add(make([]byte, 1200))
	f.Fuzz(func(t *testing.T, frame []byte) {
		w.t = t
		known := slices.Equal(frame, hello)
		b.try(t, len(frame), func(e *node.Engine, turn *node.Turn) {
			if _, err := e.LinkHello(turn, frame); (err == nil) != known {
				t.Errorf("a hello that nobody made, or one that is refused: %v", err)
			}
			if _, err := e.LinkRecord(turn, frame); err == nil {
				t.Error("a record that nobody made")
			}
		})
		_ = n.store.Update(func(tx store.Tx) error {
			if _, err := l.Welcome(n.turn(tx), frame, n.self); err == nil {
				t.Error("a welcome that nobody made")
			}
			if l.Finish(n.turn(tx), frame) == nil {
				t.Error("a list that nobody made")
			}
			return errUndo
		})
	})
}
