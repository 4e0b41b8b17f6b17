package simnet_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// person is somebody with one to three devices; the first is the admin.
type person struct {
	name    string
	devices []*simnet.Device
	gone    map[*simnet.Device]bool // removed from the account
	read    map[string]bool         // what a person of theirs has read, by message id
}

func (p *person) all() (out []*simnet.Device) {
	for _, d := range p.devices {
		if !p.gone[d] {
			out = append(out, d)
		}
	}
	return out
}

// sent is one message, and which devices have to have it in the end.
type sent struct {
	id, text string
	from     *simnet.Device
	owner    *person
	to       *person
	due      []*simnet.Device // those on the lists that the sender knew
	not      []*simnet.Device // those that the sender knew were removed
}

// schedule is one random run.
type schedule struct {
	t       *testing.T
	seed    uint64
	w       *simnet.World
	rng     *rand.Rand
	people  []*person
	relays  []*simnet.Relay
	wiped   bool
	removed bool
	drained bool
	parted  bool
	sent    []sent
	has     map[*simnet.Device]map[string]bool // message ids on a device
	broken  []string
	dead    *simnet.Device            // ends for ever
	crashes map[*simnet.Device]func() // what else happens when the process ends
}

func (s *schedule) fail(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

func (s *schedule) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("seed %d: %v\n%s", s.seed, err, tail(s.w))
	}
}

func tail(w *simnet.World) string {
	lines := w.Trace()
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// setUp makes people who know each other, with their devices and relays.
func setUp(t *testing.T, seed uint64) *schedule {
	s := &schedule{
		t: t, seed: seed, w: simnet.New(seed), rng: rand.New(rand.NewPCG(seed, 7)), has: map[*simnet.Device]map[string]bool{},
		crashes: map[*simnet.Device]func(){},
	}
	for i := range 1 + s.rng.IntN(5) {
		s.relays = append(s.relays, s.w.AddRelay(fmt.Sprintf("relay-%d", i+1)))
	}
	for _, name := range []string{"alice", "bob", "carol"}[:2+s.rng.IntN(2)] {
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
	for _, p := range s.people {
		for range s.rng.IntN(3) {
			d, err := s.w.LinkDevice(fmt.Sprintf("%s-%d", p.name, len(p.devices)+1), p.devices[0])
			s.must(err)
			s.enrol(p, d)
			s.w.Run(5 * time.Second)
		}
	}
	s.w.Run(10 * time.Minute)
	return s
}

func (s *schedule) enrol(p *person, d *simnet.Device) {
	p.devices = append(p.devices, d)
	s.has[d] = map[string]bool{}
	d.Skew(time.Duration(s.rng.IntN(120)-60) * time.Second)
	d.Notices(func(n view.Notice) { s.check(p, d, n) })
	s.must(d.Start())
}

func (s *schedule) befriend(a, b *simnet.Device) {
	var link string
	s.must(a.Do(func(e *node.Engine, t *node.Turn) error { v, err := e.CreateInvite(t, 0); link = v.Text; return err }))
	s.must(b.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err }))
	if !s.w.RunUntil(10*time.Minute, func() bool {
		x, y := contactOf(a, b.Name()), contactOf(b, a.Name())
		return x.State == "accepted" && y.State == "accepted"
	}) {
		s.t.Fatalf("seed %d: %s and %s do not get to know each other\n%s", s.seed, a.Name(), b.Name(), tail(s.w))
	}
}

func contactOf(d *simnet.Device, handle string) (found view.Contact) {
	d.View(func(tx store.Tx) error {
		all, err := node.Contacts(tx, nil)
		for _, c := range all {
			if c.Handle == handle {
				found = c
			}
		}
		return err
	})
	return found
}

// check holds each notice against what is true at this moment.
func (s *schedule) check(p *person, d *simnet.Device, n view.Notice) {
	switch n.Type {
	case "message":
		s.has[d][n.ID] = true
	case "stage":
		switch n.Stage.Stage {
		case view.StageDelivered:
			if o := s.device(n.Stage.Device); o != nil && !s.has[o][n.ID] {
				s.fail("%s shows delivered at %s, which does not have it", d.Name(), o.Name())
			}
		case view.StageRead:
			if o := s.device(n.Stage.Device); o != nil && !s.owner(o).read[n.ID] {
				s.fail("%s shows read by %s, who has not read it", d.Name(), o.Name())
			}
		case view.StageCustody:
			names := map[string]bool{}
			for _, r := range n.Stage.Receipts {
				names[r.Relay] = true
			}
			if len(names) != n.Stage.Custody || n.Stage.Custody < n.Stage.Quorum || n.Stage.Quorum < 1 {
				s.fail("%s shows custody %d of quorum %d by %d relays", d.Name(), n.Stage.Custody, n.Stage.Quorum, len(names))
			}
		}
	}
}

