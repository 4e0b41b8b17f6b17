package repair_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
	"github.com/kith-im/kith/mailbox/repair"
)

func id(n int) []byte {
	return dht.PeerFromKey(binary.BigEndian.AppendUint64(make([]byte, 24), uint64(n)))
}

func boxID(n int) (b mailbox.ID) {
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return b
}

// members are relays by number; the last of them stand by.
func members(standbys int, at ...int) (out []dht.Member) {
	for i, n := range at {
		out = append(out, dht.Member{Peer: dht.Peer{ID: id(n)}, Rank: byte(i), Standby: i >= len(at)-standbys})
	}
	return out
}

func seeded() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }

// Who visits whom for what, relay 0 being ourselves.
func TestWhomARelayComparesWith(t *testing.T) {
	for name, c := range map[string]struct {
		members []dht.Member
		content bool
		compare []int
		offer   []int
		visits  int
	}{
		"member":              {members(2, 1, 0, 2, 3, 4), true, []int{1, 2}, nil, 4},
		"member of two":       {members(0, 0, 1), true, []int{1}, nil, 1},
		"alone":               {members(0, 0), true, nil, nil, 0},
		"standby":             {members(2, 1, 2, 3, 0, 4), false, nil, nil, 4},
		"standby with a hint": {members(2, 1, 2, 3, 0, 4), true, nil, []int{1, 2, 3, 4}, 4},
		"former with mail":    {members(1, 1, 2, 3), true, nil, []int{1, 2, 3}, 3},
		"former without":      {members(1, 1, 2, 3), false, nil, nil, 3},
		"standby before a member": {[]dht.Member{
			{Peer: dht.Peer{ID: id(1)}, Rank: 1, Standby: true}, {Peer: dht.Peer{ID: id(0)}, Rank: 2}, {Peer: dht.Peer{ID: id(2)}, Rank: 3},
		}, true, []int{1, 2}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := repair.New(id(0))
			p.Take(mailboxtest.T0, repair.Duty{Box: boxID(7), Version: 1, Members: c.members, Content: c.content})
			visits := p.Due(mailboxtest.T0, seeded())
			if len(visits) != c.visits {
				t.Errorf("%d visits, want %d", len(visits), c.visits)
			}
			for _, v := range visits {
				n := int(v.Peer.ID[len(v.Peer.ID)-1])
				if got := len(v.Compare) > 0; got != slices.Contains(c.compare, n) {
					t.Errorf("compares with %d: %t", n, got)
				}
				if got := len(v.Offer) > 0; got != slices.Contains(c.offer, n) {
					t.Errorf("offers to %d: %t", n, got)
				}
			}
			if again := p.Due(mailboxtest.T0.Add(49*time.Minute), seeded()); len(again) > 0 {
				t.Errorf("%d visits again within the hour", len(again))
			}
			if again := p.Due(mailboxtest.T0.Add(71*time.Minute), seeded()); len(again) != c.visits {
				t.Errorf("%d visits an hour later", len(again))
			}
		})
	}
}

// fail lets the visits to the given relays fail and all others succeed, for a while.
func fail(p *repair.Planner, from time.Time, d time.Duration, dead ...int) time.Time {
	for end := from.Add(d); from.Before(end); from = from.Add(time.Minute) {
		for _, v := range p.Due(from, seeded()) {
			if slices.Contains(dead, int(v.Peer.ID[len(v.Peer.ID)-1])) {
				p.Unreachable(v.Peer.ID, from, seeded())
			} else {
				p.Visited(v.Peer.ID, from, repair.Outcome{})
			}
		}
	}
	return from
}

