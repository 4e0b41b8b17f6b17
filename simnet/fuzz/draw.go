package fuzz

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/kith-im/kith/simnet/story"
)

// Mark is in every text that a drawn script says, so that it can be looked for where nobody may read it.
const Mark = "never-in-the-clear"

// drawer writes a script, and knows what the world would look like if every line of it did what it says.
type drawer struct {
	rng    *rand.Rand
	folk   *rand.Rand // of groups: scripts without one are as they were
	script story.Script
	people []string
	owner  map[string]string // device -> person
	all    []string          // devices
	up     map[string]bool   // hosts
	lost   map[string]bool
	relays []string
	texts  []string
	cut    bool
	stormy bool
	group  string
	absent string          // the device that is off the network
	once   map[string]bool // what happens once in a script
}

// Draw writes the script of a seed.
func Draw(seed uint64) story.Script {
	d := &drawer{
		rng: rand.New(rand.NewPCG(seed, 7)), owner: map[string]string{}, up: map[string]bool{}, lost: map[string]bool{}, once: map[string]bool{},
	}
	d.folk = rand.New(rand.NewPCG(seed, 11))
	d.cast()
	for range 12 + d.rng.IntN(24) {
		d.turn()
		if d.group != "" && d.folk.IntN(5) == 0 {
			d.govern()
		}
		d.pause()
	}
	return d.script
}

func (d *drawer) line(verb string, args ...string) {
	d.script = append(d.script, story.Line{Number: len(d.script) + 1, Verb: verb, Args: args})
}

// cast brings people, devices and relays on, and makes them known to each other.
func (d *drawer) cast() {
	for i := range []int{1, 2, 3, 3, 4, 5, 5}[d.rng.IntN(7)] {
		d.relays = append(d.relays, fmt.Sprint("relay-", i+1))
	}
	d.people = []string{"alice", "bob", "carol"}[:2+d.rng.IntN(4)/3]
	d.line("relays", d.relays...)
	d.line("people", d.people...)
	for i, a := range d.people {
		d.owner[a], d.all = a, append(d.all, a)
		for _, b := range d.people[i+1:] {
			d.line("know", a, b)
		}
	}
	for _, p := range d.people {
		if d.rng.IntN(5) > 1 {
			continue
		}
		name := p + "-2"
		d.owner[name], d.all = p, append(d.all, name)
		d.line("device", p, name)
		d.line("wait", "5s")
	}
	for _, h := range slices.Concat(d.all, d.relays) {
		d.up[h] = true
	}
	if d.rng.IntN(3) == 0 {
		d.line("skew", d.pick(slices.Concat(d.all, d.relays)), fmt.Sprintf("%ds", d.rng.IntN(180)-90))
	}
	d.line("wait", "2m")
	if len(d.people) > 2 && (d.rng.IntN(2) == 0 || d.folk.IntN(2) == 0) {
		d.group = "friends"
		d.line("group", append([]string{d.people[0], d.group}, d.people[1:]...)...)
		d.line("wait", "1m")
	}
}

func (d *drawer) pick(from []string) string { return from[d.rng.IntN(len(from))] }

// those are the hosts of a list that are up, or down and not lost.
func (d *drawer) those(from []string, up bool) (out []string) {
	for _, h := range from {
		if d.up[h] == up && !d.lost[h] {
			out = append(out, h)
		}
	}
	return out
}

// turn is one thing that somebody does, or that befalls a host.
func (d *drawer) turn() {
	switch n := d.rng.IntN(100); {
	case n < 40:
		d.send()
	case n < 48:
		d.act()
	case n < 55:
		d.toggle("stop", d.all)
	case n < 63:
		d.toggle("start", d.all)
	case n < 68:
		d.away()
	case n < 74:
		d.toggle("stop", d.relays)
	case n < 79:
		d.toggle("start", d.relays)
	case n < 84:
		d.harm()
	case n < 90:
		d.network()
	case n < 93:
		d.links()
	case n < 96:
		d.lose()
	default:
		d.unlink()
	}
}

func (d *drawer) toggle(verb string, from []string) {
	if some := d.those(from, verb == "stop"); len(some) > 0 {
		h := d.pick(some)
		d.up[h] = verb == "start"
		d.line(verb, h)
	}
}

// away takes a device off the network for a while, or brings it back. Whoever writes there writes all the same.
func (d *drawer) away() {
	if d.absent != "" {
		d.line("back", d.absent)
		d.absent = ""
	} else if some := d.those(d.all, true); len(some) > 0 {
		d.absent = d.pick(some)
		d.line("away", d.absent)
	}
}

