package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// ask is an audit whose answer is on its way. A crash forgets it; the next day's takes its place.
type ask struct {
	nonce    [32]byte
	envelope mailbox.EnvelopeID
	box      mailbox.ID
}

func askKey(n uint64, relay []byte) string { return string(store.U64(n)) + string(relay) }

// reviewAt is when a delivery is looked at apart from its attempts: to audit who signed for it, or to warn of its end.
func (e *Engine) reviewAt(d *pb.Delivery) time.Time {
	at := unixMilli(d.Audit)
	if d.Audit >= d.Expires {
		at = time.Time{} // no more audits
	}
	if !d.Warned && chat.Kind(d.Kind).Visible() {
		at = earlier(at, unixMilli(d.Expires).Add(-warnBefore))
	}
	return earlier(at, unixMilli(e.unreachedAt(d)))
}

func firstAudit(t *Turn) time.Time { return t.Now.Add(auditFirst + jitter(t.Rand, auditFirst/2)) }

func (e *Engine) tickReviews(t *Turn) {
	nonces := map[string][32]byte{}
	for _, n := range e.reviews.Take(t.Now) {
		d := e.delivery(t, n)
		if d == nil {
			continue
		}
		e.warnOfEnd(t, d)
		e.unreached(t, d)
		if d.Audit == 0 && len(d.Receipts) > 0 { // of a build that did not audit: loadOutbox chose the time
			d.Audit = millis(t.Now)
		}
		if due(unixMilli(d.Audit), t.Now) {
			e.audit(t, n, d, nonces)
		}
		e.put(t, n, d, e.out.At(n))
	}
}

// warnOfEnd tells once that a message is about to expire.
func (e *Engine) warnOfEnd(t *Turn, d *pb.Delivery) {
	if d.Warned || !chat.Kind(d.Kind).Visible() || !ending(d, t.Now) {
		return
	}
	end := unixMilli(d.Expires)
	if d.Warned = true; !t.Now.Before(end) {
		return // it ended while this device was off
	}
	step(t, d, "expiring", "")
	e.endNotice(t, d, "expiring", "not delivered yet; it is tried until "+end.UTC().Format(time.DateOnly))
}

// ending says whether the last days of a delivery have begun.
func ending(d *pb.Delivery, now time.Time) bool {
	return !now.Before(unixMilli(d.Expires).Add(-warnBefore))
}

// endNotice tells that a message is about to expire, or has: once for a person, however many devices they have, and not
// of our own.
func (e *Engine) endNotice(t *Turn, d *pb.Delivery, what, text string) {
	m := &pb.Message{}
	if !chat.Kind(d.Kind).Visible() || string(d.User) == string(e.user[:]) || !store.Row(t.Tx, store.BucketMessages, d.Message, m) {
		return
	}
	for _, o := range m.Done {
		if view.StageOf(o.Stage) == view.StageExpired && string(o.User) == string(d.User) && string(o.Device) != string(d.Device) {
			return
		}
	}
	for _, n := range m.Pending {
		o := &pb.Delivery{}
		if what == "expiring" && store.Row(t.Tx, store.BucketOutbox, store.U64(n), o) && o.Warned && string(o.User) == string(d.User) {
			return
		}
	}
	v := talk.DeliveryView(t.Tx, e.user, d)
	e.notice(t, view.Notice{Type: what, ID: shortID(d.Message), Stage: &v, Text: text})
}

