package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func fromU64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func (e *Engine) delivery(t *Turn, n uint64) *pb.Delivery {
	row := e.rows.outbox.Get(t.Tx, store.U64(n))
	if row == nil {
		return nil
	}
	d := store.CopyDelivery(row)
	e.noteSent(n, d)
	return d
}

// put saves a delivery with its next attempt.
func (e *Engine) put(t *Turn, n uint64, d *pb.Delivery, next time.Time) {
	if end := unixMilli(d.Expires); next.After(end) {
		next = end // it is told on time that it has expired
	}
	d.Next = millis(next)
	e.out.Schedule(n, next)
	e.reviews.Set(n, e.reviewAt(d))
	e.rows.outbox.Put(t.Tx, store.U64(n), store.CopyDelivery(d))
}

func step(t *Turn, d *pb.Delivery, what, detail string) { addStep(d, t.Now, what, detail) }

func addStep(d *pb.Delivery, at time.Time, what, detail string) {
	s := &pb.Step{At: at.UnixMilli(), What: what, Detail: detail}
	if len(d.Steps) >= maxSteps {
		d.Steps[maxSteps-1] = s // keep how it began and how it stands
		return
	}
	d.Steps = append(d.Steps, s)
}

// attempt takes one delivery as far as it gets now: sealed, over the direct stream, then to the relays.
func (e *Engine) attempt(t *Turn, n uint64) {
	it, d := e.out.Items[n], e.delivery(t, n)
	if d == nil {
		e.out.Remove(n)
		return
	}
	if t.Now.UnixMilli() >= d.Expires {
		e.finish(t, n, view.StageExpired, "30 days passed without an acknowledgement")
		return
	}
	dev := e.peerDevice(t, it.Device)
	if dev != nil && string(dev.User) != string(d.User) && len(dev.Record) == 0 {
		e.put(t, n, d, unixMilli(d.Expires)) // two people claim the device: learnRecord settles it, and wakes this
		return
	}
	if dev == nil || string(dev.User) != string(d.User) {
		e.finish(t, n, view.StageDropped, "the device is not listed any more")
		return
	}
	if c := e.seenContact(t, identity.UserID(dev.User)); c != nil && held(c) && (len(c.NextList) > 0 || d.Kind != uint32(chat.KindRecords)) {
		e.put(t, n, d, unixMilli(d.Expires)) // AcceptContact wakes it before
		return
	}
	if m := (&pb.Message{}); len(d.Envelope) == 0 && len(d.Acks) == 0 && talk.Row(t.Tx, d.Message, m) && talk.Wiped(m) {
		e.finish(t, n, view.StageDropped, "it was taken back, or its time was over")
		return
	}
	if len(d.Acks) == 0 && mend.LookAgain(dev, unixMilli(d.Created), t.Now) { // a newer bundle would say that it is there: reinit
		e.saveDevice(t, dev)
		e.need(t, dht.DeviceKey(it.Device))
	}
	if len(d.Envelope) == 0 && !e.sealDelivery(t, n, d, dev) {
		next := unixMilli(d.Expires) // learnRecord wakes it before
		e.put(t, n, d, earlier(next, e.openings.Until(it.Device, t.Now)))
		return
	}
	if _, first := session.ParseFirstFlight(d.Envelope); first && t.Now.Sub(unixMilli(dev.Begun)) >= reinitAfter {
		e.need(t, dht.DeviceKey(it.Device)) // never answered: with a newer bundle it is made anew
	}
	if !it.Direct && dev.Endpoint != nil && !e.byDoor(t, d, dev) {
		it.Direct = true
		e.goDirect(t, n, d, dev)
		return
	}
	it.Direct, it.Moved = false, 0
	e.goRelays(t, n, d, dev)
}

// goDirect writes to the device's stream, unless it is about to be written there, and gives it a head start before relays get a copy.
func (e *Engine) goDirect(t *Turn, n uint64, d *pb.Delivery, dev *pb.PeerDevice) {
	if it := e.out.Items[n]; !it.Writes {
		it.Writes = true
		t.Out.Directs = append(t.Out.Directs, Direct{Ref: n, Peer: toPeer(dev.Endpoint), Envelope: d.Envelope})
	}
	wait := dialHeadStart
	if e.live[string(dev.Endpoint.Id)] {
		wait = headStart
	} else if len(d.Acks) > 0 {
		wait += jitter(t.Rand, ackJitter)
	}
	e.put(t, n, d, t.Now.Add(wait))
}

