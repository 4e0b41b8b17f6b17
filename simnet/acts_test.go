package simnet_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// parlour is five devices of three people who know each other, with two relays.
func parlour(t *testing.T, seed uint64) *schedule {
	s := &schedule{
		t: t, seed: seed, w: simnet.New(seed), rng: rand.New(rand.NewPCG(seed, 11)), has: map[*simnet.Device]map[string]bool{},
		crashes: map[*simnet.Device]func(){},
	}
	s.relays = append(s.relays, s.w.AddRelay("relay-1"), s.w.AddRelay("relay-2"))
	for _, name := range []string{"alice", "bob", "carol"} {
		p := &person{name: name, gone: map[*simnet.Device]bool{}, read: map[string]bool{}}
		s.people = append(s.people, p)
		d, err := s.w.AddDevice(name)
		s.must(err)
		s.enrol(p, d)
	}
	for i, a := range s.people {
		for _, b := range s.people[i+1:] {
			s.befriend(a.devices[0], b.devices[0])
		}
	}
	for _, p := range s.people[:2] {
		d, err := s.w.LinkDevice(p.name+"-2", p.devices[0])
		s.must(err)
		s.enrol(p, d)
		s.w.Run(5 * time.Second)
	}
	s.w.Run(time.Minute)
	s.must(s.people[0].devices[0].Do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.CreateGroup(t, "friends", []string{"bob", "carol"})
		return err
	}))
	s.w.Run(time.Minute)
	return s
}

// talkOnce does one random thing to a conversation on a device, or lets the device go and come back.
func (s *schedule) talkOnce() {
	p := pick(s.rng, s.people)
	d, with := pick(s.rng, p.devices), pick(s.rng, []string{"alice", "bob", "carol", "friends", "friends"})
	switch n := s.rng.IntN(20); {
	case n == 0 && d.Up():
		s.stop(d)
	case n < 3 && !d.Up():
		s.start(d)
	case n < 5:
		s.markRead(p, d)
	case d.Up() && with != p.name:
		s.must(d.Do(func(e *node.Engine, t *node.Turn) error {
			_ = e.Talk(t, func(desk *talk.Desk) error { return s.actAt(desk, with) }) // what is refused has no effect
			return nil
		}))
	}
	if s.rng.IntN(25) == 0 {
		s.w.Run(time.Duration(s.rng.IntN(20)) * time.Minute)
	} else {
		s.w.Run(time.Duration(s.rng.IntN(5_000)) * time.Millisecond)
	}
}

func (s *schedule) actAt(d *talk.Desk, with string) (err error) {
	all, err := talk.Messages(d.Tx, with, 6)
	if err != nil || len(all) == 0 || s.rng.IntN(5) == 0 {
		_, err = d.Send(with, talk.Words{Text: fmt.Sprint("text ", s.rng.Uint32()), TTL: uint32(s.rng.IntN(8) / 7 * 600)})
		return err
	}
	id := pick(s.rng, all).ID
	switch s.rng.IntN(7) {
	case 0, 1, 2:
		_, err = d.React(id, pick(s.rng, []string{"👍", "❤️", "😂", ""}))
	case 3, 4:
		_, err = d.Edit(id, fmt.Sprint("edit ", s.rng.Uint32()))
	case 5:
		_, err = d.Unsend(id)
	case 6:
		_, err = d.Delete(id, s.rng.IntN(3) > 0)
	}
	return err
}

// looks is what each message of a person's conversation with another is on one device, by id, in words that are the same
// for both of them.
func looks(d *simnet.Device, me, with string) map[string]string {
	out := map[string]string{}
	d.View(func(tx store.Tx) error {
		for _, find := range []func(store.Tx, string, int) ([]view.Message, error){talk.Messages, talk.Deleted} {
			all, err := find(tx, with, 0)
			if err != nil {
				return err
			}
			for _, m := range all {
				out[m.ID] = inWords(m, me)
			}
		}
		return nil
	})
	return out
}

func inWords(m view.Message, me string) string {
	name := func(who string) string { return strings.Replace(who, "me", me, 1) }
	var w []string
	for _, e := range m.Edits {
		w = append(w, "was "+e.Text)
	}
	for _, r := range m.Reactions {
		w = append(w, name(r.From)+" "+r.Emoji)
	}
	return fmt.Sprintf("%s: %q %q refused %d unsent %t", name(m.From), m.Text, w, m.Refused, m.Unsent)
}

// circle is a conversation: who is in it, and what each calls it.
type circle struct {
	people []*person
	handle func(*person) string
}

func (s *schedule) circles() []circle {
	out := []circle{{s.people, func(*person) string { return "friends" }}}
	for i, a := range s.people {
		for _, b := range s.people[i+1:] {
			out = append(out, circle{[]*person{a, b}, func(p *person) string { return map[*person]*person{a: b, b: a}[p].name }})
		}
	}
	return out
}

