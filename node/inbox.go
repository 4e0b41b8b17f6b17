package node

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// arrival is one opened envelope: who sealed it, and what it says.
type arrival struct {
	sender  session.Peer
	body    session.Body
	content chat.Content
	id      chat.ID
	session [8]byte
	contact *pb.Contact
	own     bool // from another device of ours
	live    bool // over a stream, not by way of a relay
}

// Received takes an envelope from a direct stream with a peer.
func (e *Engine) Received(t *Turn, peer []byte, envelope []byte) {
	e.take(t, envelope, peer)
	e.flush(t)
}

// Collected takes envelopes that a relay handed out. Each is acknowledged to the relay after the commit, whether it could
// be opened or not: what does not authenticate now never will, and what has to wait is parked in our own store, or stays
// at the relay while there is no room to park it.
func (e *Engine) Collected(t *Turn, relay dht.Peer, items []Collected) {
	acks := map[mailbox.ID][]mailbox.EnvelopeID{}
	var boxes []mailbox.ID
	if len(items) > 0 {
		e.mailAt = t.Now
	}
	for _, it := range items {
		if !e.take(t, it.Envelope, nil) {
			e.drains.Left(prekeys.Place{Box: it.Box, Relay: string(relay.ID)})
			continue
		}
		if len(acks[it.Box]) == 0 {
			boxes = append(boxes, it.Box)
		}
		acks[it.Box] = append(acks[it.Box], it.ID)
	}
	for _, box := range boxes {
		if key := e.boxKeyOf(t, box); key != nil {
			t.Out.Acks = append(t.Out.Acks, RelayAck{Relay: relay, Key: key, IDs: acks[box]})
		}
	}
	e.observe(t, relay.ID, true)
	e.flush(t)
}

// flush attempts what became due in this turn.
func (e *Engine) flush(t *Turn) {
	for _, n := range e.out.TakeDue(t.Now) {
		e.attempt(t, n)
	}
}

// take opens an envelope once; peer is who brought it over a stream, nil: a relay. Whatever fails leaves no trace but a
// counter. False means that whoever holds the envelope should keep it.
func (e *Engine) take(t *Turn, envelope, peer []byte) bool {
	id := mailbox.EnvelopeIDOf(envelope)
	if row := t.Tx.Get(store.BucketSeen, id[:16]); row != nil {
		e.stats.Duplicate++
		e.seenAgain(t, row, peer)
		return true
	}
	a, err := e.open(t, envelope)
	switch {
	case errors.Is(err, errPark), errors.Is(err, session.ErrTooFar):
		if !e.park(t, envelope, a.sender.User) {
			return false
		}
		a = arrival{} // nothing to acknowledge: it is not shown yet, and may never be
	case err != nil:
		e.stats.Dropped++
		e.unopened(envelope, peer)
		return true // not marked as seen: an attacker's copy must not shadow a later, honest arrival
	default:
		a.live = peer != nil
		if ok := e.accept(t, a); !ok {
			a = arrival{} // nothing to acknowledge
		} else if passing(a.content.Kind) {
			return true // a second copy does not open any more, and would say the same
		}
		e.unpark(t, a.sender.User, a.content.Kind == chat.KindWelcome || a.content.Kind == chat.KindJoin)
	}
	e.markSeen(t, id, a)
	return true
}

// seenAgain answers a device that brings an envelope a second time: it would not if our acknowledgement had arrived.
// Copies from relays come in any case, beside the direct one, and say nothing.
func (e *Engine) seenAgain(t *Turn, row, peer []byte) {
	if len(row) != seenRow || peer == nil {
		return
	}
	device := identity.DeviceID(row[4:36])
	if dev := e.peerDevice(t, device); dev != nil && dev.Endpoint != nil && string(dev.Endpoint.Id) == string(peer) {
		e.acknowledge(t, device, chat.ID(row[36:]), t.Now)
	}
}

// seenRow is the size of what is kept of an envelope that was acknowledged: day 4 | sending device 32 | message id 32.
// Of others only the day is kept.
const seenRow = 4 + 32 + 32

func (e *Engine) markSeen(t *Turn, id mailbox.EnvelopeID, a arrival) {
	var what []byte
	if a.content.Kind != 0 && a.content.Kind != chat.KindAck {
		device := a.sender.Device()
		what = slices.Concat(device[:], a.id[:])
	}
	e.see(t, id[:16], what)
}

