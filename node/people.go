package node

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// States of a contact.
const (
	contactPending  = talk.Pending
	contactRequest  = talk.Request
	contactAccepted = talk.Accepted
	contactBlocked  = talk.Blocked
	contactMember   = talk.Member
	contactIgnored  = talk.Ignored
)

var contactStates = map[uint32]string{
	contactPending: "pending", contactRequest: "request", contactAccepted: "accepted", contactBlocked: "blocked",
	contactMember: "member", contactIgnored: "ignored",
}

func contactKey(u identity.UserID) []byte { return u[:talk.ContactKeySize] }

// contact reads a contact by user id; nil if there is none.
func (e *Engine) contact(t *Turn, u identity.UserID) *pb.Contact {
	c := &pb.Contact{}
	if !store.Row(t.Tx, store.BucketContacts, contactKey(u), c) || (len(c.User) == 32 && string(c.User) != string(u[:])) {
		return nil
	}
	return c
}

// seenContact is contact for whoever only looks.
func (e *Engine) seenContact(t *Turn, u identity.UserID) *pb.Contact {
	c := e.rows.contacts.Get(t.Tx, contactKey(u))
	if c == nil || len(c.User) == 32 && string(c.User) != string(u[:]) {
		return nil
	}
	return c
}

func (e *Engine) saveContact(t *Turn, c *pb.Contact) {
	talk.OpenDirect(t.Tx, e.user, c)
	store.PutRow(t.Tx, store.BucketContacts, c.User[:talk.ContactKeySize], c)
}

// changeContact saves what a person sees of a contact, tells the API, and our other devices.
func (e *Engine) changeContact(t *Turn, c *pb.Contact) {
	c.Changed = e.desk(t).Stamp()
	e.saveContact(t, c)
	v := contactView(c, e.live)
	e.notice(t, view.Notice{Type: "contact", Contact: &v})
	e.syncContact(t, c)
}

// newContact makes a contact with a free handle. User may be the prefix of a link.
func (e *Engine) newContact(t *Turn, user []byte, wish string, state uint32) (*pb.Contact, error) {
	handles, known := talk.Handles(t.Tx), 0
	for _, c := range e.contacts(t) {
		if c.State != contactMember { // whom others have put into groups takes nobody's place
			known++
		}
	}
	if known >= maxContacts {
		return nil, &view.Problem{Class: view.ErrRefused, Message: "too many contacts", Hint: "kith contact list"}
	}
	return &pb.Contact{
		User: user, Handle: talk.FreeHandle(wish, "contact", handles), State: state, Added: t.Now.UnixMilli(),
		Chat: uint32(store.NextCounter(t.Tx, counterChat)),
	}, nil
}

// RenameContact changes our local name of a person.
func (e *Engine) RenameContact(t *Turn, who, name string) (view.Contact, error) {
	c, err := talk.FindContact(t.Tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	h := talk.CleanHandle(name)
	if h == "" || h == talk.OwnHandle {
		return view.Contact{}, &view.Problem{Class: view.ErrUsage, Message: "a handle needs a letter or digit, and is not \"me\"", Hint: "kith contact rename " + c.Handle + " NAME"}
	}
	if h != c.Handle && talk.Handles(t.Tx)[h] {
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: h + " is another contact or a group already", Hint: "kith inbox"}
	}
	c.Handle = h
	e.changeContact(t, c)
	return contactView(c, e.live), t.Tx.Err()
}

// AcceptContact accepts a request, unblocks, or accepts the new identity of a contact whose account key changed.
func (e *Engine) AcceptContact(t *Turn, who string) (view.Contact, error) {
	c, err := talk.FindContact(t.Tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	if c.State == contactPending {
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: c.Handle + " has not answered yet", Hint: "kith contact show " + c.Handle}
	}
	if len(c.NextList) > 0 {
		next, err := identity.ParseDeviceList(c.NextList)
		if err != nil {
			return view.Contact{}, err
		}
		c.NextList, c.Verified, c.AcceptedEpoch = nil, false, next.Epoch()
		e.adoptList(t, c, next)
	}
	asked := wants(c) || c.State == contactIgnored
	if c.State == contactMember && !asked {
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: c.Handle + " shares a group with you and has not asked to be a contact", Hint: "kith contact add " + hexOf(c.User)}
	}
	c.State, c.Wants, c.ForkAccepted = contactAccepted, false, forked(c)
	if asked {
		e.answerRequest(t, c)
	} else {
		e.changeContact(t, c)
	}
	e.release(t, c)
	e.fanOutWaiting(t, c)
	e.tellContact(t, c)
	e.flush(t)
	return contactView(c, e.live), t.Tx.Err()
}