// A standby waits twelve hours, one more for each standby before it, and for as
// many relays before it to be lost.
func TestWhenAStandbyTakesOver(t *testing.T) {
	for name, c := range map[string]struct {
		members []dht.Member
		dead    []int
		after   time.Duration
		took    int
	}{
		"first, too early":          {members(2, 1, 2, 3, 0, 4), []int{2}, 11 * hour, 0},
		"first":                     {members(2, 1, 2, 3, 0, 4), []int{2}, 14 * hour, 1},
		"second, one lost":          {members(2, 1, 2, 3, 4, 0), []int{2}, 50 * hour, 0},
		"second, two lost, early":   {members(2, 1, 2, 3, 4, 0), []int{2, 3}, 12*hour + hour/2, 0},
		"second, two lost":          {members(2, 1, 2, 3, 4, 0), []int{2, 3}, 15 * hour, 1},
		"second, first and member":  {members(2, 1, 2, 3, 4, 0), []int{2, 4}, 15 * hour, 1},
		"a later standby is no one": {members(2, 1, 2, 3, 0, 4), []int{4}, 50 * hour, 0},
		"nobody answers":            {members(2, 1, 2, 3, 0, 4), []int{1, 2, 3, 4}, 50 * hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := repair.New(id(0))
			p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: c.members})
			now := fail(p, mailboxtest.T0, hour)
			now = fail(p, now, c.after, c.dead...)
			if got := p.Status(now).Took; got != c.took {
				t.Fatalf("took %d, want %d", got, c.took)
			}
			now = fail(p, now, 3*hour) // all are back
			if got := p.Status(now).Took; got != c.took {
				t.Errorf("took %d once all are back", got)
			}
			p.Take(now, repair.Duty{Box: boxID(1), Version: 2, Members: c.members})
			if got := p.Status(now).Took; got != 0 {
				t.Errorf("took %d with a new set", got)
			}
		})
	}
}

func TestLeavingCountsAtOnce(t *testing.T) {
	p := repair.New(id(0))
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(1, 1, 2, 0)})
	p.Visited(id(1), mailboxtest.T0, repair.Outcome{Advert: &dht.Advert{LeavingAt: mailboxtest.T0.Add(hour)}})
	p.Due(mailboxtest.T0, seeded())
	if got := p.Status(mailboxtest.T0); got.Took != 1 || got.Lost != 1 {
		t.Errorf("%+v", got)
	}
	p.Visited(id(1), mailboxtest.T0, repair.Outcome{Advert: &dht.Advert{}})
	if got := p.Status(mailboxtest.T0); got.Lost != 0 || got.Took != 1 {
		t.Errorf("it stays: %+v", got)
	}
}

// A clock that jumps makes nobody silent, and a machine that slept neither.
func TestAJumpIsNoSilence(t *testing.T) {
	p := repair.New(id(0))
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(1, 1, 2, 0)})
	now := fail(p, mailboxtest.T0, hour)
	now = fail(p, now.Add(31*24*hour), 2*hour, 1)
	if got := p.Status(now); got.Lost != 0 || got.Took != 0 {
		t.Errorf("%+v", got)
	}
}

func TestBackOff(t *testing.T) {
	p := repair.New(id(0))
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(0, 0, 1)})
	now, last, tries := mailboxtest.T0, time.Duration(0), 0
	for now.Before(mailboxtest.T0.Add(24 * hour)) {
		at := p.Deadline()
		wait := at.Sub(now)
		if tries > 1 && tries < 6 && (wait < last*3/2-time.Minute || wait > last*3) {
			t.Errorf("try %d after %v, the one before after %v", tries, wait, last)
		}
		if wait > 70*time.Minute {
			t.Errorf("waits %v", wait)
		}
		now, last = at, wait
		if len(p.Due(now, seeded())) != 1 {
			t.Fatal("nothing is due at the deadline")
		}
		p.Unreachable(id(1), now, seeded())
		tries++
	}
	if tries < 24 || tries > 40 {
		t.Errorf("%d tries in a day", tries)
	}
	p.Heard(id(1), now)
	p.Offered(id(1), now, []mailbox.ID{boxID(1)})
	if at := p.Deadline(); at.Sub(now) > time.Minute {
		t.Errorf("an offer does not end the back-off: %v", at.Sub(now))
	}
}

