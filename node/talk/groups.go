package talk

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/chat/acts"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// A group is a conversation whose id is that of its log (node/group). The log lies entry by entry in the table of groups;
// what it says of the members is its roster, a row that is written anew when the log grows. Messages whose author was no
// member at their time, as far as we know, lie aside, in a place of their own, until the log says otherwise: then they
// come into the conversation, as others may have to leave it. So a conversation follows from the log and the messages
// alone, whatever came first.

// RosterOf is the state of a group; nil while nothing of its log is here.
func RosterOf(tx store.Tx, id chat.ChatID) *pb.Roster {
	r := &pb.Roster{}
	if !store.Row(tx, store.BucketGroups, id[:], r) {
		return nil
	}
	return r
}

// InGroup reports whether a person is a member now.
func InGroup(r *pb.Roster, u identity.UserID) bool {
	return r != nil && slices.ContainsFunc(r.Members, func(s *pb.Seat) bool { return string(s.User) == string(u[:]) })
}

// EverInGroup reports whether a person is or was a member.
func EverInGroup(r *pb.Roster, u identity.UserID) bool {
	return InGroup(r, u) || r != nil && slices.ContainsFunc(r.Past, func(s *pb.Seat) bool { return string(s.User) == string(u[:]) })
}

// inGroupAt reports whether a person was a member at a time.
func inGroupAt(r *pb.Roster, u identity.UserID, at uint64) bool {
	in := func(s *pb.Seat) bool {
		return string(s.User) == string(u[:]) && s.From <= at && (s.To == 0 || at < s.To)
	}
	return r != nil && (slices.ContainsFunc(r.Members, in) || slices.ContainsFunc(r.Past, in))
}

func entryKey(id group.ID, n uint32) []byte { return slices.Concat(id[:], []byte{'e'}, store.U32(n)) }

func listKey(id group.ID, hash [32]byte) []byte { return slices.Concat(id[:], []byte{'l'}, hash[:]) }

// LoadLog reads the log of a group.
func LoadLog(tx store.Tx, id chat.ChatID) *group.Log {
	l := group.NewLog(group.ID(id))
	r := RosterOf(tx, id)
	if r == nil {
		return l
	}
	var entries []*group.Entry
	for n := range r.Entries {
		if e, err := group.Restore(tx.Get(store.BucketGroups, entryKey(l.ID(), n))); err == nil {
			entries = append(entries, e)
		}
	}
	l.Merge(entries)
	return l
}

// ListOf is a device list that an entry of a group's log names, as it came with the entry.
func ListOf(tx store.Tx, id group.ID, head identity.Head) []byte {
	return tx.Get(store.BucketGroups, listKey(id, head.Hash))
}

// Provers are the lists that entries of a log name.
func Provers(tx store.Tx, l *group.Log, entries []*group.Entry) (lists []*identity.DeviceList) {
	seen := map[identity.Head]bool{}
	for _, x := range entries {
		head := x.Fields().List
		if seen[head] {
			continue
		}
		seen[head] = true
		if list, err := identity.ParseDeviceList(ListOf(tx, l.ID(), head)); err == nil {
			lists = append(lists, list)
		}
	}
	return lists
}

// nameGroup gives a group its handle, which the caller saves: the one that another device of ours has given it, else one
// of our own, of which the others hear.
func (d *Desk) nameGroup(c *pb.Chat, name string) {
	taken := Handles(d.Tx)
	if known := Setting(d.Tx, c.Id, settingHandle); known != "" {
		if c.Handle = known; taken[known] {
			c.Handle = FreeHandle(name, "group", taken)
		}
		return
	}
	c.Handle = FreeHandle(name, "group", taken)
	_ = d.Set(c, settingHandle, c.Handle) // that others of ours hear of it is a convenience: the group is there in any case
}

// rename takes the handle that another device of ours has given a group; a group that has it here takes ours. So a name
// means the same group on all of them, as far as no person has it.
func (d *Desk) rename(c *pb.Chat, handle string) {
	if c == nil || c.Kind != Group || c.Handle == "" || c.Handle == handle || handle != CleanHandle(handle) {
		return
	}
	if other := groupNamed(d.Tx, handle); other != nil {
		other.Handle = c.Handle
		SaveChat(d.Tx, other)
	} else if Handles(d.Tx)[handle] {
		return
	}
	c.Handle = handle
	SaveChat(d.Tx, c)
}

// Groups lists the conversations that are groups.
func Groups(tx store.Tx) (out []*pb.Chat) {
	tx.Scan(store.BucketConversations, nil, func(_, value []byte) bool {
		c := &pb.Chat{}
		if proto.Unmarshal(value, c) == nil && c.Kind == Group {
			out = append(out, c)
		}
		return true
	})
	return out
}

