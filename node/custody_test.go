package node_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// members are the relays of d's set, standbys apart.
func (w *world) members(d *device) (members, standbys []*relay) {
	var v view.Mailbox
	w.must(d.store.View(func(tx store.Tx) (err error) { v, err = node.Mailbox(tx, nil, w.now); return err }))
	for _, x := range v.Relays {
		for _, r := range w.relays {
			switch {
			case fmt.Sprintf("%x", r.self.ID) != x.Peer:
			case x.Member:
				members = append(members, r)
			case x.Standby:
				standbys = append(standbys, r)
			}
		}
	}
	return members, standbys
}

// Members that sign and keep nothing are found out within two hours, with the recipient away: their receipts do not count
// any more, and honest standbys get the copy. The control asks nobody, shows custody, and the message is gone with its
// sender.
func TestAuditsFindLiars(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		w, a, b := pair(t, "r1", "r2", "r3", "r4", "r5")
		w.pass(time.Minute)
		members, standbys := w.members(b)
		if len(members) != 3 || len(standbys) != 2 {
			t.Fatalf("%d members, %d standbys", len(members), len(standbys))
		}
		b.stop()
		for _, r := range members {
			r.lying = true
		}
		w.deaf = deaf
		id := a.send(b, "into thin air")
		w.pass(10 * time.Minute)
		if s := a.status(id); s.Stage != view.StageCustody || s.Deliveries[0].Custody != 3 {
			t.Fatalf("control: %+v", s.Deliveries[0])
		}
		w.pass(2 * time.Hour)
		s := a.status(id).Deliveries[0]
		if deaf {
			if s.Custody != 3 || s.Stage != view.StageCustody {
				t.Errorf("nobody was asked, and yet: %+v", s)
			}
		} else if s.Custody != 2 || s.Voided != 3 || s.Stage != view.StageCustody {
			t.Errorf("two standbys are honest: %+v\n%s", s, a.outbox())
		}
		a.stop() // for ever
		b.start()
		w.pass(time.Minute)
		if got := len(b.texts(a)); got != map[bool]int{false: 1, true: 0}[deaf] {
			t.Errorf("audits off %t: bob sees %d messages", deaf, got)
		}
	}
}

// One liar among honest members is found out in as many days as there are holders. What else it signed for is looked at
// at once, it serves nobody here any longer, and one that cannot be reached is no liar.
func TestOneLiarCostsItsPlace(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3", "r4", "r5", "r6")
	w.pass(time.Minute)
	members, _ := w.members(b)
	mine, _ := w.members(a)
	serves := contains(names(mine), members[0].name)
	b.stop()
	members[0].lying = true
	var ids []string
	for i := range 6 {
		ids = append(ids, a.send(b, text(i)))
	}
	w.pass(3 * day)
	for _, id := range ids {
		d := a.status(id).Deliveries[0]
		if d.Voided != 1 || d.Custody != 3 || d.Stage != view.StageCustody {
			t.Errorf("voided %d, custody %d, %s", d.Voided, d.Custody, d.Stage)
		}
	}
	if m, s := w.members(a); contains(names(m)+names(s), members[0].name) {
		t.Errorf("the liar still serves alice: %s, %s", names(m), names(s))
	}
	if serves && !a.warned("does not keep") {
		t.Error("alice is not told of her own relay")
	}

	away := a.status(ids[0]).Deliveries[0].Custody
	for _, r := range w.relays {
		r.up = false
	}
	w.pass(4 * day)
	if d := a.status(ids[0]).Deliveries[0]; d.Custody != away {
		t.Errorf("silence voided receipts: custody %d after %d", d.Custody, away)
	}
}

func names(in []*relay) (out string) {
	for _, r := range in {
		out += " " + r.name
	}
	return out
}

// Audits cost little: one question a day and undelivered message, after the first within the hour and a half.
func TestAuditsAreFew(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	w.pass(time.Minute)
	b.stop()
	w.pass(time.Hour)
	for i := range 10 {
		a.send(b, text(i))
	}
	w.audits = 0
	w.pass(40 * time.Minute)
	if w.audits != 0 {
		t.Errorf("%d audits in the first 40 minutes", w.audits)
	}
	w.pass(10 * day)
	// Ten texts for ten days, and the reaches of ten days, one a day at most.
	if w.audits < 10*9 || w.audits > 10*12+40 {
		t.Errorf("%d audits of 10 messages in 10 days", w.audits)
	}
}

