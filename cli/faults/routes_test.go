package faults

import (
	"context"
	"testing"
	"time"
)

const storyWithin = 3 * time.Minute

// TestASenderFindsTheRelaysThatItWasNeverToldOf: Bob elected his relays while Alice was away, and is gone when she comes
// back. The directory knows.
func TestASenderFindsTheRelaysThatItWasNeverToldOf(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 3, off: true})
	c.alice.kill()
	for _, r := range c.relays {
		r.must(t, ctx, 0, "relay", "enable")
	}
	check(t, c.bob.elects(ctx, 2))
	check(t, c.phone.elects(ctx, 2))
	o, err := observe(ctx, c.relays...)
	check(t, err)
	for _, d := range []*device{c.bob, c.phone} {
		check(t, asking(ctx, func() bool {
			rec := o.record(ctx, d.raw(t))
			return rec != nil && rec.FrontDoor() != nil
		}))
	}
	check(t, o.close())
	c.bob.kill()
	c.phone.kill()
	check(t, c.alice.start(ctx))
	id, err := c.alice.send(ctx, "bob", "are you there?", "")
	check(t, err)
	check(t, c.news.until(ctx, "custody", func() bool { return c.alice.least(id, 2) >= 2 }))
}
