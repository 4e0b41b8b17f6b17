//go:build hostile

package faults

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
)

// far is a jump beyond everything that a relay keeps.
const far = 31 * day

// windable lets all processes of a company take their time from us.
func windable(program string) company {
	return company{honest: 3, prepare: func(m *machine) {
		m.role = roleHours
		if program != "" {
			m.command = []string{program}
		}
	}}
}

// kept is what a relay's store holds, and its clock.
type kept struct {
	mailbox.Usage
	mailbox.Clock
}

// look reads the store of a relay that does not run.
func look(t *testing.T, m *machine) (k kept) {
	t.Helper()
	store, err := boltbox.Open(filepath.Join(m.home, "relay.db"))
	check(t, err)
	check(t, store.View(func(tx mailbox.Tx) error {
		k = kept{tx.Total(), tx.Clock()}
		return nil
	}))
	check(t, store.Close())
	return k
}

// tick starts a relay at an offset, lets its reaper look once, and stops it.
func tick(t *testing.T, ctx context.Context, m *machine, off time.Duration) kept {
	t.Helper()
	old := look(t, m)
	m.offset = off
	check(t, m.start(ctx))
	begun := time.Now().Add(off)
	check(t, m.stop())
	k := look(t, m)
	if off > 0 && k.Clock == old.Clock && begun.After(old.Trusted) {
		t.Fatalf("%s: the reaper did not look at %v: %+v", m.name, off, k.Clock)
	}
	return k
}

// TestClockJumpsDeleteNothing: the clocks of all three members jump by 31 days, forth, back, and forth and back, while
// they run and over restarts. Everything is still there, and Bob gets it while two clocks are still wrong.
func TestClockJumpsDeleteNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c, texts := jumped(t, ctx, "")
	for i, off := range []time.Duration{far, -far, 0} {
		c.relays[i].offset = off
		check(t, c.relays[i].start(ctx))
	}
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	c.once(texts)
}

// jumped is a company whose relays' clocks have jumped while they kept five texts for Bob's two devices.
func jumped(t *testing.T, ctx context.Context, program string) (*cast, []*text) {
	t.Helper()
	c := assemble(t, ctx, windable(program))
	texts := c.away(ctx, 5)
	check(t, asking(ctx, func() bool { return c.signed(ctx, texts, 3) }))
	c.alice.kill()
	for i, jumps := range [][]time.Duration{{far}, {-far}, {far, -far, far, 0}} {
		m := c.relays[i]
		for _, off := range jumps {
			check(t, m.tell(off.String())) // while it runs
		}
		check(t, m.stop())
		before := look(t, m)
		for _, off := range jumps { // and over restarts
			if k := tick(t, ctx, m, off); program == "" && k.Usage != before.Usage {
				t.Errorf("%s at %v: %+v, before %+v", m.name, off, k.Usage, before.Usage)
			}
		}
		k := look(t, m)
		t.Logf("%s after %v: %d envelopes and %d boxes, before %d and %d", m.name, jumps, k.Count, k.Boxes, before.Count, before.Boxes)
	}
	return c, texts
}

// TestControlAClockWithoutABrakeIsCaught: the same relays, without the line that holds a clock which jumps.
func TestControlAClockWithoutABrakeIsCaught(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	hasty := plantedTest(t, plant{"mailbox/tick.go", "ahead > 0 && ahead <= clockStep", "ahead > 0"})
	c, _ := jumped(t, ctx, hasty)
	if k := look(t, c.relays[0]); k.Count != 0 {
		t.Errorf("relays that believe every clock still hold %d envelopes", k.Count)
	}
}

// evenly lets a relay's clock run on from an offset, hour by hour, until it is believed, and returns what is left.
func evenly(t *testing.T, ctx context.Context, m *machine, off time.Duration) (k kept) {
	t.Helper()
	for i := range 30 {
		if k = tick(t, ctx, m, off+time.Duration(i)*59*time.Minute); k.Held.IsZero() {
			return k
		}
	}
	t.Fatalf("%s: not believed after %d hours: %+v", m.name, 30, k.Clock)
	return k
}

// TestClockDay29And30: everything stands still for 29.9 days, and Bob gets his mail; for 30.1 days, and nobody gets
// anything. Nothing is deleted as long as a clock is not believed, and nothing is left when it is.
func TestClockDay29And30(t *testing.T) {
	for _, s := range []struct {
		name string
		away time.Duration
		gets bool
	}{{"29.9 days", 29*day + 21*time.Hour + 36*time.Minute, true}, {"30.1 days", 30*day + 2*time.Hour + 24*time.Minute, false}} {
		t.Run(s.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := assemble(t, ctx, windable(""))
			texts := c.away(ctx, 5)
			check(t, asking(ctx, func() bool { return c.signed(ctx, texts, 3) }))
			for _, m := range c.machines() {
				m.kill()
				m.offset = s.away
			}
			for _, m := range c.relays {
				old := look(t, m)
				if k := tick(t, ctx, m, s.away); k.Count != old.Count || k.Count == 0 || k.Held.IsZero() {
					t.Errorf("%s: %+v, before %+v", m.name, k, old)
				}
			}
			check(t, c.up(ctx, append(c.relays, c.bob.machine, c.phone.machine)...))
			if s.gets {
				c.arrive(ctx, texts)
				c.once(texts)
				return
			}
			for _, m := range c.relays { // both of Bob's devices ask for their mail
				check(t, asking(ctx, func() bool { return relayStatus(ctx, m).Collectors >= 2 }))
			}
			for _, x := range texts {
				if c.bob.times(x.body)+c.phone.times(x.body) != 0 {
					t.Errorf("%q came after 30.1 days", x.body)
				}
			}
			_ = c.each(func(m *machine) error { m.kill(); return nil }, c.machines()...)
			for _, m := range c.relays {
				k := evenly(t, ctx, m, s.away+24*time.Hour)
				t.Logf("%s, a day later: %d envelopes, %d tombstones, %d bytes", m.name, k.Count, k.Tombs, k.Bytes)
				if k.Count != 0 || k.Bytes != 0 {
					t.Errorf("%s: left over: %+v", m.name, k.Usage)
				}
			}
		})
	}
}