// audit asks one relay that signed to prove that it holds the envelope: the one that was asked longest ago, any of them
// if several are; and each that has failed a proof since it was asked. So every holder has its turn within R days.
func (e *Engine) audit(t *Turn, n uint64, d *pb.Delivery, nonces map[string][32]byte) {
	d.Audit = millis(t.Now.Add(auditEvery - auditJitter/2 + jitter(t.Rand, auditJitter)))
	for i := len(d.Receipts) - 1; i >= 0; i-- {
		if r := d.Receipts[i]; r.Buried != 0 && t.Now.Sub(unixMilli(r.Buried)) >= buriedGrace {
			e.void(t, n, d, i, "the relay says that the device has it, and the device does not")
		}
	}
	if len(d.Envelope) == 0 || len(d.Receipts) == 0 {
		d.Audit = 0
		return
	}
	if t.Now.Add(promiseSlack).UnixMilli() > d.Expires {
		d.Audit = d.Expires
		return
	}
	last := slices.MinFunc(d.Receipts, func(a, b *pb.Receipt) int { return int(min(max(a.Asked-b.Asked, -1), 1)) }).Asked
	var turn []*pb.Receipt
	for _, r := range d.Receipts {
		if r.Asked == last {
			turn = append(turn, r)
		} else if e.brokeAt(t, r.Relay) >= r.Asked {
			e.askProof(t, n, d, r, nonces)
		}
	}
	e.askProof(t, n, d, turn[int(jitter(t.Rand, time.Duration(len(turn))))], nonces)
}

// askProof plans one question. Those of one turn to one relay about one box share a nonce, so that they can travel together.
func (e *Engine) askProof(t *Turn, n uint64, d *pb.Delivery, r *pb.Receipt, nonces map[string][32]byte) {
	r.Asked = t.Now.UnixMilli()
	key := string(r.Relay) + string(d.SetBox)
	nonce, drawn := nonces[key]
	if !drawn {
		raw, err := draw(t.Rand, 32)
		if err != nil {
			return
		}
		nonce = [32]byte(raw)
		nonces[key] = nonce
	}
	a := ask{nonce: nonce, envelope: mailbox.EnvelopeIDOf(d.Envelope), box: mailbox.ID(d.SetBox)}
	e.asks[askKey(n, r.Relay)] = a
	t.Out.Audits = append(t.Out.Audits, Audit{
		Ref: n, Relay: e.relayPeer(t, d, r.Relay), Box: a.box, Envelope: a.envelope, Nonce: nonce,
	})
}

// relayPeer is a relay of the set that a delivery went to, with the addresses that we know.
func (e *Engine) relayPeer(t *Turn, d *pb.Delivery, relay []byte) dht.Peer {
	if dev := e.peerDevice(t, identity.DeviceID(d.Device)); dev != nil {
		if set := e.setOf(dev, d.SetBox); set != nil {
			for m := range set.EachMember() {
				if string(m.Peer.ID) == string(relay) {
					return e.reached(t, m.Peer)
				}
			}
		}
	}
	row, _ := e.seenRelay(t, relay)
	return dht.Peer{ID: row.Peer, Addrs: row.Addrs}
}

// Audited gives a relay's answer to an Audit, or why it could not be asked. Silence proves nothing; an envelope that
// the relay signed for and cannot show voids its receipt, and the copy goes elsewhere.
func (e *Engine) Audited(t *Turn, n uint64, relay []byte, p mailbox.Possession, err error) {
	a, asked := e.asks[askKey(n, relay)]
	delete(e.asks, askKey(n, relay))
	refusal := asRefusal(err)
	e.answered(t, relay, err == nil || refusal != nil, err)
	if !asked || err != nil && (refusal == nil || refusal.Code != mailbox.NotMine) {
		return
	}
	d := e.delivery(t, n)
	if d == nil || len(d.Envelope) == 0 || mailbox.EnvelopeIDOf(d.Envelope) != a.envelope || string(d.SetBox) != string(a.box[:]) {
		return // sealed anew meanwhile, or for another box
	}
	i, holds := receiptOf(d, relay), err == nil && p.State == mailbox.Holds && p.Proof == mailbox.ProofOf(a.nonce, d.Envelope)
	switch {
	case i < 0:
		if j := voidedOf(d, relay); j >= 0 && holds {
			r := d.Voided[j]
			d.Voided = slices.Delete(d.Voided, j, j+1)
			e.countReceipt(t, n, d, r)
		}
		return
	case holds:
		return
	case err == nil && p.State == mailbox.Buried:
		if r := d.Receipts[i]; r.Buried == 0 {
			r.Buried = t.Now.UnixMilli()
			d.Audit = min(d.Audit, millis(t.Now.Add(buriedGrace)))
			e.put(t, n, d, e.out.At(n))
		}
		return
	}
	e.void(t, n, d, i, "the relay could not show what it had signed for")
	nonces := map[string][32]byte{}
	for _, r := range d.Receipts { // where one lies, others may
		e.askProof(t, n, d, r, nonces)
	}
	e.put(t, n, d, e.out.At(n))
	e.broken(t, relay)
	e.flush(t)
}

