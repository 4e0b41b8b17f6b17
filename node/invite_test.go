package node_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// A link works once, until it expires, and not for its own author; who comes late is told why.
func TestInviteRules(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.person("alice"), w.person("bob"), w.person("carol")
	for _, d := range []*device{b, c} {
		a.meetDevice(d)
	}
	text := a.invite()
	if err := a.join(text); err == nil {
		t.Error("one's own invite works")
	}
	w.must(b.join(text))
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "accepted" || !x.Verified {
		t.Fatalf("control: the first use: %+v", x)
	}
	if err := b.join(text); err == nil {
		t.Error("joining a contact again works")
	}
	w.must(c.join(text))
	w.pass(time.Minute)
	x := c.contact(a.user())
	if x.State != "pending" || !strings.Contains(x.Declined, "used") {
		t.Errorf("the second person sees %+v", x)
	}
	if _, err := c.trySend(a, "hello?"); err == nil {
		t.Error("sending to somebody who declined works")
	}
	if x := a.contact(c.user()); x.State != "" {
		t.Errorf("alice has a contact that she declined: %+v", x)
	}
	if n := c.rows(store.BucketOutbox); n != 0 {
		t.Errorf("the declined join is still on its way")
	}
	late := a.invite()
	w.pass(8 * 24 * time.Hour)
	if err := c.join(late); err == nil {
		t.Error("an expired invite is tried")
	}
	w.must(c.join(a.invite()))
	w.pass(time.Minute)
	if x := c.contact(a.user()); x.State != "accepted" || x.Declined != "" {
		t.Errorf("a fresh invite after a declined one: %+v", x)
	}
}

// An invite that expires on the way is declined by the inviter, whatever the joiner's clock says.
func TestInviteExpiredOnTheWay(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	text := a.invite()
	b.skew = -20 * time.Hour
	w.pass(7*24*time.Hour + 2*time.Hour)
	w.must(b.join(text))
	w.pass(time.Minute)
	if x := b.contact(a.user()); !strings.Contains(x.Declined, "expired") {
		t.Errorf("%+v", x)
	}
	if x := a.contact(b.user()); x.State != "" {
		t.Errorf("alice took it: %+v", x)
	}
}

// The inviter is away: the join waits at its front door, the welcome at the joiner's, and both are never online together.
func TestJoinWhileAway(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3"} {
		w.relay(r)
	}
	a := w.person("alice")
	w.pass(time.Minute)
	text := a.invite()
	a.stop()
	w.pass(time.Hour)
	b := w.person("bob")
	w.pass(time.Minute)
	w.must(b.join(text))
	w.pass(time.Minute)
	if w.relays[0].held()+w.relays[1].held()+w.relays[2].held() == 0 {
		t.Fatalf("control: nothing waits at the front door\n%s", b.outbox())
	}
	b.stop()
	w.pass(5 * 24 * time.Hour)
	a.start()
	w.pass(time.Minute)
	if x := a.contact(b.user()); x.State != "accepted" {
		t.Fatalf("alice sees %+v", x)
	}
	a.stop()
	b.start()
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "accepted" || !x.Verified {
		t.Errorf("bob sees %+v", x)
	}
}

// A join of a person with 16 devices and many addresses still fits the front door.
func TestLargeJoinFitsFrontDoor(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"r1", "r2", "r3", "r4", "r5"} {
		w.relay(r)
	}
	a := w.person("alice")
	w.pass(time.Minute)
	text := a.invite()
	a.stop()
	b := w.person("bob")
	for len(b.self.Addrs) < dht.MaxAddrs {
		b.self.Addrs = append(b.self.Addrs, []byte(strings.Repeat("a", dht.MaxAddr)))
	}
	b.input(func(e *node.Engine, t *node.Turn) { e.SetHost(t, b.self) })
	key, list := w.list(b)
	devices := list.Devices()
	for i := range 15 {
		keys, err := identity.NewDeviceKeys(seeded(text2("spare", i)))
		w.must(err)
		devices = append(devices, keys.Public(0, 2))
	}
	b.looked(key, w.sign("bob", 1, list, list.Seq()+1, list.Hash(), devices...).Bytes())
	w.pass(time.Minute)
	w.must(b.join(text))
	w.pass(time.Minute)
	if w.relays[0].held()+w.relays[1].held()+w.relays[2].held() == 0 {
		t.Fatalf("it does not fit:\n%s", b.outbox())
	}
	a.start()
	a.meetDevice(b)
	w.pass(time.Minute)
	if x := b.contact(a.user()); x.State != "accepted" {
		t.Errorf("bob sees %+v", x)
	}
}

func text2(s string, i int) string { return s + string(rune('a'+i)) }