// DirectDone says whether an envelope was written to its device's stream. That is not yet an arrival, except that
// nobody acknowledges an acknowledgement. Of what was sealed anew meanwhile it says nothing.
func (e *Engine) DirectDone(t *Turn, x Direct, sent bool) {
	n := x.Ref
	it, d := e.out.Items[n], e.delivery(t, n)
	if it == nil || d == nil || string(d.Envelope) != string(x.Envelope) {
		return
	}
	it.Writes = false
	switch {
	case !sent && e.streamBusy(t, it):
		wait := busyWait << it.Busy
		it.Busy++
		it.Direct = false
		e.put(t, n, d, t.Now.Add(wait+jitter(t.Rand, wait)))
	case !sent:
		if it.Direct {
			e.attempt(t, n)
		}
	case d.Kind == uint32(chat.KindAck):
		e.finish(t, n, view.StageDelivered, "")
	default:
		it.Sent = t.Now // goes to disk with the next change: an fsync of its own would only delay the answer
		if !it.Direct {
			it.Direct = true
			e.out.Schedule(n, t.Now.Add(headStart))
		}
	}
}

// streamBusy reports whether a write that failed was one too many rather than one to nobody: the connection stands. A
// few short waits then beat the long way.
func (e *Engine) streamBusy(t *Turn, it *outbox.Item) bool {
	if !it.Direct || it.Busy >= maxBusy {
		return false
	}
	dev := e.peerDevice(t, it.Device)
	return dev != nil && dev.Endpoint != nil && e.live[string(dev.Endpoint.Id)]
}

// noteSent brings what only memory knows of a delivery into its row.
func (e *Engine) noteSent(n uint64, d *pb.Delivery) {
	it := e.out.Items[n]
	if it == nil || it.Sent.IsZero() || d.Sent == it.Sent.UnixMilli() {
		return
	}
	d.Sent = it.Sent.UnixMilli()
	left(d, it.Sent)
	addStep(d, it.Sent, "direct", "written to the device's stream")
}

// left notes when the first copy of an envelope left: from then on hearing of its device without an acknowledgement counts.
func left(d *pb.Delivery, at time.Time) {
	if d.Left == 0 {
		d.Left = at.UnixMilli()
	}
}

// goRelays deposits at every member of the device's set that has not signed yet; when one cannot be reached, at a standby.
func (e *Engine) goRelays(t *Turn, n uint64, d *pb.Delivery, dev *pb.PeerDevice) {
	it := e.out.Items[n]
	age := t.Now.Sub(unixMilli(d.Created))
	set := e.route(t, dev, len(d.Envelope))
	if d.SetW > 0 && len(d.Receipts) >= int(d.SetW) {
		if set = e.setOf(dev, d.SetBox); set == nil { // it lies in an earlier epoch's box, which the device still empties
			e.put(t, n, d, t.Now.Add(recheckCustody))
			return
		}
	}
	if set == nil {
		e.stage(t, n, d, view.StageWaiting, "no relay of the device is known")
		d.Attempts++
		e.put(t, n, d, t.Now.Add(backoff(t.Rand, int(d.Attempts), age)))
		return
	}
	if box := set.BoxID(); string(d.SetBox) != string(box[:]) {
		d.SetBox, d.Receipts, d.Voided = box[:], nil, nil // another box: a tombstone of the one before is none here
	}
	if view.StageOf(d.Stage) == view.StageWaiting {
		e.stage(t, n, d, view.StageQueued, "")
	}
	d.SetNumber, d.SetW, d.SetR = set.Number(), uint32(set.W()), uint32(activeMembers(set))
	targets := e.depositTargets(t, set, d, it)
	for _, p := range targets {
		it.Asked[string(p.ID)] = true
		x := mailbox.Deposit{Box: mailbox.ID(set.BoxID()), Envelope: d.Envelope, Expires: unixMilli(d.Expires), SetNumber: set.Number()}
		if !it.Bare[string(p.ID)] {
			x.Pass = e.passFor(t, dev, set, p.ID)
		}
		t.Out.Deposits = append(t.Out.Deposits, Deposit{Ref: n, Relay: e.reached(t, p), Deposit: x})
	}
	if len(targets) > 0 || len(it.Asked) > 0 {
		d.Attempts++
		if len(targets) > 0 {
			step(t, d, "deposit", fmt.Sprintf("at %d of %d relays", len(targets), d.SetR))
		}
		e.put(t, n, d, t.Now.Add(backoff(t.Rand, int(d.Attempts)+2, age)))
		return
	}
	e.put(t, n, d, t.Now.Add(recheckCustody))
}

