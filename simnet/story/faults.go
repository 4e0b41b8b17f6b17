package story

import (
	"slices"
	"time"

	"github.com/kith-im/kith/simnet"
)

// meddle notes that relays or the network are not what they were.
func (p *Play) meddle() { p.Changed = p.Now() }

func (p *Play) crash(host string) {
	if p.Crash != nil {
		p.Crash(host)
	}
}

func (p *Play) stop(name string) error {
	if r := p.relay(name); r != nil {
		if !r.Up() {
			return errSkip
		}
		p.meddle()
		r.up = false
		r.Kill()
		p.crash(name)
		return nil
	}
	d, err := p.device(name)
	if err != nil || !d.Up() {
		return skip(err)
	}
	d.up = false
	d.Stop()
	p.crash(name)
	return nil
}

func (p *Play) start(name string) error {
	if r := p.relay(name); r != nil {
		if r.Up() || r.Lost {
			return errSkip
		}
		p.meddle()
		r.up = true
		return r.Restart()
	}
	d, err := p.device(name)
	if err != nil || d.Up() || d.Lost {
		return skip(err)
	}
	return d.start()
}

func skip(err error) error {
	if err == nil {
		err = errSkip
	}
	return err
}

// lose destroys a host with its disk, for ever.
func (p *Play) lose(name string) error {
	if r := p.relay(name); r != nil {
		if r.Lost {
			return errSkip
		}
		p.meddle()
		r.Lost, r.Wiped, r.up = true, p.Now(), false
		r.Kill()
		r.Wipe()
		return nil
	}
	d, err := p.device(name)
	if err != nil || d.Lost {
		return skip(err)
	}
	d.Lost = true
	if d.Up() {
		d.up = false
		d.Stop()
	}
	p.crash(name)
	return nil
}

// wipe takes a relay's disk, which no process outlives: one that runs begins anew.
func (p *Play) wipe(name string) error {
	p.meddle()
	r := p.relay(name)
	r.Wiped = p.Now()
	if !r.Up() {
		r.Wipe()
		return nil
	}
	r.Kill()
	r.Wipe()
	return r.Restart()
}

// lies are what a hostile relay does from now on.
var lies = map[string]func(*simnet.Relay){
	"drop":     (*simnet.Relay).Lie,       // signs and keeps nothing
	"withhold": (*simnet.Relay).Withhold,  // keeps, proves it, and hands nothing out
	"forge":    (*simnet.Relay).Forge,     // hands out other bytes
	"cut":      (*simnet.Relay).CutCopies, // says of its copies that they expire in three hours
}

func (p *Play) lie(args []string) error {
	if p.World == nil {
		return errNotHere
	}
	p.meddle()
	r := p.relay(args[0])
	r.Liar = true
	p.Log(r.Name(), "lies: %s", args[1])
	lies[args[1]](r.World)
	return nil
}

// away takes a device off the network; its process runs on.
func (p *Play) away(name string) error {
	d, err := p.device(name)
	if err != nil || d.World == nil || !d.World.Here() {
		return skip(err)
	}
	d.World.Leave()
	return nil
}

func (p *Play) back(name string) error {
	d, err := p.device(name)
	if err != nil || d.World == nil || d.World.Here() {
		return skip(err)
	}
	d.World.Return()
	return nil
}

func (p *Play) drain(name string) error {
	r := p.relay(name)
	if r.Leaves || !r.Up() || r.World == nil {
		return errSkip
	}
	p.meddle()
	r.Leaves = true
	r.World.Drain()
	return nil
}

func (p *Play) cut(names []string) error {
	if p.World == nil {
		return errNotHere
	}
	p.meddle()
	p.Parted = true
	p.World.Part(names...)
	return nil
}

func (p *Play) heal([]string) error {
	if p.World == nil {
		return errNotHere
	}
	p.meddle()
	p.Parted = false
	p.World.Heal()
	return nil
}

// links is what the network does to envelopes: some are lost, some come twice, all come up to late later.
type links struct {
	lost, twice float64
	late        time.Duration
}

func (p *Play) setLinks(args []string) (err error) {
	if p.World == nil {
		return errNotHere
	}
	p.meddle()
	p.links.lost, _ = share(args[0])
	p.links.twice, _ = share(args[1])
	p.links.late, err = duration(args[2])
	return err
}

// fate draws what becomes of a parcel while links are as they are.
func (p *Play) fate(x simnet.Parcel) simnet.Fate {
	if p.Carried != nil {
		p.Carried(x)
	}
	if p.links == (links{}) || !slices.Contains([]string{"direct", "deposit", "receipt", "mail"}, x.Kind) {
		return simnet.Fate{0}
	}
	if p.rng.Float64() < p.links.lost {
		return nil
	}
	out := simnet.Fate{p.late()}
	if p.rng.Float64() < p.links.twice {
		out = append(out, p.late())
	}
	return out
}

func (p *Play) late() time.Duration { return time.Duration(p.rng.Float64() * float64(p.links.late)) }