// A relay that says that the device has acknowledged is believed for a day; without the device's own word its receipt is
// void then. It may have been the device, so that the relay keeps its name.
func TestBuriedWithoutAnAcknowledgement(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3", "r4", "r5")
	w.pass(time.Minute)
	members, _ := w.members(b)
	b.stop()
	id := a.send(b, "hello")
	w.pass(time.Minute)
	for _, r := range members { // as if the owner had: tombstones, and no word to alice
		w.must(r.do(func(tx mailbox.Tx) error {
			for _, p := range w.sent {
				if e, ok := tx.Find(p.box, mailbox.EnvelopeIDOf(p.envelope)); ok && p.relay == r && !e.Buried {
					if err := tx.Bury(p.box, e.ID); err != nil {
						return err
					}
				}
			}
			return nil
		}))
	}
	w.pass(20 * time.Hour)
	if d := a.status(id).Deliveries[0]; d.Custody != 3 || d.Voided != 0 {
		t.Errorf("within a day: %+v", d)
	}
	w.pass(5 * day)
	if d := a.status(id).Deliveries[0]; d.Voided != 3 || d.Custody != 2 {
		t.Errorf("after five days: voided %d, custody %d", d.Voided, d.Custody)
	}
	for _, r := range members {
		if row := a.relayRow(r); row.Broke != 0 {
			t.Errorf("%s has lost its name", r.name)
		}
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
}

// What a tombstone voids counts in its box alone: the next week's takes the copy at the same relays. The control is the
// week before, in which there is nowhere to go.
func TestATombstoneStandsForOneBox(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	w.pass(time.Minute)
	b.stop()
	id := a.send(b, "hello")
	w.pass(time.Minute)
	for _, r := range w.relays {
		for _, p := range w.sent {
			w.must(r.do(func(tx mailbox.Tx) error {
				if e, ok := tx.Find(p.box, mailbox.EnvelopeIDOf(p.envelope)); ok && p.relay == r && !e.Buried {
					return tx.Bury(p.box, e.ID)
				}
				return nil
			}))
		}
	}
	week := dht.EpochAt(w.now)
	w.pass(4 * day)
	if d := a.status(id).Deliveries[0]; dht.EpochAt(w.now) != week || d.Voided != 3 || d.Custody != 0 {
		t.Fatalf("control: epoch %d after %d, voided %d, custody %d", dht.EpochAt(w.now), week, d.Voided, d.Custody)
	}
	w.pass(8 * day)
	if d := a.status(id).Deliveries[0]; d.Voided != 0 || d.Custody != 3 || d.Stage != view.StageCustody {
		t.Errorf("in the next week's box: voided %d, custody %d, %s\n%s", d.Voided, d.Custody, d.Stage, a.outbox())
	}
}

func (d *device) relayRow(r *relay) *pb.Relay {
	row := &pb.Relay{}
	_ = d.store.View(func(tx store.Tx) error {
		return proto.Unmarshal(tx.Get(store.BucketRelays, r.self.ID), row)
	})
	return row
}

// A sender whose recipient's box is full hears of room by an event: the recipient comes and empties it, and the message
// goes in with no clock moving. The control has nobody to tell it, and waits.
func TestRoomByEvent(t *testing.T) {
	for _, tell := range []bool{true, false} {
		w, a, b := pair(t, "r1")
		r := w.relays[0]
		b.stop()
		a.links, b.links = map[string]bool{}, map[string]bool{}
		r.rules = mailbox.NewRelay(r.key, mailbox.Limits{NoWork: true, BoxCount: 1, BoxBytes: 1 << 20})
		a.send(b, "first")
		w.pass(time.Minute)
		id := a.send(b, "second")
		w.pass(time.Minute)
		if s := a.stage(id); s != view.StageFull || len(r.waits) != 1 {
			t.Fatalf("control: %s, %d wait", s, len(r.waits))
		}
		if !tell {
			r.waits = nil
		}
		b.start() // empties the box; nothing but answers happens now
		if s := a.stage(id); (s == view.StageDelivered || s == view.StageCustody) != tell {
			t.Errorf("told %t: %s\n%s", tell, s, a.outbox())
		}
		if got := len(b.texts(a)); got != map[bool]int{true: 2, false: 1}[tell] {
			t.Errorf("told %t: bob sees %d", tell, got)
		}
	}
}

// A relay that says that there is room, and has none, is asked three times; then the slow clock has it.
func TestRoomThatIsNone(t *testing.T) {
	w, a, b := pair(t, "r1")
	r := w.relays[0]
	b.stop()
	tries := 0
	r.says = func(mailbox.Deposit) error { tries++; return &mailbox.Refusal{Code: mailbox.Full} }
	id := a.send(b, "hello")
	w.pass(time.Second)
	for range 20 {
		r.free(boxOf(w, a))
		w.settle()
	}
	if tries > 5 {
		t.Errorf("%d deposits", tries)
	}
	if s := a.stage(id); s != view.StageFull {
		t.Errorf("stage %s", s)
	}
	r.says = nil
	w.pass(12 * time.Hour)
	if s := a.stage(id); s != view.StageCustody {
		t.Errorf("with room: %s", s)
	}
}

func boxOf(w *world, from *device) (box mailbox.ID) {
	for _, p := range w.sent {
		if p.relay != nil && p.from == from {
			box = p.box
		}
	}
	return box
}

// On day 25 the sender is told, once; on day 30 it is told that the message has expired; the text is kept, and rearmed it
// goes out again and arrives.
func TestExpiringExpiredRearmed(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	id := a.send(b, "hello")
	told := func(what string) int {
		return count(a.notices, func(n view.Notice) bool { return n.Type == what && n.ID == id })
	}
	w.pass(24 * day)
	if told("expiring") != 0 || a.status(id).Rearm {
		t.Error("told on day 24")
	}
	w.pass(day + time.Hour)
	a.stop()
	a.start()
	w.pass(4 * day)
	if told("expiring") != 1 || told("expired") != 0 {
		t.Errorf("day 29: told %d times, expired %d", told("expiring"), told("expired"))
	}
	if s := a.status(id); !s.Rearm || !s.Deliveries[0].Expiring || s.Expires.IsZero() {
		t.Errorf("day 29: %+v", s)
	}
	w.pass(day)
	if told("expired") != 1 || a.stage(id) != view.StageExpired {
		t.Errorf("day 30: expired %d times, stage %s", told("expired"), a.stage(id))
	}
	w.pass(10 * day)
	wantTexts(t, a, b, "hello")

	w.must(a.do(func(e *node.Engine, t *node.Turn) error {
		s, err := e.Rearm(t, id)
		if err == nil && len(s.Deliveries) != 1 {
			return errors.New("not one delivery")
		}
		return err
	}))
	w.pass(time.Minute)
	if d := a.status(id).Deliveries[0]; d.Stage != view.StageCustody && d.Stage != view.StageQueued || d.Expires.Before(w.now.Add(29*day)) {
		t.Errorf("rearmed: %+v", d)
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
	err := a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.Rearm(t, id); return err })
	if !errors.Is(err, view.ErrRefused) {
		t.Errorf("rearmed what has arrived: %v", err)
	}
}

