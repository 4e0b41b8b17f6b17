package faults

import (
	"context"
	"testing"
)

// TestOneMemberOfThreeIsEnough: after custody the sender and all relays of the set but one are gone for good.
func TestOneMemberOfThreeIsEnough(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 3})
	texts := c.away(ctx, 5)
	// Custody is two signatures; the third follows at once where the relay is there.
	check(t, asking(ctx, func() bool { return c.signed(ctx, texts, 3) }))
	c.alice.kill()
	c.relays[0].kill()
	c.relays[2].kill()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	c.once(texts)
}

// signed reports whether so many relays signed for each delivery.
func (c *cast) signed(ctx context.Context, texts []*text, relays int) bool {
	for _, x := range texts {
		s, err := x.from.status(ctx, x.number())
		if err != nil {
			return false
		}
		for _, d := range s.Deliveries {
			if d.Custody < relays {
				return false
			}
		}
	}
	return true
}
