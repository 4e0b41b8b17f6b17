package talk

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// React sets our reaction to a message, or takes it back with an empty emoji.
func (d *Desk) React(id, emoji string) (view.Message, error) {
	if emoji != "" && !acts.ValidEmoji(emoji) {
		return view.Message{}, usage("a reaction is an emoji, or a word without spaces, of at most 32 bytes", "kith react --help")
	}
	m, c, err := d.target(id)
	if err != nil {
		return view.Message{}, err
	}
	s := fate(m)
	at := d.after(m, s.ReactedAt(d.Me))
	return d.act(c, m, chat.KindReact, &chatpb.React{Target: m.Id, Emoji: emoji}, at)
}

// Edit puts another text in the place of one of ours.
func (d *Desk) Edit(id, text string) (view.Message, error) {
	if err := checkText(text); err != nil {
		return view.Message{}, err
	}
	m, c, err := d.target(id)
	if err != nil {
		return view.Message{}, err
	}
	s := fate(m)
	at := d.after(m, s.EditedAt())
	switch {
	case !m.Mine:
		return view.Message{}, refused("only its author can edit a message")
	case chat.KindOf(m.Content) != chat.KindText:
		return view.Message{}, refused("only texts can be edited")
	case s.EditsLeft(at) == 0 && len(s.Show().Edits) >= acts.MaxEdits:
		return view.Message{}, refused("a message can be edited 5 times")
	case s.EditsLeft(at) == 0:
		return view.Message{}, refused("a message can be edited for 15 minutes")
	}
	named, err := d.mentions(c, text, stillNamed(MessageView(d.Tx, d.Me, m), text))
	if err != nil {
		return view.Message{}, err
	}
	return d.act(c, m, chat.KindEdit, &chatpb.Edit{Target: m.Id, Text: text, Mentions: named}, at)
}

// stillNamed are those whom a message mentions and a new text of it, too.
func stillNamed(v view.Message, text string) (handles []string) {
	for _, x := range v.Mentions {
		if strings.Contains(text, "@"+x.Handle) {
			handles = append(handles, x.Handle)
		}
	}
	return handles
}

// Unsend takes one of our messages back, on every device that it has reached or will reach.
func (d *Desk) Unsend(id string) (view.Message, error) {
	m, c, err := d.target(id)
	if err != nil {
		return view.Message{}, err
	}
	at := d.after(m, 0)
	switch {
	case !m.Mine:
		return view.Message{}, refused("only its author can take a message back")
	case chat.KindOf(m.Content) == chat.KindTimer:
		return view.Message{}, refused("this line says what was set; set it again")
	case !fate(m).MayUnsend(at):
		return view.Message{}, refused("a message can be taken back for 2 minutes")
	}
	return d.act(c, m, chat.KindUnsend, &chatpb.Unsend{Target: m.Id}, at)
}

// Delete hides a message on our own devices, or shows it again; nobody else hears of it.
func (d *Desk) Delete(id string, deleted bool) (view.Message, error) {
	m, err := FindMessage(d.Tx, id)
	if err != nil {
		return view.Message{}, err
	}
	s := fate(m).Show()
	switch {
	case s.Erased || s.Unsent && !deleted:
		return view.Message{}, refused("nothing of this message is left")
	case s.Deleted == deleted:
		return MessageView(d.Tx, d.Me, m), nil
	}
	at := max(d.Stamp(), s.DeletedAt+1)
	in, _ := chat.Parse(m.Content)
	x := &chatpb.Deleted{Id: m.Id, Deleted: deleted, At: at, Chat: in.Chat[:]}
	d.LearnDeleted(x)
	if err := d.Say(chat.KindSync, chat.Direct(d.Me, d.Me), &chatpb.Sync{Deleted: []*chatpb.Deleted{x}}, nil, true); err != nil {
		return view.Message{}, err
	}
	Row(d.Tx, m.Id, m)
	return MessageView(d.Tx, d.Me, m), d.Tx.Err()
}

// target is the message that a person acts on, with its conversation. What is gone cannot be acted on.
func (d *Desk) target(id string) (*pb.Message, *pb.Chat, error) {
	m, err := FindMessage(d.Tx, id)
	if err != nil {
		return nil, nil, err
	}
	c := ChatOf(d.Tx, d.Me, m)
	if c == nil {
		return nil, nil, refused("its conversation is not here any more")
	}
	if s := fate(m).Show(); s.Erased || s.Unsent || s.Deleted {
		return nil, nil, refused("nothing of this message is shown any more")
	}
	return m, c, d.May(c)
}

