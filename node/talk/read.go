package talk

import (
	"slices"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// SetRead marks one message of somebody else as read.
func (d *Desk) SetRead(m *pb.Message) {
	if m.Read {
		return
	}
	m.Read = true
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	if c := ChatOf(d.Tx, d.Me, m); c != nil && c.Unread > 0 {
		c.Unread--
		SaveChat(d.Tx, c)
	}
}

// ChatOf is the conversation of a message; nil if it is not here any more.
func ChatOf(tx store.Tx, me identity.UserID, m *pb.Message) *pb.Chat {
	switch {
	case len(m.Chat) == 16:
		return Chat(tx, chat.ChatID(m.Chat))
	case len(m.Contact) == 32: // of a build without groups
		return Chat(tx, chat.Direct(me, identity.UserID(m.Contact)))
	}
	return nil
}

// MarkRead marks messages of a conversation as read, all of them or only those with these ids, tells our other devices,
// and with receipts each author; it returns how many.
func (d *Desk) MarkRead(c *pb.Chat, receipts bool, only ...string) (int, error) {
	if c.Unread == 0 {
		return 0, nil
	}
	of := map[identity.UserID][][]byte{}
	var authors []identity.UserID
	var ids [][]byte
	for _, id := range IDs(d.Tx, c) {
		m := &pb.Message{}
		if len(only) > 0 && !slices.Contains(only, shortID(id)) || !Row(d.Tx, id, m) || m.Read {
			continue
		}
		d.SetRead(m)
		author := identity.UserID(m.User)
		if of[author] == nil {
			authors = append(authors, author)
		}
		of[author], ids = append(of[author], id), append(ids, id)
	}
	for _, author := range authors {
		if !receipts {
			break
		}
		for batch := range slices.Chunk(of[author], chat.MaxIDs) {
			if err := d.Say(chat.KindRead, IDOf(c), &chatpb.Ids{Ids: batch}, []identity.UserID{author}, false); err != nil {
				return 0, err
			}
		}
	}
	for batch := range slices.Chunk(ids, chat.MaxIDs) {
		if err := d.Say(chat.KindRead, IDOf(c), &chatpb.Ids{Ids: batch}, nil, true); err != nil {
			return 0, err
		}
	}
	return len(ids), d.Tx.Err()
}