// depositTargets picks the relays to ask now: members without a receipt, and as many standbys as members failed. Those
// that broke their word come last, where there are too few others for custody.
func (e *Engine) depositTargets(t *Turn, set *dht.SetRecord, d *pb.Delivery, it *outbox.Item) []dht.Peer {
	have := 0
	var out, last []dht.Peer
	for m := range set.EachMember() {
		voided := voidedOf(d, m.Peer.ID)
		switch {
		case receiptOf(d, m.Peer.ID) >= 0 || it.Asked[string(m.Peer.ID)]:
			have++
		case it.Failed[string(m.Peer.ID)] || have+len(out) >= activeMembers(set):
		case voided >= 0 && d.Voided[voided].Buried != 0: // it would sign for a tombstone again
		case voided >= 0 || e.brokeAt(t, m.Peer.ID) != 0:
			last = append(last, m.Peer)
		default:
			out = append(out, m.Peer)
		}
	}
	for _, p := range last {
		if have+len(out) < int(set.W()) {
			out = append(out, p)
		}
	}
	return out
}

// Deposited gives a relay's answer: its receipt, a *mailbox.Refusal, or why it could not be asked.
func (e *Engine) Deposited(t *Turn, n uint64, relay []byte, r *mailbox.Receipt, err error) {
	it, d := e.out.Items[n], e.delivery(t, n)
	e.answered(t, relay, err == nil || isRefusal(err), err)
	if it == nil || d == nil {
		return
	}
	delete(it.Asked, string(relay))
	switch {
	case err != nil || r == nil:
		e.refused(t, n, d, relay, err)
	case len(d.Envelope) == 0 || mailbox.EnvelopeIDOf(d.Envelope) != r.Envelope || string(d.SetBox) != string(r.Box[:]):
		e.out.Restart(n, t.Now) // the answer is for a copy that was sealed anew, or for another box, meanwhile
	case r.ExpiresAt.Before(unixMilli(d.Expires).Add(-promiseSlack)):
		e.refused(t, n, d, relay, &mailbox.Refusal{Code: mailbox.Expired, Detail: "it would not keep it long enough"})
	default:
		e.keepReceipt(t, n, d, r)
	}
}

// roundOver looks, when the last relay that was asked has answered, whether too few signed: then standbys are asked at
// once, and it reports so; else the next attempt, after the back-off, begins anew with those that failed.
func (e *Engine) roundOver(t *Turn, n uint64, d *pb.Delivery) bool {
	it := e.out.Items[n]
	if len(it.Asked) > 0 || len(d.Receipts) >= int(d.SetR) {
		return false
	}
	if dev := e.peerDevice(t, it.Device); dev != nil && e.moreRelays(t, d, dev, it) {
		e.goRelays(t, n, d, dev)
		return true
	}
	clear(it.Failed)
	return false
}

