package simnet_test

import (
	"fmt"
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

// quarrel is a random run of a group whose members are partitioned, away, and act against each other.
type quarrel struct {
	*party
	knew   map[string][]string // text -> members that the author's device knew of, by user id
	broken []string
	parted bool
}

func (q *quarrel) fail(format string, args ...any) {
	q.broken = append(q.broken, fmt.Sprintf(format, args...))
}

// quarrelOf plays one seed. plant may put a fault in.
func quarrelOf(t testing.TB, seed uint64, plant func(*quarrel)) *quarrel {
	q := &quarrel{party: gather(t, seed, 5, 1+int(seed%2), 2, 4), knew: map[string][]string{}}
	for _, u := range q.users[1:4] {
		if q.rng.IntN(4) > 0 {
			_ = q.devices[0][0].Do(func(e *node.Engine, t *node.Turn) error {
				_, err := e.SetGroupAdmin(t, q.handle(q.devices[0][0]), u, true)
				return err
			})
		}
	}
	q.w.Run(time.Minute)
	if plant != nil {
		plant(q)
	}
	for range 30 {
		q.act()
	}
	q.w.Heal()
	for _, r := range q.relays {
		if !r.Up() {
			r.Restart()
		}
	}
	q.each(func(_ int, d *simnet.Device) {
		if !d.Up() {
			q.must(d.Start())
		}
	})
	q.w.Run(16 * time.Hour)
	q.compare()
	return q
}

// act does one random thing.
func (q *quarrel) act() {
	i := q.rng.IntN(len(q.users))
	d := pick(q.rng, q.devices[i])
	switch n := q.rng.IntN(100); {
	case n < 35 && d.Up():
		q.write(d)
	case n < 65 && d.Up():
		q.govern(d)
	case n < 73:
		var names []string
		q.each(func(_ int, d *simnet.Device) {
			if q.rng.IntN(2) == 0 {
				names = append(names, d.Name())
			}
		})
		q.parted = true
		q.w.Part(names...)
	case n < 82 && q.parted:
		q.parted = false
		q.w.Heal()
	case n < 90 && d.Up():
		d.Stop()
	case !d.Up():
		q.must(d.Start())
	}
	if q.rng.IntN(6) == 0 {
		q.w.Run(time.Duration(q.rng.IntN(180)) * time.Minute)
	} else {
		q.w.Run(time.Duration(q.rng.IntN(5000)) * time.Millisecond)
	}
}

func (q *quarrel) write(d *simnet.Device) {
	text := fmt.Sprintf("%d by %s", len(q.knew), d.Name())
	v := q.chat(d)
	if q.say(d, text) == "" {
		return
	}
	for _, m := range v.Members {
		q.knew[text] = append(q.knew[text], m.User)
	}
}

// govern is one act on the group itself, by somebody who may not be allowed to.
func (q *quarrel) govern(d *simnet.Device) {
	who, other := q.handle(d), pick(q.rng, q.users)
	if who == "" {
		return
	}
	err := d.Do(func(e *node.Engine, t *node.Turn) (err error) {
		switch n := q.rng.IntN(12); {
		case n < 4:
			_, err = e.AddToGroup(t, who, []string{other})
		case n < 8:
			_, err = e.RemoveFromGroup(t, who, []string{other})
		case n < 10:
			_, err = e.SetGroupAdmin(t, who, other, n == 8)
		case n == 10:
			_, err = e.NameGroup(t, who, fmt.Sprint("group ", q.rng.IntN(100)))
		case q.rng.IntN(4) == 0:
			_, err = e.LeaveGroup(t, who)
		}
		return err
	})
	q.w.Log(d.Name(), "governs: %v", err)
}

// compare holds what everybody sees against each other, and against what they may see.
func (q *quarrel) compare() {
	first := q.best()
	if first == nil {
		return // everybody has left
	}
	q.each(func(i int, d *simnet.Device) {
		if !slices.ContainsFunc(q.chat(first).Members, func(m view.Member) bool { return m.User == q.users[i] }) {
			return
		}
		if a, b := q.members(first), q.members(d); a != b {
			q.fail("%s sees %s, %s sees %s", first.Name(), a, d.Name(), b)
		}
		since, sinceFirst := q.since(d), q.since(first)
		from := sinceFirst
		if since.After(from) {
			from = since
		}
		if a, b := q.textsFrom(first, from), q.textsFrom(d, from); !slices.Equal(a, b) {
			q.fail("since %v %s shows %q, %s shows %q", from, first.Name(), a, d.Name(), b)
		}
	})
	q.each(func(i int, d *simnet.Device) {
		for _, m := range q.messages(d) {
			if !m.Mine && !slices.Contains(q.knew[m.Text], q.users[i]) && !q.wasIn(first, q.users[i], m.SentAt) {
				q.fail("%s reads %q, whose author knew that it is no member", d.Name(), m.Text)
			}
		}
	})
}

// best is the device of a member that knows most of the log.
func (q *quarrel) best() (best *simnet.Device) {
	most := 0
	q.each(func(_ int, d *simnet.Device) {
		if v := q.chat(d); v.Handle != "" && !v.Left && v.Entries > most {
			best, most = d, v.Entries
		}
	})
	return best
}

// since is when a device's own person came into the group last.
func (q *quarrel) since(d *simnet.Device) time.Time {
	for _, m := range q.chat(d).Members {
		if m.Me {
			return m.Since
		}
	}
	return time.Time{}
}

func (q *quarrel) messages(d *simnet.Device) (out []view.Message) {
	who := q.handle(d)
	if who != "" {
		d.View(func(tx store.Tx) (err error) { out, err = talk.Messages(tx, who, 0); return err })
	}
	return out
}

func (q *quarrel) textsFrom(d *simnet.Device, from time.Time) (out []string) {
	for _, m := range q.messages(d) {
		if !m.SentAt.Before(from) {
			out = append(out, m.Text)
		}
	}
	return out
}

// wasIn reports whether somebody was a member at a time, as a device that has the whole log knows it.
func (q *quarrel) wasIn(d *simnet.Device, user string, at time.Time) (in bool) {
	d.View(func(tx store.Tx) error {
		for _, c := range talk.Groups(tx) {
			r := talk.RosterOf(tx, talk.IDOf(c))
			for _, s := range slices.Concat(r.GetMembers(), r.GetPast()) {
				if fmt.Sprintf("%x", s.User) == user && s.From <= uint64(at.UnixMilli()) && (s.To == 0 || uint64(at.UnixMilli()) < s.To) {
					in = true
				}
			}
		}
		return nil
	})
	return in
}

// Whoever acts against whom while the network is cut and devices are away: in the end all members have one list and one
// timeline, and nobody reads what was written by somebody who knew that it was removed.
func TestRandomGroups(t *testing.T) {
	texts, removed := 0, 0
	from := uint64(size(t, "FROM", 1))
	for seed := from; seed < from+seeds(t, 3); seed++ {
		q := quarrelOf(t, seed, nil)
		if len(q.broken) > 0 {
			t.Fatalf("seed %d:\n%s\n%s", seed, strings.Join(q.broken, "\n"), tail(q.w))
		}
		texts += len(q.knew)
		q.each(func(_ int, d *simnet.Device) {
			if q.chat(d).Left {
				removed++
			}
		})
	}
	if texts == 0 || removed == 0 {
		t.Errorf("%d texts, %d devices of people who were removed: nothing was tried", texts, removed)
	}
	t.Logf("%d texts, %d devices of people who were removed", texts, removed)
}

// The control: a device that does not learn who is a member, and one that does not ask for what it lacks, are noticed.
func TestRandomGroupsAreHardToPlease(t *testing.T) {
	for name, plant := range map[string]func(*quarrel){
		"a device does not keep who is a member": func(q *quarrel) {
			q.devices[1][0].Wrap(func(s store.Store) store.Store { return stubborn{s} })
		},
	} {
		for seed := uint64(0); ; seed++ {
			if seed == 20 {
				t.Errorf("nobody notices: %s", name)
				break
			}
			if q := quarrelOf(t, seed, plant); len(q.broken) > 0 {
				t.Logf("%s: seed %d: %s", name, seed, q.broken[0])
				break
			}
		}
	}
}

// stubborn never changes its mind about who is in a group.
type stubborn struct{ store.Store }

func (s stubborn) Update(fn func(store.Tx) error) error {
	return s.Store.Update(func(tx store.Tx) error { return fn(stubbornTx{tx}) })
}

type stubbornTx struct{ store.Tx }

func (t stubbornTx) Put(b store.Bucket, key, value []byte) {
	if b == store.BucketGroups && len(key) == 16 && t.Get(b, key) != nil {
		return
	}
	t.Tx.Put(b, key, value)
}

// Whoever told others of an act that was void tells them when it learns so: they would go on as a group of their own.
// The founder removes p1, p2 and p3; p1, who is cut off, removes the founder, and p2 and p3 hear of that alone.
func TestNobodyGoesOnAfterAVoidAct(t *testing.T) {
	p := gather(t, 5, 4, 1, 2, 4)
	founder, rebel := p.devices[0][0], p.devices[1][0]
	govern := func(d *simnet.Device, fn func(e *node.Engine, t *node.Turn, who string) error) {
		t.Helper()
		p.must(d.Do(func(e *node.Engine, t *node.Turn) error { return fn(e, t, p.handle(d)) }))
	}
	govern(founder, func(e *node.Engine, t *node.Turn, who string) error {
		_, err := e.SetGroupAdmin(t, who, p.users[1], true)
		return err
	})
	p.w.Run(time.Minute)
	p.w.Part("p1")
	for _, i := range []int{2, 3, 1} {
		govern(founder, func(e *node.Engine, t *node.Turn, who string) error {
			_, err := e.RemoveFromGroup(t, who, []string{p.users[i]})
			return err
		})
		p.w.Run(time.Minute)
	}
	founder.Stop()
	p.relays[0].Kill() // what the founder left for p1
	p.relays[1].Kill()
	p.w.Heal()
	p.w.Run(time.Minute)
	govern(rebel, func(e *node.Engine, t *node.Turn, who string) error {
		_, err := e.RemoveFromGroup(t, who, []string{p.users[0]})
		return err
	})
	p.w.Run(time.Minute)
	for _, i := range []int{2, 3} {
		if p.chat(p.devices[i][0]).Left {
			t.Fatalf("control: p%d did not come back", i)
		}
	}
	p.relays[0].Restart()
	p.relays[1].Restart()
	p.must(founder.Start())
	p.w.Run(time.Hour)
	for i, left := range []bool{false, true, true, true} {
		if got := p.chat(p.devices[i][0]).Left; got != left {
			t.Errorf("p%d has left: %t, want %t, and sees %s\n%s", i, got, left, p.members(p.devices[i][0]), tail(p.w))
		}
	}
}
