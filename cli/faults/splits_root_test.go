//go:build root

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

const (
	processes     = 7
	custodyWithin = 6 * time.Second
	splitsWithin  = 25 * time.Minute // all splits of one company
)

// seven is a company of persons and relays, seven processes with a namespace each. Persons come first.
type seven struct {
	t      testing.TB
	net    *wires
	dir    string
	news   *news
	people []*device
	relays []*machine // the members of the second person's mailbox first, then its standbys
	at     map[*machine]int
	rng    *rand.Rand

	texts []*text
	v     toll
}

// toll is what partitions cost.
type toll struct {
	Seed                        uint64
	Splits, Sent, Pairs         int
	Delivered, Duplicates, Lost int
	Custody, LostAfterCustody   int // pairs in custody whose sender was killed before the wires were back
	Crossed, Untrue             int // shown through the cut; said delivered and not there
	Dropped                     int64
	Slowest                     time.Duration // from the heal until all was shown and all senders knew
	each                        []time.Duration
}

func (v *toll) clean() bool {
	return v.Lost == 0 && v.Duplicates == 0 && v.LostAfterCustody == 0 && v.Crossed == 0 && v.Untrue == 0 && v.Delivered == v.Pairs
}

func (v *toll) String() string {
	slices.Sort(v.each)
	var middle time.Duration
	if n := len(v.each); n > 0 {
		middle = v.each[n/2]
	}
	return fmt.Sprintf("seed %d: %d splits, %d texts to %d screens: %d delivered, %d duplicates, %d lost; %d in custody without their sender: %d lost; %d through the cut, %d untrue stages; %d packets lost by chance; after the heal all was there within %.1f s (median %.1f s)",
		v.Seed, v.Splits, v.Sent, v.Pairs, v.Delivered, v.Duplicates, v.Lost, v.Custody, v.LostAfterCustody, v.Crossed, v.Untrue, v.Dropped, v.Slowest.Seconds(), middle.Seconds())
}

// newSeven starts everybody and makes all persons contacts of each other.
func newSeven(t testing.TB, ctx context.Context, seed uint64, persons int) *seven {
	t.Helper()
	s := &seven{
		t: t, net: newWires(t, processes, seed), dir: folder(t), news: newNews(), at: map[*machine]int{},
		rng: rand.New(rand.NewPCG(seed, 2)), v: toll{Seed: seed},
	}
	t.Cleanup(s.end)
	for i := persons; i < processes; i++ {
		m := newMachine(t, s.dir, fmt.Sprintf("relay%d", i-persons+1), s.news, inside(s.net.names[i])...)
		m.args = []string{"--relay", "--listen", everywhere}
		m.must(t, ctx, 0, "init", "--name", m.name)
		m.knows(s.relays[:min(1, len(s.relays))]...) // the first has to be up: that is whom the others know
		check(t, m.start(ctx))
		s.relays = append(s.relays, m)
		s.at[m] = i
	}
	for i, name := range []string{"alice", "bob", "carol"}[:persons] {
		d := newDevice(t, s.dir, name, s.news, inside(s.net.names[i])...)
		d.args = []string{"--listen", everywhere}
		d.knows(s.relays...)
		d.must(t, ctx, 0, "init", "--name", name)
		check(t, d.start(ctx))
		d.id = d.must(t, ctx, 0, "id", "--jq", ".device")
		s.people = append(s.people, d)
		s.at[d.machine] = i
	}
	s.befriend(ctx)
	s.sort(ctx)
	return s
}

func (s *seven) befriend(ctx context.Context) {
	s.t.Helper()
	for i, d := range s.people {
		for _, o := range s.people[:i] {
			d.must(s.t, ctx, 0, "join", o.must(s.t, ctx, 0, "invite", "--jq", ".text"), "--as", o.name)
		}
	}
	for _, d := range s.people {
		check(s.t, d.elects(ctx, 3))
		for _, o := range s.people {
			if o != d {
				check(s.t, d.meets(ctx, o.name, 1, 3))
			}
		}
	}
}

