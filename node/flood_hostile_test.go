package node_test

import (
	"io"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/store"
)

// joinWith is what a device says to join with a link, whether the link still works or not.
func (w *world) joinWith(d, to *device, text, name string) *chatpb.Join {
	w.t.Helper()
	l, err := link.Parse(text)
	w.must(err)
	id := l.ID()
	_, list := w.list(d)
	device := list.Devices()[0].ID()
	return &chatpb.Join{
		Invite: id[:], Proof: link.JoinProof(l.Secret, userID(to), userID(d), device), Name: name, List: list.Bytes(),
	}
}

// Whoever holds a link, used or not, and never takes the answer, does not fill the outbox: a person could not write any
// more. Nor does it fill it with what our other devices are told.
func TestJoiningAgainAndAgain(t *testing.T) {
	const times = 700
	w, a, _ := pair(t)
	a2 := a.link("alice-2")
	b, m := w.person("carol"), w.person("mallory")
	text := a.invite()
	a.meetDevice(b)
	a.meetDevice(m)
	w.must(b.join(text))
	w.must(m.join(text))
	w.pass(time.Minute)
	if c := m.contact(a.user()); c.Declined == "" {
		t.Fatalf("control: the used link is not declined: %+v", c)
	}
	for _, d := range []*device{m, b, a2} {
		d.stop()
	}
	for who, d := range map[string]*device{"the thief of a used link": m, "the friend who used it": b} {
		before := a.rows(store.BucketOutbox)
		for i := range times {
			d.say(a, chat.KindJoin, w.joinWith(d, a, text, text2("name ", i)))
		}
		if n := a.rows(store.BucketOutbox) - before; n > 600 {
			t.Errorf("%s joins %d times: %d deliveries more", who, times, n)
		}
	}
}

// What a contact sends that is not there for the acknowledgements does not fill the outbox with them.
func TestAcknowledgementsPileUp(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	const texts = 700
	for i := range texts {
		b.say(a, chat.KindText, &chatpb.Text{Text: text(i)})
	}
	if n := a.rows(store.BucketOutbox); n > 600 {
		t.Errorf("%d deliveries wait for a device that does not take them", n)
	}
	if n := len(a.texts(b)); n != texts {
		t.Errorf("control: %d of %d texts are there", n, texts)
	}
	b.start()
	a.meetDevice(b)
	w.pass(time.Minute)
	if n := a.rows(store.BucketOutbox); n != 0 {
		t.Errorf("control: %d deliveries are left when it is back", n)
	}
}

// A contact that tells new box keys again and again has us look for the sets of the last ones only.
func TestBoxKeysThatChange(t *testing.T) {
	w, a, b := pair(t)
	b.stop()
	a.send(b, "waits")
	for i := range 50 {
		r := &chatpb.Reach{Number: uint64(1000 + i), RecordSecret: make([]byte, 32), FirstEpoch: dht.EpochAt(w.now)}
		for range 2 {
			key, err := io.ReadAll(io.LimitReader(b.rng, 32))
			w.must(err)
			r.Boxes = append(r.Boxes, key)
		}
		b.say(a, chat.KindReach, r)
		w.pass(2 * time.Second)
	}
	asked := map[string]bool{}
	w.lookup = func(d *device, key string) []byte {
		if kind, _, err := dht.ParseKey(key); d == a && err == nil && kind == dht.KindMailbox {
			asked[key] = true
		}
		return w.records[key]
	}
	w.pass(12 * time.Hour)
	if len(asked) != 1 {
		t.Errorf("the sets of %d boxes are looked for", len(asked))
	}
}