// keepReceipt takes a relay's word. One that broke its word before is believed with the proof that it has the envelope.
func (e *Engine) keepReceipt(t *Turn, n uint64, d *pb.Delivery, r *mailbox.Receipt) {
	if receiptOf(d, r.Relay) >= 0 {
		return
	}
	e.tookRoom(t, n, r.Relay, d.SetBox)
	left(d, t.Now)
	row := &pb.Receipt{Relay: r.Relay, Stored: r.StoredAt.UnixMilli(), Expires: r.ExpiresAt.UnixMilli()}
	if voidedOf(d, r.Relay) < 0 && e.brokeAt(t, r.Relay) == 0 {
		e.countReceipt(t, n, d, row)
		return
	}
	setVoided(d, row)
	e.out.Items[n].Failed[string(r.Relay)] = true // not again in this attempt
	e.askProof(t, n, d, row, map[string][32]byte{})
	next := unixMilli(d.Next)
	if !e.roundOver(t, n, d) {
		e.put(t, n, d, next)
	}
}

// countReceipt counts a receipt towards custody.
func (e *Engine) countReceipt(t *Turn, n uint64, d *pb.Delivery, r *pb.Receipt) {
	d.Receipts = append(d.Receipts, r)
	if first := millis(firstAudit(t)); d.Audit == 0 || len(d.Voided) > 0 {
		d.Audit = min(first, cmp.Or(d.Audit, first)) // it stands in for one that lied
	}
	step(t, d, "custody", fmt.Sprintf("%d of %d relays signed", len(d.Receipts), d.SetR))
	next := unixMilli(d.Next)
	if len(d.Receipts) >= int(d.SetW) {
		e.stage(t, n, d, view.StageCustody, "")
		if d.Kind == uint32(chat.KindAck) {
			e.finish(t, n, view.StageDelivered, "")
			return
		}
	}
	if len(d.Receipts) >= int(d.SetR) {
		next = t.Now.Add(recheckCustody)
	}
	if !e.roundOver(t, n, d) {
		e.put(t, n, d, next)
	}
	if len(d.Receipts) >= int(d.SetW) {
		e.stageNotice(t, n, d)
	}
}

func voidedOf(d *pb.Delivery, relay []byte) int {
	return slices.IndexFunc(d.Voided, func(r *pb.Receipt) bool { return string(r.Relay) == string(relay) })
}

func setVoided(d *pb.Delivery, r *pb.Receipt) {
	if i := voidedOf(d, r.Relay); i >= 0 {
		d.Voided[i] = r
		return
	}
	d.Voided = append(d.Voided, r)
}

// void takes a receipt out of the count. Custody that falls below its quorum is not shown as custody any more.
func (e *Engine) void(t *Turn, n uint64, d *pb.Delivery, i int, why string) {
	r := d.Receipts[i]
	d.Receipts = slices.Delete(d.Receipts, i, i+1)
	setVoided(d, r)
	step(t, d, "voided", fmt.Sprintf("%s: %s; %d of %d relays left", shortPeer(r.Relay), why, len(d.Receipts), d.SetR))
	if view.StageOf(d.Stage) == view.StageCustody {
		if len(d.Receipts) < int(d.SetW) {
			d.Stage = view.StageQueued.Number()
		}
		e.stageNotice(t, n, d)
	}
	e.out.Restart(n, t.Now)
}

