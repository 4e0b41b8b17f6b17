package live

import (
	"context"
	"math"
	"time"

	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
)

// put puts a resident where crowd would.
func (t *Town) put(r *resident, region int, nat bool) {
	r.region, r.nat, r.mile = region, nat, crowd.Mile(r.class.Churn.Name)
	r.skew = time.Duration(t.rng.Normal() * float64(t.cfg.Skew))
}

// leg is the time of one way.
func (t *Town) leg(a, b *place) time.Duration {
	if t.rtt == nil {
		return 40 * time.Millisecond
	}
	return t.rtt[a.region][b.region]/2 + a.mile + b.mile
}

// punched is crowd's chance.
func (t *Town) punched(a, b *place) bool {
	return simnet.Chance(t.cfg.Seed, t.cfg.Punch, a.name, b.name)
}

// settle lets everything come to rest, and begins to count.
func (t *Town) settle(context.Context) error {
	t.net.set(func() { t.net.open = false })
	rest(warmUp)
	t.began = time.Now()
	t.tally.base = t.totals()
	for _, d := range t.devices {
		t.live(d)
	}
	for _, r := range t.relays {
		t.live(r)
		t.mortal(r)
	}
	for _, u := range t.users {
		t.nextWrite(u)
	}
	for _, f := range t.cfg.Faults {
		t.after(f.At, func(ctx context.Context) { t.strike(ctx, f) })
	}
	return nil
}

// mortal plans the end of a relay, if its class has one.
func (t *Town) mortal(r *resident) {
	if days := r.class.LifeDays; days > 0 {
		t.after(millis(model.Exponential(days*24*60).Draw(t.rng)), func(ctx context.Context) { t.die(ctx, r, true) })
	}
}

// live begins the habits of a resident, at a random moment of them.
func (t *Town) live(r *resident) {
	churn := &r.class.Churn
	if t.rng.Unit() < churn.Share() {
		t.after(millis(churn.On.Rest(t.rng)), func(ctx context.Context) { t.turn(ctx, r) })
		return
	}
	r.wants = false
	r.stop()
	t.after(millis(churn.Off.Rest(t.rng)), func(ctx context.Context) { t.turn(ctx, r) })
}

// millis is at most what a Duration holds: "always" is for longer, and would come around as a moment that has passed.
func millis(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// turn has a resident come or go.
func (t *Town) turn(ctx context.Context, r *resident) {
	if r.gone {
		return
	}
	r.wants = !r.wants
	next := r.class.Churn.Off
	if r.wants {
		next = r.class.Churn.On
	}
	t.after(millis(next.Draw(t.rng)), func(ctx context.Context) { t.turn(ctx, r) })
	t.follow(ctx, r)
}

// follow brings a resident to where it wants to be, if no fault keeps it away. A device that was removed stays on, to see
// whether anything still reaches it.
func (t *Town) follow(ctx context.Context, r *resident) {
	if r.removed {
		return
	}
	here := r.wants && r.held == 0 && !r.gone
	switch {
	case here && r.node == nil:
		if err := r.start(ctx); err != nil {
			t.fail("%v", err)
			return
		}
		if r.of != nil {
			waiting := r.of.backlog
			r.of.backlog = nil
			for _, w := range waiting {
				t.say(ctx, r, w)
			}
		}
	case !here:
		r.stop()
	}
}

// drain has everybody come back who can.
func (t *Town) drain(ctx context.Context) {
	t.finish()
	t.queue = nil
	t.net.set(func() {
		for _, p := range t.net.places {
			p.parts, p.blind = 0, 0
		}
	})
	for _, r := range append(t.relays[:len(t.relays):len(t.relays)], t.devices...) {
		r.wants, r.held = true, 0
		t.follow(ctx, r)
	}
}
