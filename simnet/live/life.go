package live

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
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

func millis(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

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

// follow brings a resident to where it wants to be, if no fault keeps it away.
func (t *Town) follow(ctx context.Context, r *resident) {
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

// words are what somebody wants to write.
type words struct {
	to     *user
	length int
}

// nextWrite plans when a user writes next: the next point of a Poisson process whose rate follows the hours of its day.
func (t *Town) nextWrite(u *user) {
	if u.rate <= 0 || len(u.friends) == 0 {
		return
	}
	left, passed := t.rng.Exp(), time.Duration(0)
	for passed < t.cfg.For {
		local := time.Now().Add(t.shift + passed + time.Duration(u.zone)*time.Hour)
		rate, room := u.rate, local.Truncate(time.Hour).Add(time.Hour).Sub(local)
		if !t.cfg.Flat {
			rate *= model.Activity(local.Hour())
		}
		if need := rate * room.Hours(); left >= need {
			left, passed = left-need, passed+room
			continue
		}
		passed += time.Duration(left / rate * float64(time.Hour))
		t.after(passed, func(ctx context.Context) { t.write(ctx, u) })
		return
	}
}

// write has a user write, on a device that is there; else it does when one is.
func (t *Town) write(ctx context.Context, u *user) {
	t.nextWrite(u)
	for times := t.cfg.Rush.Times(time.Since(t.began), u.zone); times > 0; times-- {
		if times < 1 && t.rng.Unit() >= times {
			return
		}
		w := words{length: model.TextLength(t.rng.Uint64())}
		w.to = t.address(u)
		if d := t.deviceOf(u); d != nil {
			t.say(ctx, d, w)
		} else {
			u.backlog = append(u.backlog, w)
		}
	}
}

// address decides to whom a user writes: to the first most, like 1/rank.
func (t *Town) address(u *user) *user {
	if t.rng.Unit() < t.cfg.HotShare && u.n != 0 {
		return t.users[0]
	}
	rank := int(math.Pow(float64(len(t.near))+1, t.rng.Unit()) - 1)
	off := t.near[min(rank, len(t.near)-1)]
	if t.rng.Below(2) == 0 {
		off = t.cfg.Users - off
	}
	return t.users[(u.n+off)%t.cfg.Users]
}

// deviceOf is a device of a user that is there; nil: none is.
func (t *Town) deviceOf(u *user) *resident {
	first := t.rng.Below(len(u.devices))
	for i := range u.devices {
		if d := u.devices[(first+i)%len(u.devices)]; d.node != nil {
			return d
		}
	}
	return nil
}

// say writes on a device.
func (t *Town) say(ctx context.Context, d *resident, w words) {
	d.of.written++
	text := fmt.Sprintf("%s/%d.", d.name, d.of.written)
	text += strings.Repeat("x", max(w.length-len(text), 0))
	to, err := d.handle(ctx, w.to)
	if err == nil {
		err = d.do(ctx, func(e *node.Engine, turn *node.Turn) error {
			m, err := e.Send(turn, node.SendRequest{To: to, Text: text})
			if err == nil {
				t.sent(d, w.to, m.ID) // before anybody can hear of it
			}
			return err
		})
	}
	if err != nil {
		t.fail("%s to %s: %v", d.name, w.to.name, err)
	}
}

// handle is what a device calls somebody.
func (r *resident) handle(ctx context.Context, who *user) (string, error) {
	if h := r.of.handles[who]; h != "" {
		return h, nil
	}
	err := r.node.Look(ctx, func(tx store.Tx, e *node.Engine, _ time.Time) error {
		list, err := node.Contacts(tx, e)
		for _, c := range list {
			if c.Name == who.name {
				r.of.handles[who] = c.Handle
			}
		}
		return err
	})
	if h := r.of.handles[who]; h != "" || err != nil {
		return h, err
	}
	return "", fmt.Errorf("no contact of that name")
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