func (d *drawer) send() {
	some := d.those(d.all, true)
	if len(some) == 0 {
		return
	}
	from := d.pick(some)
	to := d.pick(d.people)
	if to == d.owner[from] {
		to = d.people[(slices.Index(d.people, to)+1)%len(d.people)]
	}
	if d.group != "" && d.rng.IntN(2) == 0 {
		to = d.group
	}
	text := fmt.Sprintf("%s %d by %s", Mark, len(d.texts)+1, from)
	d.texts = append(d.texts, text)
	args := []string{from, to, text}
	if d.rng.IntN(10) == 0 {
		args = append(args, "10m")
	}
	d.line("send", args...)
}

// govern changes who is in the group. Only its founder may, so mostly he tries; he is not asked whether he still is one.
func (d *drawer) govern() {
	some := d.those(d.all, true)
	if founders := slices.DeleteFunc(slices.Clone(some), func(x string) bool { return d.owner[x] != d.people[0] }); len(founders) > 0 && d.folk.IntN(8) > 0 {
		some = founders
	}
	if len(some) == 0 {
		return
	}
	dev, other := some[d.folk.IntN(len(some))], d.people[d.folk.IntN(len(d.people))]
	switch n := d.folk.IntN(20); {
	case n == 0:
		d.line("leave", dev, d.group)
	case n < 9:
		d.line("remove", dev, d.group, other)
	default:
		d.line("add", dev, d.group, other)
	}
	if d.folk.IntN(2) == 0 {
		d.line("wait", "20s")
	}
}

// act does something to what was said.
func (d *drawer) act() {
	some := d.those(d.all, true)
	if len(some) == 0 || len(d.texts) == 0 {
		return
	}
	dev, text := d.pick(some), d.texts[max(0, len(d.texts)-1-d.rng.IntN(4))]
	switch d.rng.IntN(8) {
	case 0, 1:
		d.line("edit", dev, text, fmt.Sprintf("%s edited %d", Mark, d.rng.IntN(1000)))
	case 2, 3, 4:
		d.line("react", dev, text, d.pick([]string{"👍", "❤️", "😂"}))
	case 5:
		d.line("unsend", dev, text)
	default:
		d.line("read", dev, d.pick(slices.DeleteFunc(slices.Clone(d.people), func(p string) bool { return p == d.owner[dev] })))
	}
}

// harm does something to a relay that cannot be undone.
func (d *drawer) harm() {
	r := d.pick(d.relays)
	verb := d.pick([]string{"wipe", "wipe", "lose", "lie", "drain"})
	if d.lost[r] || d.once[verb] && d.rng.IntN(3) > 0 || verb == "drain" && !d.up[r] {
		return
	}
	if verb != "wipe" {
		if others := len(d.relays) - len(d.once); others < 3 {
			return
		}
		d.once["harmed "+r] = true
	}
	if verb == "lose" {
		d.lost[r] = true
	}
	d.once[verb] = true
	if verb == "lie" {
		d.line(verb, r, d.pick([]string{"drop", "drop", "withhold", "forge", "cut"}))
		return
	}
	d.line(verb, r)
}

func (d *drawer) network() {
	if d.cut = !d.cut; !d.cut {
		d.line("heal")
		return
	}
	var side []string
	for _, h := range slices.Concat(d.all, d.relays) {
		if d.rng.IntN(2) == 0 {
			side = append(side, h)
		}
	}
	if d.cut = len(side) > 0; d.cut {
		d.line("cut", side...)
	}
}

func (d *drawer) links() {
	if d.stormy = !d.stormy; !d.stormy {
		d.line("links", "0%", "0%", "0s")
		return
	}
	d.line("links", fmt.Sprintf("%d%%", d.rng.IntN(40)), fmt.Sprintf("%d%%", d.rng.IntN(60)), fmt.Sprintf("%ds", d.rng.IntN(60)))
}

// lose takes one device for ever; its person may have others.
func (d *drawer) lose() {
	dev := d.pick(d.all)
	if d.once["lose device"] || d.rng.IntN(2) == 0 {
		return
	}
	d.once["lose device"], d.lost[dev], d.up[dev] = true, true, false
	d.line("lose", dev)
}

// unlink removes a second device from its account.
func (d *drawer) unlink() {
	for _, dev := range d.all {
		p := d.owner[dev]
		if dev != p && !d.once["unlink"] && d.up[p] {
			d.once["unlink"] = true
			d.line("unlink", p, dev)
			return
		}
	}
}

// pause lets time pass: mostly seconds, sometimes days, seldom a month.
func (d *drawer) pause() {
	switch n := d.rng.IntN(60); {
	case n == 0 && !d.once["month"]:
		d.once["month"] = true
		d.line("wait", "31d")
	case n < 3:
		d.line("wait", fmt.Sprintf("%dh", 1+d.rng.IntN(48)))
	case n < 10:
		d.line("wait", fmt.Sprintf("%dm", 1+d.rng.IntN(90)))
	case n < 50:
		d.line("wait", fmt.Sprintf("%dms", d.rng.IntN(4000)))
	}
}
