package node_test

import (
	"encoding/hex"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// seen is what d's mailbox view says of a relay.
func (d *device) seen(r *relay) (found view.Relay) {
	d.w.must(d.store.View(func(tx store.Tx) error {
		v, err := node.Mailbox(tx, d.engine, d.w.now)
		for _, x := range v.Relays {
			if x.Peer == hex.EncodeToString(r.self.ID) {
				found = x
			}
		}
		return err
	}))
	return found
}

// putRelay writes d's row of a relay.
func (d *device) putRelay(row *pb.Relay) {
	raw, err := proto.Marshal(row)
	d.w.must(err)
	d.w.must(d.store.Update(func(tx store.Tx) error { tx.Put(store.BucketRelays, row.Peer, raw); return nil }))
}

// What a relay did more than 30 days ago counts no more, for good or bad; counters of an earlier build age the same way.
func TestObservationsAge(t *testing.T) {
	w := newWorld(t)
	r := w.relay("r1")
	a := w.person("alice")
	for range 10 {
		a.input(func(e *node.Engine, t *node.Turn) { e.Deposited(t, 1<<40, r.self.ID, nil, errAway) })
	}
	if v := a.seen(r); v.Failed != 10 {
		t.Fatalf("control: %+v", v)
	}
	w.pass(29 * day)
	if v := a.seen(r); v.Failed != 10 {
		t.Errorf("after 29 days: %d failures", v.Failed)
	}
	w.pass(2 * day)
	if v := a.seen(r); v.Failed != 0 {
		t.Errorf("after 31 days: %d failures", v.Failed)
	}

	row := a.relayRow(r)
	row.Days, row.Ok, row.Failed, row.WeekOk, row.WeekFailed = nil, 1000, 50, 100, 5
	a.stop()
	a.putRelay(row)
	a.start()
	if v := a.seen(r); v.OK < 1000 || v.Failed != 50 {
		t.Errorf("taken over: %+v", v)
	}
	w.pass(23 * day)
	if v := a.seen(r); v.Failed != 5 {
		t.Errorf("after 23 days %d failures of an earlier build count, want those of its last week", v.Failed)
	}
	w.pass(8 * day)
	if v := a.seen(r); v.Failed != 0 {
		t.Errorf("after 31 days %d failures of an earlier build count", v.Failed)
	}
}

// What this device did not get to ask says nothing of a relay; that it could not be reached, the control, does.
func TestBusyIsNobodysFault(t *testing.T) {
	w := newWorld(t)
	r := w.relay("r1")
	a := w.person("alice")
	for _, err := range []error{node.ErrBusy, errAway} {
		a.input(func(e *node.Engine, t *node.Turn) { e.Deposited(t, 1<<40, r.self.ID, nil, err) })
		a.input(func(e *node.Engine, t *node.Turn) { e.Audited(t, 1<<40, r.self.ID, mailbox.Possession{}, err) })
		if v := a.seen(r); v.Failed != map[bool]uint64{false: 2}[err == node.ErrBusy] {
			t.Errorf("%v: %d failures", err, v.Failed)
		}
	}
}

// What others say of a relay makes it a candidate, and no more: it has not been seen. What it says itself counts.
func TestGossipIsNoSignOfLife(t *testing.T) {
	w, a, _ := pair(t, "r1", "r2", "r3")
	key, self := w.peer("told of", 250)
	r := &relay{w: w, name: "told of", key: key, self: self, store: mailbox.NewMemory(), rules: mailbox.NewRelay(key, mailbox.Limits{NoWork: true})}
	raw, err := dht.SignAdvert(key, dht.Advert{
		Peer: self, Number: 1, Issued: w.now, NotAfter: w.now.Add(dht.MaxAdvertLife), MaxEnvelope: mailbox.MaxEnvelope, RetentionDays: 30,
	})
	w.must(err)
	w.relays = append(w.relays, r) // down: nobody has ever reached it
	a.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceGossip) })
	if row := a.relayRow(r); row.LastOk != 0 || row.Source != uint32(election.SourceGossip) {
		t.Errorf("after gossip: %v", row)
	}
	w.pass(time.Minute)
	if v := a.seen(r); v.Member || v.Source != "gossip" {
		t.Errorf("a relay that was never reached: %+v", v)
	}
	a.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceContact) })
	if row := a.relayRow(r); row.LastOk == 0 || row.Source != uint32(election.SourceContact) {
		t.Errorf("after its own word: %v", row)
	}
}

