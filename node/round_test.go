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

// A relay that was too slow for the first round of an election is a member soon after: not at the next look, an hour later.
// One that stays away is asked ever more rarely.
func TestARelayThatWasTooSlowIsElectedSoon(t *testing.T) {
	w := newWorld(t)
	slow := w.relay("r1")
	w.relay("r2")
	w.relay("r3")
	a := w.person("alice")
	slow.up = false
	w.pass(10 * time.Second)
	if m, _ := w.members(a); len(m) != 2 {
		t.Fatalf("control: with one of three relays away %s serve", names(m))
	}
	begun := a.seen(slow).Failed
	w.pass(6 * time.Hour)
	if n := a.seen(slow).Failed - begun; n < 6 || n > 20 {
		t.Errorf("asked %d times in six hours", n)
	}
	slow.up = true
	b := w.person("bob")
	slow.up = false
	w.pass(10 * time.Second)
	slow.up = true
	w.pass(time.Minute)
	if m, _ := w.members(b); len(m) != 3 {
		t.Errorf("a minute later %s serve", names(m))
	}
}
