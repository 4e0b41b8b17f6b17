package talk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Two devices of one person compare what they have of the past, span by span: a conversation in a month. The one that
// lacks something asks with the sums of its own spans; the other answers with whatever it has in those that differ. What
// comes is merged, so it does not matter what is sent twice. After a pass that found differences the roles change, and
// so on until a pass finds none: then both have the same, which is the check that nothing is missing.
//
// Questions and answers carry all that is needed to go on. Neither device keeps anything in between, and either may stop
// at any time.

// Bounds of the exchange.
const (
	spanMonth   = uint64(30 * 24 * time.Hour / time.Millisecond)
	spanSize    = 16 + 4
	askSpans    = 64 // of one question
	answerParts = 64 // of one answer; then the asker has to ask on
	// MaxPasses ends a comparison that does not come to an end, as when both devices go on writing.
	MaxPasses = 6
	// backPass is that of a question about what an even pass found: it is answered once.
	backPass = 7
	partRoom = session.MaxContent - chat.HeaderSize - 600 // beside rows: the question that goes on
)

const labelHistory = "kith1 history"

// span names a conversation's month.
func span(id []byte, month uint32) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(id), month)
}

// monthOf is the month of a Lamport time.
func monthOf(order uint64) uint32 { return uint32(order / spanMonth) }

// MonthAt is the month of a time.
func MonthAt(at time.Time) uint32 { return monthOf(unixOf(at)) }

// sum is what a device has of a span: how many messages, and the exclusive-or of a digest of each with its state.
func sum(key []byte, rows []*pb.Message) *chatpb.HistorySum {
	s := &chatpb.HistorySum{Span: key, Count: uint32(len(rows)), Sum: make([]byte, 16)}
	for _, m := range rows {
		h := sha256.Sum256(slices.Concat([]byte(labelHistory), m.Id, fate(m).Marshal()))
		for i := range s.Sum {
			s.Sum[i] ^= h[i]
		}
	}
	return s
}

// eachSpan walks the spans with something in them, in order, from a span on.
func eachSpan(tx store.Tx, from []byte, since uint32, fn func(c *pb.Chat, key []byte, rows []*pb.Message) bool) {
	var chats []*pb.Chat
	tx.Scan(store.BucketConversations, from[:min(len(from), 16)], func(_, value []byte) bool {
		c := &pb.Chat{}
		if proto.Unmarshal(value, c) == nil && len(c.Id) == 16 {
			chats = append(chats, c)
		}
		return true
	})
	for _, c := range chats {
		first := since
		if len(from) == spanSize && bytes.Equal(from[:16], c.Id) {
			first = max(since, binary.BigEndian.Uint32(from[16:]))
		}
		if !eachMonth(tx, c, first, fn) {
			return
		}
	}
}

// eachMonth walks the months of one conversation.
func eachMonth(tx store.Tx, c *pb.Chat, first uint32, fn func(c *pb.Chat, key []byte, rows []*pb.Message) bool) bool {
	number := store.U32(c.Number)
	var rows []*pb.Message
	month := first
	flush := func() bool {
		done := len(rows) > 0 && !fn(c, span(c.Id, month), rows)
		rows = nil
		return !done
	}
	var ids [][]byte
	tx.Scan(store.BucketChats, slices.Concat(number, store.U64(uint64(first)*spanMonth)), func(key, id []byte) bool {
		if string(key[:4]) != string(number) {
			return false
		}
		ids = append(ids, id)
		return true
	})
	for _, id := range ids {
		m := &pb.Message{}
		if !Row(tx, id, m) {
			continue
		}
		if at := monthOf(m.Order); at != month {
			if !flush() {
				return false
			}
			month = at
		}
		rows = append(rows, m)
	}
	return flush()
}

// HistoryAsk makes the question that begins at a span; none begins at the first.
func (d *Desk) HistoryAsk(x *chatpb.HistoryAsk) *chatpb.History {
	ask := &chatpb.HistoryAsk{From: x.From, Until: x.End, End: x.End, Since: x.Since, Pass: x.Pass, Differed: x.Differed}
	eachSpan(d.Tx, x.From, x.Since, func(_ *pb.Chat, key []byte, rows []*pb.Message) bool {
		if !before(key, x.End) {
			return false
		}
		if len(ask.Have) == askSpans {
			ask.Until = key
			return false
		}
		ask.Have = append(ask.Have, sum(key, rows))
		return true
	})
	return &chatpb.History{Ask: ask}
}

// before reports whether a span lies before an end; an empty one is behind everything.
func before(key, end []byte) bool { return len(end) == 0 || bytes.Compare(key, end) < 0 }