// sort puts the relays in the order of their ranks in the second person's mailbox.
func (s *seven) sort(ctx context.Context) {
	s.t.Helper()
	var v view.Mailbox
	check(s.t, s.people[1].call(ctx, "mailbox", api.None{}, &v))
	rank := func(m *machine) int {
		for _, r := range v.Relays {
			if strings.HasSuffix(m.addrs[0], r.Peer) && r.Member {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(s.relays, func(a, b *machine) int { return rank(a) - rank(b) })
}

// end takes everything down, whatever became of it.
func (s *seven) end() {
	for _, m := range s.machines() {
		m.kill()
	}
	for _, d := range s.people {
		if d.looking != nil {
			<-d.looking
		}
	}
	for _, m := range s.machines() {
		m.sound(s.t)
	}
}

func (s *seven) machines() []*machine {
	all := slices.Clone(s.relays)
	for _, d := range s.people {
		all = append(all, d.machine)
	}
	return all
}

// split is one cut of the company in two, by whom it takes away from the rest.
type split struct {
	far   []*machine
	loss  float64       // share of packets lost between those who hear each other
	lasts time.Duration // of the cut
	die   bool          // senders whose texts are all in custody are killed before the wires are back
}

func (s *seven) describe(p split) string {
	var far []string
	for _, m := range p.far {
		name := m.name
		if i := slices.Index(s.relays, m); i >= 3 {
			name += " (standby)"
		}
		far = append(far, name)
	}
	return fmt.Sprintf("{%s} | rest, %.0f %% loss, %v, senders die: %v", strings.Join(far, ", "), 100*p.loss, p.lasts, p.die)
}

// write sends a text from each person to each other.
func (s *seven) write(ctx context.Context) (out []*text) {
	s.t.Helper()
	for _, from := range s.people {
		for _, to := range s.people {
			if from == to {
				continue
			}
			x := &text{from: from, screens: []*device{to}, to: to.name, body: fmt.Sprintf("text %d of %s to %s", len(s.texts), from.name, to.name)}
			id, err := from.send(ctx, x.to, x.body, "")
			check(s.t, err)
			x.queued(id)
			s.texts = append(s.texts, x)
			out = append(out, x)
		}
	}
	return out
}

// endure is one split: texts at its begin and in its middle, the heal, and the wait until all is well.
func (s *seven) endure(ctx context.Context, p split) {
	s.t.Helper()
	var far []int
	for _, m := range p.far {
		far = append(far, s.at[m])
	}
	s.net.cut(p.loss, far...)
	texts := s.write(ctx)
	last(ctx, p.lasts/2)
	texts = append(texts, s.write(ctx)...)
	last(ctx, p.lasts/2)
	for _, x := range texts {
		if s.net.apart(s.at[x.from.machine], s.at[x.screens[0].machine]) && x.screens[0].times(x.body) != 0 {
			s.v.Crossed++
			s.t.Logf("%q was shown through the cut", x.body)
		}
	}
	dead, owed := s.bury(ctx, texts, p)
	s.v.Splits++
	healed := time.Now()
	s.net.heal()
	s.inherit(ctx, dead, owed)
	took := s.settle(ctx, texts, dead, healed)
	s.t.Logf("%s: %d in custody without their sender, all well %.1f s after the heal", s.describe(p), len(owed), took.Seconds())
}

// bury kills the senders of whom everything that is not shown is in custody, and returns what they leave.
func (s *seven) bury(ctx context.Context, texts []*text, p split) (dead []*device, owed []*text) {
	if !p.die {
		return nil, nil
	}
	limit, cancel := context.WithTimeout(ctx, custodyWithin)
	defer cancel()
	_ = s.news.until(limit, "custody", func() bool { return least(texts) >= 2 }) // of some there will be none
	for _, d := range s.people {
		var theirs []*text
		safe := true
		for _, x := range texts {
			if x.from == d && x.screens[0].times(x.body) == 0 {
				theirs = append(theirs, x)
				safe = safe && x.least() >= 2
			}
		}
		if safe && len(theirs) > 0 && len(dead) < len(s.people)-1 {
			dead, owed = append(dead, d), append(owed, theirs...)
		}
	}
	for _, d := range dead {
		d.kill()
	}
	// What goes to the dead cannot come: it is not owed.
	owed = slices.DeleteFunc(owed, func(x *text) bool { return slices.Contains(dead, x.screens[0]) })
	s.v.Custody += len(owed)
	return dead, owed
}

// inherit waits for what the dead left, and brings them back.
func (s *seven) inherit(ctx context.Context, dead []*device, owed []*text) {
	s.t.Helper()
	if len(dead) == 0 {
		return
	}
	limit, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	if err := s.news.until(limit, "arrival from custody", func() bool { return shown(owed) }); err != nil {
		for _, x := range owed {
			if x.screens[0].times(x.body) == 0 {
				s.v.LostAfterCustody++
				s.t.Logf("%q: %v", x.body, err)
			}
		}
	}
	for _, d := range dead {
		check(s.t, d.start(ctx))
	}
}

// settle waits until all is shown and every sender knows. It counts from the heal, or from the return of the dead.
func (s *seven) settle(ctx context.Context, texts []*text, dead []*device, since time.Time) time.Duration {
	s.t.Helper()
	if len(dead) > 0 {
		since = time.Now()
	}
	limit, cancel := context.WithDeadline(ctx, since.Add(healWithin))
	defer cancel()
	err := s.news.until(limit, "after the heal", func() bool { return least(texts) >= 3 && shown(texts) })
	took := time.Since(since)
	s.v.each, s.v.Slowest = append(s.v.each, took), max(s.v.Slowest, took)
	if err != nil {
		s.t.Errorf("not all well %v after the heal: %v\n%s", healWithin, err, (&cast{t: s.t}).traces(texts))
	}
	return took
}

// judge kills everybody for the last time and reads screens and stores.
func (s *seven) judge() *toll {
	s.t.Helper()
	held := map[*device]map[string]int{}
	for _, d := range s.people {
		d.kill()
		<-d.looking
		held[d] = map[string]int{}
		for _, o := range s.people {
			if o == d {
				continue
			}
			list, err := d.holds(o.name)
			check(s.t, err)
			for _, m := range list {
				held[d][m.Text]++
			}
		}
		d.sane(s.t)
	}
	for _, x := range s.texts {
		s.v.Sent++
		s.v.Pairs++
		to := x.screens[0]
		shown, kept := to.times(x.body), held[to][x.body]
		switch {
		case shown == 0 || kept == 0:
			s.v.Lost++
		case shown > 1 || kept > 1:
			s.v.Duplicates += max(shown, kept) - 1
			s.v.Delivered++
		default:
			s.v.Delivered++
		}
		if kept == 0 && !x.from.told(x.number(), to.id).IsZero() {
			s.v.Untrue++
		}
	}
	s.v.Dropped = s.net.lost.Load()
	return &s.v
}

// pick is a split by numbers: whether each person is away, and how many members and standbys are with them.
func (s *seven) pick(away []bool, members, standbys int) []*machine {
	var far []*machine
	for i, d := range s.people {
		if away[i] {
			far = append(far, d.machine)
		}
	}
	for _, part := range []struct {
		of []*machine
		n  int
	}{{s.relays[:3], members}, {s.relays[3:], standbys}} {
		for _, i := range s.rng.Perm(len(part.of))[:part.n] {
			far = append(far, part.of[i])
		}
	}
	return far
}

// every is every way to cut a company in two, up to which of equal relays is where: the first person is never away.
func (s *seven) every(loss float64) (out []split) {
	persons := len(s.people)
	for mask := range 1 << (persons - 1) {
		away := make([]bool, persons)
		for i := 1; i < persons; i++ {
			away[i] = mask>>(i-1)&1 == 1
		}
		for members := range 4 {
			for standbys := range processes - persons - 3 + 1 {
				if far := s.pick(away, members, standbys); len(far) > 0 {
					// Short cuts leave connections half alive, long ones are known to both sides.
					lasts := []time.Duration{4 * time.Second, 12 * time.Second, 40 * time.Second}[s.rng.IntN(3)]
					out = append(out, split{far, loss, lasts, s.rng.IntN(2) == 0})
				}
			}
		}
	}
	s.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// few are the splits of a short run: a sender with one relay, which is no custody; a sender with two, which is; and the
// people without any relay.
func (s *seven) few(loss float64) []split {
	const brief = 3 * time.Second
	return []split{
		{s.pick([]bool{false, true}, 2, 2), loss, brief, false},
		{s.pick([]bool{false, true}, 1, 1), loss, brief, true},
		{s.pick([]bool{false, false}, 3, 2), loss, brief, false},
	}
}

func splitSeed(t testing.TB) uint64 {
	seed := rand.Uint64N(1_000_000)
	if n, err := strconv.ParseUint(os.Getenv("KITH_SPLITS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("seed %d (KITH_SPLITS_SEED=%d repeats the choices)", seed, seed)
	return seed
}

// TestEverySplitHeals cuts seven processes in two, loses a third of the packets on each side, and gives the wires back.
// `make splits` does it for every cut, KITH_SPLITS=all; a run without it for a few.
func TestEverySplitHeals(t *testing.T) {
	seed := splitSeed(t)
	if os.Getenv("KITH_SPLITS") != "all" {
		partitions(t, seed, 2, 0.3, (*seven).few)
		return
	}
	for _, run := range []struct {
		persons int
		loss    float64
	}{{2, 0}, {2, 0.3}, {3, 0}, {3, 0.3}} {
		t.Run(fmt.Sprintf("%d persons, %.0f percent", run.persons, 100*run.loss), func(t *testing.T) {
			t.Parallel() // a cut is mostly waiting
			partitions(t, seed, run.persons, run.loss, (*seven).every)
		})
	}
}

func partitions(t *testing.T, seed uint64, persons int, loss float64, of func(*seven, float64) []split) {
	ctx, cancel := context.WithTimeout(t.Context(), splitsWithin)
	defer cancel()
	s := newSeven(t, ctx, seed, persons)
	for _, p := range of(s, loss) {
		s.endure(ctx, p)
	}
	s.lossy(ctx, 0.3)
	s.control(ctx)
	v := s.judge()
	t.Log(v)
	if !v.clean() || v.Splits == 0 || v.Sent == 0 {
		t.Errorf("not clean: %+v", v)
	}
}

// lossy is a bad line and nothing else: everything arrives while it stays bad.
func (s *seven) lossy(ctx context.Context, loss float64) {
	s.t.Helper()
	s.net.cut(loss)
	since := time.Now()
	texts := append(s.write(ctx), s.write(ctx)...)
	took := s.settle(ctx, texts, nil, since)
	s.net.heal()
	s.t.Logf("%.0f %% loss and no cut: all well after %.1f s", 100*loss, took.Seconds())
}

// control shows that the wires are what carries the texts: while they stay cut, nothing arrives and nobody is told that
// it did.
func (s *seven) control(ctx context.Context) {
	s.t.Helper()
	s.net.cut(0, s.at[s.people[0].machine])
	texts := s.write(ctx)
	last(ctx, 2*time.Second)
	apart := slices.DeleteFunc(slices.Clone(texts), func(x *text) bool { return x.from != s.people[0] && x.screens[0] != s.people[0] })
	for _, x := range apart {
		if x.screens[0].times(x.body) != 0 || x.least() >= 3 {
			s.t.Errorf("%q arrived through a wire that is cut", x.body)
		}
	}
	healed := time.Now()
	s.net.heal()
	s.settle(ctx, texts, nil, healed)
}