// refused handles a deposit that was not taken: learn a newer set, wait for room, or go to a standby.
func (e *Engine) refused(t *Turn, n uint64, d *pb.Delivery, relay []byte, err error) {
	it := e.out.Items[n]
	it.Failed[string(relay)] = true
	refusal := asRefusal(err)
	next := unixMilli(d.Next)
	switch {
	case errors.Is(err, ErrBusy):
		step(t, d, "waits", "too much is on its way to relay "+shortPeer(relay))
	case refusal == nil:
		it.Away[string(relay)] = true
		step(t, d, "unreachable", "relay "+shortPeer(relay))
	case refusal.Code == mailbox.Full:
		e.stage(t, n, d, view.StageFull, refusal.Error())
		e.awaitRoom(t, n, d, relay)
		next = t.Now.Add(backoff(t.Rand, int(d.Attempts), outbox.RetryLate)) // the relay tells before; this is in case it does not
	case refusal.Code == mailbox.NotMine && len(refusal.Set) > 0 && it.Moved < maxMoves && e.learnSet(t, identity.DeviceID(d.Device), refusal.Set):
		it.Moved++
		step(t, d, "moved", "the relay knew a newer set")
		clear(it.Failed)
	case refusal.Code == mailbox.BadPass && !it.Bare[string(relay)]:
		step(t, d, "refused", shortPeer(relay)+": "+refusal.Error())
		it.Bare[string(relay)] = true
		delete(it.Failed, string(relay)) // at once again, as a stranger
		if dev := e.peerDevice(t, it.Device); dev != nil {
			e.askReach(t, dev)
		}
	default:
		step(t, d, "refused", shortPeer(relay)+": "+refusal.Error())
	}
	if !e.roundOver(t, n, d) {
		e.put(t, n, d, next)
	}
}

// moreRelays reports whether the set has relays that this attempt has not asked yet.
func (e *Engine) moreRelays(t *Turn, d *pb.Delivery, dev *pb.PeerDevice, it *outbox.Item) bool {
	set := e.route(t, dev, len(d.Envelope))
	return set != nil && len(e.depositTargets(t, set, d, it)) > 0
}

// stage moves a delivery forward; it never goes back, except between waiting, queued and full.
func (e *Engine) stage(t *Turn, n uint64, d *pb.Delivery, s view.Stage, why string) {
	old := view.StageOf(d.Stage)
	if old == s || old.Number() > view.StageFull.Number() && s.Number() < d.Stage {
		return
	}
	d.Stage = s.Number()
	if s == view.StageWaiting || s == view.StageFull {
		step(t, d, string(s), why)
	}
	if s != view.StageCustody {
		e.stageNotice(t, n, d)
	}
}

// finish ends a delivery: the envelope goes, what happened stays with the message.
func (e *Engine) finish(t *Turn, n uint64, s view.Stage, why string) {
	d := e.delivery(t, n)
	e.out.Remove(n)
	e.reviews.Set(n, time.Time{})
	if d == nil {
		return
	}
	e.rows.outbox.Delete(t.Tx, store.U64(n))
	step(t, d, string(s), why)
	d.Stage = s.Number()
	m := &pb.Message{}
	if !store.Row(t.Tx, store.BucketMessages, d.Message, m) {
		return
	}
	m.Pending = slices.DeleteFunc(m.Pending, func(o uint64) bool { return o == n })
	if len(m.Pending)+len(m.Done) > manyDone { // the row is written once a delivery: let it not grow with each
		d.Receipts, d.Steps = nil, nil
	}
	m.Done = append(m.Done, &pb.Done{
		Device: d.Device, User: d.User, Stage: d.Stage, Receipts: d.Receipts, Steps: d.Steps, Attempts: d.Attempts,
		Expires: d.Expires, SetW: d.SetW, SetR: d.SetR,
	})
	if !mend.Counted(chat.Kind(d.Kind)) && len(m.Pending) == 0 {
		t.Tx.Delete(store.BucketMessages, d.Message)
		e.stageNotice(t, n, d)
		return
	}
	store.PutRow(t.Tx, store.BucketMessages, d.Message, m)
	e.stageNotice(t, n, d)
	if s == view.StageDropped {
		e.stranded(t, d, m)
	}
	if s == view.StageExpired {
		e.endNotice(t, d, string(s), "not delivered within 30 days; it is kept, and can be sent again")
	}
}

// heard plans a look at what a device has not acknowledged: it is alive, so what left before now will be acknowledged
// soon, or was lost. Looking at once would seal a whole backlog anew that the device is just about to acknowledge.
func (e *Engine) heard(t *Turn, id identity.DeviceID) {
	if _, planned := e.checks[id]; !planned && e.out.Waiting(id) > 0 {
		e.checks[id] = t.Now.Add(repairAfter)
	}
}

