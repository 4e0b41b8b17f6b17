package node

import (
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
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
		if stageOf(d.Stage) == view.StageFull {
			next = earlier(next, t.Now.Add(jitter(t.Rand, retryMax))) // nobody waits for room on its behalf any more
		}
		e.out.Add(n, identity.DeviceID(d.Device), next)
		if d.Audit == 0 && len(d.Receipts) > 0 { // of a build that did not audit
			d.Audit = millis(firstAudit(t))
		}
		e.reviews.Set(n, reviewAt(d))
		if len(d.Acks) > 0 && len(d.Envelope) == 0 {
			e.out.Acks[identity.DeviceID(d.Device)] = n
		}
		e.checks[identity.DeviceID(d.Device)] = t.Now.Add(repairAfter)
		return true
	})
}

// backoff is the wait before attempt number n+1 of something of this age: a random part of a ceiling that doubles.
func backoff(rng io.Reader, n int, age time.Duration) time.Duration {
	low, high := retryMin, retryMax
	if age >= retryLate {
		low, high = retryLateMin, retryLateMax
	}
	ceiling := high
	if n < 16 {
		ceiling = min(high, low<<max(n-1, 0))
	}
	return max(retryFloor, jitter(rng, ceiling))
}

// SendRequest is a text for a contact.
type SendRequest struct {
	To   string // handle, or a unique prefix of a user id
	Text string // 1..chat.MaxText bytes of UTF-8
	Key  string // idempotency key: the same key returns the same message
}

// Send puts a text on our own screen and into the outbox, sealed for each device of the recipient and each other device
// of ours. When the turn's commit returns, the message is queued: it survives a crash and will be tried for 30 days.
func (e *Engine) Send(t *Turn, r SendRequest) (view.Message, error) {
	if m := e.sentBefore(t, r.Key); m != nil {
		return messageView(t.Tx, e.user, m), nil
	}
	c, err := e.mayWrite(t, r)
	if err != nil {
		return view.Message{}, err
	}
	payload, err := proto.Marshal(&chatpb.Text{Text: r.Text})
	if err != nil {
		return view.Message{}, err
	}
	content, err := chat.New(t.Rand, chat.KindText, chat.Direct(e.user, identity.UserID(c.User)), e.stamp(t), payload)
	if err != nil {
		return view.Message{}, err
	}
	for _, h := range c.Heads {
		content.Parents = append(content.Parents, [16]byte(h[:16]))
	}
	content.SentAt = e.afterHeads(t, c, content.SentAt)
	e.refresh(t, c)
	m := e.ownMessage(t, content)
	m.Contact, m.Key = c.User, r.Key
	e.place(t, c, m)
	e.fanOut(t, c, m)
	if r.Key != "" {
		t.Tx.Put(store.BucketMeta, []byte("sent/"+r.Key), m.Id)
	}
	v := messageView(t.Tx, e.user, m)
	e.notice(t, view.Notice{Type: "message", ID: v.ID, Message: &v})
	e.flush(t)
	return v, t.Tx.Err()
}

// afterHeads makes a message's time later than those that it answers, also when their author's clock is ahead of ours, as
// far as clocks may be.
func (e *Engine) afterHeads(t *Turn, c *pb.Contact, at uint64) uint64 {
	limit := uint64(t.Now.Add(dht.MaxSkew).UnixMilli())
	for _, h := range c.Heads {
		m := &pb.Message{}
		if getRow(t.Tx, store.BucketMessages, h, m) && m.Order >= at && m.Order <= limit {
			at = m.Order + 1
		}
	}
	return at
}

func (e *Engine) sentBefore(t *Turn, key string) *pb.Message {
	if key == "" {
		return nil
	}
	m := &pb.Message{}
	if id := t.Tx.Get(store.BucketMeta, []byte("sent/"+key)); id == nil || !getRow(t.Tx, store.BucketMessages, id, m) {
		return nil
	}
	return m
}

// mayWrite checks a request and finds the recipient.
func (e *Engine) mayWrite(t *Turn, r SendRequest) (*pb.Contact, error) {
	switch {
	case e.self.Removed:
		return nil, &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	case r.Text == "":
		return nil, &view.Problem{Class: view.ErrUsage, Message: "the text is empty", Hint: "kith send --help"}
	case len(r.Text) > chat.MaxText:
		return nil, &view.Problem{Class: view.ErrUsage, Message: "the text is longer than 3,500 bytes", Hint: "kith send --help"}
	case !utf8.ValidString(r.Text):
		return nil, &view.Problem{Class: view.ErrUsage, Message: "the text is not valid UTF-8", Hint: "kith send --help"}
	case len(r.Key) > 128:
		return nil, &view.Problem{Class: view.ErrUsage, Message: "the idempotency key is longer than 128 bytes", Hint: "kith send --help"}
	}
	c, err := findContact(t.Tx, r.To)
	if err != nil {
		return nil, err
	}
	if err := e.maySend(c); err != nil {
		return nil, err
	}
	if len(e.out.Items) > maxOutbox {
		return nil, &view.Problem{Class: view.ErrRefused, Message: "the outbox is full", Hint: "kith status"}
	}
	return c, nil
}