// differences compares the devices of each conversation. What was to disappear is compared by each person apart: its
// time runs for author and reader from another moment.
func (s *schedule) differences() (out []string) {
	for _, c := range s.circles() {
		first := map[string]string{}
		for _, p := range c.people {
			for _, d := range p.devices {
				for id, words := range looks(d, p.name, c.handle(p)) {
					key := id
					if temporary(p.devices[0], id) {
						key += p.name
					}
					if was, known := first[key]; known && was != words {
						out = append(out, fmt.Sprintf("%s on %s is\n%s, elsewhere\n%s", id[:8], d.Name(), words, was))
					}
					first[key] = words
				}
			}
		}
	}
	return out
}

func temporary(d *simnet.Device, id string) (yes bool) {
	d.View(func(tx store.Tx) error {
		m, err := talk.Message(tx, id)
		yes = err != nil || m.TTL > 0 || m.Erased
		return nil
	})
	return yes
}

// Whatever five devices of three people do to their messages, in whatever order it reaches them: in the end they all show
// the same, and nothing is missing.
func TestRandomActs(t *testing.T) {
	before, acted := 0, 0
	for seed := range seeds(t, 2) {
		s := parlour(t, seed)
		for i := range 160 {
			if s.talkOnce(); i%20 == 0 {
				before += len(s.differences())
			}
		}
		s.finish()
		for _, line := range append(s.differences(), s.broken...) {
			t.Errorf("seed %d: %s", seed, line)
		}
		for _, c := range s.circles() {
			for _, p := range c.people {
				for _, d := range p.devices {
					for id, words := range looks(d, p.name, c.handle(p)) {
						if strings.Contains(words, "was ") || strings.Contains(words, "unsent true") || strings.Contains(words, " 👍") {
							acted++
						}
						for _, o := range p.devices {
							if looks(o, p.name, c.handle(p))[id] == "" {
								t.Errorf("seed %d: %s is on %s and not on %s", seed, id[:8], d.Name(), o.Name())
							}
						}
					}
				}
			}
		}
	}
	if before == 0 || acted == 0 {
		t.Errorf("control: %d differences on the way, %d changed messages", before, acted)
	}
	t.Logf("%d differences on the way, none in the end; %d changed messages on all devices together", before, acted)
}

// In a group everybody sees which members reacted, and nothing that somebody did who was removed meanwhile, whichever
// comes first.
func TestActsInAGroup(t *testing.T) {
	p := gather(t, 5, 3, 1, 1, 3)
	first, second, third := p.devices[0][0], p.devices[1][0], p.devices[2][0]
	id := p.say(second, "who comes?")
	p.w.Run(time.Minute)
	act := func(d *simnet.Device, fn func(*talk.Desk) error) {
		t.Helper()
		p.must(d.Do(func(e *node.Engine, t *node.Turn) error { return e.Talk(t, fn) }))
	}
	react := func(d *simnet.Device, emoji string) {
		t.Helper()
		act(d, func(desk *talk.Desk) error { _, err := desk.React(id, emoji); return err })
	}
	react(third, "👍")
	p.w.Run(time.Second) // of two at one time the order is the ids'
	react(first, "❤️")
	p.w.Run(time.Minute)
	for _, d := range []*simnet.Device{first, second, third} {
		if got := reactions(d, id); got != "👍 ❤️" {
			t.Errorf("%s sees %q", d.Name(), got)
		}
	}
	p.w.Part(third.Name())
	p.must(first.Do(func(e *node.Engine, t *node.Turn) error {
		_, err := e.RemoveFromGroup(t, p.handle(first), []string{p.users[2]})
		return err
	}))
	p.w.Run(10 * time.Second)
	late := p.say(third, "said after its removal")
	react(third, "😂")
	act(second, func(desk *talk.Desk) error { _, err := desk.Edit(id, "who comes at 8?"); return err })
	p.w.Run(time.Minute)
	p.w.Heal()
	p.w.Run(time.Hour)
	for _, d := range []*simnet.Device{first, second} {
		d.View(func(tx store.Tx) error {
			m, err := talk.Message(tx, id)
			if err != nil {
				return err
			}
			if s := reactions(d, id); s != "❤️" || m.Text != "who comes at 8?" {
				t.Errorf("%s sees %q with %q", d.Name(), m.Text, s)
			}
			if _, err := talk.Message(tx, late); err == nil && slices.Contains(p.texts(d), "said after its removal") {
				t.Errorf("%s shows what was said after the removal", d.Name())
			}
			return nil
		})
	}
}

func reactions(d *simnet.Device, id string) string {
	var out []string
	d.View(func(tx store.Tx) error {
		m, err := talk.Message(tx, id)
		for _, r := range m.Reactions {
			out = append(out, r.Emoji)
		}
		return err
	})
	return strings.Join(out, " ")
}