// Somebody who found the inviter in the directory, and does not hold the link, leaves no trace in its store and gets no
// answer: not with a guessed invite id, and not with another person's proof.
func TestStrangerLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	a, b, m := w.person("alice"), w.person("bob"), w.person("mallory")
	a.meetDevice(m)
	a.meetDevice(b)
	real := a.invite()
	forged, err := link.Parse(real) // mallory knows whom to ask, and not the secret
	w.must(err)
	forged.Secret[0] ^= 1
	w.sent = nil
	w.must(m.join(forged.Text()))
	w.pass(time.Hour)
	if count(w.sent, func(p parcel) bool { return p.from == m && p.to == a }) == 0 {
		t.Fatal("control: mallory's join did not arrive")
	}
	if n := count(w.sent, func(p parcel) bool { return p.from == a && p.to == m }); n != 0 {
		t.Errorf("alice answered %d times", n)
	}
	if a.contact(m.user()).State != "" || a.rows(store.BucketSessions) != 0 || a.rows(store.BucketFlights) != 0 || a.rows(store.BucketDevices) != 0 {
		t.Error("alice keeps something of a stranger")
	}
	// Control: with the real link the same person is welcome.
	w.must(b.join(real))
	w.pass(time.Minute)
	if a.contact(b.user()).State != "accepted" || a.rows(store.BucketSessions) == 0 {
		t.Error("control: the real link does not work")
	}
}

// A first flight that comes again, also after a restart and after the session moved on, begins nothing new.
func TestReplayedFirstFlight(t *testing.T) {
	w := newWorld(t)
	a, b := w.person("alice"), w.person("bob")
	a.meetDevice(b)
	w.must(b.join(a.invite()))
	w.pass(time.Minute)
	var flights [][]byte
	for _, p := range w.sent {
		if p.from == b && p.to == a && len(p.envelope) > 1285 && p.envelope[0] == 2 {
			flights = append(flights, p.envelope)
		}
	}
	if len(flights) == 0 {
		t.Fatal("control: no first flight")
	}
	a.send(b, "one")
	b.send(a, "two")
	w.pass(time.Minute)
	check := func(when string) {
		t.Helper()
		sessions, chats, notices := a.rows(store.BucketSessions), a.rows(store.BucketMessages), len(a.notices)
		dropSeen(a)
		for _, f := range flights {
			a.input(func(e *node.Engine, t *node.Turn) { e.Received(t, b.self.ID, f) })
		}
		w.pass(time.Minute)
		if a.rows(store.BucketSessions) != sessions || a.rows(store.BucketMessages) != chats || len(a.notices) != notices {
			t.Errorf("%s: the replay left something", when)
		}
		a.send(b, "after "+when)
		w.pass(time.Minute)
		if got := b.texts(a); got[len(got)-1] != "after "+when {
			t.Errorf("%s: the session is broken: %q", when, got)
		}
	}
	check("at once")
	a.stop()
	a.start()
	check("after a restart")
	w.pass(3 * 24 * time.Hour)
	check("after the bundle rotated")
	w.pass(45 * 24 * time.Hour)
	check("after the prekey is gone")
}

// dropSeen makes a device forget which envelopes it has seen, so that only the session layer stands in the way.
func dropSeen(d *device) {
	_ = d.store.Update(func(tx store.Tx) error {
		var keys [][]byte
		tx.Scan(store.BucketSeen, nil, func(k, _ []byte) bool { keys = append(keys, k); return true })
		for _, k := range keys {
			tx.Delete(store.BucketSeen, k)
		}
		return nil
	})
}

// Names that somebody else chose carry no control bytes into what we show.
func TestNamesAreCleaned(t *testing.T) {
	w := newWorld(t)
	a := w.person("alice")
	b := w.blank("b\x1b[31mob\x00\u202e")
	var seed [32]byte
	seed[0] = 9
	w.must(b.store.Update(func(tx store.Tx) error {
		return node.Create(b.turn(tx), node.CreateParams{Root: identity.NewRootFromSeed(seed), Name: b.name, DeviceName: b.name})
	}))
	b.start()
	w.befriend(a, b)
	c := a.contact(b.user())
	for _, s := range []string{c.Name, c.Handle, b.identity().Name, b.identity().DeviceName} {
		if s == "" || strings.ContainsAny(s, "\x1b\x00\u202e") {
			t.Errorf("shown: %q", s)
		}
	}
	err := a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.RenameContact(t, c.Handle, "me"); return err })
	if err == nil {
		t.Error("a contact may be called me")
	}
}

// What a blocked person says is neither shown nor answered; after unblocking it is heard again.
func TestBlockedContact(t *testing.T) {
	w, a, b := pair(t)
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.BlockContact(t, b.user()); return err }))
	w.sent = nil
	id := b.send(a, "psst")
	w.pass(time.Hour)
	wantTexts(t, a, b)
	if n := count(w.sent, func(p parcel) bool { return p.from == a }); n != 0 {
		t.Errorf("%d envelopes told the blocked person something", n)
	}
	if s := b.stage(id); s == view.StageDelivered {
		t.Error("shown as delivered")
	}
	if _, err := a.trySend(b, "no"); err == nil {
		t.Error("sending to a blocked person works")
	}
	w.must(a.do(func(e *node.Engine, t *node.Turn) error { _, err := e.AcceptContact(t, b.user()); return err }))
	b.send(a, "again")
	w.pass(time.Minute)
	if got := a.texts(b); len(got) == 0 || got[len(got)-1] != "again" {
		t.Errorf("after unblocking: %q", got)
	}
}