// HistoryAnswer answers a question of another device of ours: what it lacks, in an odd pass; what we may lack, as a
// question of ours, in an even one. The last part says how the asker goes on.
func (d *Desk) HistoryAnswer(ask *chatpb.HistoryAsk) []*chatpb.History {
	if len(ask.Have) > askSpans || !validSpan(ask.From) || !validSpan(ask.Until) || !validSpan(ask.End) || ask.Pass > backPass {
		return nil
	}
	w := comparison{d: d, theirs: map[string]*chatpb.HistorySum{}, rows: ask.Pass%2 == 1}
	for _, h := range ask.Have {
		w.theirs[string(h.Span)] = h
	}
	stop := ask.Until
	eachSpan(d.Tx, ask.From, ask.Since, func(c *pb.Chat, key []byte, rows []*pb.Message) bool {
		if !before(key, ask.Until) {
			return false
		}
		if len(w.out) >= answerParts {
			stop = key
			return false
		}
		w.span(c, key, rows)
		return true
	})
	for _, key := range sortedKeys(w.theirs) { // spans of which we have nothing
		if c := d.pastOf([]byte(key[:16])); c != nil && before(key, stop) {
			w.span(c, key, nil)
		}
	}
	if w.first != nil {
		w.out = append(w.out, d.HistoryAsk(&chatpb.HistoryAsk{From: w.first, End: after(w.last), Since: ask.Since, Pass: backPass}))
	}
	next := &chatpb.HistoryAsk{From: stop, End: ask.End, Since: ask.Since, Pass: ask.Pass, Differed: ask.Differed + w.differed}
	return append(w.out, &chatpb.History{Part: &chatpb.HistoryPart{Next: next}})
}

// pastOf is the conversation that another device of ours has a past of. That with oneself has no row before its first
// message, which may come to this device in that way.
func (d *Desk) pastOf(id []byte) *pb.Chat {
	return d.chatOf(Arrival{Author: d.Me, Own: true, Content: chat.Content{Chat: chat.ChatID(id)}})
}

// comparison is one answer being made.
type comparison struct {
	d           *Desk
	theirs      map[string]*chatpb.HistorySum
	rows        bool // answer with what differs; else with a question about it
	out         []*chatpb.History
	first, last []byte // what to ask about
	differed    uint32
}

func (w *comparison) span(c *pb.Chat, key []byte, rows []*pb.Message) {
	h := w.theirs[string(key)]
	delete(w.theirs, string(key))
	mine := sum(key, rows)
	switch {
	case h != nil && h.Count == mine.Count && bytes.Equal(h.Sum, mine.Sum):
		return
	case w.rows:
		w.out = append(w.out, parts(c.Id, rows)...)
	case w.first == nil || bytes.Compare(key, w.first) < 0:
		w.first = key
	}
	if bytes.Compare(key, w.last) > 0 {
		w.last = key
	}
	w.differed++
}

func validSpan(key []byte) bool { return len(key) == 0 || len(key) == spanSize }

func sortedKeys(m map[string]*chatpb.HistorySum) (out [][]byte) {
	for k := range m {
		if len(k) == spanSize {
			out = append(out, []byte(k))
		}
	}
	slices.SortFunc(out, bytes.Compare)
	return out
}

// after is the span that follows a span.
func after(key []byte) []byte {
	return binary.BigEndian.AppendUint32(bytes.Clone(key[:16]), binary.BigEndian.Uint32(key[16:])+1)
}

// parts puts rows into contents.
func parts(in []byte, rows []*pb.Message) (out []*chatpb.History) {
	part, size := &chatpb.HistoryPart{Chat: in}, 0
	add := func(r *chatpb.HistoryRow) {
		n := proto.Size(r) + 4
		if size+n > partRoom && len(part.Rows) > 0 {
			out = append(out, &chatpb.History{Part: part})
			part, size = &chatpb.HistoryPart{Chat: in}, 0
		}
		part.Rows, size = append(part.Rows, r), size+n
	}
	for _, m := range rows {
		row := &chatpb.HistoryRow{
			Id: m.Id, Content: m.Content, User: m.User, Device: m.Device, Received: m.Received, Order: m.Order,
			Unread: !m.Read && !m.Mine,
		}
		states := fate(m).Split(partRoom - proto.Size(row) - 8)
		row.State = states[0].Marshal()
		add(row)
		for _, s := range states[1:] {
			add(&chatpb.HistoryRow{Id: m.Id, User: m.User, Device: m.Device, Order: m.Order, State: s.Marshal()})
		}
	}
	if len(part.Rows) > 0 {
		out = append(out, &chatpb.History{Part: part})
	}
	return out
}

// HistoryEnd is how a comparison that we began ended.
type HistoryEnd uint8

// The ends of a comparison.
const (
	HistoryOpen    HistoryEnd = iota // it goes on, or was not ours
	HistoryEqual                     // both devices have the same
	HistoryDiffers                   // it was given up
)