// see remembers 16 bytes of an id for seenFor, with a note.
func (e *Engine) see(t *Turn, id, note []byte) {
	today := uint32(t.Now.Unix() / int64(day/time.Second))
	t.Tx.Put(store.BucketSeen, id, append(store.U32(today), note...))
	t.Tx.Put(store.BucketSeenDays, slices.Concat(store.U32(today), store.U64(store.NextCounter(t.Tx, counterSeen))), id)
	oldest := today - uint32(seenFor/day)
	var gone, ids [][]byte
	t.Tx.Scan(store.BucketSeenDays, nil, func(key, value []byte) bool {
		if len(gone) == 16 || string(key[:4]) >= string(store.U32(oldest)) {
			return false
		}
		gone, ids = append(gone, key), append(ids, value)
		return true
	})
	for i, k := range gone {
		t.Tx.Delete(store.BucketSeenDays, k)
		t.Tx.Delete(store.BucketSeen, ids[i])
	}
}

var errPark = errors.New("node: wait for the sender's device list")

// open finds the session of an envelope, or begins one. It saves the session's new state on success only.
func (e *Engine) open(t *Turn, envelope []byte) (arrival, error) {
	if f, ok := session.ParseFirstFlight(envelope); ok {
		return e.openFirst(t, f, envelope)
	}
	if ref, ok := e.book.Find(envelope); ok {
		return e.openWith(t, ref, envelope)
	}
	err := error(session.ErrOpen)
	for _, ref := range e.book.Trial(envelope, trialBudget) {
		a, e2 := e.openWith(t, ref, envelope)
		if e2 == nil {
			return a, nil
		}
		if errors.Is(e2, session.ErrTooFar) {
			err = e2
		}
	}
	return arrival{}, err
}

func (e *Engine) openWith(t *Turn, ref session.Ref, envelope []byte) (arrival, error) {
	dev := e.peerDevice(t, ref.Device)
	s, err := session.ParseSession(store.Shown(t.Tx, store.BucketSessions, slices.Concat(ref.Device[:], ref.Session[:])))
	if dev == nil || err != nil || !owns(dev, s.Peer().User) {
		return arrival{}, session.ErrOpen
	}
	body, err := s.Open(envelope, t.Now)
	a := arrival{sender: s.Peer(), body: body, session: ref.Session}
	if err != nil {
		return a, err
	}
	if err := e.parse(t, &a); err != nil {
		return a, err
	}
	s.Expire(t.Now) // kept keys of messages that will not come any more
	e.saveSession(t, dev, s)
	return a, nil
}

// openFirst opens a first flight. A repeated one (the sender has no reply yet) belongs to the session that its first copy
// began: the store's row for (prekey, EA) is the replay cache.
func (e *Engine) openFirst(t *Turn, f session.FirstFlight, envelope []byte) (arrival, error) {
	flight := slices.Concat(f.Prekey[:], f.EA[:])
	if ref := t.Tx.Get(store.BucketFlights, flight); len(ref) == 40 {
		return e.openWith(t, session.Ref{Device: identity.DeviceID(ref[:32]), Session: [8]byte(ref[32:])}, envelope)
	}
	pre := prekeys.Find(t.Tx, f.Prekey)
	if pre == nil {
		return arrival{}, session.ErrOpen
	}
	s, sender, body, err := session.Accept(e.sessionSelf(), pre, func(s session.Sender) error { return e.checkSender(t, s) }, envelope, t.Now)
	a := arrival{sender: sender.Peer, body: body}
	if err != nil {
		return e.lateList(t, pre, envelope, err)
	}
	if err := e.parse(t, &a); err != nil {
		return a, err
	}
	dev := e.peerDevice(t, sender.Device())
	if near(a.contact) && len(a.contact.List) == 0 { // a member of a group whom we look for
		return a, errPark
	}
	if dev == nil || e.listOf(t, sender.User) == nil {
		if dev = e.stranger(t, &a); dev == nil {
			return a, e.notKnown(t, a)
		}
	}
	if !owns(dev, sender.User) {
		return a, e.disputed(t, dev)
	}
	e.addSession(t, dev, s)
	prekeys.Use(t.Tx, f.Prekey, t.Now)
	a.session = s.ID()
	t.Tx.Put(store.BucketFlights, flight, slices.Concat(dev.Device, a.session[:]))
	return a, nil
}

// checkSender compares the claimed identity key with the sender's device list. Of a stranger nothing is known yet: its
// join carries the list, and stranger compares.
func (e *Engine) checkSender(t *Turn, s session.Sender) error {
	list := e.listOf(t, s.User)
	if list == nil {
		return nil
	}
	if d, ok := list.Find(s.Device()); !ok || d.IKPub != s.IK {
		return errPark
	}
	return nil
}

// lateList tells a forged first flight from one of a device that we have not heard of yet: the latter is parked until
// its user's newer list is here. A device that was removed claims no newer list, or waits for one in vain.
func (e *Engine) lateList(t *Turn, pre *identity.Prekey, envelope []byte, err error) (arrival, error) {
	if !errors.Is(err, errPark) {
		return arrival{}, err
	}
	sender, perr := session.PeekSender(e.sessionSelf(), pre, envelope)
	list := e.listOf(t, sender.User)
	if perr != nil || list == nil {
		return arrival{}, session.ErrOpen
	}
	if _, ok := list.Find(sender.Device()); ok || sender.Head.Order(list.Head()) != identity.Newer {
		return arrival{}, session.ErrOpen
	}
	e.need(t, dht.UserKey(sender.User))
	return arrival{sender: sender.Peer}, errPark
}