// BlockContact drops whatever a person sends, silently; unblocking is AcceptContact.
func (e *Engine) BlockContact(t *Turn, who string) (view.Contact, error) {
	c, err := talk.FindContact(t.Tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	c.State = contactBlocked
	e.changeContact(t, c)
	return contactView(c, e.live), t.Tx.Err()
}

// near reports whether we talk with a person: a contact that we accepted, or a member of a group of ours.
func near(c *pb.Contact) bool {
	return c != nil && (c.State == contactAccepted || len(c.Groups) > 0 && c.State != contactBlocked)
}

// mayTalk reports whether what somebody says is listened to: what an accepted contact says, and what a member of a group
// of ours says in a group, or of itself; of one who was a member what it said then.
func (e *Engine) mayTalk(t *Turn, a arrival) bool {
	if a.own || a.contact != nil && a.contact.State == contactAccepted {
		return true
	}
	switch a.content.Kind {
	case chat.KindReach, chat.KindRecords, chat.KindProfile, chat.KindMissing, chat.KindGone:
		return near(a.contact) || a.contact != nil && a.contact.State == contactMember // it may be one again, as we will hear
	}
	c := talk.Chat(t.Tx, a.content.Chat)
	return a.contact != nil && c != nil && c.Kind == talk.Group &&
		(near(a.contact) || talk.EverInGroup(talk.RosterOf(t.Tx, a.content.Chat), a.sender.User))
}

// notKnown is what becomes of a first flight of a stranger: one who speaks as a member of a group of ours does may be one,
// as we shall hear, and waits.
func (e *Engine) notKnown(t *Turn, a arrival) error {
	strangers := 0
	for u := range e.parked {
		if e.seenContact(t, u) == nil {
			strangers++
		}
	}
	x, c := &chatpb.Common{}, talk.Chat(t.Tx, a.content.Chat)
	said := a.content.Kind == chat.KindGroup || proto.Unmarshal(a.content.Payload, x) == nil && len(x.Heads) > 0
	if said && strangers < maxStrangers && c != nil && c.Kind == talk.Group {
		return errPark
	}
	return session.ErrOpen
}

func (e *Engine) arrival(a arrival) talk.Arrival {
	return talk.Arrival{ID: a.id, Author: a.sender.User, Device: a.sender.Device(), Own: a.own, Content: a.content, Raw: a.body.Content}
}

// keepDevice remembers a row as it is in the store.
func (t *Turn) keepDevice(d *pb.PeerDevice) {
	if len(t.devices) >= maxKeptDevices {
		clear(t.devices)
	}
	if t.devices == nil {
		t.devices = map[string]*pb.PeerDevice{}
	}
	t.devices[string(d.Device)] = d
}

// rows are those that most turns read, as far as they are remembered decoded. What they show nobody changes.
type rows struct {
	devices store.Rows[pb.PeerDevice, *pb.PeerDevice]
	outbox  store.Rows[pb.Delivery, *pb.Delivery]
	boxes   store.Rows[pb.Box, *pb.Box]
	relays  store.Rows[pb.Relay, *pb.Relay]

	contacts store.Rows[pb.Contact, *pb.Contact]
}

func newRows() (r rows) {
	r.devices.Bucket, r.devices.Limit = store.BucketDevices, maxKeptRows
	r.outbox.Bucket, r.outbox.Limit = store.BucketOutbox, maxKeptRows
	r.boxes.Bucket, r.boxes.Limit = store.BucketBoxes, maxKeptRows
	r.relays.Bucket, r.relays.Limit = store.BucketRelays, maxRelays
	r.contacts.Bucket, r.contacts.Limit = store.BucketContacts, maxKeptRows
	return r
}

// peerDevice reads the row of a device; nil if its user's list does not name it. What it returns is the caller's own: a row is read
// many times in a turn, and large; it is read and opened once in a turn, and decoded when it has changed.
func (e *Engine) peerDevice(t *Turn, id identity.DeviceID) *pb.PeerDevice {
	d := t.devices[string(id[:])]
	if d == nil {
		if d = e.rows.devices.Get(t.Tx, id[:]); d == nil {
			return nil
		}
		t.keepDevice(d)
	}
	return store.CopyDevice(d)
}

// owns reports whether a device row is this user's. A list may name any key, another person's device's too, with an
// identity key of its author's own: the row of a device and the sessions in it are one person's alone.
func owns(d *pb.PeerDevice, user identity.UserID) bool { return string(d.User) == string(user[:]) }

// disputed is what becomes of a first flight from a device that is another person's as far as we know: the device's own
// record says whose it is, and until that is here the flight waits.
func (e *Engine) disputed(t *Turn, d *pb.PeerDevice) error {
	if len(d.Record) > 0 {
		return session.ErrOpen
	}
	e.need(t, dht.DeviceKey(identity.DeviceID(d.Device)))
	return errPark
}

func (e *Engine) saveDevice(t *Turn, d *pb.PeerDevice) {
	d = store.CopyDevice(d)
	e.rows.devices.Put(t.Tx, d.Device, d)
	t.keepDevice(d)
}

// listOf is the newest accepted device list of a user; nil if unknown.
func (e *Engine) listOf(t *Turn, u identity.UserID) *identity.DeviceList {
	if u == e.user {
		return e.list
	}
	c := e.seenContact(t, u)
	if c == nil || len(c.List) == 0 {
		return nil
	}
	l, err := e.lists.Get(c.List)
	if err != nil {
		return nil
	}
	return l
}

// learnList takes in a device list, of ourselves or of a contact. Older ones are ignored; a fork is shown.
func (e *Engine) learnList(t *Turn, l *identity.DeviceList) {
	if l.User() == e.user {
		e.learnOwnList(t, l)
		return
	}
	c := e.contact(t, l.User())
	if c == nil {
		return
	}
	known := e.listOf(t, l.User())
	c.Checked = t.Now.UnixMilli()
	switch l.Order(known) {
	case identity.Newer:
		if known != nil && l.Epoch() > known.Epoch() {
			e.newEpoch(t, c, l)
			return
		}
		e.adoptList(t, c, l)
	case identity.Fork:
		e.saveContact(t, c)
		if p, err := witness.NewProof(known, l); err == nil {
			e.learnProof(t, p)
		}
	default:
		e.saveContact(t, c)
	}
}

// held says whether nothing may be sent to a contact until a person has looked at it.
func held(c *pb.Contact) bool { return len(c.NextList) > 0 || forked(c) && !c.ForkAccepted }

// release tries again what was held.
func (e *Engine) release(t *Turn, c *pb.Contact) {
	if list := e.listOf(t, identity.UserID(padUser(c.User))); list != nil {
		for _, d := range list.Devices() {
			e.out.RetryDevice(d.ID(), t.Now)
		}
	}
}

// refresh looks a recipient's device list up once a day that we write: a device may have been removed by somebody who
// could not tell us. The message does not wait for it.
func (e *Engine) refresh(t *Turn, c *pb.Contact) {
	if t.Now.Sub(unixMilli(c.Checked)) < listRecheck {
		return
	}
	c.Checked = t.Now.UnixMilli()
	e.saveContact(t, c)
	e.need(t, dht.UserKey(identity.UserID(c.User)))
}

// newEpoch is a list under a new account key: a verified contact must be accepted again, others are announced.
func (e *Engine) newEpoch(t *Turn, c *pb.Contact, l *identity.DeviceList) {
	if next, err := e.lists.Get(c.NextList); err == nil && l.Order(next) != identity.Newer {
		return
	}
	text := c.Handle + " has a new account key"
	if c.Verified {
		c.NextList = l.Bytes()
		text += ": nothing is sent, and what it says is not shown, until you accept it"
	}
	v := contactView(c, e.live)
	e.notice(t, view.Notice{Type: "identity", Contact: &v, Text: text})
	if !c.Verified {
		e.adoptList(t, c, l)
		return
	}
	e.saveContact(t, c)
}

// adoptList makes l the contact's list: devices that it no longer names get nothing from now on.
func (e *Engine) adoptList(t *Turn, c *pb.Contact, l *identity.DeviceList) {
	var old []identity.Device
	if known, err := e.lists.Get(c.List); err == nil {
		old = known.Devices()
	}
	user := l.User()
	if known, err := e.lists.Get(c.List); err == nil && l.Epoch() > known.Epoch() {
		c.Fork, c.Proof, c.ForkAccepted = nil, nil, false // that account key is over
	}
	c.User, c.List, c.Left = user[:], l.Bytes(), l.Tombstone()
	if next, err := e.lists.Get(c.NextList); err == nil && next.Order(l) != identity.Newer {
		c.NextList = nil
	}
	e.saveContact(t, c)
	waiting := e.waitingFor(t, old, l)
	e.changeDevices(t, user, c.Handle, old, l)
	if l.Tombstone() {
		v := contactView(c, e.live)
		e.notice(t, view.Notice{Type: "contact", Contact: &v, Text: c.Handle + " has left"})
		return
	}
	e.sendJoin(t, c)
	e.sendRequest(t, c)
	e.readdress(t, user, l, waiting)
	e.fanOutWaiting(t, c)
	e.unpark(t, user, true)
}

// waitingFor are the messages that are on their way to devices which a new list does not name.
func (e *Engine) waitingFor(t *Turn, old []identity.Device, l *identity.DeviceList) (ids [][]byte) {
	for _, dev := range old {
		if _, stays := l.Find(dev.ID()); stays {
			continue
		}
		for _, n := range e.out.OfDevice(dev.ID()) {
			d := e.delivery(t, n)
			if d == nil {
				continue
			}
			if k := chat.Kind(d.Kind); k.Visible() || k.Act() || k == chat.KindGroup {
				ids = append(ids, d.Message)
			}
		}
	}
	return ids
}

// readdress sends what no device of a person got before its list changed to the devices that it names now: whoever has
// lost all devices and comes back is still to have it.
func (e *Engine) readdress(t *Turn, user identity.UserID, l *identity.DeviceList, ids [][]byte) {
	for _, id := range ids {
		m := &pb.Message{}
		if !store.Row(t.Tx, store.BucketMessages, id, m) || e.hasOne(t, m, user) {
			continue
		}
		for _, d := range l.Devices() {
			e.enqueue(t, m, d.ID(), user)
		}
		store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	}
}

// hasOne reports whether a device of a person has a message, or it is on its way to one.
func (e *Engine) hasOne(t *Turn, m *pb.Message, user identity.UserID) bool {
	for _, n := range m.Pending {
		if d := e.delivery(t, n); d != nil && string(d.User) == string(user[:]) {
			return true
		}
	}
	return slices.ContainsFunc(m.Done, func(d *pb.Done) bool {
		s := view.StageOf(d.Stage)
		return string(d.User) == string(user[:]) && (s == view.StageDelivered || s == view.StageRead)
	})
}

// changeDevices brings the device rows in step with a list.
func (e *Engine) changeDevices(t *Turn, user identity.UserID, who string, old []identity.Device, l *identity.DeviceList) {
	for _, d := range old {
		if _, ok := l.Find(d.ID()); !ok {
			e.forgetDevice(t, user, d.ID())
		}
	}
	first := len(old) == 0
	for _, d := range l.Devices() {
		id := d.ID()
		if id == e.device {
			continue
		}
		if row := e.peerDevice(t, id); row != nil {
			if !owns(row, user) && len(row.Record) == 0 {
				e.need(t, dht.DeviceKey(id)) // two people claim it: its record decides
			}
			continue
		}
		e.saveDevice(t, &pb.PeerDevice{Device: id[:], User: user[:]})
		e.need(t, dht.DeviceKey(id))
		if !first {
			e.notice(t, view.Notice{Type: "device", Text: who + " has a new device", Device: &view.Device{Device: id.String()}})
		}
	}
}

// forgetDevice ends everything with a device that its user removed.
func (e *Engine) forgetDevice(t *Turn, user identity.UserID, id identity.DeviceID) {
	d := e.peerDevice(t, id)
	if d == nil || !owns(d, user) {
		return
	}
	gone := e.out.OfDevice(id)
	recalled := func(ref uint64) bool { return slices.Contains(gone, ref) }
	t.Out.Directs = slices.DeleteFunc(t.Out.Directs, func(x Direct) bool { return recalled(x.Ref) })
	t.Out.Deposits = slices.DeleteFunc(t.Out.Deposits, func(x Deposit) bool { return recalled(x.Ref) })
	for _, n := range gone {
		e.finish(t, n, view.StageDropped, "the device was removed")
	}
	e.dropSessions(t, d)
	e.dropEndpoint(d)
	e.wants.Drop(dht.DeviceKey(id))
	delete(e.checks, id)
	delete(e.missing, id)
	delete(e.openings, id)
	delete(e.unopen, id)
	delete(e.lostAt, id)
	delete(e.pushed, id)
	delete(e.reachAsked, id)
	delete(e.reachTold, id)
	e.meter.Forget(id)
	e.rows.devices.Delete(t.Tx, id[:])
	delete(t.devices, string(id[:]))
}
