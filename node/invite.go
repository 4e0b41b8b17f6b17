package node

import (
	"cmp"
	"crypto/hmac"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// joinSets bounds the set record in a join: with it, the join still fits a front door.
const joinSets = 900

// CreateInvite makes a link that works once, until it expires (0: 7 days).
func (e *Engine) CreateInvite(t *Turn, ttl time.Duration) (view.Invite, error) {
	return e.newLink(t, link.KindInvite, ttl)
}

func (e *Engine) newLink(t *Turn, kind link.Kind, ttl time.Duration) (view.Invite, error) {
	if ttl == 0 {
		ttl = inviteDefault
	}
	switch {
	case ttl < time.Hour || ttl > maxInvite:
		return view.Invite{}, &view.Problem{Class: view.ErrUsage, Message: "a link lasts between an hour and 30 days", Hint: "kith invite --help"}
	case e.self.Removed:
		return view.Invite{}, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	}
	if e.dropInvites(t) >= maxInvites {
		return view.Invite{}, &view.Problem{Class: view.ErrRefused, Message: "too many links are open; some have to expire first", Hint: "kith invite --help"}
	}
	l := link.Link{
		Kind: kind, Expires: t.Now.Add(ttl + time.Hour - 1).Truncate(time.Hour).UTC(),
		User: [talk.ContactKeySize]byte(e.user[:talk.ContactKeySize]), Peers: e.hints(t, kind),
	}
	secret, err := draw(t.Rand, link.SecretSize)
	if err != nil {
		return view.Invite{}, err
	}
	copy(l.Secret[:], secret)
	id := l.ID()
	row := &pb.Invite{Secret: secret, Expires: l.Expires.UnixMilli(), Kind: uint32(kind), Link: l.Short(), Text: l.Text()}
	store.PutRow(t.Tx, store.BucketInvites, id[:], row)
	return inviteView(id[:], row), t.Tx.Err()
}

// hints are where a link's holder looks first. An invite names a relay before this device, because it is there more
// often; a device link needs this very device.
func (e *Engine) hints(t *Turn, kind link.Kind) []dht.Peer {
	var out []dht.Peer
	self := toPeer(e.self.Endpoint)
	if kind == link.KindDevice {
		return slices.DeleteFunc([]dht.Peer{self}, func(p dht.Peer) bool { return len(p.Addrs) == 0 })
	}
	if rec := e.frontDoor(t); rec != nil {
		for _, m := range rec.Members() {
			if len(out) < link.MaxPeers-1 {
				out = append(out, m.Peer)
			}
		}
	}
	if len(self.Addrs) > 0 {
		out = append(out, self)
	}
	return out
}

// dropInvites forgets links that expired a while ago, and counts those that still work.
func (e *Engine) dropInvites(t *Turn) int {
	var gone [][]byte
	open := 0
	t.Tx.Scan(store.BucketInvites, nil, func(key, value []byte) bool {
		row := &pb.Invite{}
		switch {
		case proto.Unmarshal(value, row) != nil || row.Expires < t.Now.Add(-Retention).UnixMilli():
			gone = append(gone, key)
		case len(row.UsedBy) == 0 && row.Expires > t.Now.UnixMilli():
			open++
		}
		return true
	})
	for _, k := range gone {
		t.Tx.Delete(store.BucketInvites, k)
	}
	return open
}

// Join answers an invite. The contact is pending until the inviter's welcome proves that it holds the link's secret too.
func (e *Engine) Join(t *Turn, text, handle string) (view.Contact, error) {
	l, err := link.Parse(text)
	switch {
	case err != nil:
		return view.Contact{}, &view.Problem{Class: view.ErrUsage, Message: "this is not a kith link", Hint: "kith join --help"}
	case l.Kind == link.KindDevice:
		return view.Contact{}, &view.Problem{Class: view.ErrUsage, Message: "this link adds a device, it does not invite a person", Hint: "kith init --link LINK"}
	case !t.Now.Before(l.Expires):
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: "this invite has expired; ask for a new one", Hint: "kith invite"}
	case string(l.User[:]) == string(e.user[:talk.ContactKeySize]):
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: "this invite is your own; give it to somebody else", Hint: "kith invite"}
	case e.self.Removed:
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	}
	c := &pb.Contact{}
	switch known := store.Row(t.Tx, store.BucketContacts, l.User[:], c); {
	case known && c.State == contactAccepted && c.Verified:
		return view.Contact{}, &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is a contact already", Hint: "kith contact show " + c.Handle}
	case known:
		c.JoinMessage, c.Declined = nil, ""
	default:
		if c, err = e.newContact(t, l.User[:], handle, contactPending); err != nil {
			return view.Contact{}, err
		}
	}
	if c.State != contactAccepted {
		c.State = contactPending
	}
	c.JoinSecret = l.Secret[:]
	c.Hints = nil
	for _, p := range l.Peers {
		c.Hints = append(c.Hints, fromPeer(p))
		t.Out.Connects = append(t.Out.Connects, p)
	}
	e.saveContact(t, c)
	if e.listOf(t, identity.UserID(padUser(c.User))) != nil {
		e.sendJoin(t, c)
	} else {
		e.need(t, dht.UserKeyFromPrefix(l.User))
	}
	e.flush(t)
	return contactView(c, e.live), t.Tx.Err()
}