// A member that announces that it leaves is replaced at once. The box is still emptied there, and it knows the new set.
func TestLeavingIsReplacedAtOnce(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3", "r4", "r5", "r6")
	w.pass(time.Minute)
	members, _ := w.members(b)
	r := members[0]
	a.links, b.links = map[string]bool{}, map[string]bool{}
	r.leave = w.now.Add(day)
	b.meet(r)
	w.settle()
	w.pass(time.Second)
	if m, s := w.members(b); len(m) != 3 || len(s) != 2 || contains(names(m)+names(s), r.name) {
		t.Errorf("a second later: %s stand by %s", names(m), names(s))
	}
	watched := false
	w.must(b.store.View(func(tx store.Tx) error {
		for _, x := range b.engine.Watches(&node.Turn{Now: w.now, Tx: tx, Out: &node.Effects{}}) {
			watched = watched || string(x.Relay.ID) == string(r.self.ID)
		}
		return nil
	}))
	if !watched {
		t.Error("the leaving relay is not emptied")
	}
	b.stop()
	id := a.send(b, "hello") // alice has the old set or the new one
	w.pass(time.Minute)
	if s := a.stage(id); s != view.StageCustody {
		t.Errorf("stage %s\n%s", s, a.outbox())
	}
	b.start()
	w.pass(time.Minute)
	wantTexts(t, b, a, "hello")
}

// A relay that goes on saying that it leaves, and that nobody can replace, costs one look when it says so first.
func TestLeavingIsHeardOnce(t *testing.T) {
	w, _, b := pair(t, "r1", "r2", "r3")
	w.pass(time.Minute)
	r := w.relays[0]
	for i, want := range []bool{true, false} { // the first is the control
		raw, err := dht.SignAdvert(r.key, dht.Advert{
			Peer: r.self, Number: uint64(w.now.Unix() + 1), Issued: w.now, NotAfter: w.now.Add(dht.MaxAdvertLife), MaxEnvelope: mailbox.MaxEnvelope,
			RetentionDays: 30, LeavingAt: w.now.Add(day),
		})
		w.must(err)
		b.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceDHT) })
		if soon := b.engine.Deadline().Before(w.now.Add(time.Second)); soon != want {
			t.Errorf("advert %d: a look soon: %t", i, soon)
		}
		w.pass(10 * time.Second)
	}
}

// A relay that reserves a place and does not sign for it is out for 90 days, where there are others.
func TestBrokenReservation(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"r1", "r2", "r3", "r4", "r5", "r6"} {
		w.relay(n).shirk = n == "r1" || n == "r2"
	}
	a := w.person("alice")
	w.pass(time.Minute)
	m, s := w.members(a)
	if len(m) != 3 || contains(names(m)+names(s), "r1") || contains(names(m)+names(s), "r2") {
		t.Fatalf("%s stand by %s", names(m), names(s))
	}
	broke := 0
	for _, r := range w.relays[:2] {
		if !a.seen(r).Broke.IsZero() {
			broke++
		}
		r.shirk = false
	}
	if broke == 0 {
		t.Fatal("control: neither was asked to sign")
	}
	w.pass(8 * day)
	for _, r := range w.relays[:2] {
		if v := a.seen(r); !v.Broke.IsZero() && (v.Member || v.Standby) {
			t.Errorf("after 8 days %s serves", r.name)
		}
	}
}

// Receipts that an earlier build kept are audited, too.
func TestOldReceiptsAreAudited(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3", "r4", "r5")
	w.pass(time.Minute)
	members, _ := w.members(b)
	b.stop()
	for _, r := range members {
		r.lying = true
	}
	id := a.send(b, "hello")
	w.pass(time.Minute)
	a.stop()
	w.must(a.store.Update(func(tx store.Tx) error {
		rows := map[string]*pb.Delivery{}
		tx.Scan(store.BucketOutbox, nil, func(k, v []byte) bool {
			rows[string(k)] = &pb.Delivery{}
			return proto.Unmarshal(v, rows[string(k)]) == nil
		})
		for k, row := range rows {
			row.Audit = 0
			raw, err := proto.Marshal(row)
			if err != nil {
				return err
			}
			tx.Put(store.BucketOutbox, []byte(k), raw)
		}
		return nil
	}))
	a.start()
	w.pass(2 * time.Hour)
	if d := a.status(id).Deliveries[0]; d.Voided != 3 || d.Custody != 2 {
		t.Errorf("voided %d, custody %d", d.Voided, d.Custody)
	}
}

// The hourly look at relays that all serve as they should is no election; a relay that is heard of first calls for one, and
// who has chosen a relay by hand has one every hour.
func TestALookIsNoElection(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"r1", "r2", "r3", "r4", "r5", "r6"} {
		w.relay(n)
	}
	a := w.person("alice")
	w.pass(time.Minute)
	last := func() (raw string) {
		w.must(a.store.View(func(tx store.Tx) error { raw = string(tx.Get(store.BucketMeta, []byte("election"))); return nil }))
		return raw
	}
	elected := func(after time.Duration) bool {
		before := last()
		w.pass(after)
		return last() != before
	}
	if elected(5 * time.Hour) {
		t.Error("an election although all is well")
	}
	a.meet(w.relay("r7"))
	if !elected(time.Minute) {
		t.Error("control: no election for a new relay")
	}
	row := a.relayRow(w.relays[0])
	row.Pinned = true
	a.stop()
	a.putRelay(row)
	a.start()
	w.pass(time.Minute)
	if !elected(2 * time.Hour) {
		t.Error("no election every hour with a relay chosen by hand")
	}
}
