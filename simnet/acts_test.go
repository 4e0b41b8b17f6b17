package simnet_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/simnet"
)

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
