package faults

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// away lets Alice send while both of Bob's devices are off, until relays have signed for all of it.
func (c *cast) away(ctx context.Context, count int) (texts []*text) {
	c.t.Helper()
	c.bob.kill()
	c.phone.kill()
	for i := range count {
		texts = append(texts, c.write(ctx, fmt.Sprintf("text %d while you were away", i)))
	}
	if err := c.news.until(ctx, "custody", func() bool { return least(texts) >= 2 }); err != nil {
		c.t.Fatalf("%v\n%s", err, c.traces(texts))
	}
	return texts
}

// write sends a text of Alice's.
func (c *cast) write(ctx context.Context, body string) *text {
	c.t.Helper()
	x := &text{from: c.alice, screens: c.others(c.alice), to: "bob", body: body}
	id, err := c.alice.send(ctx, x.to, x.body, "")
	check(c.t, err)
	x.queued(id)
	return x
}

// arrive waits until Bob's devices show all texts.
func (c *cast) arrive(ctx context.Context, texts []*text) {
	c.t.Helper()
	if err := c.news.until(ctx, "arrival", func() bool { return shown(texts) }); err != nil {
		c.t.Fatalf("%v\n%s", err, c.traces(texts))
	}
}

// once fails the test unless each text is on each of Bob's screens and in each store once.
func (c *cast) once(texts []*text) {
	c.t.Helper()
	for _, d := range []*device{c.bob, c.phone} {
		d.kill()
		<-d.looking
		list, err := d.holds("alice")
		check(c.t, err)
		held := map[string]int{}
		for _, m := range list {
			held[m.Text]++
		}
		for _, x := range texts {
			if d.times(x.body) != 1 || held[x.body] != 1 {
				c.t.Errorf("%s shows %q %d times and holds it %d times", d.name, x.body, d.times(x.body), held[x.body])
			}
		}
		d.sane(c.t)
	}
	c.alice.sane(c.t)
}

// TestALyingRelayLosesNothingWhileAnotherIsHonest: one of three members lies, the sender dies after custody.
func TestALyingRelayLosesNothingWhileAnotherIsHonest(t *testing.T) {
	t.Parallel()
	for _, lie := range []string{forgets, withholds, replays, alters, forges, recalls, giants} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := assemble(t, ctx, company{honest: 2, liars: []string{lie}})
			texts := c.away(ctx, 5)
			if lie == forges && c.signed(ctx, texts[:1], 3) {
				t.Error("a forged receipt counts")
			}
			c.alice.kill()
			check(t, c.up(ctx, c.bob.machine, c.phone.machine))
			c.arrive(ctx, texts)
			// Whoever repeats himself does it to a new life as well.
			for _, m := range []*machine{c.bob.machine, c.phone.machine} {
				m.kill()
				check(t, m.start(ctx))
			}
			check(t, c.alice.start(ctx))
			texts = append(texts, c.write(ctx, "one more"))
			if err := c.news.until(ctx, "the acknowledgements", func() bool { return least(texts) >= 3 }); err != nil {
				t.Fatalf("%v\n%s", err, c.traces(texts))
			}
			c.once(texts)
		})
	}
}

// TestRelaysThatAllForgetLoseNothingWhileTheOutboxLives: every member signs and drops; Alice still has it.
func TestRelaysThatAllForgetLoseNothingWhileTheOutboxLives(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{liars: []string{forgets, forgets, forgets}})
	texts := c.away(ctx, 5)
	begun := time.Now()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	t.Logf("there %.1f s after the return", time.Since(begun).Seconds())
	c.once(texts)
}

// TestReceiptsThatAllAreForgedAreNoCustody: nobody signs, so Alice is told nothing; the same story with honest relays is
// every other one here. What she wrote arrives from her own outbox.
func TestReceiptsThatAllAreForgedAreNoCustody(t *testing.T) {
	t.Parallel()
	for _, lie := range []string{forges, recalls} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := assemble(t, ctx, company{liars: []string{lie, lie, lie}})
			c.bob.kill()
			c.phone.kill()
			texts := []*text{c.write(ctx, "one"), c.write(ctx, "two"), c.write(ctx, "three")}
			check(t, asking(ctx, func() bool { return c.tried(ctx, texts) }))
			for _, x := range texts[1:] { // the first receipt of one who recalls it is true
				if x.least() >= 2 {
					t.Errorf("%q is said to be in custody", x.body)
				}
			}
			check(t, c.up(ctx, c.bob.machine, c.phone.machine))
			c.arrive(ctx, texts)
			c.once(texts)
		})
	}
}

// tried reports whether each delivery was offered to a relay.
func (c *cast) tried(ctx context.Context, texts []*text) bool {
	for _, x := range texts {
		s, err := x.from.status(ctx, x.number())
		if err != nil || len(s.Deliveries) < len(x.screens) {
			return false
		}
		for _, d := range s.Deliveries {
			if d.Attempts == 0 {
				return false
			}
		}
	}
	return true
}

// TestControlRelaysThatForgetAreMissed shows that the tests above can fail: all relays forget, and so does the sender.
func TestControlRelaysThatForgetAreMissed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{liars: []string{forgets, forgets, forgets}})
	texts := c.away(ctx, 2)
	c.alice.kill()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	for _, d := range []*device{c.bob, c.phone} {
		check(t, d.elects(ctx, 3)) // it has met its relays again
	}
	for _, x := range texts {
		if c.bob.times(x.body)+c.phone.times(x.body) != 0 {
			t.Errorf("%q arrived from nowhere", x.body)
		}
	}
}

// TestARelayThatServesAnOldSetMisleadsNobody: the liar still serves the set that it and the first relay made; Bob has
// long elected others as well, and Alice was away meanwhile.
func TestARelayThatServesAnOldSetMisleadsNobody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := assemble(t, ctx, company{honest: 1, liars: []string{stays}})
	c.alice.kill()
	for n := range 2 {
		r := c.honest(ctx, n+2, true).knows(c.relays...)
		check(t, r.start(ctx))
		c.relays = append(c.relays, r)
	}
	for _, d := range []*device{c.bob, c.phone} {
		d.knows(c.relays[2:]...)
		d.kill()
		check(t, d.start(ctx))
		check(t, d.elects(ctx, 3))
	}
	check(t, c.alice.start(ctx))
	texts := c.away(ctx, 5)
	c.alice.kill()
	check(t, c.up(ctx, c.bob.machine, c.phone.machine))
	c.arrive(ctx, texts)
	c.once(texts)
}