// broken acts on a relay that could not show what it had signed for: whatever else it signed for is looked at now.
func (e *Engine) broken(t *Turn, relay []byte) {
	if !e.distrust(t, relay) {
		return
	}
	if e.serves(t, relay) {
		e.warn(t, "relay "+shortPeer(relay)+" does not keep what it signs for")
		e.planElection(t, 0)
	}
	e.auditOthers(t, relay)
}

// auditOthers audits, out of turn, whatever else a relay signed for that broke its word.
func (e *Engine) auditOthers(t *Turn, relay []byte) {
	held := map[uint64]*pb.Delivery{}
	t.Tx.Scan(store.BucketOutbox, nil, func(key, value []byte) bool {
		d := &pb.Delivery{}
		if proto.Unmarshal(value, d) == nil && len(d.Envelope) > 0 && receiptOf(d, relay) >= 0 {
			held[fromU64(key)] = d
		}
		return true
	})
	nonces := map[string][32]byte{}
	for _, n := range slices.Sorted(maps.Keys(held)) {
		d := held[n]
		e.noteSent(n, d)
		e.askProof(t, n, d, d.Receipts[receiptOf(d, relay)], nonces)
		e.put(t, n, d, e.out.At(n))
	}
}

func receiptOf(d *pb.Delivery, relay []byte) int {
	return slices.IndexFunc(d.Receipts, func(r *pb.Receipt) bool { return string(r.Relay) == string(relay) })
}

// brokeAt is when a relay last broke its word, as far as that still counts; 0: it has not.
func (e *Engine) brokeAt(t *Turn, relay []byte) int64 {
	row, _ := e.seenRelay(t, relay)
	if t.Now.Sub(unixMilli(row.Broke)) > election.ProofMemory {
		return 0
	}
	return row.Broke
}

// room is a box at a relay that was full when we came, and who waits for room in it.
type room struct {
	relay   dht.Peer
	box     mailbox.ID
	waiting map[uint64]bool
	asked   bool // the relay will tell
	tried   bool // it did, and somebody went
	vain    int  // ... how often in a row for nothing
}

func roomKey(relay, box []byte) string { return string(relay) + string(box) }

// awaitRoom has a delivery wait until a relay says that its box has room.
func (e *Engine) awaitRoom(t *Turn, n uint64, d *pb.Delivery, relay []byte) {
	key := roomKey(relay, d.SetBox)
	r := e.rooms[key]
	if r == nil {
		r = &room{relay: e.relayPeer(t, d, relay), box: mailbox.ID(d.SetBox), waiting: map[uint64]bool{}}
		e.rooms[key] = r
	}
	r.waiting[n] = true
	if r.tried {
		r.tried = false
		r.vain++
	}
	e.askRoom(t, r)
}

// askRoom asks a relay to tell when there is room. One that says so and then has none is not asked again and again.
func (e *Engine) askRoom(t *Turn, r *room) {
	if !r.asked && len(r.waiting) > 0 && r.vain < maxVain {
		r.asked = true
		t.Out.Awaits = append(t.Out.Awaits, Await{Relay: r.relay, Box: r.box})
	}
}

// tookRoom notes that a relay took something: there may be room for others that wait.
func (e *Engine) tookRoom(t *Turn, n uint64, relay, box []byte) {
	r := e.rooms[roomKey(relay, box)]
	if r == nil {
		return
	}
	delete(r.waiting, n)
	r.tried, r.vain = false, 0
	if len(r.waiting) == 0 && !r.asked {
		delete(e.rooms, roomKey(relay, box))
		return
	}
	e.askRoom(t, r)
}

