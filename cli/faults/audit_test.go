package faults

import (
	"context"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
)

// relayStatus is what a relay says of itself; zero while it cannot be asked.
func relayStatus(ctx context.Context, m *machine) (r api.Relay) {
	_ = m.call(ctx, "relay_status", api.None{}, &r)
	return r
}

// TestTheSenderFindsOutWhoForgets: a relay signs for envelopes and drops them. Two hours later the sender has asked for
// proof, believes its receipts no more, and another relay has the copy.
func TestTheSenderFindsOutWhoForgets(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 3, liars: []string{forgets}, pinned: true, prepare: func(m *machine) { m.role = roleHours }})
	texts := c.away(ctx, 20)
	check(t, asking(ctx, func() bool { return c.signed(ctx, texts, 3) }))
	c.alice.kill()
	for _, m := range c.machines() {
		m.offset = 2 * time.Hour
	}
	check(t, c.alice.start(ctx)) // and the engine looks at the clock
	begun := time.Now()
	check(t, asking(ctx, func() bool { return c.voided(ctx, texts) > 0 }))
	t.Logf("found out after %.1f s", time.Since(begun).Seconds())
	for hours := time.Duration(3); !c.signs(ctx, texts, 3); hours++ { // who could not be reached at the first try is asked again within the hour
		if hours == 6 {
			t.Fatal("no third relay has signed in three hours")
		}
		c.alice.kill()
		for _, m := range c.machines() {
			m.offset = hours * time.Hour
		}
		check(t, c.alice.start(ctx))
	}
	for _, m := range c.relays[:3] {
		t.Logf("%s: %d envelopes", m.name, relayStatus(ctx, m).Envelopes)
	}
}

// signs waits until so many relays have signed for each delivery. It gives up when no relay has signed for anything for a while:
// on a machine that is slow each still does.
func (c *cast) signs(ctx context.Context, texts []*text, relays int) bool {
	c.t.Helper()
	at, had := time.Now(), -1
	done := false
	check(c.t, asking(ctx, func() bool {
		receipts := 0
		for _, x := range texts {
			if s, err := x.from.status(ctx, x.number()); err == nil {
				for _, d := range s.Deliveries {
					receipts += len(d.Receipts)
				}
			}
		}
		if receipts != had {
			at, had = time.Now(), receipts
		}
		done = c.signed(ctx, texts, relays)
		return done || time.Since(at) > 20*time.Second
	}))
	return done
}

// voided counts receipts that the sender believes no more.
func (c *cast) voided(ctx context.Context, texts []*text) (n int) {
	for _, x := range texts {
		s, err := x.from.status(ctx, x.number())
		if err != nil {
			return 0
		}
		for _, d := range s.Deliveries {
			n += d.Voided
		}
	}
	return n
}
