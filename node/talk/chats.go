package talk

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Kinds of conversations.
const (
	Direct uint32 = 1
	Group  uint32 = 2
	Self   uint32 = 3
)

var kindNames = map[uint32]string{Direct: "direct", Group: "group", Self: "self"}

// States of a contact.
const (
	Pending  uint32 = 1 // we answered its invite and wait for its welcome
	Request  uint32 = 2 // it wrote first
	Accepted uint32 = 3
	Blocked  uint32 = 4
	Member   uint32 = 5 // of a group of ours, and nothing else to us
	Ignored  uint32 = 6 // its request was put aside
)

// Chat reads a conversation; nil if there is none.
func Chat(tx store.Tx, id chat.ChatID) *pb.Chat {
	c := &pb.Chat{}
	if !store.Row(tx, store.BucketConversations, id[:], c) {
		return nil
	}
	return c
}

// SaveChat writes a conversation's row.
func SaveChat(tx store.Tx, c *pb.Chat) { store.PutRow(tx, store.BucketConversations, c.Id, c) }

// OpenDirect makes the conversation with a contact whose whole user id is known, once.
func OpenDirect(tx store.Tx, me identity.UserID, c *pb.Contact) {
	if len(c.User) != 32 {
		return
	}
	id := chat.Direct(me, identity.UserID(c.User))
	switch old := Chat(tx, id); {
	case old == nil:
	case old.Kind != Group || RosterOf(tx, id) != nil:
		return
	default: // somebody has called it a group, before we knew this person
		drop(tx, old.Aside)
	}
	row := &pb.Chat{Id: id[:], Kind: Direct, Contact: c.User, Number: c.Chat, Heads: c.Heads, Unread: c.Unread}
	c.Heads, c.Unread = nil, 0 // of a build in which a contact was its conversation
	SaveChat(tx, row)
}

// drop forgets the messages of a place.
func drop(tx store.Tx, number uint32) {
	var keys, ids [][]byte
	tx.Scan(store.BucketChats, store.U32(number), func(key, id []byte) bool {
		if number == 0 || string(key[:4]) != string(store.U32(number)) {
			return false
		}
		keys, ids = append(keys, key), append(ids, id)
		return true
	})
	for i, key := range keys {
		tx.Delete(store.BucketChats, key)
		tx.Delete(store.BucketMessages, ids[i])
		name(tx, ids[i], false)
	}
}

// NewChat makes a conversation of a kind with the next local number.
func NewChat(tx store.Tx, id chat.ChatID, kind uint32) *pb.Chat {
	c := &pb.Chat{Id: id[:], Kind: kind, Number: uint32(store.NextCounter(tx, counterChat))}
	SaveChat(tx, c)
	return c
}

// IDOf is a conversation's id.
func IDOf(c *pb.Chat) chat.ChatID { return chat.ChatID(c.Id) }

// HandleOf is what a person calls a conversation.
func HandleOf(tx store.Tx, c *pb.Chat) string {
	switch c.Kind {
	case Direct:
		var u identity.UserID // of a person who is not found yet, the beginning
		copy(u[:], c.Contact)
		return NameOf(tx, u)
	case Self:
		return OwnHandle
	}
	return c.Handle
}

// NameOf is a person's handle here, or the beginning of its user id.
func NameOf(tx store.Tx, u identity.UserID) string {
	c := &pb.Contact{}
	if store.Row(tx, store.BucketContacts, u[:ContactKeySize], c) && c.Handle != "" {
		return c.Handle
	}
	return hexOf(u[:shownDigits/2])
}