func (e *Engine) tickRepair(t *Turn) {
	for _, id := range takeDue(e.checks, t.Now) {
		if dev := e.peerDevice(t, id); dev != nil && e.repair(t, dev) {
			e.checks[id] = t.Now.Add(repairAfter)
		}
	}
}

// repair seals anew what a device that was heard later has not acknowledged: the envelope was lost, or the
// acknowledgement. Relays remember the old envelope as done, so a new one it has to be. It reports whether something
// may have to be repaired later.
func (e *Engine) repair(t *Turn, dev *pb.PeerDevice) bool {
	later, renewed := false, false
	c := e.seenContact(t, identity.UserID(dev.User))
	for _, n := range e.out.OfDevice(identity.DeviceID(dev.Device)) {
		d := e.delivery(t, n)
		if d == nil || len(d.Envelope) == 0 || len(d.Acks) > 0 || d.Kind == uint32(chat.KindRequest) && c != nil && wanted(c) {
			continue
		}
		if d.Left == 0 || dev.Heard <= d.Left {
			continue
		}
		if t.Now.Sub(unixMilli(d.Left)) < repairAfter || t.Now.Sub(unixMilli(d.Resealed)) < repairPause(d.Repairs) {
			later = true
			continue
		}
		if d.Repairs >= renewRepairs && !renewed && mend.MayRenew(dev, t.Now) { // perhaps it cannot open what we seal
			renewed = true
			mend.Retire(dev, nil, t.Now)
			e.saveDevice(t, dev)
		}
		e.again(t, n, d, "the device is there and has not acknowledged")
	}
	return later
}

// repairPause is the least time between two repairs of one delivery.
func repairPause(repairs uint32) time.Duration {
	if repairs == 0 {
		return 0
	}
	return min(repairEvery<<min(repairs-1, 16), repairMax)
}

// again forgets the envelope of a delivery, so that its message is sealed anew.
func (e *Engine) again(t *Turn, n uint64, d *pb.Delivery, why string) {
	d.Envelope, d.Receipts, d.Voided, d.SetBox, d.Audit = nil, nil, nil, nil, 0
	d.Sent, d.Left, d.Resealed = 0, 0, t.Now.UnixMilli()
	d.Repairs++
	step(t, d, "again", why)
	if view.StageOf(d.Stage) == view.StageCustody { // nobody has signed for what is sealed next
		d.Stage = view.StageQueued.Number()
		e.stageNotice(t, n, d)
	}
	e.put(t, n, d, t.Now)
	e.out.Renew(n, t.Now)
}

// sealAnew seals everything for a device again that is not acknowledged yet: its sessions are of no use any more.
func (e *Engine) sealAnew(t *Turn, dev *pb.PeerDevice, why string) {
	for _, n := range e.out.OfDevice(identity.DeviceID(dev.Device)) {
		if d := e.delivery(t, n); d != nil && len(d.Envelope) > 0 && len(d.Acks) == 0 {
			e.again(t, n, d, why)
		}
	}
}

// reinit gives up the sessions with a device that has published a newer bundle and acknowledged nothing for two days: the
// secret of the bundle that our first flight used may be gone, or the device's side of the session.
func (e *Engine) reinit(t *Turn, dev *pb.PeerDevice, bundle *identity.Bundle) {
	sessions := e.sessions(t, dev)
	i := session.Choose(sessions)
	if c := e.contact(t, identity.UserID(dev.User)); c != nil && wanted(c) {
		return // who has not accepted us does not answer: that says nothing of its secrets
	}
	ns := e.out.OfDevice(identity.DeviceID(dev.Device))
	if i < 0 || len(ns) == 0 {
		return
	}
	unanswered := sessions[i].Initiated() && !sessions[i].Established()
	if unanswered && dev.BegunAt >= bundle.Number() {
		return
	}
	d := e.delivery(t, ns[0])
	if d == nil || t.Now.Sub(unixMilli(d.Created)) < reinitAfter {
		return
	}
	if (unanswered || mend.Silent(unixMilli(d.Left), bundle.Issued(), t.Now)) && mend.MayRenew(dev, t.Now) {
		e.lost(t, dev, nil, "nothing was acknowledged for two days")
	}
}

func isRefusal(err error) bool { return asRefusal(err) != nil }

func asRefusal(err error) *mailbox.Refusal {
	var r *mailbox.Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}
