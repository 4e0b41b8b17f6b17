package node

import (
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// loadOutbox indexes what is on disk; what was in flight when the process ended is due as its row says.
func (e *Engine) loadOutbox(t *Turn) {
	t.Tx.Scan(store.BucketOutbox, nil, func(key, value []byte) bool {
		d := &pb.Delivery{}
		if len(key) != 8 || proto.Unmarshal(value, d) != nil || len(d.Device) != 32 {
			return true
		}
		n := fromU64(key)
		next := unixMilli(d.Next)
		if view.StageOf(d.Stage) == view.StageFull {
			next = earlier(next, t.Now.Add(jitter(t.Rand, outbox.RetryMax))) // nobody waits for room on its behalf any more
		}
		e.out.Add(n, identity.DeviceID(d.Device), next)
		if d.Audit == 0 && len(d.Receipts) > 0 { // of a build that did not audit
			d.Audit = millis(firstAudit(t))
		}
		e.reviews.Set(n, e.reviewAt(d))
		if len(d.Acks) > 0 && len(d.Envelope) == 0 {
			e.out.Acks[identity.DeviceID(d.Device)] = n
		}
		e.checks[identity.DeviceID(d.Device)] = t.Now.Add(repairAfter)
		return true
	})
}

// backoff is the wait before attempt number n+1 of something of this age: a random part of a ceiling that doubles.
func backoff(rng io.Reader, n int, age time.Duration) time.Duration {
	return max(outbox.RetryFloor, jitter(rng, outbox.Ceiling(n, age)))
}

// SendRequest is a text for a conversation.
type SendRequest struct {
	To   string // handle, or a unique prefix of a user id
	Text string // at most chat.MaxText bytes of UTF-8; without files at least one

	Subject  string
	Effect   string         // a hint for whoever draws
	Reply    string         // the beginning of the id of the message that it answers
	Mentions []string       // handles
	Files    []*chatpb.File // sealed already
	TTL      uint32         // seconds after which it disappears; 0: as the conversation says
	Key      string         // idempotency key: the same key returns the same message
}

// Send puts a text on our own screen and into the outbox, sealed for each device of the recipient and each other device
// of ours. When the turn's commit returns, the message is queued: it survives a crash and will be tried for 30 days.
func (e *Engine) Send(t *Turn, r SendRequest) (m view.Message, err error) {
	e.describeRelays(t, r.Files)
	if err := checkFiles(&chatpb.Text{Text: r.Text, Files: r.Files}); err != nil {
		return view.Message{}, err
	}
	err = e.Talk(t, func(d *talk.Desk) error {
		m, err = d.Send(r.To, talk.Words{
			Text: r.Text, Subject: r.Subject, Effect: r.Effect, Reply: r.Reply, Mentions: r.Mentions, Files: r.Files, TTL: r.TTL,
			Key: r.Key,
		})
		return err
	})
	return m, err
}

// Talk does something in conversations: what is said there goes out as Send's does, and what happened is told.
func (e *Engine) Talk(t *Turn, fn func(*talk.Desk) error) error {
	d := e.desk(t)
	return e.talked(t, d, fn(d))
}

// desk is where conversations are changed in this turn; talked takes what comes of it.
func (e *Engine) desk(t *Turn) *talk.Desk {
	return &talk.Desk{
		Now: t.Now, Rand: t.Rand, Tx: t.Tx, Me: e.user, Device: e.device, SigPub: [32]byte(e.keys.Public(0, 0).SigPub),
		Files: filed{e, t}, Busy: e.busy(),
		May: func(c *pb.Chat) error { return e.mayWrite(t, c) },
	}
}

// busy reports whether so much is on its way that what others have us send, as answers do, has to wait: the other half of
// the outbox is for what people write.
func (e *Engine) busy() bool { return len(e.out.Items) > maxOutbox/2 }

// talked fans out what was said at a desk and tells what happened there; it passes err on.
func (e *Engine) talked(t *Turn, d *talk.Desk, err error) error {
	if err != nil {
		return err
	}
	e.carry(t, d)
	e.flush(t)
	return t.Tx.Err()
}

func (e *Engine) carry(t *Turn, d *talk.Desk) {
	for _, p := range d.Posts {
		if p.Live {
			e.whisper(t, p)
			continue
		}
		e.fanOut(t, p)
	}
	for _, n := range d.Notices {
		e.notice(t, n)
	}
	if !d.Wake.IsZero() {
		e.timesAt = earlier(e.timesAt, d.Wake)
	}
}

// mayWrite checks that a person may write to a conversation.
func (e *Engine) mayWrite(t *Turn, c *pb.Chat) error {
	if e.self.Removed {
		return &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	}
	if c.Kind == talk.Group {
		if err := e.mayWriteGroup(t, c); err != nil {
			return err
		}
	}
	if p := (&pb.Contact{}); c.Kind == talk.Direct && store.Row(t.Tx, store.BucketContacts, c.Contact[:talk.ContactKeySize], p) {
		if err := e.maySend(p); err != nil {
			return err
		}
		if len(p.Waiting) >= maxWaiting {
			return &view.Problem{Class: view.ErrRefused, Message: "too many messages wait for " + p.Handle + " already", Hint: "kith contact show " + p.Handle}
		}
		e.refresh(t, p)
	}
	if len(e.out.Items) > maxOutbox {
		return &view.Problem{Class: view.ErrRefused, Message: "the outbox is full", Hint: "kith status"}
	}
	return nil
}

// maySend checks that a contact may be written to.
func (e *Engine) maySend(c *pb.Contact) error {
	switch {
	case held(c) && len(c.NextList) == 0:
		return &view.Problem{
			Class: view.ErrEpochChanged, Message: c.Handle + " has two device lists with one number" + twoLists(c) + "; nothing is sent until you accept the first",
			Hint: "kith contact show " + c.Handle + ", then kith contact accept " + c.Handle,
		}
	case len(c.NextList) > 0:
		return &view.Problem{
			Class: view.ErrEpochChanged, Message: c.Handle + " has a new account key" + twoKeys(c) + "; nothing is sent until you accept it",
			Hint: "kith contact show " + c.Handle + ", then kith contact accept " + c.Handle,
		}
	case c.Left && e.cfg.Unreachable == 0:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " has left", Hint: "kith contact show " + c.Handle}
	case c.State == contactBlocked:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is blocked", Hint: "kith contact accept " + c.Handle}
	case c.State == contactMember:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " shares a group with you and is no contact", Hint: "kith contact add " + hexOf(c.User)}
	case c.State == contactRequest || c.State == contactIgnored:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is not accepted yet", Hint: "kith contact accept " + c.Handle}
	case c.Declined != "":
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " declined: " + c.Declined, Hint: "kith invite"}
	case len(c.User) != 32:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " has not been found yet", Hint: "kith contact show " + c.Handle}
	}
	return nil
}

