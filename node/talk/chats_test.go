package talk_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// looked counts the pairs that are read from tables.
type looked struct {
	store.Tx
	pairs int
}

func (l *looked) Scan(b store.Bucket, from []byte, fn func(key, value []byte) bool) {
	l.Tx.Scan(b, from, func(key, value []byte) bool { l.pairs++; return fn(key, value) })
}

// lines is a conversation with Bob of messages at these times, of which some are unread, and the newest is the head if
// there is one.
func lines(t interface{ Fatal(...any) }, at []uint64, unread int, head bool, fn func(d *talk.Desk)) {
	err := store.NewMemory().Update(func(tx store.Tx) error {
		store.PutRow(tx, store.BucketMeta, []byte("self"), &pb.Self{User: alice[:]})
		p := &pb.Contact{User: bob[:], Handle: "bob", State: talk.Accepted, Chat: 1}
		talk.OpenDirect(tx, alice, p)
		store.PutRow(tx, store.BucketContacts, bob[:talk.ContactKeySize], p)
		in := chat.Direct(alice, bob)
		c := talk.Chat(tx, in)
		c.Unread = uint32(unread)
		for i, ms := range at {
			a := said(bob, bob, chat.KindText, time.UnixMilli(int64(ms)), i, &chatpb.Text{Text: fmt.Sprint(i)})
			store.PutRow(tx, store.BucketMessages, a.ID[:], &pb.Message{
				Id: a.ID[:], Content: a.Raw, User: bob[:], Device: a.Device[:], Chat: in[:], Order: ms, Received: int64(ms), Read: i >= unread,
			})
			tx.Put(store.BucketChats, slices.Concat(store.U32(c.Number), store.U64(ms), store.U64(uint64(i))), a.ID[:])
			if head && ms == slices.Max(at) {
				c.Heads = [][]byte{a.ID[:]}
			}
		}
		talk.SaveChat(tx, c)
		fn(&talk.Desk{Now: begun, Rand: bytes.NewReader(make([]byte, 1<<12)), Tx: tx, Me: alice})
		return tx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// However the times of messages lie, the newest of them are the last ones of all, and whatever is unread is found.
func TestTheNewestAreTheLastOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) uint64 {
			return uint64(begun.UnixMilli()) - rapid.Uint64Range(0, 3).Draw(t, "n")<<rapid.Uint64Range(0, 36).Draw(t, "bits")
		}), 0, 30).Draw(t, "at")
		limit, unread := rapid.IntRange(1, 10).Draw(t, "limit"), rapid.IntRange(0, len(at)).Draw(t, "unread")
		lines(t, at, unread, rapid.Bool().Draw(t, "head"), func(d *talk.Desk) {
			all := talk.IDs(d.Tx, talk.Chat(d.Tx, chat.Direct(alice, bob)))
			got, err := talk.Messages(d.Tx, "bob", limit)
			if err != nil || len(all) != len(at) || len(got) != min(limit, len(all)) {
				t.Fatalf("%d of %d messages: %v", len(got), len(all), err)
			}
			for i, v := range got {
				if !bytes.Equal(v.Whole, all[len(all)-len(got)+i]) {
					t.Errorf("%d of the last %d is another", i, len(got))
				}
			}
			if n, err := d.MarkRead("bob"); err != nil || n != unread {
				t.Errorf("%d of %d read: %v", n, unread, err)
			}
		})
	})
}

// What somebody does at the end of a long conversation does not read all of it.
func TestALongConversationIsNotReadFromItsBeginning(t *testing.T) {
	var at []uint64
	for i := range 1000 {
		at = append(at, uint64(begun.Add(-time.Duration(i)*10*time.Minute).UnixMilli()))
	}
	lines(t, at, 1, true, func(d *talk.Desk) {
		d.IndexAll()
		v, err := talk.Messages(d.Tx, "bob", 1)
		if err != nil || len(v) != 1 {
			t.Fatal(len(v), err)
		}
		newest := v[0].ID
		for name, act := range map[string]func() (int, error){
			"messages": func() (int, error) { v, err := talk.Messages(d.Tx, "bob", 10); return len(v), err },
			"inbox":    func() (int, error) { v, err := talk.Inbox(d.Tx); return len(v), err },
			"read":     func() (int, error) { return d.MarkRead("bob") },
			"message":  func() (int, error) { m, err := talk.FindMessage(d.Tx, newest); return len(m.GetId()), err },
		} {
			count := &looked{Tx: d.Tx}
			d.Tx = count
			n, err := act()
			if d.Tx = count.Tx; err != nil || n == 0 || count.pairs > 100 {
				t.Errorf("%s: %d pairs of tables read for %d: %v", name, count.pairs, n, err)
			}
		}
	})
}