// maySend checks that a contact may be written to.
func (e *Engine) maySend(c *pb.Contact) error {
	switch {
	case held(c) && len(c.NextList) == 0:
		return &view.Problem{
			Class: view.ErrEpochChanged, Message: c.Handle + " has two device lists with one number; nothing is sent until you accept the first",
			Hint: "kith contact show " + c.Handle + ", then kith contact accept " + c.Handle,
		}
	case len(c.NextList) > 0:
		return &view.Problem{
			Class: view.ErrEpochChanged, Message: c.Handle + " has a new account key; nothing is sent until you accept it",
			Hint: "kith contact show " + c.Handle + ", then kith contact accept " + c.Handle,
		}
	case c.Left:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " has left", Hint: "kith contact show " + c.Handle}
	case c.State == contactBlocked:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is blocked", Hint: "kith contact accept " + c.Handle}
	case c.State == contactRequest:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " is not accepted yet", Hint: "kith contact accept " + c.Handle}
	case c.Declined != "":
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " declined: " + c.Declined, Hint: "kith invite"}
	case len(c.User) != 32:
		return &view.Problem{Class: view.ErrRefused, Message: c.Handle + " has not been found yet", Hint: "kith contact show " + c.Handle}
	}
	return nil
}

// ownMessage makes the row of content that this device authors.
func (e *Engine) ownMessage(t *Turn, c chat.Content) *pb.Message {
	raw := c.Bytes()
	id := chat.MessageID(e.user, [32]byte(e.keys.Public(0, 0).SigPub), raw)
	return &pb.Message{
		Id: id[:], Content: raw, User: e.user[:], Device: e.device[:], Mine: true,
		Received: t.Now.UnixMilli(), Read: true, Order: c.SentAt,
	}
}

// place puts a message into its conversation: order is (Lamport ms, id), the same on every device.
func (e *Engine) place(t *Turn, c *pb.Contact, m *pb.Message) {
	t.Tx.Put(store.BucketChats, slices.Concat(u32(c.Chat), u64(m.Order), u64(e.nextCounter(t, counterPlaced))), m.Id)
	putRow(t.Tx, store.BucketMessages, m.Id, m)
	content, err := chat.Parse(m.Content)
	if err != nil {
		return
	}
	c.Heads = slices.DeleteFunc(c.Heads, func(h []byte) bool {
		return slices.ContainsFunc(content.Parents, func(p [16]byte) bool { return string(p[:]) == string(h[:16]) })
	})
	c.Heads = append(c.Heads, m.Id)
	if len(c.Heads) > maxHeads {
		c.Heads = c.Heads[len(c.Heads)-maxHeads:]
	}
	if !m.Read {
		c.Unread++
	}
	e.saveContact(t, c)
}

// fanOut makes one delivery for each device of the contact and each other device of ours, in one transaction.
func (e *Engine) fanOut(t *Turn, c *pb.Contact, m *pb.Message) {
	list := e.listOf(t, identity.UserID(c.User))
	m.Unsent = list == nil || c.State != contactAccepted
	if !m.Unsent {
		for _, d := range list.Devices() {
			e.enqueue(t, m, d.ID(), list.User())
		}
		for _, d := range e.siblings() {
			e.enqueue(t, m, d, e.user)
		}
	}
	putRow(t.Tx, store.BucketMessages, m.Id, m)
}

