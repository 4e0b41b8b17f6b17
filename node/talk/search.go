package talk

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/search"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// SearchQuery is what a person looks for. Empty fields do not matter.
type SearchQuery struct {
	Words string
	Chat  string // handle of a conversation
	From  string // handle of a person, or "me"
	Kind  string // text, location, card, custom
	Since time.Time
	Until time.Time
	Limit int
}

// Search lists the messages that match, the newest first.
func Search(tx store.Tx, q SearchQuery) ([]view.Message, error) {
	if len(q.Words) > search.MaxQuery {
		return nil, &view.Problem{Class: view.ErrUsage, Message: "the query is longer than 256 bytes", Hint: "kith search --help"}
	}
	x, err := searchQuery(tx, q)
	if err != nil {
		return nil, err
	}
	hits, err := search.Find(tx, x)
	if err != nil {
		return nil, err
	}
	me := Me(tx)
	var out []view.Message
	for _, h := range hits {
		m := &pb.Message{}
		if Row(tx, h.ID[:], m) {
			out = append(out, MessageView(tx, me, m))
		}
	}
	return out, tx.Err()
}

var searchKinds = map[string]chat.Kind{
	"": 0, "text": chat.KindText, "location": chat.KindLocation, "card": chat.KindCard, "custom": chat.KindCustom,
}

func searchQuery(tx store.Tx, q SearchQuery) (search.Query, error) {
	kind, ok := searchKinds[q.Kind]
	if !ok {
		return search.Query{}, &view.Problem{Class: view.ErrUsage, Message: "there is no kind " + q.Kind + "; there are text, location, card, custom", Hint: "kith search --help"}
	}
	x := search.Query{Words: q.Words, Kind: kind, Limit: q.Limit, Since: unixOf(q.Since), Until: unixOf(q.Until)}
	if q.Chat != "" {
		c, err := Find(tx, q.Chat)
		if err != nil {
			return x, err
		}
		if len(c.Id) == 16 {
			x.Chat = IDOf(c)
		}
	}
	switch strings.ToLower(q.From) {
	case "":
	case OwnHandle:
		me := Me(tx)
		x.Author = [8]byte(me[:8])
	default:
		p, err := FindContact(tx, q.From)
		if err != nil {
			return x, err
		}
		x.Author = [8]byte(p.User[:8])
	}
	return x, nil
}

func unixOf(at time.Time) uint64 {
	if at.IsZero() || at.Unix() < 0 {
		return 0
	}
	return uint64(at.UnixMilli())
}

// index makes a message findable by a text in place of what it was findable by; an empty one erases it. The caller saves m.
func (d *Desk) index(m *pb.Message, text string) {
	search.Remove(d.Tx, m.TextAt)
	m.TextAt = 0
	c, err := chat.Parse(m.Content)
	if text == "" || err != nil {
		return
	}
	m.TextAt = search.Add(d.Tx, search.Line{
		ID: chat.ID(m.Id), Chat: c.Chat, Author: [8]byte(m.User[:8]), At: m.Order, Kind: c.Kind, Text: text,
	})
}

// IndexAll makes the messages of an earlier build findable by what they say and by their ids, once.
func (d *Desk) IndexAll() {
	done := []byte("ids")
	if d.Tx.Get(store.BucketMeta, done) != nil {
		return
	}
	d.Tx.Put(store.BucketMeta, done, []byte{1})
	aside := map[string]bool{}
	for _, c := range Groups(d.Tx) {
		aside[string(store.U32(c.Aside))] = true
	}
	var ids [][]byte
	d.Tx.Scan(store.BucketChats, nil, func(key, id []byte) bool {
		if !aside[string(key[:4])] {
			ids = append(ids, id)
		}
		return true
	})
	for _, id := range ids {
		m := &pb.Message{}
		if !Row(d.Tx, id, m) {
			continue
		}
		if name(d.Tx, id, true); m.TextAt == 0 {
			d.index(m, findable(m))
			store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
		}
	}
}

// words is what content is found by.
func words(raw []byte) string {
	c, err := chat.Parse(raw)
	if err != nil {
		return ""
	}
	text, place, card, custom := &chatpb.Text{}, &chatpb.Location{}, &chatpb.Card{}, &chatpb.Custom{}
	switch {
	case c.Kind == chat.KindText && proto.Unmarshal(c.Payload, text) == nil:
		parts := []string{text.Subject, text.Text}
		for _, f := range text.Files {
			parts = append(parts, f.Name)
		}
		return strings.Join(parts, "\n")
	case c.Kind == chat.KindLocation && proto.Unmarshal(c.Payload, place) == nil:
		return place.Label
	case c.Kind == chat.KindCard && proto.Unmarshal(c.Payload, card) == nil:
		return card.Name
	case c.Kind == chat.KindCustom && proto.Unmarshal(c.Payload, custom) == nil:
		return custom.Fallback
	}
	return ""
}
