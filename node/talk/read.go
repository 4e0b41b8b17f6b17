package talk

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// SetRead marks one message of somebody else as read at a time, Lamport ms; of a disappearing one the earliest time
// counts. 0: not by a person.
func (d *Desk) SetRead(m *pb.Message, at uint64) {
	before := fate(m).Show().Read
	first := at != 0 && !m.Mine && ttlOf(m) > 0 && (before == 0 || at < before)
	if m.Read && !first {
		return
	}
	fresh := !m.Read
	m.Read = true
	if first {
		s := fate(m)
		s.Read(at)
		if d.settle(m, s); Wiped(m) {
			d.index(m, "")
		}
	}
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	if c := ChatOf(d.Tx, d.Me, m); fresh && c != nil && c.Unread > 0 && d.shows(c, m) {
		c.Unread--
		SaveChat(d.Tx, c)
	}
	if first { // it is known when it disappears
		d.changed(m)
	}
}

// shows reports whether a message is in its conversation, and not aside.
func (d *Desk) shows(c *pb.Chat, m *pb.Message) bool {
	return c.Kind != Group || m.Mine || inGroupAt(RosterOf(d.Tx, IDOf(c)), identity.UserID(m.User), sentAt(m))
}

func ttlOf(m *pb.Message) uint32 {
	c, err := chat.Parse(m.Content)
	if err != nil {
		return 0
	}
	return commonOf(c).TtlSeconds
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
// and, unless a setting says otherwise, each author that is a contact; it returns how many.
func (d *Desk) MarkRead(who string, only ...string) (int, error) {
	c, err := Find(d.Tx, who)
	if err != nil || c.Unread == 0 {
		return 0, err
	}
	var unread []*pb.Message
	left := c.Unread
	backwards(d.Tx, c, func(id []byte) bool {
		if m := (&pb.Message{}); Row(d.Tx, id, m) && !m.Read {
			left--
			if len(only) == 0 || slices.Contains(only, shortID(id)) {
				unread = append(unread, m)
			}
		}
		return left > 0
	})
	slices.Reverse(unread)
	of := map[identity.UserID][][]byte{}
	var authors []identity.UserID
	for _, m := range unread {
		author := identity.UserID(m.User)
		if of[author] == nil {
			authors = append(authors, author)
		}
		of[author] = append(of[author], m.Id)
	}
	for batch := range slices.Chunk(unread, chat.ToldIDs) {
		if err := d.readHere(c, batch); err != nil {
			return 0, err
		}
	}
	for _, author := range authors {
		if p := (&pb.Contact{}); !receipts(d.Tx, c) || !store.Row(d.Tx, store.BucketContacts, author[:ContactKeySize], p) || c.Kind != Group && p.State != Accepted || p.State == Blocked {
			continue
		}
		for batch := range slices.Chunk(of[author], chat.ToldIDs) {
			if err := d.Say(chat.KindRead, IDOf(c), &chatpb.Ids{Ids: batch}, []identity.UserID{author}, false); err != nil {
				return 0, err
			}
		}
	}
	return len(unread), d.Tx.Err()
}

// readHere marks messages as read, at the time that our other devices are told.
func (d *Desk) readHere(c *pb.Chat, batch []*pb.Message) error {
	ids := &chatpb.Ids{}
	for _, m := range batch {
		ids.Ids = append(ids.Ids, m.Id)
	}
	if err := d.Say(chat.KindRead, IDOf(c), ids, nil, true); err != nil {
		return err
	}
	at := d.Posts[len(d.Posts)-1].Row.Order
	for _, m := range batch {
		d.SetRead(m, at)
	}
	return nil
}

// Typing is the word that we write in a conversation, or do not any more, for whoever has a stream to us; nil if we do
// not say so.
func (d *Desk) Typing(who string, on bool) (*Post, error) {
	c, err := Find(d.Tx, who)
	if err != nil {
		return nil, err
	}
	if err := d.May(c); err != nil || !Settings(d.Tx).Typing {
		return nil, err
	}
	raw, err := d.payload(c, &chatpb.Typing{On: on}, 0)
	if err != nil {
		return nil, err
	}
	content, err := chat.New(d.Rand, chat.KindTyping, IDOf(c), uint64(d.Now.UnixMilli()), raw)
	if err != nil {
		return nil, err
	}
	return &Post{Row: d.row(content), To: d.people(c), Live: true}, nil
}

// Writes reads such a word of somebody else; false: it may not say so there. Whoever does not say it does not see it.
func (d *Desk) Writes(a Arrival) (on, ok bool) {
	x, c := &chatpb.Typing{}, d.chatOf(a)
	if a.Own || c == nil || proto.Unmarshal(a.Content.Payload, x) != nil || c.Kind == Group && !InGroup(RosterOf(d.Tx, IDOf(c)), a.Author) {
		return false, false
	}
	return x.On && Settings(d.Tx).Typing, true
}