// fanOutWaiting sends what was written to a contact before it was accepted.
func (e *Engine) fanOutWaiting(t *Turn, c *pb.Contact) {
	if c.State != contactAccepted {
		return
	}
	for _, id := range chatIDs(t.Tx, c.Chat) {
		m := &pb.Message{}
		if getRow(t.Tx, store.BucketMessages, id, m) && m.Unsent {
			e.fanOut(t, c, m)
		}
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
	n := e.nextCounter(t, counterDelivery)
	d := &pb.Delivery{
		Message: m.Id, Device: device[:], User: user[:], Kind: uint32(content.Kind), Stage: stageNumber(view.StageQueued),
		Created: t.Now.UnixMilli(), Expires: t.Now.Add(Retention).UnixMilli(),
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
		if !getRow(t.Tx, store.BucketMessages, d.Message, m) {
			return false
		}
		raw = m.Content
	}
	envelope, err := e.seal(t, dev, raw)
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

// seal encrypts content for one device: on the session that it last answered on, else on a new one from its bundle.
func (e *Engine) seal(t *Turn, dev *pb.PeerDevice, content []byte) ([]byte, error) {
	sessions := e.sessions(t, dev)
	i := session.Choose(sessions)
	if i < 0 {
		bundle, err := e.freshBundle(t, dev)
		if err != nil {
			return nil, err
		}
		s, err := session.Initiate(t.Rand, e.sessionSelf(), bundle)
		if err != nil {
			return nil, err
		}
		e.addSession(t, dev, s)
		sessions, i = append(sessions, s), len(sessions)
	}
	body := session.Body{Counter: dev.Sent + 1, OwnHead: e.list.Head().Digest(), Content: content}
	if l := e.listOf(t, identity.UserID(dev.User)); l != nil {
		body.YourHead = l.Head().Digest()
	}
	envelope, err := sessions[i].Seal(t.Rand, body)
	if err != nil {
		return nil, err
	}
	dev.Sent++
	e.saveSession(t, dev, sessions[i])
	e.saveDevice(t, dev)
	return envelope, nil
}

// sendControl sends content that people do not see to the given devices of a user.
func (e *Engine) sendControl(t *Turn, kind chat.Kind, payload proto.Message, user identity.UserID, devices []identity.DeviceID) []byte {
	raw, err := proto.Marshal(payload)
	if err != nil || len(devices) == 0 {
		return nil
	}
	content, err := chat.New(t.Rand, kind, chat.Direct(e.user, user), e.stamp(t), raw)
	if err != nil {
		return nil
	}
	m := e.ownMessage(t, content)
	putRow(t.Tx, store.BucketMessages, m.Id, m)
	for _, d := range devices {
		e.enqueue(t, m, d, user)
	}
	putRow(t.Tx, store.BucketMessages, m.Id, m)
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
		if len(id) != 32 || !getRow(t.Tx, store.BucketMessages, id, m) {
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
	from := a.sender.Device()
	for _, id := range ids.Ids {
		m := &pb.Message{}
		if len(id) != 32 {
			continue
		}
		if !getRow(t.Tx, store.BucketMessages, id, m) {
			if a.own {
				e.see(t, id[:16], []byte{0}) // it is still on its way to this device
			}
			continue
		}
		if a.own {
			e.setRead(t, m)
		} else if m.Mine && string(m.Contact) == string(a.sender.User[:]) {
			e.readBy(t, m, from)
		}
	}
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
		if string(d.Device) == string(from[:]) && stageOf(d.Stage) == view.StageDelivered {
			d.Stage = stageNumber(view.StageRead)
			d.Steps = append(d.Steps, &pb.Step{At: t.Now.UnixMilli(), What: string(view.StageRead)})
			putRow(t.Tx, store.BucketMessages, m.Id, m)
			v := doneView(t.Tx, e.user, d)
			e.notice(t, view.Notice{Type: "stage", ID: shortID(m.Id), Stage: &v})
		}
	}
}

// setRead marks one message of a contact as read.
func (e *Engine) setRead(t *Turn, m *pb.Message) {
	if m.Read {
		return
	}
	m.Read = true
	putRow(t.Tx, store.BucketMessages, m.Id, m)
	if len(m.Contact) != 32 {
		return
	}
	if c := e.contact(t, identity.UserID(m.Contact)); c != nil && c.Unread > 0 {
		c.Unread--
		e.saveContact(t, c)
	}
}

// MarkRead marks everything of a conversation as read, and tells its author and our own other devices.
func (e *Engine) MarkRead(t *Turn, who string) (int, error) {
	c, err := findContact(t.Tx, who)
	if err != nil {
		return 0, err
	}
	if c.Unread == 0 {
		return 0, t.Tx.Err()
	}
	var ids [][]byte
	for _, id := range chatIDs(t.Tx, c.Chat) {
		m := &pb.Message{}
		if getRow(t.Tx, store.BucketMessages, id, m) && !m.Read {
			e.setRead(t, m)
			ids = append(ids, id)
		}
	}
	for batch := range slices.Chunk(ids, chat.MaxIDs) {
		if list := e.listOf(t, identity.UserID(c.User)); list != nil && c.State == contactAccepted {
			e.sendControl(t, chat.KindRead, &chatpb.Ids{Ids: batch}, list.User(), deviceIDs(list))
		}
		e.sendControl(t, chat.KindRead, &chatpb.Ids{Ids: batch}, e.user, e.siblings())
	}
	e.flush(t)
	return len(ids), t.Tx.Err()
}