// However many devices somebody has, the end of a message is told once; of our own devices, which others need not know of,
// it is not told at all.
func TestTheEndIsToldOnce(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	second, own := b.link("tablet"), a.link("phone")
	w.pass(time.Minute)
	for _, d := range []*device{b, second, own} {
		d.stop()
	}
	id := a.send(b, "hello")
	w.pass(31 * day)
	if n := len(a.status(id).Deliveries); n != 3 {
		t.Fatalf("control: %d deliveries", n)
	}
	for _, what := range []string{"expiring", "expired"} {
		n := count(a.notices, func(n view.Notice) bool { return n.Type == what && n.ID == id })
		if n != 1 {
			t.Errorf("%s: told %d times", what, n)
		}
	}
}

// Before its last days a message cannot be rearmed: it would only be sealed and left everywhere once more.
func TestRearmIsForTheEnd(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	id := a.send(b, "hello")
	rearm := func() (s view.Status, err error) {
		err = a.do(func(e *node.Engine, t *node.Turn) error { s, err = e.Rearm(t, id); return err })
		return s, err
	}
	w.pass(20 * day)
	if _, err := rearm(); !errors.Is(err, view.ErrRefused) || a.stage(id) != view.StageCustody {
		t.Errorf("on day 20: %v, %s", err, a.stage(id))
	}
	w.pass(6 * day)
	s, err := rearm()
	if w.must(err); s.Stage == view.StageCustody {
		t.Errorf("sealed anew, and still shown as in custody: %+v", s.Deliveries[0])
	}
	w.pass(time.Minute)
	if d := a.status(id).Deliveries[0]; d.Stage != view.StageCustody || d.Custody != 3 {
		t.Errorf("a minute later: %+v", d)
	}
}

