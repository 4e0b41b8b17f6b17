package live

import (
	"context"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/simnet/crowd"
)

// played are the kinds of faults of crowd.Kinds that honest nodes can have.
var played = []string{
	"relays-die", "relays-away", "relays-lose-disk", "relays-blocked", "partition", "bootstrap-blocked",
	"devices-away", "devices-crash", "devices-lose-disk", "device-added", "device-removed",
}

// some draws a share of those who are there for good.
func (t *Town) some(from []*resident, share float64) []*resident {
	var all []*resident
	for _, r := range from {
		if !r.gone {
			all = append(all, r)
		}
	}
	return crowd.Some(t.rng, all, share)
}

// strike has a fault happen.
func (t *Town) strike(ctx context.Context, f crowd.Fault) {
	switch f.Kind {
	case "partition", "relays-blocked", "bootstrap-blocked":
		t.cut(f)
	case "relays-die":
		for _, r := range t.some(t.relays, f.Share) {
			t.die(ctx, r, false)
		}
	case "relays-away", "relays-lose-disk":
		for _, r := range t.some(t.relays, f.Share) {
			t.hold(ctx, r, max(f.For, time.Minute))
			if f.Kind == "relays-lose-disk" {
				t.wiped(r)
			}
		}
	case "devices-away", "devices-crash":
		for _, d := range t.some(t.devices, f.Share) {
			t.hold(ctx, d, max(f.For, time.Second))
		}
	case "devices-lose-disk":
		for _, d := range t.some(t.devices, f.Share) {
			d.gone = true
			t.forget(d.machine)
			t.wiped(d)
		}
	case "device-added":
		for _, u := range crowd.Some(t.rng, t.users, f.Share) {
			t.addDevice(ctx, u)
		}
	case "device-removed":
		t.removeDevices(ctx, f.Share)
	}
}

// addDevice has a user whose first device is there link another, beside it.
func (t *Town) addDevice(ctx context.Context, u *user) {
	first := u.devices[0]
	if first.gone || first.node == nil || len(u.devices) >= crowd.MaxPerUser {
		return
	}
	d := t.device(u)
	t.net.set(func() { d.beside = &first.place })
	err := t.link(ctx, d)
	t.net.set(func() { d.beside = nil })
	if err == nil {
		err = d.start(ctx)
	}
	if err != nil { // the network may be cut, and the first device alone in it
		d.gone = true
		u.devices = u.devices[:len(u.devices)-1]
		return
	}
	t.live(d)
}

// removeDevices has people take their last device off their account.
func (t *Town) removeDevices(ctx context.Context, share float64) {
	var able []*user
	for _, u := range t.users {
		if last := u.devices[len(u.devices)-1]; len(u.devices) > 1 && !last.gone && !u.devices[0].gone && u.devices[0].node != nil {
			able = append(able, u)
		}
	}
	for _, u := range crowd.Some(t.rng, able, share) {
		d := u.devices[len(u.devices)-1]
		err := u.devices[0].do(ctx, func(e *node.Engine, turn *node.Turn) error {
			_, err := e.RemoveDevice(turn, d.id)
			return err
		})
		if err != nil {
			t.fail("%s removes %s: %v", u.name, d.name, err)
			continue
		}
		t.forget(d.machine)
		d.gone, d.removed = true, true
	}
}

// hold keeps a resident away for a while.
func (t *Town) hold(ctx context.Context, r *resident, long time.Duration) {
	r.held++
	t.follow(ctx, r)
	t.after(long, func(ctx context.Context) {
		r.held--
		t.follow(ctx, r)
	})
}

// die ends a relay and its disk. Somebody else begins one, if it is to be followed.
func (t *Town) die(ctx context.Context, r *resident, followed bool) {
	if r.gone {
		return
	}
	r.gone = true
	t.tally.deaths++
	t.wiped(r)
	if !followed {
		return
	}
	next := t.relay()
	err := next.identity()
	if err == nil {
		err = next.start(ctx)
	}
	if err != nil {
		t.fail("%v", err)
		return
	}
	t.after(millis(next.class.Churn.On.Draw(t.rng)), func(ctx context.Context) { t.turn(ctx, next) })
	t.mortal(next)
}

// wiped takes the disk of a resident. A relay that comes back keeps its name and has nothing else.
func (t *Town) wiped(r *resident) {
	if err := r.wipe(!r.gone); err != nil {
		t.fail("%s: %v", r.name, err)
	}
}

// cut parts the network for a while, or keeps devices from relays.
func (t *Town) cut(f crowd.Fault) {
	bit := uint64(1) << (t.cuts % 64)
	t.cuts++
	var parted, blind []*resident
	switch f.Kind {
	case "partition":
		for _, r := range append(t.relays[:len(t.relays):len(t.relays)], t.devices...) {
			if t.rng.Unit() < f.Share {
				parted = append(parted, r)
			}
		}
	case "relays-blocked":
		blind = append(t.some(t.relays, f.Share), t.devices...)
	case "bootstrap-blocked":
		blind = append(t.relays[:min(doorCount, len(t.relays)):doorCount], t.some(t.devices, f.Share)...)
	}
	change := func() {
		for _, r := range parted {
			r.parts ^= bit
		}
		for _, r := range blind {
			r.blind ^= bit
		}
	}
	t.net.set(change)
	t.after(f.For, func(context.Context) { t.net.set(change) })
}