// parse reads the content and finds out who speaks. What a person says before its welcome is here has to wait for it.
func (e *Engine) parse(t *Turn, a *arrival) error {
	var err error
	if a.content, err = chat.Parse(a.body.Content); err != nil {
		return err
	}
	a.id = chat.MessageID(a.sender.User, a.sender.SigPub, a.body.Content)
	a.own = a.sender.User == e.user
	a.contact = e.contact(t, a.sender.User)
	if a.contact != nil && a.contact.State == contactPending && a.content.Kind != chat.KindWelcome &&
		a.content.Kind != chat.KindAck && a.content.Kind != chat.KindJoin && a.content.Kind != chat.KindRequest {
		return errPark
	}
	return nil
}

// park keeps an envelope until its sender's list, its welcome, or what was sent before it is here. False: there is no room.
func (e *Engine) park(t *Turn, envelope []byte, user identity.UserID) bool {
	total := 0
	for _, n := range e.parked {
		total += n
	}
	if total >= maxParked || e.parked[user] >= maxParkedUser {
		e.stats.Dropped++
		return false
	}
	e.stats.Parked++
	e.parked[user]++
	store.PutRow(t.Tx, store.BucketParked, store.U64(store.NextCounter(t.Tx, counterParked)), &pb.Parked{
		Envelope: envelope, User: user[:], Until: t.Now.Add(parkFor).UnixMilli(),
	})
	return true
}

// unpark tries a user's parked envelopes again, oldest first. What still has to wait stays. After an ordinary message
// only what belongs to a known session is tried (all false): anybody can have first flights parked in a user's name, and
// each costs a handshake.
func (e *Engine) unpark(t *Turn, user identity.UserID, all bool) {
	if e.parked[user] == 0 || e.unparking {
		return
	}
	e.unparking = true
	defer func() { e.unparking = false }()
	rows := map[string]*pb.Parked{}
	var keys []string
	t.Tx.Scan(store.BucketParked, nil, func(key, value []byte) bool {
		p := &pb.Parked{}
		if proto.Unmarshal(value, p) == nil && string(p.User) == string(user[:]) && (all || e.begun(t, p.Envelope)) {
			keys, rows[string(key)] = append(keys, string(key)), p
		}
		return true
	})
	for _, k := range keys {
		p := rows[k]
		a, err := e.open(t, p.Envelope)
		if p.Until >= t.Now.UnixMilli() && (errors.Is(err, errPark) || errors.Is(err, session.ErrTooFar)) {
			continue
		}
		t.Tx.Delete(store.BucketParked, []byte(k))
		if e.parked[user]--; err == nil && e.accept(t, a) {
			e.markSeen(t, mailbox.EnvelopeIDOf(p.Envelope), a)
		}
	}
	if e.parked[user] == 0 {
		delete(e.parked, user)
	}
}

// begun reports whether an envelope is no first flight, or repeats one whose session stands.
func (e *Engine) begun(t *Turn, envelope []byte) bool {
	f, first := session.ParseFirstFlight(envelope)
	return !first || t.Tx.Get(store.BucketFlights, slices.Concat(f.Prekey[:], f.EA[:])) != nil
}

// dropParked forgets what waited in vain, so that it does not take the room of others for ever, and counts the rest.
func (e *Engine) dropParked(t *Turn) {
	var gone [][]byte
	clear(e.parked)
	t.Tx.Scan(store.BucketParked, nil, func(key, value []byte) bool {
		p := &pb.Parked{}
		switch {
		case proto.Unmarshal(value, p) != nil || p.Until < t.Now.UnixMilli() || len(p.User) != 32:
			gone = append(gone, key)
		default:
			e.parked[identity.UserID(p.User)]++
		}
		return true
	})
	for _, key := range gone {
		t.Tx.Delete(store.BucketParked, key)
	}
}

// accept acts on what was said, once, and acknowledges; it reports whether it did.
func (e *Engine) accept(t *Turn, a arrival) bool {
	if a.contact != nil && a.contact.State == contactBlocked && !a.own {
		return false
	}
	if e.self.Removed && a.content.Kind != chat.KindAck {
		return false // who gets no acknowledgement sends it to the devices that are listed
	}
	e.desk(t).Witness(a.content.SentAt)
	e.noteHeads(t, a)
	known := t.Tx.Get(store.BucketMessages, a.id[:]) != nil
	if !known && !e.dispatch(t, a) {
		e.stats.Dropped++
		return false
	}
	if unacked(e.seenContact(t, a.sender.User), a) {
		return false
	}
	if a.content.Kind != chat.KindAck && !passing(a.content.Kind) {
		at := t.Now
		if several(a.content.Kind) {
			at = at.Add(ackGather)
		}
		e.acknowledge(t, a.sender.Device(), a.id, at)
	}
	e.heard(t, a.sender.Device())
	if a.own {
		e.compareHistory(t, a.sender.Device())
	}
	if known {
		e.stats.Duplicate++
	}
	return true
}