// fanOut makes one delivery for each device of the people that a post goes to and each other device of ours, in one
// transaction. A person whose devices are not known yet, or who has not accepted us, is served when that changes.
func (e *Engine) fanOut(t *Turn, p talk.Post) {
	m := p.Row
	served := len(p.To) == 0
	may := talk.MayHave(t.Tx, m)
	for _, u := range p.To {
		served = may(u) && e.fanOutTo(t, u, m) || served
	}
	if p.Own && served {
		e.mirror(t, m)
	}
	if kind := chat.KindOf(m.Content); !kind.Visible() && len(m.Pending) == 0 && !m.Unsent {
		t.Tx.Delete(store.BucketMessages, m.Id) // nobody to tell
		return
	}
	store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
}

// fanOutTo makes the deliveries for one person; false: it has to wait.
func (e *Engine) fanOutTo(t *Turn, u identity.UserID, m *pb.Message) bool {
	c, list := e.contact(t, u), e.listOf(t, u)
	if c == nil {
		return false
	}
	switch wait := list == nil || !near(c); {
	case wait && len(c.Waiting) >= maxWaiting: // of a group, which goes on without it
		m.Done = append(m.Done, &pb.Done{User: c.User, Stage: view.StageDropped.Number()})
		return true
	case wait:
		c.Waiting = append(c.Waiting, m.Id)
		m.Unsent = true
		e.saveContact(t, c)
		return false
	}
	if c.Left { // there is nobody to seal for; a person with a fallback was let through
		done := &pb.Done{User: c.User, Stage: view.StageDropped.Number()}
		m.Done = append(m.Done, done)
		e.stranded(t, &pb.Delivery{User: c.User, Kind: uint32(chat.KindOf(m.Content))}, m)
		return true
	}
	for _, d := range list.Devices() {
		e.enqueue(t, m, d.ID(), list.User())
		if dev := e.peerDevice(t, d.ID()); dev != nil && c.State == talk.Member {
			e.tellDevice(t, dev)
		}
	}
	return true
}

// mirror makes the deliveries for our other devices, once.
func (e *Engine) mirror(t *Turn, m *pb.Message) {
	if m.Mirrored {
		return
	}
	m.Mirrored = true
	for _, d := range e.siblings() {
		e.enqueue(t, m, d, e.user)
	}
}