// padUser makes a whole id of a prefix, for lookups by prefix.
func padUser(u []byte) [32]byte {
	var out [32]byte
	copy(out[:], u)
	return out
}

// sendJoin introduces us to every device of the inviter, once its list is known.
func (e *Engine) sendJoin(t *Turn, c *pb.Contact) {
	if len(c.JoinSecret) != link.SecretSize || len(c.JoinMessage) > 0 || len(c.User) != 32 {
		return
	}
	list := e.listOf(t, identity.UserID(c.User))
	if list == nil {
		return
	}
	secret := [link.SecretSize]byte(c.JoinSecret)
	id := link.ID(secret)
	join := &chatpb.Join{
		Invite: id[:], Proof: link.JoinProof(secret, list.User(), e.user, e.device), Name: e.self.Name,
		List: e.list.Bytes(), Reach: e.shortReach(t),
	}
	fitFrontDoor(join, join.Reach)
	c.JoinMessage = e.sendControl(t, chat.KindJoin, join, list.User(), deviceIDs(list))
	e.saveContact(t, c)
}

// fitFrontDoor leaves out what its reader can find in the directory, if a message would be too large for strangers.
func fitFrontDoor(m proto.Message, reach *chatpb.Reach) {
	fits := func() bool {
		size := session.EnvelopeSize(chat.HeaderSize+proto.Size(m), true)
		return size > 0 && size <= frontEnvelope
	}
	if !fits() {
		reach.Sets = nil
	}
	if !fits() {
		reach.Endpoint = nil
	}
}

// shortReach is our reach with the current epoch's set only, if that is small.
func (e *Engine) shortReach(t *Turn) *chatpb.Reach {
	r := &chatpb.Reach{Number: store.Counter(t.Tx, counterReach), Endpoint: e.chatEndpoint()}
	if _, rec := e.box(t, dht.EpochAt(t.Now)); rec != nil && len(rec.Bytes()) <= joinSets {
		r.Sets = [][]byte{rec.Bytes()}
	}
	return r
}

// joinCheck is what a join deserves.
type joinCheck struct {
	join   *chatpb.Join
	list   *identity.DeviceList
	invite *pb.Invite
	reason string // why it is declined; empty: welcome
}

// checkJoin verifies a join: the proof of the link's secret, and that the list which comes with it names the sender.
// ok is false for whatever does not authenticate.
func (e *Engine) checkJoin(t *Turn, a arrival) (joinCheck, bool) {
	j := joinCheck{join: &chatpb.Join{}, invite: &pb.Invite{}}
	if a.content.Kind != chat.KindJoin || proto.Unmarshal(a.content.Payload, j.join) != nil || len(j.join.Invite) != 8 {
		return j, false
	}
	if !store.Row(t.Tx, store.BucketInvites, j.join.Invite, j.invite) || link.Kind(j.invite.Kind) != link.KindInvite {
		return j, false
	}
	want := link.JoinProof([link.SecretSize]byte(j.invite.Secret), e.user, a.sender.User, a.sender.Device())
	list, err := identity.ParseDeviceList(j.join.List)
	if err != nil || !hmac.Equal(want, j.join.Proof) || list.User() != a.sender.User || a.own {
		return j, false
	}
	if d, ok := list.Find(a.sender.Device()); !ok || d.IKPub != a.sender.IK {
		return j, false
	}
	j.list = list
	switch {
	case len(j.invite.UsedBy) > 0 && string(j.invite.UsedBy) != string(a.sender.User[:]):
		j.reason = "this invite was used already"
	case t.Now.UnixMilli() >= j.invite.Expires:
		j.reason = "this invite has expired"
	}
	return j, true
}