// Offers move a visit forward, but no relay can make us visit without end.
func TestOffersAreBounded(t *testing.T) {
	p := repair.New(id(0))
	p.Take(mailboxtest.T0, repair.Duty{Box: boxID(1), Version: 1, Members: members(0, 0, 1)})
	fail(p, mailboxtest.T0, hour)
	now := mailboxtest.T0.Add(2 * hour)
	visits := 0
	for range 600 {
		now = now.Add(time.Second)
		for range 3 {
			p.Offered(id(1), now, []mailbox.ID{boxID(1), boxID(2)})
		}
		for _, v := range p.Due(now, seeded()) {
			visits++
			if len(v.Compare) != 1 {
				t.Errorf("compares %d boxes", len(v.Compare))
			}
			p.Visited(v.Peer.ID, now, repair.Outcome{})
		}
	}
	if visits < 180 || visits > 201 {
		t.Errorf("%d visits in ten minutes of offers", visits)
	}
	for n := range 10_000 {
		p.Offered(id(1000+n), now, []mailbox.ID{boxID(1)})
	}
	if got := len(p.Due(now, seeded())); got > repair.MaxStrangers+1 {
		t.Errorf("%d relays outside the set are visited", got)
	}
	for range 4 {
		now = fail(p, now, hour)
		p.See(boxID(1), 1, true)
		p.Sweep()
	}
	if at := p.Deadline(); at.IsZero() {
		t.Error("the member is forgotten")
	}
	if got := len(p.Due(now.Add(2*hour), seeded())); got != 1 {
		t.Errorf("%d relays are visited once the offers are seen to", got)
	}
}

// Strangers may take all places that there are for their offers. Whoever stood in an
// earlier set of the box is heard all the same, as long as the box is there, and visited
// as what it is: a relay that answers. The control is one more stranger.
func TestStrangersKeepNoFormerMemberFromHandingOver(t *testing.T) {
	p, now := repair.New(id(0)), mailboxtest.T0
	look := func(box int, version uint64, peers ...int) {
		if !p.See(boxID(box), version, true) {
			p.Take(now, repair.Duty{Box: boxID(box), Version: version, Members: members(0, peers...), Content: true})
		}
		p.Sweep()
	}
	heard := func(n int) (v []repair.Visit) {
		now = now.Add(10 * time.Second)
		p.Offered(id(n), now, []mailbox.ID{boxID(1)})
		for _, x := range p.Due(now, seeded()) {
			if string(x.Peer.ID) == string(id(n)) {
				v = append(v, x)
				p.Visited(id(n), now, repair.Outcome{})
			}
		}
		return v
	}
	look(1, 1, 0, 1, 2)
	p.Visited(id(1), now, repair.Outcome{})
	for version := range uint64(4) { // it is gone, and the set is signed anew
		look(1, 2+version, 0, 2, 3)
	}
	flood := func() {
		for n := range 2 * repair.MaxStrangers {
			p.Offered(id(1000+n), now, []mailbox.ID{boxID(1)})
		}
	}
	flood()
	if v := heard(1); len(v) != 1 || len(v[0].Compare) != 1 || v[0].Grade != repair.Known {
		t.Errorf("the former member: %+v", v)
	}
	if v := heard(5000); len(v) != 0 {
		t.Errorf("control: a stranger: %+v", v)
	}
	for version := range uint64(10) { // an owner may name whom he likes, again and again
		look(1, 100+version, 0, int(200+2*version), int(201+2*version))
	}
	flood()
	if v := heard(1); len(v) != 0 {
		t.Errorf("control: long gone: %+v", v)
	}
}

func TestForgottenBoxes(t *testing.T) {
	p := repair.New(id(0))
	for n := range 3 {
		p.Take(mailboxtest.T0, repair.Duty{Box: boxID(n), Version: 1, Members: members(0, 0, n+1)})
	}
	p.Sweep()
	p.See(boxID(1), 1, true)
	p.Sweep()
	if s := p.Status(mailboxtest.T0); s.Boxes != 1 || s.Peers != 1 {
		t.Errorf("%+v", s)
	}
	if v := p.Due(mailboxtest.T0, seeded()); len(v) != 1 || string(v[0].Peer.ID) != string(id(2)) {
		t.Errorf("visits %v", v)
	}
}