// HistoryPart takes in a part of an answer, and returns the next question, if there is one.
func (d *Desk) HistoryPart(p *chatpb.HistoryPart) (*chatpb.History, HistoryEnd) {
	if len(p.Chat) == 16 {
		if c := d.pastOf(p.Chat); c != nil {
			for _, r := range p.Rows {
				d.remember(c, r)
			}
		}
	}
	next := p.Next
	switch {
	case next == nil || !validSpan(next.From) || !validSpan(next.End):
		return nil, HistoryOpen
	case len(next.From) > 0 && before(next.From, next.End):
		return d.HistoryAsk(next), HistoryOpen
	case next.Pass > MaxPasses:
		return nil, HistoryOpen
	case next.Differed == 0:
		return nil, HistoryEqual
	case next.Pass == MaxPasses:
		return nil, HistoryDiffers
	}
	return d.HistoryAsk(&chatpb.HistoryAsk{Since: next.Since, Pass: next.Pass + 1}), HistoryOpen
}

// remember merges one row of another device of ours.
func (d *Desk) remember(c *pb.Chat, r *chatpb.HistoryRow) {
	s, err := acts.Parse(r.State)
	if err != nil || len(r.Id) != 32 || len(r.User) != 32 || len(r.Device) != 32 {
		return
	}
	m := &pb.Message{}
	if Row(d.Tx, r.Id, m) {
		if at, err := chat.Parse(m.Content); err == nil && at.Chat == IDOf(c) {
			merged := fate(m)
			if merged.Merge(s); d.become(m, merged) {
				d.changed(m)
			}
		}
		return
	}
	content, err := chat.Parse(r.Content)
	if err != nil || string(content.Chat[:]) != string(c.Id) || !content.Kind.Visible() {
		return
	}
	m = &pb.Message{
		Id: r.Id, Content: r.Content, User: r.User, Device: r.Device, Mine: string(r.User) == string(d.Me[:]), Contact: c.Contact,
		Chat: c.Id, Received: min(max(r.Received, 0), d.Now.UnixMilli()), Order: min(r.Order, uint64(d.Now.Add(dht.MaxSkew).UnixMilli())),
	}
	m.Read = m.Mine || !r.Unread || !d.shows(c, m)
	s.Merge(d.waited(content.Chat, m.Id))
	d.begin(m, s)
	if d.insert(c, m); !m.Read { // nobody's parent any more
		c.Unread++
		SaveChat(d.Tx, c)
		v := MessageView(d.Tx, d.Me, m)
		d.tell(view.Notice{Type: "message", ID: v.ID, Message: &v})
	}
}

// Past reads at most so many messages of a conversation in their order, from a place on, and says where to go on; nil:
// that was the end.
func Past(tx store.Tx, c *pb.Chat, from []byte, most int) (rows []*pb.Message, next []byte) {
	number := store.U32(c.Number)
	var ids [][]byte
	tx.Scan(store.BucketChats, slices.Concat(number, from), func(key, id []byte) bool {
		if string(key[:4]) != string(number) {
			return false
		}
		if len(ids) == most {
			next = bytes.Clone(key[4:])
			return false
		}
		ids = append(ids, bytes.Clone(id))
		return true
	})
	for _, id := range ids {
		if m := (&pb.Message{}); Row(tx, id, m) {
			rows = append(rows, m)
		}
	}
	return rows, next
}

// PastParts are messages of a conversation as another device of ours gets them.
func PastParts(in []byte, rows []*pb.Message) (out []*chatpb.HistoryPart) {
	for _, h := range parts(in, rows) {
		out = append(out, h.Part)
	}
	return out
}

// SettingBatches are all settings, for a device of ours that knows none, in contents' sizes.
func SettingBatches(tx store.Tx) (out []*chatpb.Sync) {
	batch, size := &chatpb.Sync{}, 0
	tx.Scan(store.BucketSettings, nil, func(key, value []byte) bool {
		s, at := &pb.Setting{}, bytes.IndexByte(key, '/')
		if len(key) > 16 && key[16] == '/' { // a conversation's id may hold any byte
			at = 16
		}
		if proto.Unmarshal(value, s) != nil || at < 0 {
			return true
		}
		x := &chatpb.Setting{Chat: key[:at], Name: string(key[at+1:]), Value: s.Value, At: s.At, Device: s.Device}
		n := proto.Size(x) + 4
		if size+n > partRoom && size > 0 {
			out = append(out, batch)
			batch, size = &chatpb.Sync{}, 0
		}
		batch.Settings, size = append(batch.Settings, x), size+n
		return true
	})
	if size > 0 {
		out = append(out, batch)
	}
	return out
}
