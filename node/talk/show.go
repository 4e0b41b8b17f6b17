package talk

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Inbox lists the conversations, pinned ones first, then the one with the newest message.
func Inbox(tx store.Tx) ([]view.Chat, error) {
	me := Me(tx)
	var out []view.Chat
	seen := map[string]bool{}
	add := func(c *pb.Chat) {
		seen[string(c.Contact)] = true
		out = append(out, ChatView(tx, me, c))
	}
	tx.Scan(store.BucketConversations, nil, func(_, value []byte) bool {
		c, p := &pb.Chat{}, &pb.Contact{}
		if proto.Unmarshal(value, c) != nil {
			return true
		}
		if c.Kind == Direct && (!store.Row(tx, store.BucketContacts, c.Contact[:ContactKeySize], p) || !shownInInbox(p)) {
			return true
		}
		if c.Kind == Group && c.Handle == "" { // nothing but messages that wait for its log
			return true
		}
		add(c)
		return true
	})
	tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool { // of a build in which a contact was its conversation
		p := &pb.Contact{}
		if proto.Unmarshal(value, p) == nil && shownInInbox(p) && !seen[string(p.User)] {
			id := chat.Direct(me, identity.UserID(p.User))
			add(&pb.Chat{Id: id[:], Kind: Direct, Contact: p.User, Number: p.Chat, Unread: p.Unread})
		}
		return true
	})
	slices.SortFunc(out, func(a, b view.Chat) int {
		switch {
		case a.Pinned != b.Pinned:
			return boolOrder(b.Pinned) - boolOrder(a.Pinned)
		case !lastAt(a).Equal(lastAt(b)):
			return lastAt(b).Compare(lastAt(a))
		}
		return strings.Compare(a.Handle, b.Handle)
	})
	return out, tx.Err()
}

func boolOrder(v bool) int {
	if v {
		return 1
	}
	return 0
}

func shownInInbox(p *pb.Contact) bool {
	return len(p.User) == 32 && p.State != Blocked && p.State != Member && p.State != Request && p.State != Ignored
}

// ChatView is one conversation with its newest message.
func ChatView(tx store.Tx, me identity.UserID, c *pb.Chat) view.Chat {
	v := view.Chat{
		Chat: hexOf(c.Id), Kind: kindNames[c.Kind], Handle: HandleOf(tx, c), Unread: int(c.Unread), Left: c.Left,
		Pinned: Setting(tx, c.Id, SettingPin) == "1", Draft: Setting(tx, c.Id, SettingDraft),
		Receipts: Setting(tx, c.Id, SettingReceipts), Timer: Timer(tx, c),
	}
	if c.Kind == Group {
		v.Name = c.Name
	}
	if ms, err := strconv.ParseInt(Setting(tx, c.Id, SettingMute), 10, 64); err == nil {
		v.Muted = unixMilli(min(max(ms, 0), maxShown))
	}
	backwards(tx, c, func(id []byte) bool {
		if m := (&pb.Message{}); Row(tx, id, m) && !fate(m).Show().Deleted {
			last := MessageView(tx, me, m)
			v.Last = &last
		}
		return v.Last == nil
	})
	return v
}

func lastAt(v view.Chat) time.Time {
	if v.Last == nil {
		return time.Time{}
	}
	return v.Last.SentAt
}

// Messages lists the newest messages of a conversation, oldest first.
func Messages(tx store.Tx, who string, limit int) ([]view.Message, error) {
	return messages(tx, who, limit, func(x acts.Shown) bool { return !x.Deleted })
}

// Deleted lists those that their reader deleted and may have back.
func Deleted(tx store.Tx, who string, limit int) ([]view.Message, error) {
	return messages(tx, who, limit, func(x acts.Shown) bool { return x.Deleted && !x.Erased && !x.Unsent })
}

func messages(tx store.Tx, who string, limit int, shown func(acts.Shown) bool) ([]view.Message, error) {
	c, err := Find(tx, who)
	if err != nil {
		return nil, err
	}
	me := Me(tx)
	var out []view.Message
	backwards(tx, c, func(id []byte) bool {
		if m := (&pb.Message{}); Row(tx, id, m) && shown(fate(m).Show()) {
			out = append(out, MessageView(tx, me, m))
		}
		return limit <= 0 || len(out) < limit
	})
	slices.Reverse(out)
	return out, tx.Err()
}

// Message shows one message by the beginning of its id, with its edits and reactions, also if its reader deleted it.
func Message(tx store.Tx, id string) (view.Message, error) {
	m, err := FindMessage(tx, id)
	if err != nil {
		return view.Message{}, err
	}
	return MessageView(tx, Me(tx), m), tx.Err()
}

// MessageView is what a person sees of a message.
func MessageView(tx store.Tx, me identity.UserID, m *pb.Message) view.Message {
	v := view.Message{Whole: m.Id, ID: shortID(m.Id), Mine: m.Mine, From: OwnHandle, Received: unixMilli(m.Received), Read: m.Read}
	c, err := chat.Parse(m.Content)
	if err != nil {
		return v
	}
	v.Chat, v.SentAt = c.Chat.String(), shownTime(m)
	if row := Chat(tx, c.Chat); row != nil {
		v.With, v.Group = HandleOf(tx, row), row.Kind == Group
	} else if len(m.Contact) == 32 {
		v.With = NameOf(tx, identity.UserID(m.Contact))
	}
	if !m.Mine {
		v.From = NameOf(tx, identity.UserID(m.User))
	}
	x := fate(m).Show()
	v.Kind = kindName(c.Kind)
	v.Unsent, v.Deleted, v.Erased, v.Refused = x.Unsent, x.Deleted, x.Erased, x.Refused
	if !x.Unsent && !x.Erased {
		said(tx, &v, c)
		became(tx, &v, byMembers(tx, c.Chat, m.User, x))
		if v.TTL = commonOf(c).TtlSeconds; v.TTL > 0 {
			v.Expires = disappears(m, x, v.TTL)
		}
	}
	if m.Fallback {
		v.Fallback = "handed to a command of yours: not end-to-end encrypted"
	}
	v.Files = transfer.Files(tx, m.Transfers)
	if m.Mine && (m.Unsent || len(m.Pending)+len(m.Done) > 0) { // another device of ours knows of its own
		v.Stage, _ = deliveries(tx, me, m)
	}
	return v
}

// shownTime is the author's time as far as it can be true. The order in a conversation goes by what the author said in
// any case, so that it is the same on every device.
func shownTime(m *pb.Message) time.Time {
	at := unixMilli(m.Received)
	low, high := at.Add(-maxBehind).UnixMilli(), at.Add(maxAhead).UnixMilli()
	return time.UnixMilli(int64(min(max(m.Order, uint64(low)), uint64(high)))).UTC()
}