// Turnover is who came into a group and who went, when its log grew. To somebody who comes, everybody does. Who passed had
// come and gone again before we heard of either: what they said in between is still on its way.
type Turnover struct {
	Came, Went, Passed []identity.UserID
}

// Grow writes what is new in a log, with the lists that prove it, and brings the conversation in step: messages come out
// of their place aside, or go there, and those of this device are posted to whoever should have had them.
func (d *Desk) Grow(l *group.Log, added []*group.Entry, lists []*identity.DeviceList) (*pb.Chat, Turnover) {
	id := chat.ChatID(l.ID())
	c := Chat(d.Tx, id)
	if c == nil {
		c = NewChat(d.Tx, id, Group)
	}
	old := RosterOf(d.Tx, id)
	if old == nil {
		old = &pb.Roster{}
	}
	for i, e := range added {
		d.Tx.Put(store.BucketGroups, entryKey(l.ID(), old.Entries+uint32(i)), e.Bytes())
		d.Witness(e.Fields().Lamport)
	}
	for _, list := range lists {
		d.Tx.Put(store.BucketGroups, listKey(l.ID(), list.Hash()), list.Bytes())
	}
	r := roster(l)
	d.showImage(id, l, old, r)
	store.PutRow(d.Tx, store.BucketGroups, id[:], r)
	c.Name, c.Left = r.Name, len(r.Past) > 0 && !InGroup(r, d.Me)
	if c.Handle == "" && InGroup(r, d.Me) {
		d.nameGroup(c, r.Name)
	}
	SaveChat(d.Tx, c)
	d.resettle(c, old, r)
	v := GroupView(d.Tx, d.Me, c)
	d.tell(view.Notice{Type: "group", Group: &v})
	var t Turnover
	for _, s := range r.Members {
		if u := identity.UserID(s.User); u != d.Me && !(InGroup(old, u) && InGroup(old, d.Me)) {
			t.Came = append(t.Came, u)
		}
	}
	for _, s := range old.Members {
		if u := identity.UserID(s.User); u != d.Me && !InGroup(r, u) {
			t.Went = append(t.Went, u)
		}
	}
	for _, s := range r.Past {
		u := identity.UserID(s.User)
		if fresh := s.To >= unixOf(d.Now.Add(-maxBehind)); fresh && InGroup(old, d.Me) && u != d.Me && !InGroup(r, u) && !EverInGroup(old, u) {
			t.Passed = append(t.Passed, u)
		}
	}
	return Chat(d.Tx, id), t
}

// showImage has the picture of a group fetched, or brought to relays if it was set here, in place of the one before.
func (d *Desk) showImage(id chat.ChatID, l *group.Log, old, r *pb.Roster) {
	if r.Pictures = old.Pictures; string(r.Image) == string(old.Image) || d.Files == nil {
		return
	}
	d.Files.Forget(old.Pictures)
	r.Pictures = nil
	f := &chatpb.File{}
	if by, on, ok := l.ImageBy(); ok && proto.Unmarshal(r.Image, f) == nil && len(f.Key) > 0 && f.Size <= transfer.MaxPreview {
		f.Preview = nil
		r.Pictures = d.Files.Show(by, by == d.Me && on == d.Device, id[:], f)
	}
}

func roster(l *group.Log) *pb.Roster {
	s := l.State()
	r := &pb.Roster{Name: chat.CleanName(s.Name), Image: s.Image, Entries: uint32(l.Len())}
	for _, m := range s.Members {
		r.Members = append(r.Members, &pb.Seat{User: m.User[:], Admin: m.Admin, From: m.Since})
	}
	s.Past(func(u identity.UserID, p group.Span) {
		r.Past = append(r.Past, &pb.Seat{User: u[:], From: p.From, To: p.To})
	})
	heads := l.Heads()
	for _, h := range heads[:min(len(heads), group.MaxHeads)] {
		r.Heads = append(r.Heads, h[:16])
	}
	return r
}

