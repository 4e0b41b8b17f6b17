package node

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// Ask is a request to a stranger.
type Ask struct {
	User identity.UserID
	Name string // the name under a domain by which it was found; empty: by its user id
	Note string
}

// ParseUser reads a whole user id, 64 hex digits.
func ParseUser(s string) (identity.UserID, bool) {
	raw, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(raw) != 32 {
		return identity.UserID{}, false
	}
	return identity.UserID(raw), true
}

// AskContact asks somebody who gave us no invite to become a contact. Whoever asked us is accepted.
func (e *Engine) AskContact(t *Turn, a Ask) (view.Contact, error) {
	c := e.contact(t, a.User)
	switch {
	case e.self.Removed:
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	case a.User == e.user:
		return view.Contact{}, &view.Problem{Class: view.ErrUsage, Message: "this is you", Hint: "kith id"}
	case c != nil && (wants(c) || c.State == contactIgnored):
		return e.AcceptContact(t, c.Handle)
	case c != nil && c.State != contactPending && c.State != contactMember, c != nil && e.asking(t, c):
		return view.Contact{}, &view.Problem{
			Class: view.ErrRefused, Message: c.Handle + " is " + map[uint32]string{
				contactPending: "asked already", contactBlocked: "blocked", contactAccepted: "a contact already",
			}[c.State], Hint: "kith contact show " + c.Handle,
		}
	}
	asked := 0
	for _, o := range e.contacts(t) {
		if wanted(o) && t.Now.Sub(unixMilli(o.Asked)) < people.Forget {
			asked++
		}
	}
	if asked >= people.MaxAsked {
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: fmt.Sprintf("%d people were asked and have not answered", asked), Hint: "kith contact list"}
	}
	if c == nil {
		wish, _, _ := strings.Cut(a.Name, "@")
		var err error
		if c, err = e.newContact(t, a.User[:], wish, contactPending); err != nil {
			return view.Contact{}, err
		}
	}
	e.beginAnew(t, c)
	if c.State != contactMember { // a group that we share goes on
		c.State = contactPending
	}
	c.User, c.JoinMessage, c.JoinSecret = a.User[:], nil, nil
	c.Asked, c.Note, c.Declined = t.Now.UnixMilli(), people.Note(a.Note), ""
	if a.Name != "" {
		e.foundBy(t, c, a.Name)
	}
	e.saveContact(t, c)
	if e.listOf(t, a.User) != nil {
		e.sendRequest(t, c)
	} else {
		e.need(t, dht.UserKey(a.User))
	}
	e.flush(t)
	return e.shown(t, c), t.Tx.Err()
}

// wanted reports whether we asked somebody to be a contact, and have no answer; wants, whether somebody asked us.
func wanted(c *pb.Contact) bool {
	return c.Asked != 0 && !c.Wants && (c.State == contactPending || c.State == contactMember)
}

func wants(c *pb.Contact) bool {
	return c.State == contactRequest || c.State == contactMember && c.Wants
}

// beginAnew drops the sessions with devices that never answered us: who has forgotten us has forgotten them.
func (e *Engine) beginAnew(t *Turn, c *pb.Contact) {
	list := e.listOf(t, identity.UserID(padUser(c.User)))
	if list == nil {
		return
	}
	for _, id := range deviceIDs(list) {
		if dev := e.peerDevice(t, id); dev != nil && owns(dev, list.User()) && dev.Heard == 0 {
			e.dropSessions(t, dev)
			e.saveDevice(t, dev)
		}
	}
}

// asking reports whether a request, or a join, of ours is under way.
func (e *Engine) asking(t *Turn, c *pb.Contact) bool {
	if !wanted(c) {
		return c.State == contactPending
	}
	return len(c.JoinMessage) == 0 || t.Tx.Get(store.BucketMessages, c.JoinMessage) != nil
}

// sendRequest asks every device of somebody, once its list is known.
func (e *Engine) sendRequest(t *Turn, c *pb.Contact) {
	if !wanted(c) || len(c.JoinMessage) > 0 {
		return
	}
	if list := e.listOf(t, identity.UserID(c.User)); list != nil {
		e.changeDevices(t, list.User(), c.Handle, nil, list)
		c.JoinMessage = e.sendControl(t, chat.KindRequest, e.request(t, c.Note, false), list.User(), deviceIDs(list))
		e.saveContact(t, c)
	}
}

