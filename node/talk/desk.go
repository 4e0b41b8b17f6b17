// Package talk is what a person does and sees in conversations, on one device: messages, acts on them, what was read,
// settings, and the views of all that. It decides what is said and to whom; which devices that means, and how it gets
// there, is the engine's work (package node).
//
// Everything lies in the store that the Desk was given, in the caller's transaction; nothing is kept between calls. What
// a conversation looks like follows from the contents that arrived alone, never from their order or time of arrival, so
// that devices that hold the same contents show the same.
package talk

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Desk is where a person talks, for one turn of the engine.
type Desk struct {
	Now    time.Time
	Rand   io.Reader
	Tx     store.Tx
	Me     identity.UserID
	Device identity.DeviceID
	SigPub [32]byte // the device's signing key

	// May says whether a person may write to a conversation now.
	May   func(*pb.Chat) error
	Files Files // who keeps the files of messages; nil: nobody
	Busy  bool  // so much is on its way that nothing of the past is added
	owed  int   // of what was posted, copies of the past

	Posts   []Post        // for the engine to fan out
	Notices []view.Notice // for the engine to persist, and to tell
	Wake    time.Time     // when Pass has something new to do; zero: nothing new
}

// Files keeps what messages carry beside their text.
type Files interface {
	// Keep takes in the files of a message that is being placed, and returns their numbers.
	Keep(m *pb.Message, files []*chatpb.File) []uint64
	// Show takes in the picture of a group, which somebody's device set; here: this one.
	Show(author identity.UserID, here bool, subject []byte, picture *chatpb.File) []uint64
	// Forget lets the files of a message go: it was unsent, erased, or has expired.
	Forget(numbers []uint64)
}

// Post is content, with a row in the table of messages, and who gets it.
type Post struct {
	Row *pb.Message
	To  []identity.UserID // every device of each
	Own bool              // our other devices too
	// Live: only over streams that are up, kept nowhere; Row is in no table.
	Live bool
}

// Names of the counters that conversations keep.
const (
	counterLamport = "lamport" // ms
	counterChat    = "chat"
	counterPlaced  = "placed"
	counterTimes   = "times"
)

// Stamp is the next Lamport time: max(now, last+1) in milliseconds.
func (d *Desk) Stamp() uint64 {
	v := max(uint64(d.Now.UnixMilli()), store.Counter(d.Tx, counterLamport)+1)
	store.SetCounter(d.Tx, counterLamport, v)
	return v
}

// Witness moves the Lamport clock past what another device said, within the bounds of our own clock.
func (d *Desk) Witness(sentAt uint64) {
	v := min(sentAt, uint64(d.Now.Add(maxAhead).UnixMilli()))
	if v > store.Counter(d.Tx, counterLamport) {
		store.SetCounter(d.Tx, counterLamport, v)
	}
}

// say writes an act in a conversation, at a time, and posts it to everybody there.
func (d *Desk) say(c *pb.Chat, kind chat.Kind, payload proto.Message, at uint64) (*pb.Message, error) {
	raw, err := d.payload(c, payload, 0)
	if err != nil {
		return nil, err
	}
	content, err := chat.New(d.Rand, kind, IDOf(c), d.asMember(c, at), raw)
	if err != nil {
		return nil, err
	}
	m := d.row(content)
	if len(m.Content) > session.MaxContent {
		return nil, usage("the text is too long, with all that goes with it", "kith edit --help")
	}
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	d.Posts = append(d.Posts, Post{Row: m, To: d.people(c), Own: true})
	return m, nil
}

// Say writes content that is no message of its own, and posts it: acts, receipts, settings.
func (d *Desk) Say(kind chat.Kind, in chat.ChatID, payload proto.Message, to []identity.UserID, own bool) error {
	raw, err := proto.Marshal(payload)
	if err != nil {
		return err
	}
	c, err := chat.New(d.Rand, kind, in, d.Stamp(), raw)
	if err != nil {
		return err
	}
	m := d.row(c)
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	d.Posts = append(d.Posts, Post{Row: m, To: to, Own: own})
	return nil
}

// row makes the row of content that this device authors.
func (d *Desk) row(c chat.Content) *pb.Message {
	raw := c.Bytes()
	id := chat.MessageID(d.Me, d.SigPub, raw)
	return &pb.Message{
		Id: id[:], Content: raw, User: d.Me[:], Device: d.Device[:], Mine: true, Chat: c.Chat[:],
		Received: d.Now.UnixMilli(), Read: true, Order: c.SentAt,
	}
}

func (d *Desk) tell(n view.Notice) { d.Notices = append(d.Notices, n) }

// Me is whose device a store is.
func Me(tx store.Tx) identity.UserID {
	self := &pb.Self{}
	if !store.Row(tx, store.BucketMeta, []byte("self"), self) || len(self.User) != 32 {
		return identity.UserID{}
	}
	return identity.UserID(self.User)
}

func fromU64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func hexOf(b []byte) string    { return hex.EncodeToString(b) }
func shortID(id []byte) string { return hexOf(id[:min(16, len(id))]) }

// unixMilli reads a stored time; 0 is no time.
func unixMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