// Find resolves what a person typed for a conversation: the handle of a contact or a group, "me" for notes to oneself,
// or the beginning of a contact's user id. The conversation with oneself exists from its first message on.
func Find(tx store.Tx, who string) (*pb.Chat, error) {
	low := strings.ToLower(who)
	if low == OwnHandle {
		me := Me(tx)
		id := chat.Direct(me, me)
		if c := Chat(tx, id); c != nil {
			return c, nil
		}
		return &pb.Chat{Id: id[:], Kind: Self}, nil
	}
	if c := groupNamed(tx, low); c != nil {
		return c, nil
	}
	p, err := FindContact(tx, who)
	if err != nil {
		return nil, err
	}
	if len(p.User) != 32 {
		return &pb.Chat{Kind: Direct, Contact: p.User, Number: p.Chat}, nil // no id before the person is found
	}
	if c := Chat(tx, chat.Direct(Me(tx), identity.UserID(p.User))); c != nil {
		return c, nil
	}
	id := chat.Direct(Me(tx), identity.UserID(p.User)) // a store of an earlier build that no node has opened since
	return &pb.Chat{Id: id[:], Kind: Direct, Contact: p.User, Number: p.Chat, Heads: p.Heads, Unread: p.Unread}, nil
}

func groupNamed(tx store.Tx, low string) (found *pb.Chat) {
	tx.Scan(store.BucketConversations, nil, func(_, value []byte) bool {
		c := &pb.Chat{}
		if proto.Unmarshal(value, c) == nil && c.Kind == Group && c.Handle == low {
			found = c
		}
		return found == nil
	})
	return found
}

// FindContact resolves what a person typed: a handle, or a unique prefix (8 digits or more) of a user id.
func FindContact(tx store.Tx, who string) (*pb.Contact, error) {
	var exact *pb.Contact
	var near []*pb.Contact
	low := strings.ToLower(who)
	tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool {
		c := &pb.Contact{}
		if proto.Unmarshal(value, c) != nil {
			return true
		}
		if c.Handle == low {
			exact = c
		} else if len(low) >= 8 && strings.HasPrefix(hexOf(c.User), low) {
			near = append(near, c)
		}
		return true
	})
	switch {
	case exact != nil:
		return exact, nil
	case len(near) == 1:
		return near[0], nil
	case len(near) > 1:
		return nil, &view.Problem{Class: view.ErrAmbiguous, Message: "more than one contact begins with " + who, Hint: "kith contact list"}
	}
	return nil, &view.Problem{Class: view.ErrNotFound, Message: "no contact named " + who, Hint: "kith contact list"}
}

// Handles are the names that are taken: of contacts, of groups, and our own.
func Handles(tx store.Tx) map[string]bool {
	taken := map[string]bool{OwnHandle: true}
	tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool {
		c := &pb.Contact{}
		if proto.Unmarshal(value, c) == nil {
			taken[c.Handle] = true
		}
		return true
	})
	tx.Scan(store.BucketConversations, nil, func(_, value []byte) bool {
		c := &pb.Chat{}
		if proto.Unmarshal(value, c) == nil && c.Kind == Group {
			taken[c.Handle] = true
		}
		return true
	})
	return taken
}

// FreeHandle makes a handle of a name: one lower-case word, numbered when taken; of a name without letters, of the other.
func FreeHandle(name, other string, taken map[string]bool) string {
	base := CleanHandle(name)
	if base == "" {
		base = other
	}
	for i := 1; ; i++ {
		h := base
		if i > 1 {
			h += "-" + strconv.Itoa(i)
		}
		if !taken[h] {
			return h
		}
	}
}

// CleanHandle keeps letters, digits, '-', '_' and '.', in lower case.
func CleanHandle(name string) string {
	h := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 0xc0:
			return r
		}
		return -1
	}, strings.ToLower(chat.CleanName(name)))
	return strings.Trim(h, "-.")
}

// IDs lists the message ids of a conversation in order: by Lamport time, then by id. The key, which stands in the
// clear, has a local number in the id's place.
func IDs(tx store.Tx, c *pb.Chat) [][]byte { return between(tx, c.Number, 0, math.MaxUint64) }

// between lists those of a place from one Lamport time to another. Those of one time are sorted once: somebody may have
// written all at one.
func between(tx store.Tx, place uint32, first, last uint64) (out [][]byte) {
	if place == 0 {
		return nil
	}
	at, ties := first, 0
	tx.Scan(store.BucketChats, slices.Concat(store.U32(place), store.U64(first)), func(key, id []byte) bool {
		order := fromU64(key[4:12])
		if string(key[:4]) != string(store.U32(place)) || order > last {
			return false
		}
		if order != at {
			slices.SortFunc(out[ties:], bytes.Compare)
			at, ties = order, len(out)
		}
		out = append(out, id)
		return true
	})
	slices.SortFunc(out[ties:], bytes.Compare)
	return out
}

