package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/simnet/crowd"
)

// words are what somebody wants to write.
type words struct {
	to     *user
	in     *group // instead of to
	length int
}

// people are those whom words of a user concern, the user too.
func (w words) people(from *user) []*user {
	if w.in != nil {
		return w.in.members
	}
	return []*user{w.to, from}
}

// makeGroups has people found their groups, whose first members know all others.
func (t *Town) makeGroups(ctx context.Context) error {
	for i, g := range t.cfg.Groups {
		x := &group{}
		first := t.rng.Below(len(t.users))
		for k := range g.Size {
			x.members = append(x.members, t.users[(first+k)%len(t.users)])
		}
		owner := x.members[0]
		if err := t.gather(ctx, owner, x.members[1:]); err != nil {
			return err
		}
		if err := t.await(t.strangers); err != nil {
			return err
		}
		var ids []string
		for _, u := range x.members[1:] {
			err := u.devices[0].node.View(func(tx store.Tx) error { ids = append(ids, talk.Me(tx).String()); return nil })
			if err != nil {
				return err
			}
		}
		err := owner.devices[0].do(ctx, func(e *node.Engine, turn *node.Turn) error {
			v, err := e.CreateGroup(turn, fmt.Sprintf("group %d", i), ids)
			x.chat = v.Chat
			return err
		})
		if err != nil {
			return fmt.Errorf("a group of %d: %w", g.Size, err)
		}
		if err := t.await(func() string { return x.missing(ctx) }); err != nil {
			return err
		}
		t.groups = append(t.groups, x)
	}
	return nil
}

// missing names a device of a member that does not know the group yet.
func (g *group) missing(ctx context.Context) string {
	for _, u := range g.members {
		for _, d := range u.devices {
			if _, err := d.handle(ctx, words{in: g}); err != nil {
				return fmt.Sprintf("%s: %v", d.name, err)
			}
		}
	}
	return ""
}

// nextWrite plans when a user writes next.
func (t *Town) nextWrite(u *user) {
	if wait, ok := t.cfg.NextWrite(t.rng, time.Now().Add(t.shift), u.Habits); ok {
		t.after(wait, func(ctx context.Context) { t.write(ctx, u) })
	}
}

// write has a user write, on a device that is there; else it does when one is.
func (t *Town) write(ctx context.Context, u *user) {
	t.nextWrite(u)
	t.cfg.Texts(t.rng, time.Since(t.began), u.Zone, func(length int) {
		w := words{length: length}
		author := t.address(u, &w)
		d, ok := crowd.OneHere(t.rng, author.devices, func(d *resident) bool { return !d.gone && d.node != nil })
		if ok {
			t.say(ctx, d, w)
		} else {
			author.backlog = append(author.backlog, w)
		}
	})
}

// address decides whom words are for; of those in a group, any member may write.
func (t *Town) address(u *user, w *words) (author *user) {
	to, in := t.cfg.Address(t.rng, t.near, u.n)
	if in < 0 {
		w.to = t.users[to]
		return u
	}
	w.in = t.groups[in]
	return w.in.members[t.rng.Below(len(w.in.members))]
}

// say writes on a device.
func (t *Town) say(ctx context.Context, d *resident, w words) {
	d.of.written++
	text := fmt.Sprintf("%s/%d.", d.name, d.of.written)
	text += strings.Repeat("x", max(w.length-len(text), 0))
	to, err := d.handle(ctx, w)
	if err == nil {
		err = d.do(ctx, func(e *node.Engine, turn *node.Turn) error {
			not, err := d.without(turn.Tx, e, w)
			if err != nil {
				return err
			}
			m, err := e.Send(turn, node.SendRequest{To: to, Text: text})
			if err == nil {
				t.sent(d, w, m.ID, not) // before anybody can hear of it
			}
			return err
		})
	}
	if err != nil {
		t.fail("%s writes: %v", d.name, err)
	}
}

// handle is what a device calls somebody, or a group.
func (r *resident) handle(ctx context.Context, w words) (string, error) {
	known, err := r.of.handles[w.to], error(nil)
	if w.in != nil {
		known = r.groups[w.in]
	}
	if known != "" {
		return known, nil
	}
	err = r.node.Look(ctx, func(tx store.Tx, e *node.Engine, _ time.Time) error {
		if w.in != nil {
			for _, g := range talk.Groups(tx) {
				if v := talk.GroupView(tx, talk.Me(tx), g); v.Chat == w.in.chat {
					known, r.groups[w.in] = v.Handle, v.Handle
				}
			}
			return tx.Err()
		}
		list, err := node.Contacts(tx, e)
		for _, c := range list {
			if c.Name == w.to.name {
				known, r.of.handles[w.to] = c.Handle, c.Handle
			}
		}
		return err
	})
	if known == "" && err == nil {
		err = errors.New("no contact and no group of that name")
	}
	return known, err
}

// without are the devices that words must not reach: those that the author knows were removed.
func (r *resident) without(tx store.Tx, e *node.Engine, w words) (not []*machine, err error) {
	for _, u := range w.people(r.of) {
		var removed []*machine
		left := 0
		for _, d := range u.devices {
			if d.removed {
				removed = append(removed, d.machine)
			} else if !d.gone {
				left++
			}
		}
		if len(removed) == 0 {
			continue
		}
		n, err := r.knows(tx, e, u)
		if err != nil {
			return nil, err
		}
		if n == left {
			not = append(not, removed...)
		}
	}
	return not, nil
}

// knows is how many devices a device believes that a user has.
func (r *resident) knows(tx store.Tx, e *node.Engine, u *user) (n int, err error) {
	if u == r.of {
		v, err := node.Identity(tx)
		return v.Devices, err
	}
	list, err := node.Contacts(tx, e)
	for _, c := range list {
		if c.Name == u.name {
			n = c.Devices
		}
	}
	return n, err
}