func (s *schedule) device(id string) *simnet.Device {
	for _, p := range s.people {
		for _, d := range p.devices {
			if d.ID() == id {
				return d
			}
		}
	}
	return nil
}

func (s *schedule) owner(d *simnet.Device) *person {
	for _, p := range s.people {
		if slices.Contains(p.devices, d) {
			return p
		}
	}
	return nil
}

func pick[T any](rng *rand.Rand, in []T) T { return in[rng.IntN(len(in))] }

// act does one random thing.
func (s *schedule) act() {
	p := pick(s.rng, s.people)
	d := pick(s.rng, p.devices)
	r := pick(s.rng, s.relays)
	switch n := s.rng.IntN(100); {
	case n < 45:
		s.send(p, d)
	case n < 57 && d.Up():
		s.stop(d)
	case n < 72 && !d.Up() && d != s.dead:
		s.start(d)
	case n < 77 && r.Up():
		r.Kill()
	case n < 84 && !r.Up():
		r.Restart()
	case n < 86 && !s.wiped && len(s.relays) > 1:
		s.wiped = true
		r.Wipe()
	case n < 88:
		s.part()
	case n < 91 && s.parted:
		s.parted = false
		s.w.Heal()
	case n < 93:
		s.markRead(p, d)
	case n < 95:
		s.remove(p)
	case n < 96 && !s.drained && r.Up() && len(s.relays) > 3:
		s.drained = true
		r.Drain()
	}
	switch n := s.rng.IntN(20); {
	case n == 0:
		s.w.Run(time.Duration(s.rng.IntN(48)) * time.Hour)
	case n < 4:
		s.w.Run(time.Duration(s.rng.IntN(90)) * time.Minute)
	default:
		s.w.Run(time.Duration(s.rng.IntN(4000)) * time.Millisecond)
	}
}

func (s *schedule) stop(d *simnet.Device) {
	d.Stop()
	if crash := s.crashes[d]; crash != nil {
		crash()
	}
}

func (s *schedule) start(d *simnet.Device) {
	for err := d.Start(); err != nil; err = d.Start() {
		s.w.Log(d.Name(), "does not start: %v", err)
	}
}

func (s *schedule) part() {
	var names []string
	for _, p := range s.people {
		for _, d := range p.devices {
			if s.rng.IntN(2) == 0 {
				names = append(names, d.Name())
			}
		}
	}
	for _, r := range s.relays {
		if s.rng.IntN(2) == 0 {
			names = append(names, r.Name())
		}
	}
	s.parted = true
	s.w.Part(names...)
}

func (s *schedule) send(p *person, d *simnet.Device) {
	to := pick(s.rng, s.people)
	if to == p || !d.Up() || p.gone[d] {
		return
	}
	m := sent{text: fmt.Sprintf("%s's %d", d.Name(), len(s.sent)), from: d, owner: p, to: to}
	contact := contactOf(d, to.name)
	var own int
	d.View(func(tx store.Tx) error { v, err := node.Identity(tx); own = v.Devices; return err })
	err := d.Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.Send(t, node.SendRequest{To: to.name, Text: m.text})
		m.id = v.ID
		return err
	})
	if err != nil {
		return
	}
	for _, x := range []struct {
		p     *person
		knows int
	}{{to, contact.Devices}, {p, own}} {
		for _, o := range x.p.devices {
			switch {
			case o == d:
			case !x.p.gone[o]:
				m.due = append(m.due, o)
			case x.knows == len(x.p.all()):
				m.not = append(m.not, o)
			}
		}
	}
	s.sent = append(s.sent, m)
}

func (s *schedule) markRead(p *person, d *simnet.Device) {
	from := pick(s.rng, s.people)
	if from == p || !d.Up() {
		return
	}
	d.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, from.name, 0)
		for _, m := range all {
			if !m.Mine {
				p.read[m.ID] = true
			}
		}
		return err
	})
	if err := d.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.MarkRead(t, from.name); return err }); err != nil {
		s.w.Log(d.Name(), "does not mark: %v", err)
	}
}