// stranger makes room for a device that nobody named yet: only a proven join gets it, or one of few requests.
func (e *Engine) stranger(t *Turn, a *arrival) *pb.PeerDevice {
	if a.content.Kind == chat.KindRequest {
		return e.admitRequest(t, a)
	}
	j, ok := e.checkJoin(t, *a)
	if !ok {
		return nil
	}
	device := a.sender.Device()
	dev := e.peerDevice(t, device)
	if dev == nil {
		dev = &pb.PeerDevice{Device: device[:], User: a.sender.User[:]}
	}
	if j.reason != "" {
		if j.invite.Declines++; j.invite.Declines > maxDeclines {
			return nil
		}
		store.PutRow(t.Tx, store.BucketInvites, j.join.Invite, j.invite)
		e.saveDevice(t, dev)
		return dev
	}
	e.saveDevice(t, dev)
	if a.contact = e.admit(t, a.contact, j); a.contact == nil {
		return nil
	}
	return e.peerDevice(t, device)
}

// admit makes somebody who holds a link of ours a contact, with the device list that it brought.
func (e *Engine) admit(t *Turn, c *pb.Contact, j joinCheck) *pb.Contact {
	if c == nil {
		user := j.list.User()
		var err error
		if c, err = e.newContact(t, user[:], chat.CleanName(j.join.Name), contactRequest); err != nil {
			return nil
		}
		c.Name = chat.CleanName(j.join.Name)
	}
	if known := e.listOf(t, j.list.User()); known == nil || j.list.Order(known) == identity.Newer && j.list.Epoch() == known.Epoch() {
		e.adoptList(t, c, j.list)
	}
	for _, d := range j.list.Devices() {
		if dev := e.peerDevice(t, d.ID()); dev != nil && len(dev.Record) == 0 {
			e.need(t, dht.DeviceKey(d.ID()))
		}
	}
	return c
}

// gotJoin welcomes whoever proves to hold one of our links, the first one only.
func (e *Engine) gotJoin(t *Turn, a arrival) bool {
	j, ok := e.checkJoin(t, a)
	if !ok {
		return false
	}
	device := a.sender.Device()
	if j.reason != "" {
		if dev := e.peerDevice(t, device); dev != nil {
			e.keepReach(t, dev, j.join.Reach) // for the answer only
		}
		e.answerJoin(t, a, &chatpb.Welcome{Invite: j.join.Invite, Decline: true, Reason: j.reason})
		return true
	}
	c := e.contact(t, a.sender.User)
	again := len(j.invite.UsedBy) > 0 && c != nil && c.State == contactAccepted && c.Verified
	j.invite.UsedBy = a.sender.User[:]
	store.PutRow(t.Tx, store.BucketInvites, j.join.Invite, j.invite)
	if c == nil || len(c.List) == 0 {
		if c = e.admit(t, c, j); c == nil {
			return false
		}
	}
	if !again { // it asks again when our answer was lost: nothing to tell others then
		c.State, c.Verified, c.Name = contactAccepted, true, chat.CleanName(j.join.Name)
		e.changeContact(t, c)
	}
	if dev := e.peerDevice(t, device); dev != nil {
		e.keepReach(t, dev, j.join.Reach)
	}
	e.answerJoin(t, a, &chatpb.Welcome{
		Invite: j.join.Invite, Name: e.self.Name, Reach: e.shortReach(t),
		Proof: link.WelcomeProof([link.SecretSize]byte(j.invite.Secret), e.user, a.sender.User, e.device),
	})
	if !again {
		e.fanOutWaiting(t, c)
		e.tellContact(t, c)
	}
	return true
}

// answerJoin sends a welcome in place of an earlier one that has not arrived: however often somebody joins, one waits.
func (e *Engine) answerJoin(t *Turn, a arrival, w *chatpb.Welcome) {
	e.supersede(t, a.sender.Device(), chat.KindWelcome)
	e.sendControl(t, chat.KindWelcome, w, a.sender.User, []identity.DeviceID{a.sender.Device()})
}

// gotWelcome ends our join: the inviter has proven the link's secret, or declined.
func (e *Engine) gotWelcome(t *Turn, a arrival) bool {
	w := &chatpb.Welcome{}
	c := a.contact
	if c == nil || proto.Unmarshal(a.content.Payload, w) != nil {
		return false
	}
	if len(c.JoinSecret) != link.SecretSize {
		return c.State == contactAccepted // a repeated one: its sender has not heard that we have it
	}
	secret := [link.SecretSize]byte(c.JoinSecret)
	id := link.ID(secret)
	if string(w.Invite) != string(id[:]) {
		return false
	}
	if w.Decline {
		e.endJoin(t, c, "the join was answered")
		c.JoinSecret = nil
		if c.State == contactPending { // a contact stays one: only its link did not work
			c.Declined = cmp.Or(chat.CleanName(w.Reason), "no reason given")
		}
		e.changeContact(t, c)
		return true
	}
	if !hmac.Equal(w.Proof, link.WelcomeProof(secret, a.sender.User, e.user, a.sender.Device())) {
		return false
	}
	e.endJoin(t, c, "the join was answered")
	c.JoinSecret, c.Hints, c.JoinMessage = nil, nil, nil
	c.State, c.Verified, c.Name = contactAccepted, true, chat.CleanName(w.Name)
	e.nameAfter(t, c)
	e.changeContact(t, c)
	if dev := e.peerDevice(t, a.sender.Device()); dev != nil {
		e.keepReach(t, dev, w.Reach)
	}
	e.fanOutWaiting(t, c)
	e.tellContact(t, c)
	return true
}