// backwards visits the ids of a conversation from the newest on, until fn returns false. A table is read forwards alone,
// so it looks at the time just before the newest message, and then at ever longer times before that: what somebody does
// with the end of a conversation costs the same however long it is.
func backwards(tx store.Tx, c *pb.Chat, fn func(id []byte) bool) {
	first, m := uint64(0), &pb.Message{}
	for _, h := range c.Heads {
		if Row(tx, h, m) {
			first = max(first, m.Order)
		}
	}
	for last, step := uint64(math.MaxUint64), uint64(lookBack.Milliseconds()); ; last, step = first-1, 8*step {
		first -= min(first, step)
		for _, id := range slices.Backward(between(tx, c.Number, first, last)) {
			if !fn(id) {
				return
			}
		}
		if first == 0 {
			return
		}
	}
}

// Messages that are shown are found by the beginning of their id: a row under its first two bytes lists them, at most
// namedMost; others are in the row under the first three bytes, and so on. Whoever makes ids that begin alike makes no
// row large, and hides none from whoever gives all digits.
const (
	namedBytes = leastDigits / 2
	namedAll   = 16 // the bytes that people see
	namedMost  = 256
)

// name makes a message known by its id, or, if not on, no longer.
func name(tx store.Tx, id []byte, on bool) {
	for n := namedBytes; n <= namedAll; n++ {
		ids := slices.Collect(slices.Chunk(tx.Get(store.BucketMessages, id[:n]), 32))
		at := slices.IndexFunc(ids, func(o []byte) bool { return bytes.Equal(o, id) })
		switch {
		case on && at < 0 && (len(ids) < namedMost || n == namedAll):
			ids = append(ids, id)
		case at < 0:
			continue
		case !on:
			ids = slices.Delete(ids, at, at+1)
		}
		if len(ids) == 0 {
			tx.Delete(store.BucketMessages, id[:n])
		} else {
			tx.Put(store.BucketMessages, id[:n], slices.Concat(ids...))
		}
		return
	}
}

// named lists the ids of the messages that begin like id; all says whether those are all.
func named(tx store.Tx, id []byte) (out [][]byte, all bool) {
	all = true
	for n := namedBytes; n <= min(len(id), namedAll); n++ {
		ids := slices.Collect(slices.Chunk(tx.Get(store.BucketMessages, id[:n]), 32))
		out, all = append(out, ids...), len(ids) < namedMost || n == namedAll
	}
	return out, all
}

// FindMessage resolves a unique prefix (leastDigits or more) of a message id.
func FindMessage(tx store.Tx, prefix string) (*pb.Message, error) {
	low := strings.ToLower(prefix)
	if len(low) < leastDigits {
		return nil, &view.Problem{Class: view.ErrUsage, Message: fmt.Sprintf("%q is too short for a message: give %d digits of its id or more", prefix, leastDigits), Hint: "kith inbox"}
	}
	var found []*pb.Message
	var ids []string
	all := true
	if first, err := hex.DecodeString(low[:len(low)/2*2]); err == nil {
		var like [][]byte
		like, all = named(tx, first)
		for _, id := range like {
			m := &pb.Message{}
			if strings.HasPrefix(shortID(id), low) && store.Row(tx, store.BucketMessages, id, m) {
				found, ids = append(found, m), append(ids, shortID(id)[:shownDigits])
			}
		}
	}
	switch {
	case len(found) == 1 && all:
		return found[0], nil
	case len(found) > 0:
		more := ""
		if len(ids) > candidatesShown {
			ids, more = ids[:candidatesShown], " and others"
		}
		return nil, &view.Problem{Class: view.ErrAmbiguous, Message: "more than one message begins with " + prefix + ": " + strings.Join(ids, ", ") + more, Hint: "kith inbox"}
	}
	return nil, &view.Problem{Class: view.ErrNotFound, Message: "no message " + prefix, Hint: "kith inbox"}
}