// A message that lies aside is not among those that are counted as unread, and is not when another device of ours, which
// shows it, says that it was read.
func TestWhatLiesAsideIsNotCounted(t *testing.T) {
	lines(t, nil, 0, false, func(d *talk.Desk) {
		in, at := chat.ChatID{7}, uint64(begun.UnixMilli())
		c := talk.NewChat(d.Tx, in, talk.Group)
		c.Handle = "ring"
		talk.SaveChat(d.Tx, c)
		store.PutRow(d.Tx, store.BucketGroups, in[:], &pb.Roster{
			Members: []*pb.Seat{{User: alice[:]}, {User: bob[:]}}, Past: []*pb.Seat{{User: carol[:], To: at}},
		})
		var ids [][32]byte
		for i, by := range []identity.UserID{bob, carol} {
			a := said(by, bob, chat.KindText, begun, i, &chatpb.Text{Text: "hello"})
			a.Content.Chat = in
			a.Raw = a.Content.Bytes()
			a.ID = chat.MessageID(by, [32]byte(by), a.Raw)
			if !d.Message(a) {
				t.Fatal(i, "was refused")
			}
			ids = append(ids, a.ID)
		}
		for i, want := range []uint32{1, 0} {
			m := &pb.Message{}
			talk.Row(d.Tx, ids[1-i][:], m)
			d.SetRead(m, at)
			if n := talk.Chat(d.Tx, in).Unread; n != want {
				t.Errorf("%d unread after %d were read, want %d", n, i+1, want)
			}
		}
	})
}

// A message is found by any beginning of its id, also one that an earlier build kept; what was set aside or dropped is
// not, and two that begin alike are told apart by more digits.
func TestFindMessage(t *testing.T) {
	db := store.NewMemory()
	id := func(b ...byte) []byte { return append(b, make([]byte, 32-len(b))...) }
	put := func(tx store.Tx, place uint32, n uint64, id []byte) {
		tx.Put(store.BucketChats, slices.Concat(store.U32(place), store.U64(n), store.U64(n)), id)
		store.PutRow(tx, store.BucketMessages, id, &pb.Message{Id: id})
	}
	find := func(tx store.Tx, prefix, want string) {
		t.Helper()
		m, err := talk.FindMessage(tx, prefix)
		got := ""
		if p := (*view.Problem)(nil); errors.As(err, &p) {
			got = p.Class.Error()
		} else if err == nil {
			got = hex.EncodeToString(m.Id[:3])
		}
		if got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
	if err := db.Update(func(tx store.Tx) error {
		talk.SaveChat(tx, &pb.Chat{Id: make([]byte, 16), Kind: talk.Group, Number: 1, Aside: 2})
		put(tx, 1, 1, id(0xab, 0xcd, 0x01))
		put(tx, 1, 2, id(0xab, 0xcd, 0x02))
		put(tx, 1, 3, id(0xab, 0xce, 0x03))
		put(tx, 2, 4, id(0xab, 0xce, 0x04))
		find(tx, "abce", view.ErrNotFound.Error())
		d := &talk.Desk{Tx: tx}
		d.IndexAll()
		find(tx, "abcd", view.ErrAmbiguous.Error())
		find(tx, "ABCD01", "abcd01")
		find(tx, "abcd02"+strings.Repeat("0", 26), "abcd02")
		find(tx, "abce", "abce03")
		find(tx, "abce04", view.ErrNotFound.Error())
		find(tx, "abxy", view.ErrNotFound.Error())
		find(tx, "abc", view.ErrUsage.Error())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// widest remembers the largest value that was written.
type widest struct {
	store.Tx
	bytes int
}

func (w *widest) Put(b store.Bucket, key, value []byte) {
	w.bytes = max(w.bytes, len(value))
	w.Tx.Put(b, key, value)
}

// Whoever makes ids that begin alike, which is cheap, makes no message dear to keep, and hides none.
func TestIDsThatBeginAlike(t *testing.T) {
	db := store.NewMemory()
	if err := db.Update(func(tx store.Tx) error {
		w := &widest{Tx: tx}
		talk.SaveChat(tx, &pb.Chat{Id: make([]byte, 16), Kind: talk.Group, Number: 1})
		id := func(n int) []byte {
			return append([]byte{0xab, 0xcd, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{0x11}, 28)...)
		}
		const n = 1500
		for i := range n {
			tx.Put(store.BucketChats, slices.Concat(store.U32(1), store.U64(uint64(i)), store.U64(uint64(i))), id(i))
			store.PutRow(tx, store.BucketMessages, id(i), &pb.Message{Id: id(i)})
		}
		d := &talk.Desk{Tx: w}
		d.IndexAll()
		for i := range n {
			if m, err := talk.FindMessage(tx, hex.EncodeToString(id(i)[:16])); err != nil || !bytes.Equal(m.Id, id(i)) {
				t.Fatal(i, err)
			}
		}
		for _, prefix := range []string{"abcd", "abcd0", "abcd00"} {
			if p := (*view.Problem)(nil); !errors.As(func() error { _, err := talk.FindMessage(tx, prefix); return err }(), &p) || p.Class != view.ErrAmbiguous {
				t.Errorf("%s: %v", prefix, p)
			}
		}
		if w.bytes > 8192 {
			t.Errorf("a row of %d bytes", w.bytes)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
