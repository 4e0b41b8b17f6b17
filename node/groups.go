package node

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// groupDesk is what the engine keeps in memory of groups.
type groupDesk struct {
	logs    map[chat.ChatID]*group.Log     // read from the store, derived
	orphans map[chat.ChatID][]*group.Entry // entries that came before what they build on
	asks    *group.Asks
	lists   map[identity.Head]*identity.DeviceList // that came before the entries which name them
	names   map[identity.UserID]string             // of people who are not known as members yet
}

func newGroupDesk() groupDesk {
	return groupDesk{logs: map[chat.ChatID]*group.Log{}, orphans: map[chat.ChatID][]*group.Entry{}, asks: group.NewAsks(), lists: map[identity.Head]*identity.DeviceList{}, names: map[identity.UserID]string{}}
}

func (e *Engine) groupLog(t *Turn, id chat.ChatID) *group.Log {
	l := e.groups.logs[id]
	if l == nil {
		l = talk.LoadLog(t.Tx, id)
		e.groups.logs[id] = l
	}
	return l
}

// CreateGroup makes a group with contacts of ours.
func (e *Engine) CreateGroup(t *Turn, name string, members []string) (view.Group, error) {
	users, err := e.groupUsers(t, members)
	if err != nil {
		return view.Group{}, err
	}
	called, err := groupName(name)
	if err != nil {
		return view.Group{}, err
	}
	d := e.desk(t)
	first, err := group.Sign(e.keys, group.Fields{
		User: e.user, List: e.list.Head(), Lamport: d.Stamp(), Act: group.Act{Kind: group.Create, Data: called},
	})
	if err != nil {
		return view.Group{}, err
	}
	l := group.NewLog(first.Group())
	e.groups.logs[chat.ChatID(l.ID())] = l
	l.Merge([]*group.Entry{first})
	return e.grow(t, d, l, []*group.Entry{first}, talk.Adding(users))
}

func groupName(name string) ([]byte, error) {
	if len(name) > group.MaxName || chat.CleanName(name) == "" {
		return nil, &view.Problem{Class: view.ErrUsage, Message: "a group needs a name of at most 64 bytes", Hint: "kith group --help"}
	}
	return []byte(chat.CleanName(name)), nil
}

// AddToGroup makes contacts of ours members.
func (e *Engine) AddToGroup(t *Turn, who string, members []string) (view.Group, error) {
	users, err := e.groupUsers(t, members)
	if err != nil {
		return view.Group{}, err
	}
	return e.actInGroup(t, who, talk.Adding(users)...)
}

// RemoveFromGroup takes members out: they get nothing that is said from now on.
func (e *Engine) RemoveFromGroup(t *Turn, who string, members []string) (view.Group, error) {
	users, err := e.groupUsers(t, members)
	if err != nil {
		return view.Group{}, err
	}
	acts := talk.Adding(users)
	for i := range acts {
		acts[i].Kind = group.Remove
	}
	return e.actInGroup(t, who, acts...)
}

// SetGroupAdmin makes a member an admin, or no admin any more.
func (e *Engine) SetGroupAdmin(t *Turn, who, member string, admin bool) (view.Group, error) {
	users := []identity.UserID{e.user}
	if member != talk.OwnHandle {
		var err error
		if users, err = e.groupUsers(t, []string{member}); err != nil {
			return view.Group{}, err
		}
	}
	return e.actInGroup(t, who, group.Act{Kind: group.Admin, Users: users, Admin: admin})
}

// NameGroup names a group, for everybody.
func (e *Engine) NameGroup(t *Turn, who, name string) (view.Group, error) {
	called, err := groupName(name)
	if err != nil {
		return view.Group{}, err
	}
	return e.actInGroup(t, who, group.Act{Kind: group.Name, Data: called})
}

// SetGroupImage gives a group a picture, or takes it away (nil).
func (e *Engine) SetGroupImage(t *Turn, who string, image *chatpb.File) (view.Group, error) {
	var data []byte
	if image != nil {
		var err error
		if data, err = proto.Marshal(image); err != nil || len(data) > group.MaxImage {
			return view.Group{}, &view.Problem{Class: view.ErrUsage, Message: "the description of this picture is too large", Hint: "kith group set --help"}
		}
	}
	return e.actInGroup(t, who, group.Act{Kind: group.Image, Data: data})
}

