package talk

import (
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
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
	m := &pb.Message{
		Id: a.ID[:], Content: a.Raw, User: a.Author[:], Device: a.Device[:], Mine: a.Own, Contact: c.Contact, Chat: c.Id,
		Received: d.Now.UnixMilli(),
		// Honest clocks never reach the bound, so that the order is the same on every device.
		Order: min(a.Content.SentAt, uint64(d.Now.Add(dht.MaxSkew).UnixMilli())),
		Read:  a.Own || d.Tx.Get(store.BucketSeen, a.ID[:16]) != nil, // a note of what was read before it came
	}
	d.place(c, m)
	v := MessageView(d.Tx, d.Me, m)
	d.tell(view.Notice{Type: "message", ID: v.ID, Message: &v})
	return true
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
