package boltstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

var errUndo = errors.New("everything is as it was")

// BenchmarkLongConversation does what a person does in a conversation of 100,000 messages, one a minute, of which the
// newest is unread.
func BenchmarkLongConversation(b *testing.B) {
	s := newHome(b).create()
	me, bob := identity.UserID{0xa}, identity.UserID{0xb}
	const messages, batch = 100_000, 2_000
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	id := chat.Direct(me, bob)
	var last [32]byte
	for from := 0; from < messages; from += batch {
		if err := s.Update(func(tx store.Tx) error {
			c := &pb.Chat{Id: id[:], Number: 1, Kind: talk.Direct, Contact: bob[:], Unread: 1}
			for i := from; i < from+batch; i++ {
				at := uint64(begun.Add(time.Duration(i) * time.Minute).UnixMilli())
				payload, err := proto.Marshal(&chatpb.Text{Text: "a message of about sixty bytes, as people write them all day"})
				if err != nil {
					return err
				}
				content, err := chat.New(bytes.NewReader(make([]byte, 64)), chat.KindText, id, at, payload)
				if err != nil {
					return err
				}
				last = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
				m := &pb.Message{Id: last[:], Content: content.Bytes(), User: bob[:], Device: bob[:], Chat: id[:], Contact: bob[:], Order: at, Received: int64(at), Read: i < messages-1}
				store.PutRow(tx, store.BucketMessages, m.Id, m)
				tx.Put(store.BucketChats, slices.Concat(store.U32(1), store.U64(at), store.U64(uint64(i))), m.Id)
			}
			c.Heads = [][]byte{last[:]}
			store.PutRow(tx, store.BucketMeta, []byte("self"), &pb.Self{User: me[:]})
			store.PutRow(tx, store.BucketContacts, bob[:talk.ContactKeySize], &pb.Contact{User: bob[:], Handle: "bob", State: talk.Accepted, Chat: 1})
			talk.SaveChat(tx, c)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Update(func(tx store.Tx) error { (&talk.Desk{Now: begun, Tx: tx, Me: me}).IndexAll(); return nil }); err != nil {
		b.Fatal(err)
	}
	now := begun.Add(messages * time.Minute)
	for name, act := range map[string]func(tx store.Tx) error{
		"inbox":    func(tx store.Tx) error { _, err := talk.Inbox(tx); return err },
		"messages": func(tx store.Tx) error { _, err := talk.Messages(tx, "bob", 50); return err },
		"message":  func(tx store.Tx) error { _, err := talk.FindMessage(tx, hex.EncodeToString(last[:16])); return err },
		"read": func(tx store.Tx) error {
			d := &talk.Desk{Now: now, Rand: bytes.NewReader(make([]byte, 4096)), Tx: tx, Me: me}
			_, err := d.MarkRead("bob")
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := s.Update(func(tx store.Tx) error { return errors.Join(act(tx), errUndo) }); !errors.Is(err, errUndo) || err.Error() != errUndo.Error() {
					b.Fatal(err)
				}
			}
		})
	}
}