func TestPlansRepeat(t *testing.T) {
	plan := func() (out []string) {
		p := repair.New(id(0))
		for n := range 50 {
			p.Take(mailboxtest.T0, repair.Duty{Box: boxID(n), Version: 1, Members: members(1, n%7+1, n%5+8, 0), Content: n%2 == 0})
		}
		rng := seeded()
		for now := mailboxtest.T0; now.Before(mailboxtest.T0.Add(48 * hour)); now = p.Deadline() {
			for _, v := range p.Due(now, rng) {
				line := fmt.Sprint(now, v.Peer, v.Compare, v.Offer)
				if v.Audit != nil {
					line += fmt.Sprint(*v.Audit)
				}
				out = append(out, line)
				if v.Peer.ID[len(v.Peer.ID)-1] == 3 {
					p.Unreachable(v.Peer.ID, now, rng)
				} else {
					p.Visited(v.Peer.ID, now, repair.Outcome{})
				}
			}
		}
		return out
	}
	if a, b := plan(), plan(); !slices.Equal(a, b) || len(a) < 100 {
		t.Errorf("two runs, two plans of %d and %d", len(a), len(b))
	}
}

// Under random silence, every box that an honest living relay still holds is
// complete again at every active living relay of its set, and standbys stand in
// for who is gone.
func TestRepairRestoresReplicas(t *testing.T) {
	broken := 0
	for _, off := range []bool{false, true} {
		rapid.Check(t, func(r *rapid.T) {
			if off && broken > 0 {
				return // the control has what it wants
			}
			w := newWorld(t, 5, rapid.Uint64().Draw(r, "seed"))
			w.off = off
			w.open(1, 1, 2, 0, 1, 2, 3, 4)
			sent := texts(rapid.IntRange(1, 8).Draw(r, "texts"))
			for _, text := range sent {
				w.relays[rapid.IntRange(0, 2).Draw(r, "at")].deposit(1, text)
			}
			w.run(30 * time.Minute)
			for range 2 { // never more at once than repair has had time to mend
				x := rapid.IntRange(0, 4).Draw(r, "victim")
				switch rapid.IntRange(0, 2).Draw(r, "fate") {
				case 0:
					w.relays[x].wipe()
				case 1:
					w.relays[x].up = false
				default:
					w.relays[x].up = !w.relays[x].up
				}
				w.run(17 * hour)
			}
			full := 0
			for _, s := range w.relays {
				if s.up && slices.Equal(s.texts(1), sent) {
					full++
				}
			}
			living := 0
			for _, s := range w.relays {
				if s.up {
					living++
				}
			}
			if full < 3 && !off {
				r.Fatalf("%d of %d living relays hold everything", full, living)
			}
			if full < 3 {
				broken++
			}
		})
	}
	if broken == 0 {
		t.Error("control: without repair, too, every box had three holders")
	}
}

// BenchmarkPlan plans for a relay of 30,000 boxes that shares them with 200 others, of which some leave: it has
// taken over what it has to.
func BenchmarkPlan(b *testing.B) {
	for _, leaving := range []int{0, 20} {
		b.Run(fmt.Sprint(leaving, "-leave"), func(b *testing.B) { benchPlan(b, leaving) })
	}
}

func benchPlan(b *testing.B, leaving int) {
	p := repair.New(id(0))
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 30_000 {
		at := rng.Perm(200)[:4]
		at = slices.Insert(at, rng.IntN(5), -1)
		for i := range at {
			at[i]++
		}
		p.Take(mailboxtest.T0, repair.Duty{Box: boxID(n), Version: 1, Members: members(2, at...), Content: true})
	}
	for n := range leaving {
		p.Visited(id(n+1), mailboxtest.T0, repair.Outcome{Advert: &dht.Advert{LeavingAt: mailboxtest.T0.Add(24 * hour)}})
	}
	now, boxes := mailboxtest.T0, 0
	p.Due(now, seeded())
	for b.Loop() {
		for range 120 { // visits come one by one
			now = now.Add(time.Minute)
			for _, v := range p.Due(now, seeded()) {
				boxes += len(v.Compare) + len(v.Offer)
				p.Visited(v.Peer.ID, now, repair.Outcome{})
			}
		}
	}
	b.ReportMetric(float64(boxes)/float64(b.N), "boxes/op")
}
