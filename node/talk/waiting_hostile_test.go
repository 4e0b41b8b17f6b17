package talk_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

// weighed counts the bytes that are written.
type weighed struct {
	store.Tx
	bytes int
}

func (w *weighed) Put(b store.Bucket, key, value []byte) {
	w.bytes += len(key) + len(value)
	w.Tx.Put(b, key, value)
}

// A group of hostile members edits messages that are not here, as large as may be. What one of them adds to that costs
// what it costs alone, and all of it counts when the message comes.
func TestActsThatWaitCostWhatTheyAre(t *testing.T) {
	const members = 100
	user := func(i int) (u identity.UserID) { binary.BigEndian.PutUint32(u[:], uint32(i+1)); return u }
	s, in := store.NewMemory(), chat.ChatID{9}
	desk := func(fn func(d *talk.Desk, w *weighed)) (written int) {
		if err := s.Update(func(tx store.Tx) error {
			w := &weighed{Tx: tx}
			fn(&talk.Desk{Now: begun, Rand: bytes.NewReader(make([]byte, 1<<12)), Tx: w, Me: alice}, w)
			written = w.bytes
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return written
	}
	desk(func(d *talk.Desk, _ *weighed) {
		talk.NewChat(d.Tx, in, talk.Group)
		r := &pb.Roster{}
		for i := range members {
			u := user(i)
			r.Members = append(r.Members, &pb.Seat{User: u[:], From: 1})
		}
		store.PutRow(d.Tx, store.BucketGroups, in[:], r)
	})
	inGroup := func(a talk.Arrival) talk.Arrival {
		a.Content.Chat = in
		a.Raw = a.Content.Bytes()
		a.ID = chat.MessageID(a.Author, [32]byte(a.Author), a.Raw)
		return a
	}
	message := inGroup(said(user(0), bob, chat.KindText, begun, 0, &chatpb.Text{Text: "first"}))
	text := string(bytes.Repeat([]byte("x"), chat.MaxText))
	for i := range members {
		for n := range acts.MaxEdits {
			edit := inGroup(said(user(i), bob, chat.KindEdit, begun, 1000*i+n, &chatpb.Edit{Target: message.ID[:], Text: text}))
			desk(func(d *talk.Desk, _ *weighed) {
				if !d.Act(edit) {
					t.Fatal("control: the edit is not kept")
				}
			})
		}
	}
	react := inGroup(said(user(members-1), bob, chat.KindReact, begun, 1, &chatpb.React{Target: message.ID[:], Emoji: "x"}))
	if got, most := desk(func(d *talk.Desk, _ *weighed) { d.Act(react) }), 64<<10; got > most {
		t.Errorf("a reaction has %d bytes written, more than %d", got, most)
	}
	desk(func(d *talk.Desk, _ *weighed) { d.Message(message) })
	desk(func(d *talk.Desk, _ *weighed) {
		m := &pb.Message{}
		talk.Row(d.Tx, message.ID[:], m)
		v := talk.MessageView(d.Tx, alice, m)
		if v.Text != text || len(v.Edits) != acts.MaxEdits || len(v.Reactions) != 1 || v.Refused == 0 {
			t.Errorf("%d edits, %d refused, %d reactions", len(v.Edits), v.Refused, len(v.Reactions))
		}
		rows := 0
		d.Tx.Scan(store.BucketMessages, nil, func(key, _ []byte) bool {
			if len(key) >= 32 { // no name of the message that is shown
				rows++
			}
			return true
		})
		if rows != 1 {
			t.Errorf("%d rows are left", rows-1)
		}
	})
}

// Somebody gives all messages one time: they are ordered by their ids, in steps that grow with their number (with the
// square of it, as they once did, this takes minutes).
func TestMessagesOfOneTimeAreOrderedOnce(t *testing.T) {
	s := store.NewMemory()
	const messages = 50_000
	if err := s.Update(func(tx store.Tx) error {
		c := talk.NewChat(tx, chat.ChatID{9}, talk.Group)
		for i := range uint64(messages) {
			id := make([]byte, 32)
			binary.BigEndian.PutUint64(id, i*0x9e3779b97f4a7c15) // in no order
			tx.Put(store.BucketChats, slices.Concat(store.U32(c.Number), store.U64(7), store.U64(i)), id)
		}
		ids := talk.IDs(tx, c)
		if len(ids) != messages || !slices.IsSortedFunc(ids, bytes.Compare) {
			t.Errorf("%d ids, in another order", len(ids))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