// fanOutWaiting sends what was written to a person before it was found, or accepted.
func (e *Engine) fanOutWaiting(t *Turn, c *pb.Contact) {
	if c.State == contactAccepted && len(c.User) == 32 {
		e.onFiles(t, func(f *transfer.Turn, w transfer.World) { e.files.Accepted(f, w, identity.UserID(c.User)) })
	}
	if len(c.Waiting) == 0 || !near(c) || e.listOf(t, identity.UserID(c.User)) == nil {
		return
	}
	ids := c.Waiting
	c.Waiting = nil
	e.saveContact(t, c)
	for _, id := range ids {
		m := &pb.Message{}
		if !talk.Row(t.Tx, id, m) {
			continue
		}
		if !talk.MayHave(t.Tx, m)(identity.UserID(c.User)) { // of a group that it is no member of now
			c.Waiting = append(c.Waiting, id)
			e.saveContact(t, c)
			continue
		}
		m.Unsent = false
		if talk.Wiped(m) {
			store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
			continue
		}
		if e.fanOutTo(t, identity.UserID(c.User), m) {
			e.mirror(t, m)
		}
		store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	}
}

// siblings are our own other devices.
func (e *Engine) siblings() []identity.DeviceID {
	var out []identity.DeviceID
	for _, d := range e.list.Devices() {
		if d.ID() != e.device {
			out = append(out, d.ID())
		}
	}
	return out
}

// enqueue adds one delivery of m, due now.
func (e *Engine) enqueue(t *Turn, m *pb.Message, device identity.DeviceID, user identity.UserID) {
	e.enqueueAs(t, m, device, user, 0)
}

// enqueueAs does so for a message that has a counter already.
func (e *Engine) enqueueAs(t *Turn, m *pb.Message, device identity.DeviceID, user identity.UserID, counter uint64) {
	content, err := chat.Parse(m.Content)
	if err != nil {
		return
	}
	dev := e.peerDevice(t, device)
	if dev != nil && !owns(dev, user) {
		if len(dev.Record) > 0 {
			return // the list names a device that is somebody else's
		}
		dev = nil // or somebody else's list names this one: the device's record will tell
	}
	n := store.NextCounter(t.Tx, counterDelivery)
	d := &pb.Delivery{
		Message: m.Id, Device: device[:], User: user[:], Kind: uint32(content.Kind), Stage: view.StageQueued.Number(),
		Created: t.Now.UnixMilli(), Expires: t.Now.Add(Retention).UnixMilli(), Counter: counter,
	}
	step(t, d, "queued", "")
	m.Pending = append(m.Pending, n)
	if dev != nil {
		e.sealDelivery(t, n, d, dev)
	}
	e.out.Add(n, device, t.Now)
	e.put(t, n, d, t.Now)
}

// sealDelivery seals the message for its device, if a session or a bundle is there.
func (e *Engine) sealDelivery(t *Turn, n uint64, d *pb.Delivery, dev *pb.PeerDevice) bool {
	var raw []byte
	if len(d.Acks) > 0 {
		raw = e.ackContent(t, d, dev)
		if e.out.Acks[identity.DeviceID(d.Device)] == n {
			delete(e.out.Acks, identity.DeviceID(d.Device))
		}
	} else {
		m := &pb.Message{}
		if !store.Row(t.Tx, store.BucketMessages, d.Message, m) {
			return false
		}
		raw = m.Content
	}
	envelope, err := e.seal(t, dev, raw, d)
	if errors.Is(err, errSoon) {
		return false
	}
	if err != nil {
		e.need(t, dht.DeviceKey(identity.DeviceID(d.Device)))
		if !slices.ContainsFunc(d.Steps, func(s *pb.Step) bool { return s.What == "lookup" }) {
			step(t, d, "lookup", "the device's record is not known yet")
		}
		return false
	}
	d.Envelope = envelope
	return true
}

// seal encrypts content for one device: on the session that it last answered on, else on a new one from its bundle. d is
// the delivery, whose message has one counter however often it is sealed; nil: it is not sent again.
func (e *Engine) seal(t *Turn, dev *pb.PeerDevice, content []byte, d *pb.Delivery) ([]byte, error) {
	if id := identity.DeviceID(dev.Device); e.unopen[id] >= maxUnopened && mend.MayRenew(dev, t.Now) {
		delete(e.unopen, id)
		mend.Retire(dev, nil, t.Now)
		e.saveDevice(t, dev)
	}
	with, err := e.sessionWith(t, dev)
	if err != nil {
		return nil, err
	}
	counter := mend.Count(t.Tx, dev, d, t.Now)
	body := session.Body{
		Counter: counter, OwnHead: e.list.Head().Digest(), Content: content,
		Generation: e.self.Generation, Received: dev.Received, Sent: dev.Sent,
	}
	if l := e.listOf(t, identity.UserID(dev.User)); l != nil {
		body.YourHead = l.Head().Digest()
	}
	stalled := with.Stalled()
	envelope, err := with.Seal(t.Rand, body)
	if err != nil {
		return nil, err
	}
	if !stalled && with.Stalled() {
		e.notice(t, view.Notice{Type: "device", Text: "the session with a device of " + talk.NameOf(t.Tx, identity.UserID(dev.User)) + " does not renew itself: somebody on the way may drop large messages, or the device does not answer them"})
	}
	e.saveSession(t, dev, with)
	e.saveDevice(t, dev)
	return envelope, nil
}

