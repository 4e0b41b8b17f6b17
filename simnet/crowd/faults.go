package crowd

import (
	"time"

	"github.com/kith-im/kith/node"
)

func (c *Crowd) living() (out []*relay) {
	for _, r := range c.relays {
		if !r.dead {
			out = append(out, r)
		}
	}
	return out
}

func (c *Crowd) present() (out []*device) {
	for _, d := range c.hosts {
		if !d.gone {
			out = append(out, d)
		}
	}
	return out
}

// strike has a fault happen.
func (c *Crowd) strike(f Fault) {
	c.w.Log("fault", "%s %s", f.Kind, f.Name)
	switch f.Kind {
	case "relays-die", "relays-away", "relays-lose-disk", "relays-delete", "relays-withhold", "relays-forge":
		for _, r := range Some(c.rng, c.living(), f.Share) {
			c.strikeRelay(r, f)
		}
	case "sybils":
		for range int(f.Share*float64(c.cfg.RelayCount) + 0.5) {
			r := c.addRelay(sybilNetwork)
			r.Lie()
			for _, d := range Some(c.rng, c.present(), 0.5) {
				d.Hear(r.Relay)
			}
		}
	case "partition", "relays-blocked", "bootstrap-blocked":
		c.cut(f)
	default:
		c.strikePeople(f)
	}
}

// sybilNetwork is where one attacker's relays are.
const sybilNetwork = 203<<8 | 77

func (c *Crowd) strikeRelay(r *relay, f Fault) {
	switch f.Kind {
	case "relays-die":
		c.die(r, false)
	case "relays-away", "relays-lose-disk":
		r.held++
		c.followRelay(r)
		if f.Kind == "relays-lose-disk" {
			r.Wipe()
		}
		c.w.After(max(f.For, time.Minute), func() {
			if r.held--; !r.dead {
				c.followRelay(r)
			}
		})
	case "relays-delete":
		r.Lie()
	case "relays-withhold":
		r.Withhold()
	case "relays-forge":
		r.Forge()
	}
}

// cut divides the network for a while.
func (c *Crowd) cut(f Fault) {
	var devices, relays []string
	for _, d := range c.present() {
		if f.Kind != "partition" || c.rng.Unit() < f.Share {
			devices = append(devices, d.Name())
		}
	}
	for _, r := range c.living() {
		if f.Kind != "bootstrap-blocked" && c.rng.Unit() < f.Share {
			relays = append(relays, r.Name())
		}
	}
	switch f.Kind {
	case "partition":
		c.w.After(f.For, c.w.Divide(append(devices, relays...)...))
		return
	case "bootstrap-blocked":
		devices = nil
		for _, d := range Some(c.rng, c.present(), f.Share) {
			devices = append(devices, d.Name())
		}
	}
	c.w.After(f.For, c.w.Censor(devices, relays, f.Kind == "bootstrap-blocked"))
}

func (c *Crowd) strikePeople(f Fault) {
	switch f.Kind {
	case "devices-away":
		for _, d := range Some(c.rng, c.present(), f.Share) {
			d.held++
			c.follow(d)
			c.w.After(f.For, func() {
				if d.held--; !d.gone {
					c.follow(d)
				}
			})
		}
	case "devices-crash":
		for _, d := range Some(c.rng, c.present(), f.Share) {
			d.Stop()
			c.w.After(max(f.For, time.Second), func() {
				if !d.gone && !d.Up() {
					c.start(d)
				}
			})
		}
	case "devices-lose-disk":
		for _, d := range Some(c.rng, c.present(), f.Share) {
			d.gone, d.since = true, c.w.Now()
			d.Lose()
			c.forget(d)
		}
	case "device-removed":
		c.removeDevices(f)
	case "device-added":
		for _, u := range Some(c.rng, c.users, f.Share) {
			if d := u.devices[0]; d.gone || !d.Here() || len(u.devices) >= MaxPerUser || c.link(u) != nil {
				continue
			}
			c.live(u.devices[len(u.devices)-1])
		}
	}
}

// removeDevices has people take their last device off their account.
func (c *Crowd) removeDevices(f Fault) {
	var able []*user
	for _, u := range c.users {
		if last := u.devices[len(u.devices)-1]; len(u.devices) > 1 && !last.gone && u.devices[0].Here() {
			able = append(able, u)
		}
	}
	for _, u := range Some(c.rng, able, f.Share) {
		d := u.devices[len(u.devices)-1]
		if u.devices[0].Do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, d.ID()); return err }) == nil {
			c.forget(d)
			d.gone, d.removed = true, true
		}
	}
}
