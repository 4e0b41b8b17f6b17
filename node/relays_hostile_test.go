package node_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// Somebody with as many peer ids as he likes, who comes first, does not keep the relays of friends, or new ones, out of
// the candidates, and does not push out those that serve.
func TestCandidatesAreStuffed(t *testing.T) {
	w := newWorld(t)
	w.relay("honest-1")
	a := w.person("alice")
	w.pass(time.Minute)
	advertise := func(name string, s election.Source) []byte {
		key, peer := w.peer(name, 7)
		raw, err := dht.SignAdvert(key, dht.Advert{
			Peer: peer, Number: 1, Issued: w.now, NotAfter: w.now.Add(dht.MaxAdvertLife), MaxEnvelope: mailbox.MaxEnvelope, RetentionDays: 30,
		})
		w.must(err)
		a.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), s) })
		return peer.ID
	}
	known := func(id []byte) (found bool) {
		_ = a.store.View(func(tx store.Tx) error { found = tx.Get(store.BucketRelays, id) != nil; return nil })
		return found
	}
	for i := range 300 {
		advertise(fmt.Sprint("sybil ", i), election.SourceGossip)
	}
	if n := a.rows(store.BucketRelays); n != 256 {
		t.Fatalf("control: %d candidates", n)
	}
	for name, s := range map[string]election.Source{"of a friend": election.SourceContact, "found by itself": election.SourceGossip} {
		if !known(advertise(name, s)) {
			t.Errorf("a relay %s finds no room", name)
		}
	}
	if n := a.rows(store.BucketRelays); n > 256 {
		t.Errorf("%d candidates are kept", n)
	}
	for i := range 300 {
		advertise(fmt.Sprint("more ", i), election.SourceGossip)
	}
	if !known(w.relays[0].self.ID) {
		t.Error("a relay that serves was pushed out")
	}
	if _, friend := w.peer("of a friend", 7); !known(friend.ID) {
		t.Error("a friend's relay was pushed out by a stranger's")
	}
}

// Whoever names a relay at addresses where it is not does not make us think ill of it: it is asked where it says itself
// that it is. The control is a relay that has not said so.
func TestRelaysAreNamedWhereTheyAreNot(t *testing.T) {
	for _, told := range []bool{false, true} {
		w, a, b := pair(t, "r1", "r2", "r3")
		b.stop()
		r := w.relays[0]
		_, moved := w.peer(r.name, 77) // b's record names it elsewhere
		r.self.Addrs = moved.Addrs
		if told {
			raw, err := dht.SignAdvert(r.key, dht.Advert{
				Peer: r.self, Number: 1 << 40, Issued: w.now, NotAfter: w.now.Add(dht.MaxAdvertLife), MaxEnvelope: mailbox.MaxEnvelope, RetentionDays: 30,
			})
			w.must(err)
			a.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceContact) })
		}
		id := a.send(b, "where are you")
		w.pass(time.Minute)
		want := 2
		if told {
			want = 3
		}
		if got := a.status(id).Deliveries[0].Custody; got != want {
			t.Errorf("told %t: %d relays signed, want %d", told, got, want)
		}
	}
}

// A relay whose clock once ran ahead is heard again: what it said then does not outrank all that it says later. The
// control is an older advert while the newer one is good.
func TestAnAdvertOfAWrongClockIsOver(t *testing.T) {
	w := newWorld(t)
	a := w.person("alice")
	advertise := func(number uint64, n int) string {
		key, peer := w.peer("hasty", n)
		raw, err := dht.SignAdvert(key, dht.Advert{
			Peer: peer, Number: number, Issued: w.now, NotAfter: w.now.Add(24 * time.Hour), MaxEnvelope: mailbox.MaxEnvelope, RetentionDays: 30,
		})
		w.must(err)
		a.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceContact) })
		row := &pb.Relay{}
		w.must(a.store.View(func(tx store.Tx) error { return proto.Unmarshal(tx.Get(store.BucketRelays, peer.ID), row) }))
		return string(row.Addrs[0])
	}
	first := advertise(1<<50, 1)
	if got := advertise(1, 2); got != first {
		t.Error("control: an older advert replaced a newer one")
	}
	w.now = w.now.Add(25 * time.Hour)
	if got := advertise(2, 3); got == first {
		t.Error("an advert that is over outranks a fresh one")
	}
}