// sendControl sends content that people do not see to the given devices of a user.
func (e *Engine) sendControl(t *Turn, kind chat.Kind, payload proto.Message, user identity.UserID, devices []identity.DeviceID) []byte {
	if len(devices) == 0 {
		return nil
	}
	return e.sayTo(t, kind, chat.Direct(e.user, user), payload, user, devices)
}

// sayTo sends content of a conversation to some devices of a person only.
func (e *Engine) sayTo(t *Turn, kind chat.Kind, in chat.ChatID, payload proto.Message, user identity.UserID, devices []identity.DeviceID) []byte {
	d := e.desk(t)
	if d.Say(kind, in, payload, nil, false) != nil {
		return nil
	}
	m := d.Posts[0].Row
	for _, device := range devices {
		e.enqueue(t, m, device, user)
	}
	store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	return m.Id
}

func deviceIDs(l *identity.DeviceList) []identity.DeviceID {
	var out []identity.DeviceID
	for _, d := range l.Devices() {
		out = append(out, d.ID())
	}
	return out
}

// gotAck ends the deliveries to the sending device of the messages that it holds.
func (e *Engine) gotAck(t *Turn, a arrival) bool {
	ids := &chatpb.Ids{}
	if proto.Unmarshal(a.content.Payload, ids) != nil || len(ids.Ids) > chat.MaxIDs {
		return false
	}
	from := a.sender.Device()
	for _, id := range ids.Ids {
		m := &pb.Message{}
		if len(id) != 32 || !store.Row(t.Tx, store.BucketMessages, id, m) {
			continue
		}
		for _, n := range m.Pending {
			if d := e.delivery(t, n); d != nil && string(d.Device) == string(from[:]) {
				e.finish(t, n, view.StageDelivered, "the device acknowledged")
			}
		}
	}
	return true
}

// gotRead marks our messages as read by a contact, or a contact's messages as read on another device of ours.
func (e *Engine) gotRead(t *Turn, a arrival) bool {
	ids := &chatpb.Ids{}
	if proto.Unmarshal(a.content.Payload, ids) != nil || len(ids.Ids) > chat.MaxIDs {
		return false
	}
	from, d := a.sender.Device(), e.desk(t)
	for _, id := range ids.Ids {
		m := &pb.Message{}
		switch {
		case len(id) != 32:
		case !talk.Row(t.Tx, id, m):
			if a.own { // it is still on its way to this device
				e.see(t, id[:16], talk.NoteRead(t.Tx.Get(store.BucketSeen, id[:16]), a.content.SentAt))
			}
		case a.own:
			d.SetRead(m, a.content.SentAt)
		case m.Mine:
			e.readBy(t, m, from)
		}
	}
	e.carry(t, d)
	return true
}

// readBy lifts the delivery of m to a device to read; a receipt also proves the delivery.
func (e *Engine) readBy(t *Turn, m *pb.Message, from identity.DeviceID) {
	for _, n := range m.Pending {
		if d := e.delivery(t, n); d != nil && string(d.Device) == string(from[:]) {
			e.finish(t, n, view.StageRead, "")
			return
		}
	}
	for _, d := range m.Done {
		if string(d.Device) == string(from[:]) && view.StageOf(d.Stage) == view.StageDelivered {
			d.Stage = view.StageRead.Number()
			d.Steps = append(d.Steps, &pb.Step{At: t.Now.UnixMilli(), What: string(view.StageRead)})
			store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
			v := talk.DoneView(t.Tx, e.user, d)
			e.notice(t, view.Notice{Type: "stage", ID: shortID(m.Id), Stage: &v})
		}
	}
}

// MarkRead marks messages of a conversation as read, all of them or only those with these ids, and tells their authors
// and our own other devices.
func (e *Engine) MarkRead(t *Turn, who string, only ...string) (n int, err error) {
	err = e.Talk(t, func(d *talk.Desk) error {
		n, err = d.MarkRead(who, only...)
		return err
	})
	return n, err
}