// remove takes one device off one account, once a run.
func (s *schedule) remove(p *person) {
	admin := p.devices[0]
	if s.removed || len(p.devices) < 2 || !admin.Up() || s.dead == admin {
		return
	}
	s.removed = true
	gone := p.devices[len(p.devices)-1]
	s.w.Log(admin.Name(), "removes %s", gone.Name())
	if admin.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.RemoveDevice(t, gone.ID()); return err }) == nil {
		p.gone[gone] = true
	}
}

// finish brings everybody back who can come, and compares.
func (s *schedule) finish() {
	s.w.Heal()
	for _, r := range s.relays {
		if !r.Up() {
			r.Restart()
		}
	}
	if s.dead != nil && s.dead.Up() {
		s.dead.Stop()
	}
	for _, p := range s.people {
		for _, d := range p.devices {
			if !d.Up() && d != s.dead {
				s.start(d)
			}
		}
	}
	s.w.Run(16 * time.Hour)
	for _, m := range s.sent {
		for _, d := range m.due {
			if d == s.dead || s.owner(d).gone[d] || (m.from == s.dead && !s.kept(m, d)) || m.owner.gone[m.from] {
				continue
			}
			if !s.has[d][m.id] {
				s.fail("%q of %s is not on %s", m.text, m.from.Name(), d.Name())
			}
		}
		for _, d := range m.not {
			if s.has[d][m.id] {
				s.fail("%q is on %s, which %s knew was removed", m.text, d.Name(), m.from.Name())
			}
		}
	}
	s.broken = append(s.broken, s.w.Failures()...)
}

// kept says whether a dead sender saw custody, or more, for a device: then others have to see to it.
func (s *schedule) kept(m sent, d *simnet.Device) bool {
	var status view.Status
	m.from.View(func(tx store.Tx) (err error) { status, err = talk.Status(tx, m.id); return err })
	return slices.ContainsFunc(status.Deliveries, func(x view.Delivery) bool {
		return x.Device == d.ID() && x.Stage == view.StageCustody && (!s.wiped || x.Custody > 1)
	})
}

// run plays one seed. plant may put a fault in before the random part begins.
func run(t *testing.T, seed uint64, plant func(*schedule)) *schedule {
	s := setUp(t, seed)
	if plant != nil {
		plant(s)
	}
	for i := range 60 {
		if i == 40 && s.rng.IntN(3) == 0 {
			s.dead = pick(s.rng, pick(s.rng, s.people).devices)
			if s.dead.Up() {
				s.dead.Stop()
			}
			s.w.Log(s.dead.Name(), "never comes back")
		}
		s.act()
	}
	s.finish()
	return s
}

// seeds is how many schedules a test plays: SEEDS in the environment, or a few.
func seeds(t *testing.T, few uint64) uint64 {
	v := os.Getenv("SEEDS")
	if v == "" {
		return few
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever happens to people's devices, relays and networks: nothing is lost while an honest holder or its sender lives,
// nothing is shown twice or to a removed device, and every stage shown is true.
func TestRandomSchedules(t *testing.T) {
	messages := 0
	for seed := range seeds(t, 6) {
		s := run(t, seed, nil)
		messages += len(s.sent)
		if len(s.broken) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, strings.Join(s.broken, "\n"), tail(s.w))
		}
	}
	if messages < 50 {
		t.Errorf("control: only %d messages were sent", messages)
	}
}

// One seed gives one trace, on one processor or several.
func TestSchedulesRepeat(t *testing.T) {
	for _, seed := range []uint64{0, 5} {
		first := run(t, seed, nil).w.Trace()
		before := runtime.GOMAXPROCS(1)
		again := run(t, seed, nil).w.Trace()
		runtime.GOMAXPROCS(before)
		for i := range first {
			if i >= len(again) || first[i] != again[i] {
				t.Fatalf("seed %d, line %d:\n%s\n%s", seed, i, first[i], again[min(i, len(again)-1)])
			}
		}
		if len(first) != len(again) || len(first) < 100 {
			t.Fatalf("seed %d: %d lines and %d lines", seed, len(first), len(again))
		}
	}
}
