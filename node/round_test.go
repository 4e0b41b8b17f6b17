package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node/view"
)

// Relays that were away when a message was deposited are asked again after the back-off, whatever the order in which
// the others answered: a receipt that comes last is not the end of the round.
func TestRelaysThatWereAwayAreAskedAgainSoon(t *testing.T) {
	for only := range 3 {
		w, a, b := pair(t, "r1", "r2", "r3")
		b.stop()
		for i, r := range w.relays {
			r.up = i == only
		}
		id := a.send(b, "hello")
		w.pass(10 * time.Second)
		if s := a.stage(id); s != view.StageQueued {
			t.Fatalf("control: with one of three relays: %s", s)
		}
		for _, r := range w.relays {
			r.up = true
		}
		w.pass(5 * time.Minute)
		if s := a.stage(id); s != view.StageCustody {
			t.Errorf("relay %d signed first: %s\n%s", only, s, a.outbox())
		}
	}
}