// request fits a front door, whatever our list and addresses are.
func (e *Engine) request(t *Turn, note string, answer bool) *chatpb.Request {
	r := &chatpb.Request{Name: e.self.Name, Note: note, List: e.list.Bytes(), Reach: e.shortReach(t), Answer: answer}
	fitFrontDoor(r, r.Reach)
	return r
}

// checkRequest verifies that the list in a request is its sender's, and names the sending device.
func checkRequest(a arrival) (*chatpb.Request, *identity.DeviceList) {
	r := &chatpb.Request{}
	if a.own || proto.Unmarshal(a.content.Payload, r) != nil {
		return nil, nil
	}
	list, err := identity.ParseDeviceList(r.List)
	if err != nil || list.User() != a.sender.User || list.Tombstone() {
		return nil, nil
	}
	if d, ok := list.Find(a.sender.Device()); !ok || d.IKPub != a.sender.IK {
		return nil, nil
	}
	return r, list
}

// admitRequest makes room for a stranger that asks, if the queue has any: one row, one device, no look into the directory.
func (e *Engine) admitRequest(t *Turn, a *arrival) *pb.PeerDevice {
	r, list := checkRequest(*a)
	if r == nil || a.contact != nil && a.contact.State != contactPending && a.contact.State != contactMember {
		return nil
	}
	device := a.sender.Device()
	dev := e.peerDevice(t, device)
	if dev == nil {
		dev = &pb.PeerDevice{Device: device[:], User: a.sender.User[:]}
	}
	c := a.contact
	if c == nil {
		if r.Answer || !e.roomForRequest(t) {
			return nil
		}
		var err error
		if c, err = e.newContact(t, a.sender.User[:], "request", contactRequest); err != nil {
			return nil
		}
		c.Name, c.Note, c.Asked = chat.CleanName(r.Name), people.Note(r.Note), t.Now.UnixMilli()
		store.SetCounter(t.Tx, counterRequests, store.Counter(t.Tx, counterRequests)+1)
	}
	if len(c.List) == 0 {
		c.User, c.List = a.sender.User[:], list.Bytes()
	}
	a.contact = c
	e.saveContact(t, c)
	e.saveDevice(t, dev)
	return dev
}

// roomForRequest keeps the queue of strangers small: so many at once, and so many a day.
func (e *Engine) roomForRequest(t *Turn) bool {
	if today := uint64(t.Now.Unix() / int64(day/time.Second)); store.Counter(t.Tx, counterRequestDay) != today {
		store.SetCounter(t.Tx, counterRequestDay, today)
		store.SetCounter(t.Tx, counterRequests, 0)
	}
	if store.Counter(t.Tx, counterRequests) < people.MaxRequestsDay { // who is one too many costs no look at all contacts
		waiting := 0
		for _, c := range e.contacts(t) {
			if wants(c) {
				waiting++
			}
		}
		if waiting < people.MaxRequests {
			return true
		}
	}
	if store.Counter(t.Tx, counterRequestWarned) != store.Counter(t.Tx, counterRequestDay) {
		store.SetCounter(t.Tx, counterRequestWarned, store.Counter(t.Tx, counterRequestDay))
		e.warn(t, "more strangers ask to be contacts than are listened to; some are refused unseen")
	}
	return false
}

// gotRequest takes a stranger's wish to be a contact, or the answer to ours. What a person has not accepted is not
// acknowledged: a request says nothing of who reads it.
func (e *Engine) gotRequest(t *Turn, a arrival) bool {
	r, list := checkRequest(a)
	c := e.contact(t, a.sender.User)
	if r == nil || c == nil {
		return false
	}
	dev := e.peerDevice(t, a.sender.Device())
	switch {
	case c.State == contactRequest:
		if c.Wants {
			return true // a person is told once, however often somebody asks
		}
		c.Wants = true
		e.saveContact(t, c)
		if dev != nil {
			e.keepReach(t, dev, r.Reach) // for the answer
		}
		e.tellRequest(t, c)
	case c.State == contactMember && !wanted(c):
		if !wants(c) && (r.Answer || !e.roomForRequest(t)) {
			return false
		}
		if c.Name == "" {
			c.Name = chat.CleanName(r.Name)
			e.nameAfter(t, c)
		}
		e.wish(t, c, r.Note)
	case wanted(c): // it accepts, or has asked us at the same time
		e.endJoin(t, c, "the request was answered")
		c.State, c.JoinMessage, c.Hints, c.Asked = contactAccepted, nil, nil, 0
		if c.Name = chat.CleanName(r.Name); !c.Verified {
			e.nameAfter(t, c)
		}
		e.welcomeRequest(t, c, list)
		if dev = e.peerDevice(t, a.sender.Device()); dev != nil {
			e.keepReach(t, dev, r.Reach)
		}
		if !r.Answer { // ours may be lost, or may not be: this one says for certain
			e.sendControl(t, chat.KindRequest, e.request(t, "", true), list.User(), []identity.DeviceID{a.sender.Device()})
		}
		e.tellContact(t, c)
	case c.State == contactAccepted && !r.Answer && dev != nil: // it has lost us, or our answer
		if last, told := e.reachTold[a.sender.Device()]; told && t.Now.Sub(last) < time.Hour {
			return true
		}
		e.reachTold[a.sender.Device()] = t.Now
		e.keepReach(t, dev, r.Reach)
		e.supersede(t, a.sender.Device(), chat.KindRequest)
		e.sendControl(t, chat.KindRequest, e.request(t, "", true), a.sender.User, []identity.DeviceID{a.sender.Device()})
	}
	return true
}

