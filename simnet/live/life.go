package live

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet/model"
)

// place puts a resident where crowd would.
func (t *Town) place(r *resident, region int, nat bool) {
	r.region, r.nat, r.mile = region, nat, 8*time.Millisecond
	switch r.class.Churn.Name {
	case "phone":
		r.mile = 25 * time.Millisecond
	case "vps":
		r.mile = time.Millisecond
	}
	r.skew = time.Duration(t.normal() * float64(t.cfg.Skew))
}

// leg is the time of one way.
func (t *Town) leg(a, b *place) time.Duration {
	if t.rtt == nil {
		return 40 * time.Millisecond
	}
	return t.rtt[a.region][b.region]/2 + a.mile + b.mile
}

// punched says whether two hosts behind translators reach each other; it is so for all time.
func (t *Town) punched(a, b *place) bool {
	x, y := min(a.number, b.number), max(a.number, b.number)
	return model.NewDice(t.cfg.Seed^uint64(x)<<40^uint64(y)<<16).Unit() < t.cfg.Punch
}

// settle lets everything come to rest, and begins to count.
func (t *Town) settle(context.Context) error {
	rest(warmUp)
	t.began = time.Now()
	t.base()
	for _, d := range t.devices {
		t.live(d, d.class.Churn)
	}
	for _, r := range t.relays {
		t.live(r, r.class.Churn)
	}
	for _, u := range t.users {
		t.nextWrite(u)
	}
	return nil
}

// live begins the habits of a resident, at a random moment of them.
func (t *Town) live(r *resident, churn model.Churn) {
	if t.rng.Unit() < churn.Share() {
		t.after(millis(remaining(churn.On, t.rng)), func(ctx context.Context) { t.turn(ctx, r) })
		return
	}
	r.wants = false
	r.stop()
	t.after(millis(remaining(churn.Off, t.rng)), func(ctx context.Context) { t.turn(ctx, r) })
}

func millis(n uint64) time.Duration { return time.Duration(n) * time.Millisecond }

// turn has a resident come or go.
func (t *Town) turn(ctx context.Context, r *resident) {
	if r.dead {
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
	here := r.wants && r.held == 0 && !r.dead
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
	to   *user
	text string
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
			rate *= activity(local.Hour())
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
	u.written++
	s := fmt.Sprintf("%s/%d.", u.name, u.written)
	w := words{to: u.friends[t.rng.Below(len(u.friends))], text: s + strings.Repeat("x", max(textLength(t.rng.Uint64())-len(s), 0))}
	first := t.rng.Below(len(u.devices))
	for i := range u.devices {
		if d := u.devices[(first+i)%len(u.devices)]; d.node != nil {
			t.say(ctx, d, w)
			return
		}
	}
	u.backlog = append(u.backlog, w)
}

// say writes on a device.
func (t *Town) say(ctx context.Context, d *resident, w words) {
	to, err := d.handle(ctx, w.to)
	if err == nil {
		var m view.Message
		err = d.do(ctx, func(e *node.Engine, turn *node.Turn) (err error) {
			m, err = e.Send(turn, node.SendRequest{To: to, Text: w.text})
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

// drain has everybody come back who can, and waits.
func (t *Town) drain(ctx context.Context) {
	t.tally.drained = true
	t.queue = nil
	for _, r := range append(t.relays[:len(t.relays):len(t.relays)], t.devices...) {
		r.wants, r.held = true, 0
		t.follow(ctx, r)
	}
	rest(drainTime)
}

// regions are crowd's.
func regions() [][]time.Duration {
	ms := [8][8]int{
		{12, 69, 186, 137, 149, 254, 220, 151}, {69, 12, 117, 77, 88, 191, 207, 203}, {186, 117, 12, 180, 193, 293, 310, 329},
		{137, 77, 180, 12, 17, 118, 134, 187}, {149, 88, 193, 17, 12, 117, 133, 186}, {254, 191, 293, 118, 117, 12, 38, 116},
		{220, 207, 310, 134, 133, 38, 12, 84}, {151, 203, 329, 187, 186, 116, 84, 12},
	}
	out := make([][]time.Duration, len(ms))
	for i, row := range ms {
		for _, n := range row {
			out[i] = append(out[i], time.Duration(n)*time.Millisecond)
		}
	}
	return out
}
