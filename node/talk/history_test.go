package talk_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

var (
	alice = identity.UserID{0xa}
	bob   = identity.UserID{0xb}
	carol = identity.UserID{0xc}
	begun = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// half is one of two devices of Alice.
type half struct {
	t      *rapid.T
	store  store.Store
	device identity.DeviceID
	asked  int // questions it was asked
	rows   int // rows it was sent
	lose   func() bool
}

func newHalf(t *rapid.T, device byte) *half {
	h := &half{t: t, store: store.NewMemory(), device: identity.DeviceID{device}}
	h.do(begun, func(d *talk.Desk) {
		store.PutRow(d.Tx, store.BucketMeta, []byte("self"), &pb.Self{User: alice[:]})
		for i, u := range []identity.UserID{bob, carol} {
			c := &pb.Contact{User: u[:], Handle: fmt.Sprint("friend", i), State: talk.Accepted, Chat: uint32(store.NextCounter(d.Tx, "chat"))}
			talk.OpenDirect(d.Tx, alice, c)
			store.PutRow(d.Tx, store.BucketContacts, u[:talk.ContactKeySize], c)
		}
	})
	return h
}

func (h *half) do(now time.Time, fn func(d *talk.Desk)) {
	h.t.Helper()
	if err := h.store.Update(func(tx store.Tx) error {
		fn(&talk.Desk{Now: now, Rand: bytes.NewReader(make([]byte, 1<<12)), Tx: tx, Me: alice, Device: h.device})
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
}

// arrives makes something come to the device as if by a session.
func (h *half) arrives(now time.Time, a talk.Arrival) {
	h.do(now, func(d *talk.Desk) {
		if a.Content.Kind.Visible() {
			d.Message(a)
		} else {
			d.Act(a)
		}
	})
}

func said(by, with identity.UserID, kind chat.Kind, at time.Time, nonce int, payload proto.Message) talk.Arrival {
	raw, err := proto.Marshal(payload)
	if err != nil {
		panic(err)
	}
	c := chat.Content{Kind: kind, Chat: chat.Direct(alice, with), SentAt: uint64(at.UnixMilli()), Nonce: [16]byte{byte(nonce), byte(nonce >> 8)}, Payload: raw}
	return talk.Arrival{ID: chat.MessageID(by, [32]byte(by), c.Bytes()), Author: by, Device: identity.DeviceID(by), Own: by == alice, Content: c, Raw: c.Bytes()}
}

// compare has a ask b about the past until it hears how that ended.
func compare(a, b *half, now time.Time, since uint32) talk.HistoryEnd {
	type mail struct {
		to *half
		h  *chatpb.History
	}
	var queue []mail
	a.do(now, func(d *talk.Desk) {
		queue = append(queue, mail{b, d.HistoryAsk(&chatpb.HistoryAsk{Since: since, Pass: 1})})
	})
	for steps := 0; len(queue) > 0; steps++ {
		if steps > 2000 {
			a.t.Fatal("the comparison does not end")
		}
		m := queue[0]
		queue = queue[1:]
		from := a
		if m.to == a {
			from = b
		}
		if n := proto.Size(m.h); n > 3800 {
			a.t.Fatalf("a part of %d bytes does not fit a content", n)
		}
		var end talk.HistoryEnd
		if m.to.lose != nil && m.h.Part != nil && m.h.Part.Next == nil && m.to.lose() {
			continue
		}
		m.to.do(now, func(d *talk.Desk) {
			if m.h.Ask != nil {
				m.to.asked++
				for _, part := range d.HistoryAnswer(m.h.Ask) {
					queue = append(queue, mail{from, part})
				}
			}
			if m.h.Part != nil {
				m.to.rows += len(m.h.Part.Rows)
				var ask *chatpb.History
				if ask, end = d.HistoryPart(m.h.Part); ask != nil {
					queue = append(queue, mail{from, ask})
				}
			}
		})
		if end != talk.HistoryOpen && m.to == a {
			return end
		}
	}
	return talk.HistoryOpen
}

// shows is everything that a person sees of the past on a device, but for when it came there.
func (h *half) shows() (out []string) {
	if err := h.store.View(func(tx store.Tx) error {
		for _, who := range []string{"friend0", "friend1", talk.OwnHandle} {
			list, err := talk.Messages(tx, who, 0)
			if err != nil {
				return err
			}
			for _, m := range list {
				m.Received = time.Time{}
				out = append(out, fmt.Sprintf("%+v", m))
			}
		}
		return nil
	}); err != nil {
		h.t.Fatal(err)
	}
	return out
}

// TestTwoDevicesThatDisagreeConverge has messages and acts arrive at one of two devices, or at both, and compares.
func TestTwoDevicesThatDisagreeConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newHalf(rt, 1), newHalf(rt, 2)
		both := []*half{a, b}
		now := begun
		for i := range rapid.IntRange(0, 60).Draw(rt, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(1, 5*24*60).Draw(rt, "pause")) * time.Minute)
			by := rapid.SampledFrom([]identity.UserID{alice, bob, carol}).Draw(rt, "by")
			with := by
			if by == alice {
				with = rapid.SampledFrom([]identity.UserID{bob, alice}).Draw(rt, "with") // or a note to herself
			}
			text := said(by, with, chat.KindText, now, i, &chatpb.Text{Text: fmt.Sprint("text ", i)})
			where := rapid.IntRange(0, 2).Draw(rt, "where")
			acts := []talk.Arrival{text}
			switch rapid.IntRange(0, 4).Draw(rt, "act") {
			case 0:
				acts = append(acts, said(with, with, chat.KindReact, now.Add(time.Minute), i, &chatpb.React{Target: text.ID[:], Emoji: "x"}))
			case 1:
				acts = append(acts, said(by, with, chat.KindEdit, now.Add(time.Minute), i, &chatpb.Edit{Target: text.ID[:], Text: fmt.Sprint("other ", i)}))
			case 2:
				acts = append(acts, said(by, with, chat.KindUnsend, now.Add(time.Minute), i, &chatpb.Unsend{Target: text.ID[:]}))
			}
			for k, x := range acts {
				for j, h := range both {
					if where != j || k > 0 && rapid.Bool().Draw(rt, "act arrives") {
						h.arrives(now, x)
					}
				}
			}
		}
		a.lose = func() bool { return rapid.IntRange(0, 3).Draw(rt, "lost") == 0 }
		compare(a, b, now, 0)
		a.lose = nil
		if end := compare(a, b, now, 0); end != talk.HistoryEqual {
			rt.Fatalf("ended with %v", end)
		}
		x, y := a.shows(), b.shows()
		if fmt.Sprint(x) != fmt.Sprint(y) {
			rt.Fatalf("they differ:\n%v\n%v", x, y)
		}
		asked, rows := b.asked, a.rows
		if compare(a, b, now, 0) != talk.HistoryEqual || a.rows != rows || b.asked-asked > 3 {
			rt.Fatalf("to compare again took %d questions and %d rows", b.asked-asked, a.rows-rows)
		}
	})
}

// TestALackIsNotCalledEqual is the control: when nothing of what a device lacks gets there, the comparison says so.
func TestALackIsNotCalledEqual(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := newHalf(rt, 1), newHalf(rt, 2)
		text := said(bob, bob, chat.KindText, begun, 1, &chatpb.Text{Text: "only here"})
		b.arrives(begun, text)
		a.lose = func() bool { return true }
		if end := compare(a, b, begun, 0); end != talk.HistoryDiffers {
			rt.Fatalf("ended with %v", end)
		}
		a.lose = nil
		if end := compare(a, b, begun, talk.MonthAt(begun)+1); end != talk.HistoryEqual || len(a.shows()) != 0 {
			rt.Fatal("a month before the one asked from was compared")
		}
		if end := compare(a, b, begun, talk.MonthAt(begun)); end != talk.HistoryEqual || len(a.shows()) != 1 {
			rt.Fatalf("ended with %v, and shows %v", end, a.shows())
		}
	})
}