// wish notes that a member of a group of ours asks to be a contact.
func (e *Engine) wish(t *Turn, c *pb.Contact, note string) {
	if c.Wants {
		return
	}
	store.SetCounter(t.Tx, counterRequests, store.Counter(t.Tx, counterRequests)+1)
	c.Wants, c.Note, c.Asked = true, people.Note(note), t.Now.UnixMilli()
	e.saveContact(t, c)
	e.tellRequest(t, c)
}

// asksByText takes a direct message of somebody with whom we share a group, and nothing else, as a request. What it says
// comes again once it is accepted: nobody acknowledges it now.
func (e *Engine) asksByText(t *Turn, a arrival) bool {
	c := a.contact
	if c == nil || c.State != contactMember || a.content.Chat != chat.Direct(e.user, a.sender.User) {
		return false
	}
	if c.Wants || e.roomForRequest(t) {
		e.wish(t, c, "")
	}
	return true
}

func (e *Engine) tellRequest(t *Turn, c *pb.Contact) {
	v := e.shown(t, c)
	e.notice(t, view.Notice{Type: "contact", Contact: &v, Text: "asks to be a contact"})
}

// welcomeRequest makes a contact of somebody whose request, or answer, we hold: from now on its devices are looked for.
func (e *Engine) welcomeRequest(t *Turn, c *pb.Contact, list *identity.DeviceList) {
	if known := e.listOf(t, list.User()); known == nil || list.Order(known) == identity.Newer && list.Epoch() == known.Epoch() {
		c.List = list.Bytes()
	} else {
		list = known
	}
	e.changeContact(t, c)
	e.changeDevices(t, list.User(), c.Handle, nil, list)
	for _, d := range list.Devices() {
		if dev := e.peerDevice(t, d.ID()); dev != nil && len(dev.Record) == 0 {
			e.need(t, dht.DeviceKey(d.ID()))
		}
	}
	e.fanOutWaiting(t, c)
	e.unpark(t, list.User(), true)
}

// answerRequest tells whoever asked us that it is a contact now: the device that asked, on the session that it began.
func (e *Engine) answerRequest(t *Turn, c *pb.Contact) {
	list := e.listOf(t, identity.UserID(c.User))
	if list == nil {
		return
	}
	e.nameAfter(t, c)
	e.welcomeRequest(t, c, list)
	var asked []identity.DeviceID
	for _, d := range deviceIDs(list) {
		if dev := e.peerDevice(t, d); dev != nil && len(dev.Sessions) > 0 {
			asked = append(asked, d)
		}
	}
	e.sendControl(t, chat.KindRequest, e.request(t, "", true), list.User(), asked)
}