// after is a time for an act of ours: later than its message and than what we did before, whatever the clocks of others
// say, as far as clocks may be.
func (d *Desk) after(m *pb.Message, last uint64) uint64 {
	at := d.Stamp()
	limit := uint64(d.Now.Add(dht.MaxSkew).UnixMilli())
	for _, before := range []uint64{m.Order, last} {
		if before >= at && before <= limit {
			at = before + 1
		}
	}
	return at
}

// act says what we did to a message, to everybody in the conversation, and does it here.
func (d *Desk) act(c *pb.Chat, m *pb.Message, kind chat.Kind, payload proto.Message, at uint64) (view.Message, error) {
	row, err := d.say(c, kind, payload, at)
	if err != nil {
		return view.Message{}, err
	}
	content, err := chat.Parse(row.Content)
	if err != nil {
		return view.Message{}, err
	}
	d.Act(Arrival{ID: chat.ID(row.Id), Author: d.Me, Device: d.Device, Own: true, Content: content})
	Row(d.Tx, m.Id, m)
	return MessageView(d.Tx, d.Me, m), d.Tx.Err()
}

// Act takes in what somebody in a conversation did to one of its messages, which may not be here yet. False means that
// whoever says it may not, or that too much waits already.
func (d *Desk) Act(a Arrival) bool {
	if d.chatOf(a) == nil {
		return false
	}
	target, do := readAct(a)
	if do == nil {
		return false
	}
	return d.change(a.Content.Chat, target, a.Author, do)
}

// readAct says what content of an act does, and to which message; nil if it is none.
func readAct(a Arrival) (target []byte, do func(*acts.State)) {
	at := acts.Stamp{At: a.Content.SentAt, ID: a.ID}
	switch x := (&chatpb.React{}); a.Content.Kind {
	case chat.KindReact:
		if proto.Unmarshal(a.Content.Payload, x) == nil && (x.Emoji == "" || acts.ValidEmoji(x.Emoji)) {
			target, do = x.Target, func(s *acts.State) { s.React(a.Author, at, x.Emoji) }
		}
	case chat.KindEdit:
		x := &chatpb.Edit{}
		if proto.Unmarshal(a.Content.Payload, x) != nil || x.Text == "" || len(x.Text) > chat.MaxText {
			break
		}
		body, err := proto.Marshal(&chatpb.Text{Text: x.Text, Mentions: x.Mentions})
		if err == nil && len(body) <= acts.MaxBody {
			target, do = x.Target, func(s *acts.State) { s.Edit(a.Author, at, body) }
		}
	case chat.KindUnsend:
		x := &chatpb.Unsend{}
		if proto.Unmarshal(a.Content.Payload, x) == nil {
			target, do = x.Target, func(s *acts.State) { s.Unsend(a.Author, at) }
		}
	}
	if len(target) != 32 {
		return nil, nil
	}
	return target, do
}

// LearnDeleted takes in that a device of ours deleted a message, or recovered it.
func (d *Desk) LearnDeleted(x *chatpb.Deleted) {
	if len(x.Id) != 32 || len(x.Chat) != 16 || x.At > maxShown {
		return
	}
	d.Witness(x.At)
	d.change(chat.ChatID(x.Chat), x.Id, d.Me, func(s *acts.State) { s.Delete(x.At, x.Deleted) })
	m := &pb.Message{}
	if x.Deleted && Row(d.Tx, x.Id, m) && !m.Read {
		d.SetRead(m, 0)
	}
}

// fate is what became of a message so far.
func fate(m *pb.Message) acts.State {
	s, err := acts.Parse(m.State)
	if err != nil {
		s = acts.State{}
	}
	if c, err := chat.Parse(m.Content); err == nil && len(m.User) == 32 {
		s.Arrive(identity.UserID(m.User), c.SentAt)
	}
	return s
}

// change does something to a message of a conversation, or notes it until the message is here.
func (d *Desk) change(in chat.ChatID, id []byte, by identity.UserID, do func(*acts.State)) bool {
	m := &pb.Message{}
	if !Row(d.Tx, id, m) {
		return d.wait(in, id, by, do)
	}
	c, err := chat.Parse(m.Content)
	if err != nil || c.Chat != in || !c.Kind.Visible() {
		return true // it is heard, and means nothing: what it names is not of this conversation
	}
	s := fate(m)
	do(&s)
	if d.become(m, s) {
		d.changed(m)
	}
	return true
}