// Freed says that a box may have room again, or why the wait ended without that. A few of those that wait go at once;
// if they find room, others follow.
func (e *Engine) Freed(t *Turn, relay []byte, box mailbox.ID, err error) {
	r := e.rooms[roomKey(relay, box[:])]
	if r == nil {
		return
	}
	r.asked = false
	if err != nil {
		return // each tries again by its own clock, or when the relay is connected again
	}
	went := 0
	for _, n := range slices.Sorted(maps.Keys(r.waiting)) {
		if went == freedBatch {
			break
		}
		delete(r.waiting, n)
		if e.out.Items[n] != nil {
			e.out.Restart(n, t.Now)
			went++
		}
	}
	if r.tried = went > 0; !r.tried {
		delete(e.rooms, roomKey(relay, box[:]))
	}
	e.flush(t)
}

// askRooms takes the waits at a relay up again after its connection was lost.
func (e *Engine) askRooms(t *Turn, relay []byte) {
	for _, key := range slices.Sorted(maps.Keys(e.rooms)) {
		if r := e.rooms[key]; string(r.relay.ID) == string(relay) {
			e.askRoom(t, r)
		}
	}
}

// Rearm gives a message whose deliveries expired, or are about to, another 30 days: sealed anew, for the devices that
// are listed now and do not have it.
func (e *Engine) Rearm(t *Turn, id string) (view.Status, error) {
	m, err := talk.FindMessage(t.Tx, id)
	if err != nil {
		return view.Status{}, err
	}
	c := &pb.Contact{}
	if !m.Mine || string(m.Device) != string(e.device[:]) || len(m.Contact) != 32 || !store.Row(t.Tx, store.BucketContacts, m.Contact[:talk.ContactKeySize], c) {
		return view.Status{}, &view.Problem{Class: view.ErrRefused, Message: "only the device that sent a message can send it again", Hint: "kith status " + id}
	}
	if talk.Wiped(m) {
		return view.Status{}, &view.Problem{Class: view.ErrRefused, Message: "nothing of this message is left", Hint: "kith status " + id}
	}
	if err := e.maySend(c); err != nil {
		return view.Status{}, err
	}
	list := e.listOf(t, identity.UserID(c.User))
	expired := list != nil && slices.ContainsFunc(m.Done, func(d *pb.Done) bool { return view.StageOf(d.Stage) == view.StageExpired })
	if n := e.rearmPending(t, m); n == 0 && !expired {
		return view.Status{}, &view.Problem{Class: view.ErrRefused, Message: "nothing of this message has expired, or is about to", Hint: "kith status " + id}
	}
	if expired {
		m.Done = slices.DeleteFunc(m.Done, func(d *pb.Done) bool { return view.StageOf(d.Stage) == view.StageExpired })
		for _, d := range deviceIDs(list) {
			e.resend(t, m, d, list.User())
		}
		for _, d := range e.siblings() {
			e.resend(t, m, d, e.user)
		}
	}
	store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	e.flush(t)
	return talk.Status(t.Tx, id)
}

// rearmPending gives those deliveries of m on their way that are about to expire another 30 days, and counts them.
func (e *Engine) rearmPending(t *Turn, m *pb.Message) (n int) {
	for _, p := range m.Pending {
		if d := e.delivery(t, p); d != nil && ending(d, t.Now) {
			d.Expires, d.Warned = t.Now.Add(Retention).UnixMilli(), false
			e.again(t, p, d, "another 30 days")
			n++
		}
	}
	return n
}

// resend adds a delivery of m for a device that neither has it nor is about to.
func (e *Engine) resend(t *Turn, m *pb.Message, device identity.DeviceID, user identity.UserID) {
	has := slices.ContainsFunc(m.Done, func(d *pb.Done) bool {
		return string(d.Device) == string(device[:]) && view.StageOf(d.Stage) != view.StageDropped
	})
	for _, n := range m.Pending {
		if it := e.out.Items[n]; it != nil && it.Device == device {
			has = true
		}
	}
	if !has {
		e.enqueue(t, m, device, user)
	}
}