// dispatch acts by kind; false means that this sender may not say this.
func (e *Engine) dispatch(t *Turn, a arrival) bool {
	friend := e.mayTalk(t, a)
	if friend {
		e.heardGroup(t, a)
	}
	switch a.content.Kind {
	case chat.KindJoin:
		return e.gotJoin(t, a)
	case chat.KindWelcome:
		return e.gotWelcome(t, a)
	case chat.KindAck:
		return e.gotAck(t, a)
	case chat.KindRead:
		return friend && e.gotRead(t, a)
	case chat.KindReach:
		return friend && e.gotReach(t, a)
	case chat.KindRecords:
		return friend && e.gotRecords(t, a)
	case chat.KindSync:
		return a.own && e.gotSync(t, a)
	case chat.KindProfile:
		return friend && e.gotProfile(t, a)
	case chat.KindRequest:
		return e.gotRequest(t, a)
	case chat.KindReact, chat.KindEdit, chat.KindUnsend:
		return friend && e.heardAt(t, a, (*talk.Desk).Act)
	case chat.KindTyping:
		return friend && e.gotTyping(t, a)
	case chat.KindHistory:
		return a.own && e.gotHistory(t, a)
	case chat.KindMissing:
		return friend && e.gotMissing(t, a)
	case chat.KindGone:
		return friend && e.gotGone(t, a)
	case chat.KindGroup:
		return friend && e.gotGroup(t, a)
	case chat.KindGroupAsk:
		return e.gotGroupAsk(t, a)
	}
	if !a.content.Kind.Visible() {
		return friend // of a later version: nothing for people, and nothing to repeat
	}
	e.stopped(t, a)
	if e.asksByText(t, a) {
		return false
	}
	return friend && e.heardAt(t, a, (*talk.Desk).Message)
}

// heardAt has a desk take in what somebody said in a conversation.
func (e *Engine) heardAt(t *Turn, a arrival, take func(*talk.Desk, talk.Arrival) bool) bool {
	d := e.desk(t)
	ok := take(d, e.arrival(a))
	e.carry(t, d)
	return ok
}

// several reports whether content of a kind is seldom alone: what it says fills several envelopes. Nobody sees when it arrived, so that
// one acknowledgement waits for all of them.
func several(k chat.Kind) bool {
	return k == chat.KindReach || k == chat.KindRecords || k == chat.KindSync || k == chat.KindHistory || k == chat.KindProfile
}

// acknowledge tells the author's device that the message is on our disk: one envelope for all that arrived since the
// last, due at a time (a mailbox adds its jitter in goDirect).
func (e *Engine) acknowledge(t *Turn, device identity.DeviceID, id chat.ID, at time.Time) {
	dev := e.peerDevice(t, device)
	if dev == nil {
		return
	}
	if n, ok := e.out.Acks[device]; ok {
		if d := e.delivery(t, n); d != nil && len(d.Acks) < chat.ToldIDs {
			if !slices.ContainsFunc(d.Acks, func(o []byte) bool { return string(o) == string(id[:]) }) {
				d.Acks = append(d.Acks, id[:])
			}
			e.put(t, n, d, earlier(unixMilli(d.Next), at))
			return
		}
	}
	if e.out.Waiting(device) >= maxAckedTo {
		return
	}
	n := store.NextCounter(t.Tx, counterDelivery)
	e.out.Add(n, device, at)
	e.out.Acks[device] = n
	e.put(t, n, &pb.Delivery{
		Device: device[:], User: dev.User, Kind: uint32(chat.KindAck), Stage: view.StageQueued.Number(),
		Acks: [][]byte{id[:]}, Created: t.Now.UnixMilli(), Expires: t.Now.Add(Retention).UnixMilli(),
	}, at)
}

// ackContent is the acknowledgement's content, made when it is sealed.
func (e *Engine) ackContent(t *Turn, d *pb.Delivery, dev *pb.PeerDevice) []byte {
	payload, err := proto.Marshal(&chatpb.Ids{Ids: d.Acks})
	if err != nil {
		return nil
	}
	c, err := chat.New(t.Rand, chat.KindAck, chat.Direct(e.user, identity.UserID(dev.User)), e.desk(t).Stamp(), payload)
	if err != nil {
		return nil
	}
	return c.Bytes()
}