// become brings a message's row, and what it is found by, to a new state; it reports whether that is news.
func (d *Desk) become(m *pb.Message, s acts.State) bool {
	old := fate(m)
	if bytes.Equal(old.Marshal(), s.Marshal()) {
		return false
	}
	found := findable(m)
	d.settle(m, s)
	if now := findable(m); now != found {
		d.index(m, now)
	}
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	return true
}

func (d *Desk) changed(m *pb.Message) {
	v := MessageView(d.Tx, d.Me, m)
	d.tell(view.Notice{Type: "message_changed", ID: v.ID, Message: &v})
}

// settle keeps what became of a message in its row, which the caller saves, and books what is still to come.
func (d *Desk) settle(m *pb.Message, s acts.State) {
	if end := ends(m, s); end != 0 && end <= uint64(d.Now.UnixMilli()) {
		s.Erase()
	} else if end != 0 {
		d.book(end, m.Id)
	}
	if m.State = nil; !s.Plain() {
		m.State = s.Marshal()
	}
	if x := s.Show(); x.Erased || x.Unsent {
		d.wipe(m)
	}
}

// wipe takes what was said out of a message's row, which the caller saves. The head of its content stays, so that it
// keeps its place.
func (d *Desk) wipe(m *pb.Message) {
	c, err := chat.Parse(m.Content)
	if err != nil || len(c.Payload) == 0 {
		return
	}
	d.dropFiles(m)
	c.Payload = nil
	m.Content = c.Bytes()
}

// findable is what a message is found by: nothing of one that is not shown.
func findable(m *pb.Message) string {
	x := fate(m).Show()
	switch {
	case x.Unsent || x.Erased || x.Deleted:
		return ""
	case len(x.Edits) > 0:
		t := &chatpb.Text{}
		if proto.Unmarshal(x.Edits[len(x.Edits)-1].Body, t) == nil {
			return t.Text
		}
	}
	return words(m.Content)
}

// Wiped reports whether nothing of what a message said is left: it cannot be sealed for another device any more.
func Wiped(m *pb.Message) bool {
	x := fate(m).Show()
	return x.Erased || x.Unsent
}

// waitFor is how long an act waits for its message: as long as its envelope could be seen again.
const waitFor = 45 * 24 * time.Hour

// waiting is the key of what one person did to a message of a conversation that is not here; of nobody, of the list of
// those people. It is no message id, so that nobody takes it for the message, and an act from another conversation never
// meets it. A row for each keeps the acts of many cheap for every single one of them.
func waiting(in chat.ChatID, id, by []byte) []byte { return slices.Concat(id, in[:], by) }

func counterWaiting(by []byte) string { return "waiting/" + hexOf(by) }

// wait keeps an act until its message is here; false: this person has too many that wait.
func (d *Desk) wait(in chat.ChatID, id []byte, by identity.UserID, do func(*acts.State)) bool {
	m := &pb.Message{}
	if !store.Row(d.Tx, store.BucketMessages, waiting(in, id, by[:]), m) && !d.waits(in, id, by[:]) {
		return false
	}
	s, err := acts.Parse(m.State)
	if err != nil {
		return true
	}
	do(&s)
	m.State = s.Marshal()
	store.PutRow(d.Tx, store.BucketMessages, waiting(in, id, by[:]), m)
	return true
}

// waits notes one more person with acts on a message that is not here.
func (d *Desk) waits(in chat.ChatID, id, by []byte) bool {
	key, list := waiting(in, id, nil), &pb.Message{}
	n := store.Counter(d.Tx, counterWaiting(by))
	store.Row(d.Tx, store.BucketMessages, key, list)
	if n >= maxWaiting || len(list.State) >= len(by)*maxActors {
		return false
	}
	store.SetCounter(d.Tx, counterWaiting(by), n+1)
	if len(list.State) == 0 {
		d.book(uint64(d.Now.Add(waitFor).UnixMilli()), key)
	}
	list.State = append(list.State, by...)
	store.PutRow(d.Tx, store.BucketMessages, key, list)
	return true
}

