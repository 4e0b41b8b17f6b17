package talk

import (
	"cmp"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Arrival is content that came in a session with its author's device.
type Arrival struct {
	ID      chat.ID
	Author  identity.UserID
	Device  identity.DeviceID
	Own     bool // from another device of ours
	Content chat.Content
	Raw     []byte // the content's bytes
}

// Message shows a message of somebody in the conversation, or one of ours that another device of ours sent. False means
// that its author is not part of the conversation.
func (d *Desk) Message(a Arrival) bool {
	c := d.chatOf(a)
	if c == nil {
		return false
	}
	m := d.arrived(c, a)
	d.catchUp(m, a)
	if kept, room := d.aside(c, m, a); kept || !room {
		return room
	}
	d.show(c, m, a)
	return true
}

// arrived is the row of content that came.
func (d *Desk) arrived(c *pb.Chat, a Arrival) *pb.Message {
	return &pb.Message{
		Id: a.ID[:], Content: a.Raw, User: a.Author[:], Device: a.Device[:], Mine: a.Own, Contact: c.Contact, Chat: c.Id,
		Received: d.Now.UnixMilli(),
		// Honest clocks never reach the bound, so that the order is the same on every device.
		Order: min(a.Content.SentAt, uint64(d.Now.Add(dht.MaxSkew).UnixMilli())),
		Read:  a.Own,
	}
}

// show puts a message into its conversation and tells of it, unless that was done before it was set aside.
func (d *Desk) show(c *pb.Chat, m *pb.Message, a Arrival) {
	d.place(c, m)
	if a.Content.Kind == chat.KindTimer {
		d.setTimer(a)
	}
	if m.Told {
		return
	}
	v := MessageView(d.Tx, d.Me, m)
	d.tell(view.Notice{Type: "message", ID: v.ID, Message: &v})
}

// catchUp brings a message to where it would be had it come in time: what was done to it, that we read it elsewhere, and
// that it is over.
func (d *Desk) catchUp(m *pb.Message, a Arrival) {
	s := d.waited(a.Content.Chat, m.Id)
	s.Arrive(a.Author, a.Content.SentAt)
	d.begin(m, s)
}

// begin gives a new message, whose row the caller saves, the state that it has from the first.
func (d *Desk) begin(m *pb.Message, s acts.State) {
	if at, read := ReadNote(d.Tx.Get(store.BucketSeen, m.Id[:16])); read {
		if m.Read = true; !m.Mine && ttlOf(m) > 0 {
			s.Read(cmp.Or(at, uint64(d.Now.UnixMilli())))
		}
	}
	m.Read = m.Read || s.Show().Deleted
	if d.settle(m, s); fate(m).Show().Erased {
		m.Read = true
	}
}

// A device of ours says that it read a message which is not here yet: the table of what was seen keeps a note under the
// message's id.

// NoteRead is that note; of two the earlier time counts.
func NoteRead(row []byte, at uint64) []byte {
	if before, read := ReadNote(row); read && before != 0 {
		at = min(at, before)
	}
	return append([]byte{0}, store.U64(at)...)
}

// ReadNote reads a row of that table: the day that it is from, and the note. The time is 0 where an earlier build wrote
// none.
func ReadNote(row []byte) (at uint64, read bool) {
	if len(row) == 4+1+8 {
		return fromU64(row[5:]), true
	}
	return 0, row != nil
}

// chatOf is the conversation that an arrival belongs to; nil if its author has no part in it.
func (d *Desk) chatOf(a Arrival) *pb.Chat {
	c := Chat(d.Tx, a.Content.Chat)
	switch {
	case c == nil && a.Own && a.Content.Chat == chat.Direct(d.Me, d.Me):
		return NewChat(d.Tx, a.Content.Chat, Self)
	case c == nil, c.Kind == Direct && !a.Own && string(c.Contact) != string(a.Author[:]), c.Kind == Self && !a.Own:
		return nil
	}
	return c
}