// A message that is about to expire is rearmed before it does, and shown once although both copies arrive.
func TestRearmedInTime(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	b.stop()
	id := a.send(b, "hello")
	w.pass(26 * day)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.Rearm(t, id); return err }))
	w.pass(20 * day)
	if s := a.stage(id); s == view.StageExpired {
		t.Fatalf("it expired on day 46 of 56\n%s", a.outbox())
	}
	b.start()
	w.pass(time.Hour)
	wantTexts(t, b, a, "hello")
	if s := a.stage(id); s != view.StageDelivered {
		t.Errorf("stage %s", s)
	}
}

// Into an accepted contact's boxes every device brings a pass that holds there and at that relay, and two weeks' passes
// have nothing in common. The join, which knows nothing yet, brings none.
func TestContactsBringPasses(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	w.pass(time.Minute)
	b.stop()
	ids := map[pass.ID]uint32{}
	check := func(p parcel) {
		for _, set := range a.setsOf(b) {
			if mailbox.ID(set.BoxID()) != p.box {
				continue
			}
			cert, ok := pass.Check(p.pass, set.Box(), p.relay.self.ID)
			if !ok {
				t.Fatalf("a pass of %d bytes does not hold", len(p.pass))
			}
			if epoch, known := ids[cert.ID()]; known && epoch != set.Epoch() {
				t.Error("two epochs share a pass")
			}
			ids[cert.ID()] = set.Epoch()
			if _, ok := pass.Check(p.pass, set.Box(), w.relays[(slices.Index(w.relays, p.relay)+1)%3].self.ID); ok {
				t.Error("it holds at another relay")
			}
		}
	}
	w.sent = nil
	for i := range 3 {
		a.send(b, text(i))
		w.pass(7 * day)
	}
	n := 0
	for _, p := range w.sent {
		if p.relay != nil && p.from == a {
			check(p)
			n++
		}
	}
	if n < 9 || len(ids) < 3 {
		t.Errorf("control: %d deposits by %d passes", n, len(ids))
	}
}

// A relay that does not accept a pass gets the envelope as from a stranger, in the same attempt; and the contact, once it
// is back, is asked to tell anew.
func TestBadPass(t *testing.T) {
	w, a, b := pair(t, "r1")
	w.pass(time.Minute)
	b.stop()
	r := w.relays[0]
	var passes []bool
	r.says = func(d mailbox.Deposit) error {
		passes = append(passes, len(d.Pass) > 0)
		if len(d.Pass) > 0 {
			return &mailbox.Refusal{Code: mailbox.BadPass}
		}
		return nil
	}
	id := a.send(b, "hello")
	w.pass(time.Second)
	if s := a.stage(id); s != view.StageCustody || len(passes) < 2 || !passes[0] || passes[1] {
		t.Fatalf("%s after deposits with passes %v\n%s", s, passes, a.outbox())
	}
	r.says = nil
	a.changePeer(b, func(row *pb.PeerDevice) { row.Passes, row.PassSecret = nil, nil })
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
	a.changePeer(b, func(row *pb.PeerDevice) {
		if len(row.Passes) != 13 {
			t.Errorf("bob was not asked, or did not answer: %d passes", len(row.Passes))
		}
	})
}

// changePeer changes d's row of another device.
func (d *device) changePeer(o *device, change func(*pb.PeerDevice)) {
	d.w.t.Helper()
	id, err := hex.DecodeString(o.id())
	d.w.must(err)
	d.w.must(d.store.Update(func(tx store.Tx) error {
		row := &pb.PeerDevice{}
		if err := proto.Unmarshal(tx.Get(store.BucketDevices, id), row); err != nil {
			return err
		}
		change(row)
		raw, err := proto.Marshal(row)
		tx.Put(store.BucketDevices, id, raw)
		return err
	}))
}

// setsOf are the sets of another device that d knows.
func (d *device) setsOf(o *device) (out []*dht.SetRecord) {
	d.changePeer(o, func(row *pb.PeerDevice) {
		for _, raw := range row.Sets {
			if rec, err := dht.ParseSetRecord(raw); err == nil {
				out = append(out, rec)
			}
		}
	})
	return out
}
