package talk

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

var visible = map[chat.Kind]string{
	chat.KindText: "text", chat.KindLocation: "location", chat.KindCard: "card", chat.KindCustom: "custom", chat.KindTimer: "timer",
}

func kindName(k chat.Kind) string { return cmp.Or(visible[k], fmt.Sprintf("[kind %d]", k)) }

// said shows what a message says by its kind. Every kind has a text, so that it can be shown by whoever knows no more.
func said(tx store.Tx, v *view.Message, c chat.Content) {
	ok := true
	switch c.Kind {
	case chat.KindText:
		x := &chatpb.Text{}
		ok = proto.Unmarshal(c.Payload, x) == nil
		showText(tx, v, c, x)
	case chat.KindLocation:
		x := &chatpb.Location{}
		if ok = proto.Unmarshal(c.Payload, x) == nil && place(x.Lat, x.Lon); ok {
			v.Location = &view.Location{Lat: x.Lat, Lon: x.Lon, Label: line(x.Label, maxLabel)}
			v.Text = degrees(x.Lat) + " " + degrees(x.Lon)
			if v.Location.Label != "" {
				v.Text = v.Location.Label + " (" + v.Text + ")"
			}
		}
	case chat.KindCard:
		x := &chatpb.Card{}
		if ok = proto.Unmarshal(c.Payload, x) == nil && len(x.User) == 32; ok {
			v.Card = &view.Card{Name: chat.CleanName(x.Name), User: hexOf(x.User)}
			v.Text = v.Card.Name
		}
	case chat.KindCustom:
		x := &chatpb.Custom{}
		if ok = proto.Unmarshal(c.Payload, x) == nil; ok {
			v.Custom = &view.Custom{Type: line(x.Type, maxType), Data: x.Data, Fallback: x.Fallback}
			v.Text = cmp.Or(x.Fallback, "["+v.Custom.Type+"]")
		}
	case chat.KindTimer:
		x := &chatpb.Timer{}
		ok = proto.Unmarshal(c.Payload, x) == nil
		v.Text = timerText(x.Seconds)
	default:
		v.Text = v.Kind
	}
	if !ok {
		v.Text = "[unreadable]"
	}
}

func degrees(f float64) string { return strconv.FormatFloat(f, 'f', 5, 64) }

func timerText(seconds uint32) string {
	if seconds == 0 {
		return "messages stay"
	}
	unit, of := "second", uint32(1)
	for _, u := range []struct {
		name    string
		seconds uint32
	}{{"minute", 60}, {"hour", 3600}, {"day", 86400}} {
		if seconds%u.seconds == 0 {
			unit, of = u.name, u.seconds
		}
	}
	if seconds/of != 1 {
		unit += "s"
	}
	return fmt.Sprintf("messages disappear after %d %s", seconds/of, unit)
}

func showText(tx store.Tx, v *view.Message, c chat.Content, x *chatpb.Text) {
	v.Text, v.Subject, v.Effect = x.Text, line(x.Subject, maxSubject), line(x.Effect, maxEffect)
	v.Mentions = mentionViews(tx, x.Text, x.Mentions)
	if len(x.Reply) == 32 {
		v.Reply = replyView(tx, c.Chat, x.Reply)
	}
}

func mentionViews(tx store.Tx, text string, list []*chatpb.Mention) []view.Mention {
	var out []view.Mention
	for _, x := range list[:min(len(list), maxMentions)] {
		if len(x.User) != 32 || uint64(x.Start)+uint64(x.Length) > uint64(len(text)) {
			continue
		}
		out = append(out, view.Mention{Handle: nameOf(tx, identity.UserID(x.User)), Start: x.Start, Length: x.Length})
	}
	return out
}

// nameOf is NameOf, or what we are called ourselves.
func nameOf(tx store.Tx, u identity.UserID) string {
	if u == Me(tx) {
		return OwnHandle
	}
	return NameOf(tx, u)
}

// replyView is the message that another answers, as it is shown now; only its id if it is not shown, or of another
// conversation.
func replyView(tx store.Tx, in chat.ChatID, id []byte) *view.Reply {
	r, m := &view.Reply{ID: shortID(id)}, &pb.Message{}
	if !Row(tx, id, m) {
		return r
	}
	c, err := chat.Parse(m.Content)
	x := fate(m).Show()
	if err != nil || c.Chat != in || !c.Kind.Visible() || x.Unsent || x.Erased || x.Deleted {
		return r
	}
	v := view.Message{Kind: kindName(c.Kind)}
	switch t := (&chatpb.Text{}); {
	case len(x.Edits) > 0 && proto.Unmarshal(x.Edits[len(x.Edits)-1].Body, t) == nil:
		v.Text = t.Text
	case c.Kind == chat.KindText && proto.Unmarshal(c.Payload, t) == nil:
		v.Text = t.Text
	case c.Kind != chat.KindText:
		said(tx, &v, c)
	}
	r.From, r.Text = nameOf(tx, identity.UserID(m.User)), clip(v.Text, shownReply)
	return r
}

func clip(text string, runes int) string {
	for i := range text {
		if runes--; runes < 0 {
			return text[:i] + "…"
		}
	}
	return text
}

// became shows what was done to a message.
func became(tx store.Tx, v *view.Message, x acts.Shown) {
	at := v.SentAt
	for _, e := range x.Edits {
		t := &chatpb.Text{}
		if proto.Unmarshal(e.Body, t) != nil || !utf8.ValidString(t.Text) {
			continue
		}
		v.Edited = true
		v.Edits = append(v.Edits, view.Edit{At: at, Text: v.Text})
		at = time.UnixMilli(int64(min(e.At, maxShown))).UTC()
		v.Text, v.Mentions = t.Text, mentionViews(tx, t.Text, t.Mentions)
	}
	for _, r := range x.Reactions {
		v.Reactions = append(v.Reactions, view.Reaction{Emoji: r.Emoji, From: nameOf(tx, r.User), At: time.UnixMilli(int64(min(r.At, maxShown))).UTC()})
	}
}

// disappears is when a message does; the zero time while nobody has read it.
func disappears(m *pb.Message, x acts.Shown, ttl uint32) time.Time {
	begin := x.Read
	if m.Mine {
		begin = m.Order
	}
	if begin == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(min(begin, maxShown))).Add(time.Duration(ttl) * time.Second).UTC()
}
