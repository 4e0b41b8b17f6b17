package backup

import (
	"github.com/kith-im/kith/node/backup/pb"
	"github.com/kith-im/kith/node/chat"
	rows "github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
)

// Talked takes in what a record says of conversations, beside what is there: it may be repeated. Nobody is told of it,
// as nothing is news.
func Talked(d *talk.Desk, r *pb.Record) {
	switch {
	case r.Settings != nil:
		for _, x := range r.Settings.Settings {
			d.Learn(x)
		}
	case r.Past != nil && r.Past.Next == nil:
		d.HistoryPart(r.Past)
	case r.Stages != nil:
		settled(d.Tx, r.Stages)
	case r.Ends != nil && len(r.Ends.Chat) == 16:
		ends(d.Tx, r.Ends)
	}
	d.Notices = nil
}

// settled says how far a message came, if nothing is known of that.
func settled(tx store.Tx, s *pb.Stages) {
	m := &rows.Message{}
	if !talk.Row(tx, s.Message, m) || !m.Mine || len(m.Done)+len(m.Pending) > 0 || m.Unsent {
		return
	}
	m.Fallback = m.Fallback || s.Fallback
	for _, x := range s.Done[:min(len(s.Done), maxStages)] {
		if len(x.Device) == 32 && len(x.User) == 32 {
			m.Done = append(m.Done, &rows.Done{Device: x.Device, User: x.User, Stage: x.Stage})
		}
	}
	store.PutRow(tx, store.BucketMessages, m.Id, m)
}

// ends says what the next message of a conversation answers, if nothing was said in it here.
func ends(tx store.Tx, x *pb.Ends) {
	c := talk.Chat(tx, chat.ChatID(x.Chat))
	if c == nil || len(c.Heads) > 0 {
		return
	}
	for _, id := range x.Heads[:min(len(x.Heads), maxHeads)] {
		if m := (&rows.Message{}); talk.Row(tx, id, m) && string(m.Chat) == string(c.Id) {
			c.Heads = append(c.Heads, m.Id)
		}
	}
	talk.SaveChat(tx, c)
}

// Named is a contact's row with what the record says beside the person, for one that was not known before.
func Named(c *rows.Contact, x *pb.Contact) {
	c.Added, c.NextList, c.Note = x.Added, x.NextList, x.Note
	c.Fork, c.Proof, c.ForkAccepted = x.Fork, x.Proof, x.ForkAccepted
	c.Picture, c.ProfileAt, c.NameAt = x.Picture, x.ProfileAt, x.NameAt
	if c.Wants = x.Wants; x.Wants || c.State == talk.Request { // what we asked ourselves is not asked again
		c.Asked = x.Asked
	}
}
