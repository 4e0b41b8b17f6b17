package talk

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Draft is a message that a person wants to send. Payload is that of its kind, without what every payload may carry.
type Draft struct {
	Kind    chat.Kind
	Payload proto.Message
	Key     string // idempotency key: the same key returns the same message; empty: none
	TTL     uint32 // seconds after which it disappears; 0: as the conversation says
}

// SentBefore is the message that was written under an idempotency key; nil if there is none.
func SentBefore(tx store.Tx, key string) *pb.Message {
	m := &pb.Message{}
	if key == "" || !Row(tx, tx.Get(store.BucketMeta, []byte("sent/"+key)), m) {
		return nil
	}
	return m
}

// Row reads a message by its whole id.
func Row(tx store.Tx, id []byte, m *pb.Message) bool {
	return len(id) == 32 && store.Row(tx, store.BucketMessages, id, m)
}

// Write puts a message on our own screen and posts it to everybody in the conversation.
func (d *Desk) Write(c *pb.Chat, x Draft) (view.Message, error) {
	if len(x.Key) > maxKey {
		return view.Message{}, &view.Problem{Class: view.ErrUsage, Message: "the idempotency key is longer than 128 bytes", Hint: "kith send --help"}
	}
	if c.Number == 0 {
		c = NewChat(d.Tx, IDOf(c), c.Kind)
	}
	payload, err := d.payload(c, x.Payload, d.ttl(c, x))
	if err != nil {
		return view.Message{}, err
	}
	content, err := chat.New(d.Rand, x.Kind, IDOf(c), d.Stamp(), payload)
	if err != nil {
		return view.Message{}, err
	}
	for _, h := range c.Heads {
		content.Parents = append(content.Parents, [16]byte(h[:16]))
	}
	content.SentAt = d.afterHeads(c, content.SentAt)
	if x.Kind == chat.KindTimer {
		content.SentAt = afterSetting(d.Tx, c.Id, SettingTimer, content.SentAt)
	}
	m := d.row(content)
	m.Contact, m.Key = c.Contact, x.Key
	if len(m.Content) > session.MaxContent {
		return view.Message{}, usage("the message is too long, with all that goes with it", "kith send --help")
	}
	d.settle(m, fate(m))
	d.place(c, m)
	if x.Kind == chat.KindTimer {
		d.setTimer(Arrival{Device: d.Device, Content: content})
	}
	if x.Key != "" {
		d.Tx.Put(store.BucketMeta, []byte("sent/"+x.Key), m.Id)
	}
	d.Posts = append(d.Posts, Post{Row: m, To: d.people(c), Own: true})
	v := MessageView(d.Tx, d.Me, m)
	d.tell(view.Notice{Type: "message", ID: v.ID, Message: &v})
	return v, d.Tx.Err()
}

// payload encodes x with what every payload of the conversation carries.
func (d *Desk) payload(c *pb.Chat, x proto.Message, ttl uint32) ([]byte, error) {
	raw, err := proto.Marshal(x)
	if err != nil {
		return nil, err
	}
	also := d.common(c)
	also.TtlSeconds = ttl
	common, err := proto.Marshal(also)
	return append(raw, common...), err
}

// common is what every payload of a conversation carries.
func (d *Desk) common(c *pb.Chat) *chatpb.Common {
	x := &chatpb.Common{}
	if r := d.roster(c); r != nil {
		x.Heads = r.Heads[:min(len(r.Heads), maxSaidHeads)]
	}
	return x
}

// ttl is how long a new message lives, in seconds; 0: for ever.
func (d *Desk) ttl(c *pb.Chat, x Draft) uint32 {
	switch {
	case x.Kind == chat.KindTimer:
		return 0
	case x.TTL != 0:
		return x.TTL
	}
	return Timer(d.Tx, c)
}

// people are those whom a message of a conversation goes to, without ourselves.
func (d *Desk) people(c *pb.Chat) (out []identity.UserID) {
	if c.Kind == Direct {
		return []identity.UserID{identity.UserID(c.Contact)}
	}
	if r := d.roster(c); r != nil {
		for _, s := range r.Members {
			if u := identity.UserID(s.User); u != d.Me {
				out = append(out, u)
			}
		}
	}
	return out
}

func (d *Desk) roster(c *pb.Chat) *pb.Roster {
	if c.Kind != Group {
		return nil
	}
	return RosterOf(d.Tx, IDOf(c))
}

// afterHeads makes a message's time later than those that it answers, also when their author's clock is ahead of ours, as
// far as clocks may be.
func (d *Desk) afterHeads(c *pb.Chat, at uint64) uint64 {
	limit := uint64(d.Now.Add(dht.MaxSkew).UnixMilli())
	for _, h := range c.Heads {
		m := &pb.Message{}
		if Row(d.Tx, h, m) && m.Order >= at && m.Order <= limit {
			at = m.Order + 1
		}
	}
	return d.asMember(c, at)
}

// asMember makes a time in a group no earlier than our membership, which somebody with a clock that is ahead may have
// begun: what we say before it would be nobody's.
func (d *Desk) asMember(c *pb.Chat, at uint64) uint64 {
	for _, s := range d.roster(c).GetMembers() {
		if string(s.User) == string(d.Me[:]) && s.From <= uint64(d.Now.Add(dht.MaxSkew).UnixMilli()) {
			return max(at, s.From)
		}
	}
	return at
}

// place puts a message into its conversation: order is (Lamport ms, id), the same on every device.
func (d *Desk) place(c *pb.Chat, m *pb.Message) {
	content, err := chat.Parse(m.Content)
	d.insert(c, m)
	if err != nil {
		return
	}
	c.Heads = slices.DeleteFunc(c.Heads, func(h []byte) bool {
		return slices.ContainsFunc(content.Parents, func(p [16]byte) bool { return string(p[:]) == string(h[:16]) })
	})
	c.Heads = append(c.Heads, m.Id)
	if len(c.Heads) > maxHeads {
		c.Heads = c.Heads[len(c.Heads)-maxHeads:]
	}
	if !m.Read {
		c.Unread++
	}
	SaveChat(d.Tx, c)
}

// insert gives a message its place among those of a conversation that has a number, and keeps its files and its words.
func (d *Desk) insert(c *pb.Chat, m *pb.Message) {
	if content, err := chat.Parse(m.Content); err == nil {
		d.keepFiles(m, content)
	}
	n := store.NextCounter(d.Tx, counterPlaced)
	d.Tx.Put(store.BucketChats, slices.Concat(store.U32(c.Number), store.U64(m.Order), store.U64(n)), m.Id)
	name(d.Tx, m.Id, true)
	d.index(m, findable(m))
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
}

// keepFiles gives the files of a message to who keeps them.
func (d *Desk) keepFiles(m *pb.Message, c chat.Content) {
	text := &chatpb.Text{}
	if c.Kind == chat.KindText && d.Files != nil && proto.Unmarshal(c.Payload, text) == nil && len(text.Files) > 0 {
		m.Transfers = d.Files.Keep(m, text.Files)
	}
}

// dropFiles lets the files of a message go, whose row the caller saves.
func (d *Desk) dropFiles(m *pb.Message) {
	if len(m.Transfers) > 0 && d.Files != nil {
		d.Files.Forget(m.Transfers)
	}
	m.Transfers = nil
}