// IgnoreContact puts a request aside. Whoever asked learns nothing of it; in 30 days it is forgotten.
func (e *Engine) IgnoreContact(t *Turn, who string) (view.Contact, error) {
	c, err := talk.FindContact(t.Tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	if !wants(c) && c.State != contactIgnored {
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is no request", Hint: "kith contact block " + c.Handle}
	}
	if c.Asked = t.Now.UnixMilli(); c.State == contactMember {
		c.Wants, c.Asked = false, 0
	} else {
		c.State = contactIgnored
	}
	e.changeContact(t, c)
	return e.shown(t, c), t.Tx.Err()
}

// forgetRequests drops what nobody answered within 30 days, and what was ignored as long ago.
func (e *Engine) forgetRequests(t *Turn) {
	for _, c := range e.contacts(t) {
		if c.State == contactMember && wants(c) && t.Now.Sub(unixMilli(c.Asked)) >= people.Forget {
			c.Wants, c.Asked = false, 0
			e.saveContact(t, c)
		}
		if (c.State != contactRequest && c.State != contactIgnored) || t.Now.Sub(unixMilli(c.Asked)) < people.Forget || len(c.User) != 32 {
			continue
		}
		if len(c.Groups) > 0 { // it stays what it is besides
			c.State, c.Wants, c.Asked = contactMember, false, 0
			e.saveContact(t, c)
			continue
		}
		e.forgetContact(t, c)
	}
}

// roomForMembers is how many more people may be known as members only, after those who are members of nothing any more
// were forgotten to make room for so many: whoever makes groups names whom he likes.
func (e *Engine) roomForMembers(t *Turn, coming int) int {
	room := maxMembers
	var former []*pb.Contact
	for _, p := range e.contacts(t) {
		if p.State == contactMember {
			room--
			if len(p.Groups) == 0 && !p.Wants && p.Asked == 0 {
				former = append(former, p)
			}
		}
	}
	for _, p := range former {
		if room < coming {
			e.forgetContact(t, p)
			room++
		}
	}
	if room < coming {
		e.warn(t, "your groups have more members than are known at once; some get nothing from this device")
	}
	return room
}

// forgetContact drops the rows of somebody with whom nothing was written.
func (e *Engine) forgetContact(t *Turn, c *pb.Contact) {
	user := identity.UserID(c.User)
	if list := e.listOf(t, user); list != nil {
		for _, d := range deviceIDs(list) {
			e.forgetDevice(t, user, d)
		}
	}
	e.wants.Drop(dht.UserKey(user))
	chatID := chat.Direct(e.user, user)
	t.Tx.Delete(store.BucketConversations, chatID[:])
	e.rows.contacts.Delete(t.Tx, contactKey(user))
}

// shown is a contact with how far our request is.
func (e *Engine) shown(t *Turn, c *pb.Contact) view.Contact {
	v := contactView(c, e.live)
	v.Request = requestOf(t.Tx, c)
	return v
}

// requestMoved tells that a request of ours came further.
func (e *Engine) requestMoved(t *Turn, d *pb.Delivery) {
	if c := e.contact(t, identity.UserID(d.User)); c != nil && wanted(c) {
		v := e.shown(t, c)
		e.notice(t, view.Notice{Type: "contact", Contact: &v})
	}
}

// byDoor reports whether a delivery goes to relays alone: a stranger's front door asks for work, and shows it no address
// of ours. Where it has none there is only the direct way.
func (e *Engine) byDoor(t *Turn, d *pb.Delivery, dev *pb.PeerDevice) bool {
	if d.Kind != uint32(chat.KindRequest) {
		return false
	}
	c := e.seenContact(t, identity.UserID(dev.User))
	rec, err := e.records.Get(dev.Record)
	return c != nil && wanted(c) && err == nil && rec.FrontDoor() != nil && rec.FrontDoor().Usable(t.Now)
}

// unacked reports whether content is of somebody that gets no acknowledgement: whoever a person has not accepted.
func unacked(c *pb.Contact, a arrival) bool {
	return a.content.Kind == chat.KindRequest && (c == nil || c.State != contactAccepted)
}

// requestOf is what is to be said of a request that is open; nil: there is none.
func requestOf(tx store.Tx, c *pb.Contact) *view.Request {
	mine := wanted(c)
	if !mine && !wants(c) && c.State != contactIgnored {
		return nil
	}
	v := &view.Request{Mine: mine, Note: c.Note, At: unixMilli(c.Asked)}
	m := &pb.Message{}
	switch {
	case !mine:
	case len(c.JoinMessage) == 0:
		v.Stage = view.StageWaiting // its device list is being looked for
	case !store.Row(tx, store.BucketMessages, c.JoinMessage, m):
		v.Stage = view.StageExpired
	default:
		for _, n := range m.Pending {
			d := &pb.Delivery{}
			if store.Row(tx, store.BucketOutbox, store.U64(n), d) && view.Rank(view.StageOf(d.Stage)) > view.Rank(v.Stage) {
				v.Stage = view.StageOf(d.Stage) // one device that can show it is enough
			}
		}
	}
	return v
}