// resettle moves messages whose author's membership at their time has changed, and posts those of this device to people
// who were members then, as it turns out. Nothing before the first change has to be looked at.
func (d *Desk) resettle(c *pb.Chat, old, r *pb.Roster) {
	changed, from := changes(old, r)
	if len(changed) == 0 {
		return
	}
	for _, p := range d.since(c.Number, from) {
		m := &pb.Message{}
		if !Row(d.Tx, p.id, m) {
			continue
		}
		at := sentAt(m)
		if !m.Mine && changed[identity.UserID(m.User)] && !inGroupAt(r, identity.UserID(m.User), at) {
			d.setAside(c, p.key, m)
		}
		if m.Mine && string(m.Device) == string(d.Device[:]) {
			d.owe(m, changed, old, r, at)
		}
	}
	if c.Aside == 0 {
		return
	}
	for _, p := range d.since(c.Aside, from) {
		m := &pb.Message{}
		if Row(d.Tx, p.id, m) && inGroupAt(r, identity.UserID(m.User), sentAt(m)) {
			d.Tx.Delete(store.BucketChats, p.key)
			d.take(c, m)
		}
	}
}

// take brings what lay aside into the conversation.
func (d *Desk) take(c *pb.Chat, m *pb.Message) {
	content, err := chat.Parse(m.Content)
	if err != nil {
		return
	}
	a := Arrival{ID: chat.ID(m.Id), Author: identity.UserID(m.User), Device: identity.DeviceID(m.Device), Content: content, Raw: m.Content}
	d.show(c, m, a)
}

// byMembers leaves out edits that a message's author made while it was no member of the group, and reactions of whoever is
// none now: of each person only the last reaction is kept, which may be from after its removal on a device that learned of
// that late. Whoever was a member when it wrote may take that back in any case.
func byMembers(tx store.Tx, in chat.ChatID, author []byte, x acts.Shown) acts.Shown {
	if len(x.Edits)+len(x.Reactions) == 0 {
		return x
	}
	if c := Chat(tx, in); c == nil || c.Kind != Group {
		return x
	}
	r := RosterOf(tx, in)
	x.Edits = slices.DeleteFunc(x.Edits, func(e acts.Edit) bool { return !inGroupAt(r, identity.UserID(author), e.At) })
	x.Reactions = slices.DeleteFunc(x.Reactions, func(a acts.Reaction) bool {
		return !InGroup(r, a.User) || !inGroupAt(r, a.User, a.At)
	})
	return x
}

// aside keeps what somebody says in a group who was no member then, as far as we know; false: it is to be taken at once,
// or there is no room.
func (d *Desk) aside(c *pb.Chat, m *pb.Message, a Arrival) (kept, room bool) {
	if c.Kind != Group || a.Own || inGroupAt(RosterOf(d.Tx, IDOf(c)), a.Author, a.Content.SentAt) {
		return false, true
	}
	if c.Aside != 0 && len(d.since(c.Aside, 0)) >= maxAside {
		return false, false
	}
	d.keepAside(c, m)
	return true, true
}

// changes lists the people whose times of membership differ, and the first time at which they do.
func changes(old, r *pb.Roster) (map[identity.UserID]bool, uint64) {
	type spell struct {
		user     string
		from, to uint64
	}
	spells := func(r *pb.Roster) map[spell]bool {
		out := map[spell]bool{}
		for _, s := range slices.Concat(r.Members, r.Past) {
			out[spell{string(s.User), s.From, s.To}] = true
		}
		return out
	}
	before, after := spells(old), spells(r)
	who, first := map[identity.UserID]bool{}, ^uint64(0)
	compare := func(a, b map[spell]bool) {
		for s := range a {
			if !b[s] {
				who[identity.UserID([]byte(s.user))] = true
				first = min(first, s.from)
			}
		}
	}
	compare(before, after)
	compare(after, before)
	return who, first
}

// owe posts a message to people who were members when it was written, as it turns out, if it is no older than what may
// still be on its way: an admin may say of anybody that it came long ago.
func (d *Desk) owe(m *pb.Message, changed map[identity.UserID]bool, old, r *pb.Roster, at uint64) {
	if d.Busy || at < uint64(d.Now.Add(-maxBehind).UnixMilli()) {
		return
	}
	var to []identity.UserID
	for _, s := range slices.Concat(r.Members, r.Past) {
		u := identity.UserID(s.User)
		if changed[u] && u != d.Me && InGroup(r, u) && inGroupAt(r, u, at) && !inGroupAt(old, u, at) && !slices.Contains(to, u) {
			to = append(to, u)
		}
	}
	if to = to[:min(len(to), maxOwed-d.owed)]; len(to) > 0 {
		d.owed += len(to)
		d.Posts = append(d.Posts, Post{Row: m, To: to})
	}
}

// placed is a message in a place.
type placed struct{ key, id []byte }

// since lists the messages of a place from a time on, oldest first.
func (d *Desk) since(number uint32, from uint64) (out []placed) {
	d.Tx.Scan(store.BucketChats, slices.Concat(store.U32(number), store.U64(from)), func(key, id []byte) bool {
		if string(key[:4]) != string(store.U32(number)) {
			return false
		}
		out = append(out, placed{key, id})
		return true
	})
	return out
}

