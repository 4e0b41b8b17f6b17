package story

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// claims are what expect and deny can say of a host: how many words follow, and whether it holds.
var claims = map[string]struct {
	form string
	of   func(p *Play, d *Device, args []string) bool // nil: it is of relays
}{
	"knows":     {"PERSON", func(p *Play, d *Device, a []string) bool { return knows(d, p.person(a[0])) }},
	"relays":    {"PERSON NUMBER", func(_ *Play, d *Device, a []string) bool { return is(contact(d, a[0]).Relays, a[1]) }},
	"devices":   {"PERSON NUMBER", func(_ *Play, d *Device, a []string) bool { return is(contact(d, a[0]).Devices, a[1]) }},
	"shows":     {"TEXT", func(p *Play, d *Device, a []string) bool { return p.text(d, a[0]) != "" }},
	"words":     {"TEXT WORD", func(p *Play, d *Device, a []string) bool { return p.text(d, a[0]) == a[1] }},
	"reactions": {"TEXT WORD", func(p *Play, d *Device, a []string) bool { return p.reactions(d, a[0]) == a[1] }},
	"stage":     {"TEXT WORD", (*Play).stage},
	"told":      {"NUMBER", func(_ *Play, d *Device, a []string) bool { return is(told(d), a[0]) }},
	"members":   {"GROUP NUMBER", func(p *Play, d *Device, a []string) bool { return is(p.members(d, a[0]), a[1]) }},
	"agrees":    {"DEVICE WHO", (*Play).agrees},
	"holds":     {"NUMBER", nil},
}

func is(n int, want string) bool { return strconv.Itoa(n) == want }

// claim finds what a line claims, and how long it may take to become true. Its form was checked when it was read.
func (p *Play) claim(args []string) (holds func() bool, within time.Duration, err error) {
	within = patience
	if args[0] == "within" {
		within, _ = duration(args[1])
		args = args[2:]
	}
	host, c, args := args[0], claims[args[1]], args[2:]
	if c.of == nil {
		r := p.relay(host)
		return func() bool { return is(r.Held(), args[0]) }, within, nil
	}
	d, err := p.device(host)
	return func() bool { return c.of(p, d, args) }, within, err
}

// expect lets time pass until a claim holds.
func (p *Play) expect(args []string) error {
	holds, within, err := p.claim(args)
	if err != nil {
		return err
	}
	if !p.RunUntil(within, holds) {
		return fmt.Errorf("it does not come to that within %s", within)
	}
	p.Log("story", "it holds: %s", Line{Verb: args[0], Args: args[1:]})
	return nil
}

// deny is for what must not hold at this moment.
func (p *Play) deny(args []string) error {
	holds, _, err := p.claim(args)
	if err != nil {
		return err
	}
	if holds() {
		return errors.New("it holds")
	}
	p.Log("story", "it does not hold: %s", Line{Verb: args[0], Args: args[1:]})
	return nil
}

// told counts the messages of others that a device has, also what has disappeared.
func told(d *Device) (n int) {
	d.View(func(tx store.Tx) error {
		chats, err := talk.Inbox(tx)
		for _, c := range chats {
			all, err := talk.Messages(tx, c.Handle, 0)
			if err != nil {
				return err
			}
			for _, m := range all {
				if !m.Mine {
					n++
				}
			}
		}
		return err
	})
	return n
}

// text is what a device shows of a message, "" for nothing.
func (p *Play) text(d *Device, text string) string {
	if m, err := p.said(text); err == nil {
		if v := d.Shows(m.ID); v != nil {
			return v.Text
		}
	}
	return ""
}

func (p *Play) reactions(d *Device, text string) string {
	var out []string
	if m, err := p.said(text); err == nil {
		if v := d.Shows(m.ID); v != nil {
			for _, r := range v.Reactions {
				out = append(out, r.Emoji)
			}
		}
	}
	return strings.Join(out, " ")
}

func (p *Play) stage(d *Device, args []string) bool {
	m, err := p.said(args[0])
	return err == nil && string(d.Status(m.ID).Stage) == args[1]
}

func (p *Play) members(d *Device, group string) int { return len(p.Roster(d, group)) }

// Roster is who is in a group as a device knows it, by user id; nobody, if it is not in it itself.
func (p *Play) Roster(d *Device, group string) (users []string) {
	g := p.groups[group]
	d.View(func(tx store.Tx) error {
		for _, c := range talk.Groups(tx) {
			if v := talk.GroupView(tx, talk.Me(tx), c); g != nil && v.Chat == g.chat && !v.Left {
				for _, m := range v.Members {
					users = append(users, m.User)
				}
			}
		}
		return nil
	})
	slices.Sort(users)
	return users
}

// WasIn says whether a device knows of somebody as a member of a group at a time, and since when he is one.
func (p *Play) WasIn(d *Device, group string, who *Person, at time.Time) (in bool, since time.Time) {
	g := p.groups[group]
	d.View(func(tx store.Tx) error {
		for _, c := range talk.Groups(tx) {
			if g == nil || talk.GroupView(tx, talk.Me(tx), c).Chat != g.chat {
				continue
			}
			r, ms := talk.RosterOf(tx, talk.IDOf(c)), uint64(at.UnixMilli())
			for _, s := range slices.Concat(r.GetMembers(), r.GetPast()) {
				if hex.EncodeToString(s.User) == who.User {
					in = in || s.From <= ms && (s.To == 0 || ms < s.To)
					if s.To == 0 {
						since = time.UnixMilli(int64(s.From))
					}
				}
			}
		}
		return nil
	})
	return in, since
}

// agrees says whether two devices show the same messages of a conversation, in the same order.
func (p *Play) agrees(d *Device, args []string) bool {
	o, err := p.device(args[0])
	return err == nil && slices.Equal(looks(d, args[1]), looks(o, args[1]))
}

func looks(d *Device, who string) (out []string) {
	d.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, who, 0)
		for _, m := range all {
			out = append(out, inWords(m, d.Owner.Name))
		}
		return err
	})
	return out
}

// Look is a message as a device shows it, in words that do not depend on who looks; "" if it has none.
func Look(d *Device, id string) (words string) {
	d.View(func(tx store.Tx) error {
		if m, err := talk.Message(tx, id); err == nil {
			words = inWords(m, d.Owner.Name)
		}
		return nil
	})
	return words
}

func inWords(m view.Message, me string) string {
	name := func(who string) string {
		if who == "me" {
			return me
		}
		return who
	}
	w := []string{name(m.From), strconv.Quote(m.Text)}
	for _, e := range m.Edits {
		w = append(w, "was "+e.Text)
	}
	for _, r := range m.Reactions {
		w = append(w, name(r.From)+" "+r.Emoji)
	}
	if m.Unsent {
		w = append(w, "unsent")
	}
	return strings.Join(w, " ")
}