// waited is what was done to a message before it came; it waits no longer.
func (d *Desk) waited(in chat.ChatID, id []byte) (all acts.State) {
	list := &pb.Message{}
	if !store.Row(d.Tx, store.BucketMessages, waiting(in, id, nil), list) {
		return all
	}
	d.Tx.Delete(store.BucketMessages, waiting(in, id, nil))
	for by := range slices.Chunk(list.State, len(identity.UserID{})) {
		m := &pb.Message{}
		store.Row(d.Tx, store.BucketMessages, waiting(in, id, by), m)
		d.Tx.Delete(store.BucketMessages, waiting(in, id, by))
		if n := store.Counter(d.Tx, counterWaiting(by)); n > 0 {
			store.SetCounter(d.Tx, counterWaiting(by), n-1)
		}
		if s, err := acts.Parse(m.State); err == nil {
			all.Merge(s)
		}
	}
	return all
}

func usage(message, hint string) error {
	return &view.Problem{Class: view.ErrUsage, Message: message, Hint: hint}
}

func refused(message string) error {
	return &view.Problem{Class: view.ErrRefused, Message: message, Hint: "kith inbox"}
}

// commonOf reads what every payload of a conversation may carry.
func commonOf(c chat.Content) *chatpb.Common {
	x := &chatpb.Common{}
	if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(c.Payload, x) != nil {
		return &chatpb.Common{}
	}
	return x
}

// ends is when a message has to be erased, Lamport ms: its time is over, or its reader deleted it and did not want it
// back. The time of a disappearing message runs from when it was sent on the devices of its author, and from its first
// read on those of everybody else. 0: not yet known, or never.
func ends(m *pb.Message, s acts.State) uint64 {
	c, err := chat.Parse(m.Content)
	x := s.Show()
	if err != nil || x.Erased {
		return 0
	}
	end := uint64(0)
	if x.Deleted {
		end = min(x.DeletedAt, maxShown) + uint64(acts.RecoverFor.Milliseconds())
	}
	begin := min(x.Read, maxShown)
	if m.Mine {
		begin = m.Order
	}
	if ttl := uint64(commonOf(c).TtlSeconds); ttl > 0 && begin > 0 {
		if over := begin + 1000*ttl; end == 0 || over < end {
			end = over
		}
	}
	return end
}

// book asks for a look at a message, or at what waits for one, at a time.
func (d *Desk) book(at uint64, key []byte) {
	if at > math.MaxInt64/2 {
		return // never, whatever the clock of a device of ours said
	}
	booked := false
	d.Tx.Scan(store.BucketTimes, store.U64(at), func(k, id []byte) bool {
		booked = booked || fromU64(k) == at && bytes.Equal(id, key)
		return !booked && fromU64(k) == at
	})
	if booked {
		return
	}
	n := store.NextCounter(d.Tx, counterTimes)
	d.Tx.Put(store.BucketTimes, slices.Concat(store.U64(at), store.U64(n)), key)
	if when := time.UnixMilli(int64(at)); d.Wake.IsZero() || when.Before(d.Wake) {
		d.Wake = when
	}
}

// NextTime is when Pass has something to do; zero: never.
func NextTime(tx store.Tx) (at time.Time) {
	tx.Scan(store.BucketTimes, nil, func(key, _ []byte) bool {
		at = time.UnixMilli(int64(fromU64(key)))
		return false
	})
	return at
}

// Pass erases what is over, a part at a time: NextTime says whether there is more.
func (d *Desk) Pass() {
	var due, ids [][]byte
	d.Tx.Scan(store.BucketTimes, nil, func(key, id []byte) bool {
		if int64(fromU64(key)) > d.Now.UnixMilli() || len(due) == timesBatch {
			return false
		}
		due, ids = append(due, key), append(ids, id)
		return true
	})
	for i, key := range due {
		d.Tx.Delete(store.BucketTimes, key)
		if id := ids[i]; len(id) == 32 {
			d.over(id)
		} else if len(id) == 48 {
			d.waited(chat.ChatID(id[32:]), id[:32])
		}
	}
}

// over erases a message if its time has come; a booking may be older than what decides now.
func (d *Desk) over(id []byte) {
	m := &pb.Message{}
	if !Row(d.Tx, id, m) {
		return
	}
	s := fate(m)
	if end := ends(m, s); end == 0 || end > uint64(d.Now.UnixMilli()) {
		return
	}
	if !m.Read {
		d.SetRead(m, 0)
	}
	d.settle(m, s)
	d.index(m, "")
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	d.changed(m)
}