// endJoin stops the copies of an answered join that are still on their way to the inviter's other devices: they do not
// have the link, and learn of us from the one that has it.
func (e *Engine) endJoin(t *Turn, c *pb.Contact, why string) {
	m := &pb.Message{}
	if len(c.JoinMessage) == 0 || !store.Row(t.Tx, store.BucketMessages, c.JoinMessage, m) {
		return
	}
	for _, n := range m.Pending {
		e.finish(t, n, view.StageDropped, why)
	}
}

// nameAfter gives a contact whose handle was made up the handle of its own name.
func (e *Engine) nameAfter(t *Turn, c *pb.Contact) {
	if base, _, _ := strings.Cut(c.Handle, "-"); base != "contact" && base != "request" && base != "member" || talk.CleanHandle(c.Name) == "" {
		return
	}
	c.Handle = talk.FreeHandle(c.Name, "contact", talk.Handles(t.Tx))
}

func inviteView(id []byte, row *pb.Invite) view.Invite {
	return view.Invite{ID: hexOf(id), Link: row.Link, Text: row.Text, Expires: unixMilli(row.Expires), Used: len(row.UsedBy) > 0}
}

// OfferDevice makes a link that adds one device. Only the admin device can, because it signs the list.
func (e *Engine) OfferDevice(t *Turn, ttl time.Duration) (view.Invite, error) {
	if e.account == nil {
		return view.Invite{}, e.notAdmin("add")
	}
	if len(e.list.Devices()) >= maxDevices {
		return view.Invite{}, &view.Problem{Class: view.ErrRefused, Message: "an account has at most 16 devices", Hint: "kith device list"}
	}
	if ttl == 0 {
		ttl = time.Hour
	}
	return e.newLink(t, link.KindDevice, ttl)
}

func (e *Engine) notAdmin(verb string) error {
	admin := "the admin device, which has left,"
	for _, d := range e.list.Devices() {
		if d.Admin() {
			admin = "device " + d.ID().Short()
		}
	}
	return &view.Problem{
		Class: view.ErrRefused, Message: "only " + admin + " can " + verb + " devices: it holds the account key. Without it, the recovery phrase begins anew on a fresh home",
		Hint: "kith device list",
	}
}

// Leave takes this device off the list, or with all writes the tombstone: senders are told that this person has left.
// Nothing is deleted here. The admin device signs for itself, and leaves an account whose list nobody can change without
// the recovery phrase; another device asks it, and is out when it has answered: then asked is true.
func (e *Engine) Leave(t *Turn, all bool) (asked bool, err error) {
	switch {
	case e.self.Removed:
		return false, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	case all && e.account == nil:
		return false, e.notAdmin("remove")
	case e.account == nil:
		return true, e.askToLeave(t)
	case !all && len(e.list.Devices()) == 1:
		return false, &view.Problem{Class: view.ErrUsage, Message: "this is your only device: without it nobody can write to you", Hint: "kith device leave --all"}
	}
	var next *identity.DeviceList
	if all {
		next, err = e.signList(t, nil, identity.FlagTombstone)
	} else {
		next, err = e.signList(t, e.without(e.device), 0)
	}
	if err != nil {
		return false, err
	}
	r := &chatpb.Records{Lists: [][]byte{next.Bytes()}}
	if all { // while the sessions still stand
		for _, d := range e.siblings() {
			e.tellRemoved(t, d, next)
		}
		e.tellContacts(t, r)
	} else {
		e.tellAll(t, r)
	}
	e.adoptOwnList(t, next)
	e.account, e.self.Account = nil, nil
	e.saveSelf(t)
	e.flush(t)
	return false, t.Tx.Err()
}

// askToLeave has the admin device take this device off the list.
func (e *Engine) askToLeave(t *Turn) error {
	for _, d := range e.list.Devices() {
		if d.Admin() {
			e.self.Leaving = true
			e.saveSelf(t)
			e.sendControl(t, chat.KindSync, &chatpb.Sync{Leaving: true}, e.user, []identity.DeviceID{d.ID()})
			e.flush(t)
			return t.Tx.Err()
		}
	}
	return e.notAdmin("remove")
}
