package node_test

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// misses has a device ask another one for counters.
func (d *device) misses(to *device, from, end uint64) {
	d.say(to, chat.KindMissing, &chatpb.Missing{Spans: []*chatpb.Span{{From: from, To: end}}})
}

// again counts what is on its way a second time to a device, and what it was told is gone.
func (d *device) again(to *device) (texts, gone int) {
	_ = d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketOutbox, nil, func(_, raw []byte) bool {
			x := &pb.Delivery{}
			if proto.Unmarshal(raw, x) == nil && identity.DeviceID(x.Device).String() == to.id() {
				if chat.Kind(x.Kind).Visible() {
					texts++
				} else if x.Kind == uint32(chat.KindGone) {
					gone++
				}
			}
			return true
		})
		return nil
	})
	return texts, gone
}

// Counters are those of the asking device alone: another contact, another device of the same person and a device that was
// removed get nothing of what was sealed for it, whatever they ask for.
func TestMissingIsSentAgainOnlyToWhomItWasSealedFor(t *testing.T) {
	w, a, b := pair(t)
	m := w.person("mallory")
	w.befriend(a, m)
	w.pass(time.Minute)
	for i := range 3 {
		a.send(b, text(i))
	}
	w.pass(time.Minute)
	late := b.link("bob-2") // was never addressed with these
	a.meetDevice(late)
	w.pass(10 * time.Minute)
	w.lose = func(p parcel) bool { return p.from == a }
	for _, d := range []*device{m, late} {
		d.misses(a, 0, 1<<63)
		d.misses(a, 1, 3)
		if texts, gone := a.again(d); texts != 0 || gone == 0 {
			t.Errorf("%s gets %d texts again, and is told %d times that they are gone", d.name, texts, gone)
		}
	}
	b.misses(a, 1, 3) // control
	if texts, _ := a.again(b); texts != 3 {
		t.Errorf("control: %d texts again", texts)
	}
	w.lose = nil
	w.pass(10 * time.Minute)
	wantTexts(t, b, a, text(0), text(1), text(2))

	w.lose = func(p parcel) bool { return p.from == a }
	w.must(b.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, late.id()); return err }))
	w.pass(time.Second)
	a.send(b, "after the removal")
	late.misses(a, 0, 1<<63)
	if texts, gone := a.again(late); texts+gone != 0 {
		t.Error("a removed device is answered")
	}
}

// What was taken back is gone, what is on its way comes by itself, what others wrote is not ours to send.
func TestMissingThatIsGone(t *testing.T) {
	w, a, b := pair(t)
	taken, other := a.send(b, "taken back"), a.send(b, "stays")
	b.send(a, "of bob")
	w.pass(time.Minute)
	a.unsend(taken)
	w.pass(time.Minute)
	w.lose = func(p parcel) bool { return p.to == b }
	waiting := a.send(b, "on its way")
	b.misses(a, 1, 100)
	if texts, gone := a.again(b); texts != 2 || gone != 1 {
		t.Errorf("%d texts are on their way, %d answers", texts, gone)
	}
	if a.stage(other) != view.StageQueued && a.stage(other) != view.StageWaiting || a.stage(waiting) == view.StageDelivered {
		t.Errorf("stages %s, %s", a.stage(other), a.stage(waiting))
	}
}

func (d *device) unsend(id string) {
	d.w.t.Helper()
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) error {
		return e.Talk(t, func(desk *talk.Desk) error { _, err := desk.Unsend(id); return err })
	}))
	d.w.settle()
}

// A device that asks without end is answered so often an hour, and the rest is acknowledged and forgotten.
func TestAFloodOfQuestions(t *testing.T) {
	w, a, b := pair(t)
	for i := range 3 {
		a.send(b, text(i))
	}
	w.pass(time.Minute)
	answers := func(n int) (sum int) {
		for range n {
			before := len(w.sent)
			b.misses(a, 1<<40, 1<<41)
			b.misses(a, 1, 3)
			w.pass(2 * time.Second)
			sum += count(w.sent[before:], func(p parcel) bool { return p.from == a && p.to == b })
		}
		return sum
	}
	first := answers(mend.MaxAsks)
	if more := answers(3 * mend.MaxAsks); more > 7*mend.MaxAsks { // acknowledgements of two questions, and of three texts
		t.Errorf("%d envelopes for %d questions, then %d", first, 2*mend.MaxAsks, more)
	}
	w.pass(time.Hour)
	if again := answers(2); again < 5 {
		t.Errorf("control: after an hour %d envelopes", again)
	}
	b.say(a, chat.KindMissing, &chatpb.Missing{Spans: slices.Repeat([]*chatpb.Span{{From: 1, To: 1 << 62}}, mend.MaxSpans+1)})
	w.pass(time.Hour)
	wantTexts(t, b, a, text(0), text(1), text(2))
}

// claim has a device say how the two stand, as it likes.
func (d *device) claim(to *device, generation, received, sent uint64) {
	content := d.content(chat.Direct(userID(d), userID(to)), chat.KindAck, &chatpb.Ids{Ids: [][]byte{make([]byte, 32)}})
	d.sayBody(to, session.Body{Content: content, Generation: generation, Received: received, Sent: sent})
}

// A peer that claims counters of the far future, or to have had what was never sent, hurts its own conversation at most:
// nothing of others changes, and nobody is told of a copy.
func TestClaimsOfAPeerStayWithThePeer(t *testing.T) {
	w, a, b := pair(t)
	c := w.person("carol")
	w.befriend(a, c)
	w.pass(time.Minute)
	generation := a.row().Generation
	for range 5 {
		b.claim(a, 1<<60, 1<<60, 1<<60)
		b.claim(a, 1, uint64(w.now.Unix())<<32|7, 1<<61)
		w.pass(10 * time.Minute)
	}
	a.send(c, "to carol")
	c.send(a, "to alice")
	a.send(b, "to bob")
	b.send(a, "of bob")
	w.pass(2 * time.Hour)
	wantTexts(t, c, a, "to carol", "to alice")
	wantTexts(t, b, a, "to bob", "of bob")
	if a.told("older copy") || a.row().Generation != generation {
		t.Error("alice believes that she was put back")
	}
}