// sentAt is the time that a message's author gave it.
func sentAt(m *pb.Message) uint64 {
	c, err := chat.Parse(m.Content)
	if err != nil {
		return 0
	}
	return c.SentAt
}

// setAside moves a message out of the conversation: its author was no member when it was written.
func (d *Desk) setAside(c *pb.Chat, place []byte, m *pb.Message) {
	d.Tx.Delete(store.BucketChats, place)
	name(d.Tx, m.Id, false)
	if !m.Read && c.Unread > 0 {
		c.Unread--
	}
	m.Told = true
	d.keepAside(c, m)
}

// keepAside keeps a message out of sight.
func (d *Desk) keepAside(c *pb.Chat, m *pb.Message) {
	if c.Aside == 0 {
		c.Aside = uint32(store.NextCounter(d.Tx, counterChat))
	}
	n := store.NextCounter(d.Tx, counterPlaced)
	d.Tx.Put(store.BucketChats, slices.Concat(store.U32(c.Aside), store.U64(m.Order), store.U64(n)), m.Id)
	store.PutRow(d.Tx, store.BucketMessages, m.Id, m)
	SaveChat(d.Tx, c)
}

// GroupView is a group with its members.
func GroupView(tx store.Tx, me identity.UserID, c *pb.Chat) view.Group {
	v := view.Group{Chat: hexOf(c.Id), Handle: c.Handle, Name: c.Name, Left: c.Left}
	r := RosterOf(tx, IDOf(c))
	if r == nil {
		return v
	}
	v.Entries = int(r.Entries)
	if image := transfer.Files(tx, r.Pictures); len(image) == 1 {
		v.Image = &image[0]
	}
	for _, s := range r.Members {
		u := identity.UserID(s.User)
		m := view.Member{User: u.String(), Handle: NameOf(tx, u), Admin: s.Admin, Since: time.UnixMilli(int64(s.From)).UTC(), Me: u == me}
		if m.Me {
			m.Handle = OwnHandle
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// FindGroup resolves what a person typed for a group.
func FindGroup(tx store.Tx, who string) (*pb.Chat, error) {
	c, err := Find(tx, who)
	if err != nil || c.Kind != Group {
		return nil, &view.Problem{Class: view.ErrNotFound, Message: "no group named " + who, Hint: "kith group list"}
	}
	return c, nil
}

// MayHave reports whether content may go to a person: what is said in a group goes to its members only.
func MayHave(tx store.Tx, m *pb.Message) func(u identity.UserID) bool {
	content, err := chat.Parse(m.Content)
	if err != nil {
		return func(identity.UserID) bool { return false }
	}
	c := Chat(tx, content.Chat)
	if c == nil || c.Kind != Group || content.Kind == chat.KindGroup {
		return func(identity.UserID) bool { return true }
	}
	members := map[identity.UserID]bool{}
	for _, s := range RosterOf(tx, content.Chat).GetMembers() {
		members[identity.UserID(s.User)] = true
	}
	return func(u identity.UserID) bool { return members[u] }
}

// Adding splits people into acts.
func Adding(users []identity.UserID) (acts []group.Act) {
	for batch := range slices.Chunk(users, group.MaxUsers) {
		acts = append(acts, group.Act{Kind: group.Add, Users: batch})
	}
	return acts
}

// RefusedAct says why an act of ours did not enter the log.
func RefusedAct(c *pb.Chat, l *group.Log, me identity.UserID, a group.Act) error {
	p := &view.Problem{Class: view.ErrRefused, Message: "nothing would change", Hint: "kith group members " + c.GetHandle()}
	s := l.State()
	m, in := s.Find(me)
	switch {
	case !in:
		p.Message = "you are no member of this group"
	case !m.Admin && a.Kind != group.Leave:
		p.Message = "only admins of the group may do that"
	case l.Len() >= group.MaxEntries:
		p.Message = "the group has changed too often; make a new one"
	case a.Kind == group.Add && len(s.Members)+len(a.Users) > group.MaxMembers:
		p.Message = "a group has at most 256 members"
	}
	return p
}

// Pack puts parts of a log together, in contents that a box takes from a stranger as well.
func Pack(parts []*chatpb.Group) (out []*chatpb.Group) {
	room := session.ContentRoom(strangerClass) - chat.HeaderSize
	for _, p := range parts {
		if n := len(out); n > 0 && proto.Size(out[n-1])+proto.Size(p) <= room {
			proto.Merge(out[n-1], p)
			continue
		}
		out = append(out, p)
	}
	return out
}
