package node_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node"
)

// A contact whose relay knows of an ever newer set does not have a deposit sent round and round: a few are followed at
// once, then the back-off holds.
func TestEverNewerSets(t *testing.T) {
	w, a, b := pair(t, "r1")
	r := w.relays[0]
	keys := map[mailbox.ID]ed25519.PrivateKey{}
	b.do(func(e *node.Engine, t *node.Turn) error {
		for _, x := range e.Watches(t) {
			keys[x.Box] = x.Key
		}
		return nil
	})
	b.stop()
	asked, number := 0, uint64(1000)
	r.says = func(d mailbox.Deposit) error {
		asked++
		number++
		key := keys[d.Box]
		core := dht.SetCore{
			Box: key.Public().(ed25519.PublicKey), Epoch: dht.EpochAt(w.now), Number: number, Issued: w.now, NotAfter: w.now.Add(time.Hour),
			R: 1, W: 1, Members: []dht.Member{{Peer: r.self}},
		}
		rec, err := dht.SignSetRecord(key, core, []dht.Lease{dht.SignLease(r.key, core.Hash(), 0, w.now.Add(time.Hour))})
		if err != nil {
			t.Fatal(err)
		}
		return &mailbox.Refusal{Code: mailbox.NotMine, Set: rec.Bytes()}
	}
	id := a.send(b, "hello")
	w.pass(10 * time.Second)
	if !a.traced(id, "moved") {
		t.Fatalf("control: no newer set was followed\n%s", a.outbox())
	}
	if asked > 12 {
		t.Errorf("%d deposits in ten seconds", asked)
	}
	r.says = nil
}