// LeaveGroup ends our membership, on all our devices.
func (e *Engine) LeaveGroup(t *Turn, who string) (view.Group, error) {
	return e.actInGroup(t, who, group.Act{Kind: group.Leave})
}

// mayWriteGroup checks that a group may be written to, and looks now and then for new lists of its members.
func (e *Engine) mayWriteGroup(t *Turn, c *pb.Chat) error {
	r := talk.RosterOf(t.Tx, talk.IDOf(c))
	if !talk.InGroup(r, e.user) {
		return &view.Problem{Class: view.ErrRefused, Message: "you are no member of " + c.Handle + " any more", Hint: "kith group members " + c.Handle}
	}
	for _, s := range r.Members {
		if p := e.contact(t, identity.UserID(s.User)); p != nil {
			e.refresh(t, p)
		}
	}
	return nil
}

// groupUsers are contacts that may be in a group.
func (e *Engine) groupUsers(t *Turn, who []string) (users []identity.UserID, err error) {
	for _, w := range who {
		c, err := talk.FindContact(t.Tx, w)
		if err != nil {
			return nil, err
		}
		if !near(c) {
			if err := e.maySend(c); err != nil {
				return nil, err
			}
		}
		if u := identity.UserID(c.User); !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	return users, nil
}

func (e *Engine) actInGroup(t *Turn, who string, acts ...group.Act) (view.Group, error) {
	if e.self.Removed {
		return view.Group{}, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	}
	c, err := talk.FindGroup(t.Tx, who)
	if err != nil {
		return view.Group{}, err
	}
	return e.grow(t, e.desk(t), e.groupLog(t, talk.IDOf(c)), nil, acts)
}

// grow signs acts on top of what is known, and tells everybody whom they concern. The log that a refused act has left
// half done is forgotten, as the turn is.
func (e *Engine) grow(t *Turn, d *talk.Desk, l *group.Log, entries []*group.Entry, acts []group.Act) (view.Group, error) {
	id := chat.ChatID(l.ID())
	before := talk.RosterOf(t.Tx, id)
	for _, a := range acts {
		x, err := group.Sign(e.keys, l.Act(e.user, e.list.Head(), d.Stamp(), a))
		if err != nil {
			delete(e.groups.logs, id)
			return view.Group{}, &view.Problem{Class: view.ErrUsage, Message: err.Error(), Hint: "kith group --help"}
		}
		if added, _ := l.Merge([]*group.Entry{x}); len(added) == 0 {
			delete(e.groups.logs, id)
			return view.Group{}, talk.RefusedAct(talk.Chat(t.Tx, id), l, e.user, a)
		}
		entries = append(entries, x)
	}
	if len(entries) == 0 {
		return talk.GroupView(t.Tx, e.user, talk.Chat(t.Tx, id)), nil
	}
	c, turn := d.Grow(l, entries, []*identity.DeviceList{e.list})
	e.welcome(t, c, turn)
	var old []identity.UserID
	for _, s := range before.GetMembers() {
		if u := identity.UserID(s.User); u != e.user {
			old = append(old, u)
		}
	}
	e.tellEntries(t, d, l, old, turn.Came, entries)
	e.carry(t, d)
	e.dismiss(t, c, turn)
	e.flush(t)
	return talk.GroupView(t.Tx, e.user, c), t.Tx.Err()
}

// tellEntries sends new entries to those who were members, and to our other devices; whoever came gets the whole log.
func (e *Engine) tellEntries(t *Turn, d *talk.Desk, l *group.Log, old, came []identity.UserID, entries []*group.Entry) {
	id := chat.ChatID(l.ID())
	for _, p := range e.pages(t, entries, []*identity.DeviceList{e.list}, came) {
		_ = d.Say(chat.KindGroup, id, p, old, true) // it fails with the turn
	}
	if len(came) == 0 {
		return
	}
	for _, p := range e.logPages(t, l) {
		_ = d.Say(chat.KindGroup, id, p, came, false)
	}
}

// logPages is a whole log, with what somebody needs who knows nobody in it.
func (e *Engine) logPages(t *Turn, l *group.Log) []*chatpb.Group {
	var members []identity.UserID
	for _, m := range l.State().Members {
		members = append(members, m.User)
	}
	return e.pages(t, l.Beyond(nil), talk.Provers(t.Tx, l, l.Beyond(nil)), members)
}

// pages packs entries, the lists that prove them, and what we know of people.
func (e *Engine) pages(t *Turn, entries []*group.Entry, lists []*identity.DeviceList, people []identity.UserID) []*chatpb.Group {
	var parts []*chatpb.Group
	for i, u := range people {
		name := e.self.Name
		if c := e.contact(t, u); u != e.user && c != nil {
			name = c.Name
		}
		parts = append(parts, &chatpb.Group{Faces: []*chatpb.Face{{User: u[:], Name: name}}})
		if list := e.listOf(t, u); list != nil && i < maxListsTold && !slices.Contains(lists, list) {
			lists = append(lists, list)
		}
	}
	for _, list := range lists {
		parts = append(parts, &chatpb.Group{Lists: [][]byte{list.Bytes()}})
	}
	for _, x := range entries {
		parts = append(parts, &chatpb.Group{Entries: [][]byte{x.Bytes()}})
	}
	return talk.Pack(parts)
}

// dismiss ends what being in a group with us brought to those who went, after what tells them so was sent. When it is us
// who went, what we said before still goes out.
func (e *Engine) dismiss(t *Turn, c *pb.Chat, turn talk.Turnover) {
	e.recall(t, c, turn.Went)
	if c.Left {
		for _, s := range talk.RosterOf(t.Tx, talk.IDOf(c)).GetMembers() {
			turn.Went = append(turn.Went, identity.UserID(s.User))
		}
	}
	for _, u := range turn.Went {
		if p := e.contact(t, u); p != nil {
			p.Groups = slices.DeleteFunc(p.Groups, func(g []byte) bool { return string(g) == string(c.Id) })
			e.saveContact(t, p)
		}
	}
}

// welcome makes members that are no contacts known, as members only. Who has gone already is known to be heard to the end.
func (e *Engine) welcome(t *Turn, c *pb.Chat, turn talk.Turnover) {
	if !talk.InGroup(talk.RosterOf(t.Tx, talk.IDOf(c)), e.user) {
		return // nobody makes people known to us by a group in which we are not
	}
	taken, room := talk.Handles(t.Tx), e.roomForMembers(t, len(turn.Came)+len(turn.Passed))
	for _, u := range slices.Concat(turn.Came, turn.Passed) {
		p := e.contact(t, u)
		if p == nil && room <= 0 {
			continue
		}
		if p == nil {
			room--
			name := e.groups.names[u]
			p = &pb.Contact{
				User: u[:], Handle: talk.FreeHandle(name, "member", taken), Name: name, State: talk.Member, Added: t.Now.UnixMilli(),
				Chat: uint32(store.NextCounter(t.Tx, counterChat)),
			}
			taken[p.Handle] = true
		}
		if slices.Contains(turn.Came, u) && !slices.ContainsFunc(p.Groups, func(g []byte) bool { return string(g) == string(c.Id) }) {
			p.Groups = append(p.Groups, c.Id)
		}
		e.saveContact(t, p)
		if len(p.List) == 0 {
			e.need(t, dht.UserKey(u))
		}
		e.fanOutWaiting(t, p)
	}
}

// stillTold is what also those get who are no members any more.
var stillTold = []chat.Kind{chat.KindGroup, chat.KindUnsend}

// recall takes back what is still on its way, from us, to people who are no members any more. It waits for them to come
// back. That a message was taken back is told all the same: they may have it, and learn nothing from that.
func (e *Engine) recall(t *Turn, c *pb.Chat, went []identity.UserID) {
	for _, u := range went {
		p, list := e.contact(t, u), e.listOf(t, u)
		if p == nil || list == nil {
			continue
		}
		for _, device := range list.Devices() {
			for _, n := range e.out.OfDevice(device.ID()) {
				d, m := e.delivery(t, n), &pb.Message{}
				if d == nil || slices.Contains(stillTold, chat.Kind(d.Kind)) || !talk.Row(t.Tx, d.Message, m) || string(m.Chat) != string(c.Id) {
					continue
				}
				if chat.Kind(d.Kind).Visible() && len(p.Waiting) < maxWaiting && !slices.ContainsFunc(p.Waiting, func(id []byte) bool { return string(id) == string(m.Id) }) {
					p.Waiting = append(p.Waiting, m.Id)
				}
				t.Out.Directs = slices.DeleteFunc(t.Out.Directs, func(x Direct) bool { return x.Ref == n })
				t.Out.Deposits = slices.DeleteFunc(t.Out.Deposits, func(x Deposit) bool { return x.Ref == n })
				e.finish(t, n, view.StageDropped, "no member of the group any more")
			}
		}
		e.saveContact(t, p)
	}
}

// heardGroup looks at the heads that content in a group names: what we lack of the log is asked for. Of a group that we
// know nothing of yet the content is kept, until its log says that we, and its author, are in it.
func (e *Engine) heardGroup(t *Turn, a arrival) {
	if dev := e.peerDevice(t, a.sender.Device()); dev != nil && a.contact != nil && a.contact.State == talk.Member {
		e.tellDevice(t, dev)
	}
	x := &chatpb.Common{}
	if proto.Unmarshal(a.content.Payload, x) != nil || len(x.Heads) == 0 || len(x.Heads) > group.MaxHeads {
		return
	}
	c := talk.Chat(t.Tx, a.content.Chat)
	if c == nil {
		if a.content.Chat == chat.Direct(e.user, e.user) {
			return // our notes to ourselves, of which there are none yet
		}
		if strangers := slices.DeleteFunc(talk.Groups(t.Tx), func(g *pb.Chat) bool { return g.Handle != "" }); len(strangers) >= maxUnknown {
			return
		}
		talk.NewChat(t.Tx, a.content.Chat, talk.Group)
	} else if c.Kind != talk.Group {
		return
	}
	var want [][16]byte
	for _, h := range x.Heads {
		if len(h) == 16 && !e.groupLog(t, a.content.Chat).Has([16]byte(h)) {
			want = append(want, [16]byte(h))
		}
	}
	e.groups.asks.Lack(t.Now, group.Ask{Group: group.ID(a.content.Chat), Device: a.sender.Device(), User: a.sender.User, Want: want})
}

// gotGroup takes in entries of a group's log from a member, or whoever adds us, or another device of ours.
func (e *Engine) gotGroup(t *Turn, a arrival) bool {
	g := &chatpb.Group{}
	if proto.Unmarshal(a.content.Payload, g) != nil || len(g.Entries)+len(g.Lists)+len(g.Faces) > maxGroupParts {
		return false
	}
	lists := e.keepPeople(g)
	var fresh []*group.Entry
	for _, raw := range g.Entries {
		if x, err := group.Parse(raw); err == nil && x.Group() == group.ID(a.content.Chat) && x.Fields().Lamport <= uint64(t.Now.Add(dht.MaxSkew).UnixMilli()) {
			fresh = append(fresh, x)
		}
	}
	return e.takeEntries(t, a, fresh, lists)
}

// keepPeople keeps the lists and names that come with entries, or before them.
func (e *Engine) keepPeople(g *chatpb.Group) (lists []*identity.DeviceList) {
	if len(e.groups.lists)+len(e.groups.names) > maxParsed {
		clear(e.groups.lists)
		clear(e.groups.names)
	}
	for _, f := range g.Faces {
		if len(f.User) == 32 {
			e.groups.names[identity.UserID(f.User)] = chat.CleanName(f.Name)
		}
	}
	for _, raw := range g.Lists {
		if l, err := e.lists.Get(raw); err == nil {
			lists = append(lists, l)
			e.groups.lists[l.Head()] = l
		}
	}
	return lists
}

// takeEntries merges entries into the log of their group, as far as they are proved, and does what follows from them.
func (e *Engine) takeEntries(t *Turn, a arrival, fresh []*group.Entry, lists []*identity.DeviceList) bool {
	id := a.content.Chat
	if c := talk.Chat(t.Tx, id); c != nil && c.Kind != talk.Group || c == nil && !a.own && a.contact.State != contactAccepted {
		return false
	}
	if !a.own && talk.RosterOf(t.Tx, id) == nil && len(talk.Groups(t.Tx)) >= maxGroups {
		return false
	}
	l := e.groupLog(t, id)
	all := slices.Concat(e.groups.orphans[id], fresh)
	var proved []*group.Entry
	var provers []*identity.DeviceList
	for _, x := range all {
		if by := e.prover(t, x); by != nil {
			proved, provers = append(proved, x), append(provers, by)
		}
	}
	added, missing := l.Merge(proved)
	rest := slices.DeleteFunc(all, func(x *group.Entry) bool { return slices.Contains(proved, x) && !l.Lacks(x) })
	if e.groups.orphans[id] = rest[:min(len(rest), maxOrphans)]; len(rest) == 0 {
		delete(e.groups.orphans, id)
	}
	if len(added) > 0 {
		e.grown(t, l, added, provers)
	}
	for _, list := range lists {
		if dht.Validate(dht.UserKey(list.User()), list.Bytes(), t.Now) == nil {
			e.learnList(t, list)
		}
	}
	want := make([][16]byte, 0, len(missing)+len(rest))
	for _, h := range missing {
		want = append(want, h.Short())
	}
	for _, x := range rest {
		want = append(want, x.Hash().Short())
	}
	e.groups.asks.Lack(t.Now, group.Ask{Group: group.ID(id), Device: a.sender.Device(), User: a.sender.User, Want: want})
	return true
}

// prover is the list that an entry names, if it proves that a device of the author's signed it.
func (e *Engine) prover(t *Turn, x *group.Entry) *identity.DeviceList {
	known, _ := e.lists.Get(talk.ListOf(t.Tx, x.Group(), x.Fields().List))
	for _, l := range []*identity.DeviceList{e.groups.lists[x.Fields().List], known, e.listOf(t, x.Fields().User)} {
		if l != nil && x.By(l) && !e.quarantined(t, l) {
			return l
		}
	}
	return nil
}

// grown does what follows from entries of others: who came is known from now on, and gets what this device signed without
// knowing of it; whom this device added gets what others signed without knowing of that; who went gets what made it so, if
// this device had acted without knowing of that, and nothing that came later.
func (e *Engine) grown(t *Turn, l *group.Log, added []*group.Entry, provers []*identity.DeviceList) {
	d := e.desk(t)
	c, turn := d.Grow(l, added, provers)
	e.welcome(t, c, turn)
	say := func(entries []*group.Entry, to []identity.UserID) {
		if len(entries) == 0 || len(to) == 0 {
			return
		}
		for _, p := range e.pages(t, entries, talk.Provers(t.Tx, l, entries), nil) {
			_ = d.Say(chat.KindGroup, talk.IDOf(c), p, to, false) // it fails with the turn
		}
	}
	tell := func(entries []*group.Entry, to []identity.UserID) {
		say(entries, slices.DeleteFunc(slices.Clone(to), func(u identity.UserID) bool { return !talk.InGroup(talk.RosterOf(t.Tx, talk.IDOf(c)), u) }))
	}
	var unknowing [][16]byte // what this device signed without knowing of what others did
	for _, x := range added {
		if x.Device() == e.device {
			continue
		}
		mine := slices.DeleteFunc(l.Beyond([][16]byte{x.Hash().Short()}), func(o *group.Entry) bool { return o.Device() != e.device })
		if x.Fields().Kind == group.Add {
			tell(mine, x.Fields().Users)
		}
		for _, o := range mine { // whom we added without knowing of x, x's author did not know
			unknowing = append(unknowing, o.Hash().Short())
			if o.Fields().Kind == group.Add {
				tell([]*group.Entry{x}, o.Fields().Users)
			}
		}
	}
	if len(unknowing) > 0 { // they have that, and would believe it
		for _, x := range l.Undo(unknowing, turn.Went) {
			say(x.Entries, x.Users)
		}
	}
	e.carry(t, d)
	e.dismiss(t, c, turn)
}
