package faults

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
)

// TestARelayWhoseDiskDiedIsRefilled: everything is in custody, the sender is gone, a member loses its disk. The others
// give it back what it had, and then they die as well: Bob gets all of it from the one that had nothing.
func TestARelayWhoseDiskDiedIsRefilled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c, texts := wiped(t, ctx)
	begun := time.Now()
	check(t, c.relays[0].start(ctx))
	all := 0 // more than the texts: what else waited for two devices when they were killed
	for _, m := range c.relays[1:] {
		all = max(all, relayStatus(ctx, m).Envelopes)
	}
	full := func() bool { return relayStatus(ctx, c.relays[0]).Envelopes >= all }
	if err := asking(ctx, full); err != nil {
		for _, m := range c.relays {
			t.Logf("%s: %+v", m.name, relayStatus(t.Context(), m))
		}
		t.Fatalf("refill: %v", err)
	}
	t.Logf("refilled %.1f s after the start", time.Since(begun).Seconds())
	c.relays[1].kill()
	c.relays[2].kill()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	c.once(texts)
}

// TestControlADiskWithoutCoMembersStaysEmpty: the same story with the other relays dead before the disk is.
func TestControlADiskWithoutCoMembersStaysEmpty(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c, texts := wiped(t, ctx)
	c.relays[1].kill()
	c.relays[2].kill()
	check(t, c.up(ctx, c.relays[0], c.bob.machine, c.phone.machine))
	for _, d := range []*device{c.bob, c.phone} {
		check(t, d.elects(ctx, 1)) // it has met the relay that is left
	}
	for _, x := range texts {
		if c.bob.times(x.body)+c.phone.times(x.body) != 0 {
			t.Errorf("%q arrived from nowhere", x.body)
		}
	}
}

// wiped is a company after five texts went into custody at all three relays, their sender died, and the first relay lost
// its disk.
func wiped(t *testing.T, ctx context.Context) (*cast, []*text) {
	t.Helper()
	c := assemble(t, ctx, company{honest: 3})
	texts := c.away(ctx, 5)
	if err := asking(ctx, func() bool { return c.signed(ctx, texts, 3) }); err != nil {
		t.Fatalf("three signatures: %v\n%s", err, c.traces(texts))
	}
	c.alice.kill()
	c.relays[0].kill()
	check(t, os.Remove(filepath.Join(c.relays[0].home, "relay.db")))
	return c, texts
}

// TestARelayThatLeavesHandsEverythingOver: a member drains while the owner is away, and when it says that it is done all
// relays die but the one that had least: what it was given is enough.
func TestARelayThatLeavesHandsEverythingOver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 4})
	texts := c.away(ctx, 5)
	check(t, asking(ctx, func() bool { return c.signed(ctx, texts, 3) }))
	c.alice.kill()
	slices.SortFunc(c.relays, func(a, b *machine) int {
		return relayStatus(ctx, a).Envelopes - relayStatus(ctx, b).Envelopes
	})
	heir, leaves := c.relays[0], c.relays[1] // who is not a member of a mailbox, and who is
	had := relayStatus(ctx, heir).Envelopes
	if had >= relayStatus(ctx, c.relays[len(c.relays)-1]).Envelopes {
		t.Fatalf("%s has all %d envelopes before anybody left", heir.name, had)
	}
	begun := time.Now()
	check(t, leaves.call(ctx, "relay_drain", api.DrainRequest{}, &api.Relay{}))
	check(t, asking(ctx, func() bool {
		d := relayStatus(ctx, leaves).Drain
		return d != nil && d.State == "done"
	}))
	t.Logf("drained after %.1f s: %s had %d envelopes and has %d", time.Since(begun).Seconds(), heir.name, had, relayStatus(ctx, heir).Envelopes)
	for _, m := range c.relays[1:] {
		m.kill()
	}
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	c.once(texts)
}
