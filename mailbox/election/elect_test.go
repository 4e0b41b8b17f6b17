package election_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
)

const day = 24 * time.Hour

var now = time.Unix(1_800_000_000, 0)

func peerID(n int) []byte {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return dht.PeerFromKey(ed25519.PublicKey(key[:]))
}

// good is an old, reliable relay in a network of its own.
func good(n int) election.Candidate {
	addr := []byte{4, byte(10 + n/200), byte(n), 1, 1, 6, 0, 80}
	return election.Candidate{
		Peer: dht.Peer{ID: peerID(n), Addrs: [][]byte{addr}}, Source: election.Source(1 + n%6),
		Known: now.Add(-100 * day), LastSeen: now.Add(-time.Hour), Good: 1000, Bad: 2, WeekGood: 200,
	}
}

func goods(n int) (out []election.Candidate) {
	for i := range n {
		out = append(out, good(i))
	}
	return out
}

func numbers(peers []dht.Peer) (out []int) {
	for _, p := range peers {
		for n := range 1000 {
			if bytes.Equal(p.ID, peerID(n)) {
				out = append(out, n)
			}
		}
	}
	return out
}

func elect(c []election.Candidate, inc []election.Incumbent, pins [][]byte) election.Result {
	return election.Elect([32]byte{1}, c, inc, pins, election.DefaultPolicy(), now)
}

// serving makes incumbents of these relays since a while ago.
func serving(since time.Duration, ns ...int) (out []election.Incumbent) {
	for _, n := range ns {
		out = append(out, election.Incumbent{Peer: peerID(n), Since: now.Add(-since)})
	}
	return out
}

func TestFewRelaysMakeAThinSet(t *testing.T) {
	for _, c := range []struct {
		relays, members, standbys, w int
		thin                         bool
	}{
		{0, 0, 0, 0, true},
		{1, 1, 0, 1, true},
		{2, 2, 0, 2, true},
		{3, 3, 0, 2, true},
		{4, 3, 1, 2, false},
		{5, 3, 2, 2, false},
		{50, 3, 2, 2, false},
	} {
		r := elect(goods(c.relays), nil, nil)
		if len(r.Members) != c.members || len(r.Standbys) != c.standbys || r.W != c.w || r.Thin != c.thin {
			t.Errorf("%d relays: %d members, %d standbys, W %d, thin %v", c.relays, len(r.Members), len(r.Standbys), r.W, r.Thin)
		}
	}
}

func TestWhoCannotServeIsNotChosen(t *testing.T) {
	for name, change := range map[string]func(*election.Candidate){
		"leaving":             func(c *election.Candidate) { c.LeavingAt = now.Add(30 * day) },
		"silent":              func(c *election.Candidate) { c.LastSeen = now.Add(-25 * time.Hour) },
		"not an Ed25519 peer": func(c *election.Candidate) { c.Peer.ID = []byte("Qm") },
		"too many addresses":  func(c *election.Candidate) { c.Peer.Addrs = make([][]byte, 9) },
	} {
		c := good(7)
		change(&c)
		if r := elect([]election.Candidate{c}, serving(50*day, 7), [][]byte{c.Peer.ID}); len(r.Members) != 0 {
			t.Errorf("%s: chosen", name)
		}
	}
	old := good(7)
	old.Failed = now.Add(-91 * day)
	if r := elect([]election.Candidate{old}, nil, nil); len(r.Members) != 1 {
		t.Error("a failed proof is never forgotten")
	}
}

func TestTheUnreliableAreDroppedWhereEnoughOthersAreBetter(t *testing.T) {
	c := goods(3)
	for n := 3; n < 40; n++ {
		bad := good(n)
		bad.Good, bad.Bad = 80, 20
		c = append(c, bad)
	}
	r := elect(c, nil, nil)
	if got := numbers(r.Members); len(got) != 3 || slices.Max(got) > 2 {
		t.Errorf("members %v", got)
	}
	if r = elect(c[1:], nil, nil); len(r.Members) != 3 || len(r.Standbys) != 2 {
		t.Errorf("with two good ones: %v %v", numbers(r.Members), numbers(r.Standbys))
	}
}

func TestIncumbentsStay(t *testing.T) {
	c := goods(50)
	inc := serving(50*day, 41, 42, 43, 44, 45)
	r := elect(c, inc, nil)
	if got := append(numbers(r.Members), numbers(r.Standbys)...); !slices.Equal(got, []int{41, 42, 43, 44, 45}) {
		t.Errorf("chosen %v", got)
	}
}

func TestADeadMemberIsReplacedByTheStandby(t *testing.T) {
	for name, change := range map[string]func(*election.Candidate){
		"silent":       func(c *election.Candidate) { c.LastSeen = now.Add(-25 * time.Hour) },
		"failed proof": func(c *election.Candidate) { c.Failed = now.Add(-time.Minute) },
		"leaving":      func(c *election.Candidate) { c.LeavingAt = now.Add(day) },
		"bad week":     func(c *election.Candidate) { c.WeekGood, c.WeekBad = 80, 20 },
	} {
		c := goods(50)
		change(&c[42])
		r := elect(c, serving(50*day, 41, 42, 43, 44, 45), nil)
		if got := numbers(r.Members); !slices.Equal(got, []int{41, 43, 44}) {
			t.Errorf("%s: members %v", name, got)
		}
		if got := numbers(r.Standbys); len(got) != 2 || got[0] != 45 {
			t.Errorf("%s: standbys %v", name, got)
		}
	}
}

func TestOneTermEndsAtATime(t *testing.T) {
	c := goods(50)
	inc := serving(200*day, 41, 42, 43, 44, 45)
	kept := 0
	r := elect(c, inc, nil)
	for _, n := range append(numbers(r.Members), numbers(r.Standbys)...) {
		if n > 40 && n < 46 {
			kept++
		}
	}
	if kept != 4 {
		t.Errorf("%d of five incumbents kept, want four", kept)
	}
	inc[4].Since = now.Add(-6 * day)
	r = elect(c, inc, nil)
	if got := append(numbers(r.Members), numbers(r.Standbys)...); !slices.Equal(got, []int{41, 42, 43, 44, 45}) {
		t.Errorf("a second swap within a week: %v", got)
	}
	if r := elect(c[41:46], serving(200*day, 41, 42, 43, 44, 45), nil); len(r.Members)+len(r.Standbys) != 5 {
		t.Error("a term ended with nobody to follow")
	}
}

func TestTwoPinsComeFirst(t *testing.T) {
	c := goods(50)
	pins := [][]byte{peerID(30), peerID(999), peerID(10), peerID(20)}
	r := elect(c, serving(50*day, 41, 42, 43), pins)
	if got := numbers(r.Members); !slices.Equal(got, []int{30, 10, 41}) {
		t.Errorf("members %v", got)
	}
}

func TestCapsHoldWhileOthersAreLeft(t *testing.T) {
	fill := func(change func(*election.Candidate)) election.Result {
		var c []election.Candidate
		for n := range 60 {
			x := good(n)
			if n < 54 {
				change(&x)
			}
			c = append(c, x)
		}
		return elect(c, nil, nil)
	}
	count := func(r election.Result) (n int) {
		for _, m := range append(numbers(r.Members), numbers(r.Standbys)...) {
			if m < 54 {
				n++
			}
		}
		return n
	}
	for name, c := range map[string]struct {
		change func(*election.Candidate)
		most   int
	}{
		"network": {func(c *election.Candidate) { c.Peer.Addrs[0][1], c.Peer.Addrs[0][2] = 99, 99 }, 1},
		"family":  {func(c *election.Candidate) { c.Family = [8]byte{1} }, 1},
		"newcomers": {func(c *election.Candidate) {
			c.Known = now.Add(-29 * day) // nearly as heavy as the others
		}, 2},
		"source": {func(c *election.Candidate) { c.Source = election.SourceGossip }, 2},
	} {
		if got := count(fill(c.change)); got > c.most || got == 0 {
			t.Errorf("%s: %d of five, want 1 to %d", name, got, c.most)
		}
	}
	// The control: without caps the many win.
	p := election.LocalPolicy()
	var c []election.Candidate
	for n := range 60 {
		x := good(n)
		if n < 54 {
			x.Family = [8]byte{1}
		}
		c = append(c, x)
	}
	if got := count(election.Elect([32]byte{1}, c, nil, nil, p, now)); got < 3 {
		t.Errorf("without caps only %d of five came from the family of 54: the test above shows nothing", got)
	}
}

func TestCapsGiveWayRatherThanLeaveNobody(t *testing.T) {
	var c []election.Candidate
	for n := range 5 {
		x := good(n)
		x.Known, x.Source, x.Family = now, election.SourceDHT, [8]byte{1}
		c = append(c, x)
	}
	if r := elect(c, nil, nil); len(r.Members) != 3 || len(r.Standbys) != 2 {
		t.Errorf("%d members, %d standbys", len(r.Members), len(r.Standbys))
	}
}

func TestTooManyCandidatesKeepTheirPinsAndIncumbents(t *testing.T) {
	r := elect(goods(400), serving(50*day, 390, 391), [][]byte{peerID(399)})
	if got := numbers(r.Members); !slices.Equal(got, []int{399, 390, 391}) {
		t.Errorf("members %v", got)
	}
	rows, err := r.Transcript.Rows()
	if err != nil || len(rows) != 64 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestExplainNamesEveryCandidate(t *testing.T) {
	c := goods(8)
	c[3].LeavingAt = now
	lines := elect(c, serving(50*day, 5), [][]byte{peerID(6)}).Transcript.Explain()
	all := strings.Join(lines, "\n")
	for _, want := range []string{"pinned", "serves already", "won the race", "is leaving", "others were faster", "standby 5"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if len(lines) != 3+8 { // what was wanted, the caps, the result
		t.Errorf("%d lines", len(lines))
	}
}

func drawCandidate(t *rapid.T) election.Candidate {
	n := rapid.IntRange(0, 40).Draw(t, "n")
	c := good(n)
	c.Source = election.Source(rapid.IntRange(1, 6).Draw(t, "source"))
	c.Peer.Addrs[0][2] = byte(rapid.IntRange(0, 15).Draw(t, "network"))
	c.Family[0] = byte(rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "family"))
	c.Known = now.Add(-time.Duration(rapid.IntRange(0, 60*24).Draw(t, "known")) * time.Hour)
	c.Good, c.Bad = rapid.Uint32Range(0, 500).Draw(t, "good"), rapid.Uint32Range(0, 50).Draw(t, "bad")
	if rapid.IntRange(0, 9).Draw(t, "unfit") == 0 {
		c.Failed = now
	}
	if rapid.IntRange(0, 2).Draw(t, "weak") == 0 {
		c.WeekGood, c.WeekBad = 80, 30
	}
	return c
}

func TestElectionsObeyTheirLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SliceOfN(rapid.Custom(drawCandidate), 0, 40).Draw(t, "candidates")
		var inc []election.Incumbent
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 45), 0, 5, rapid.ID).Draw(t, "incumbents") {
			inc = append(inc, serving(time.Duration(rapid.IntRange(0, 200).Draw(t, "days"))*day, n)...)
		}
		r := elect(c, inc, nil)
		shuffled := rapid.Permutation(c).Draw(t, "shuffled")
		if d := cmp.Diff(r.Members, elect(shuffled, inc, nil).Members); d != "" {
			t.Fatalf("the order of the candidates matters:\n%s", d)
		}
		all := append(slices.Clone(r.Members), r.Standbys...)
		seen := map[string]bool{}
		for _, p := range all {
			if seen[string(p.ID)] {
				t.Fatal("chosen twice")
			}
			seen[string(p.ID)] = true
		}
		if len(r.Members) > 3 || len(r.Standbys) > 2 || len(r.Members) < 3 && len(r.Standbys) > 0 || r.W > max(len(r.Members), 0) {
			t.Fatalf("%d members, %d standbys, W %d", len(r.Members), len(r.Standbys), r.W)
		}
		parsed, err := election.ParseTranscript(r.Transcript.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsed.Recompute()
		if d := cmp.Diff(r, again, cmp.AllowUnexported(election.Transcript{})); d != "" || err != nil {
			t.Fatalf("recomputed: %v\n%s", err, d)
		}
		members, standbys, w := election.Choose([32]byte{1}, c, inc, nil, election.DefaultPolicy(), now)
		if d := cmp.Diff([][]dht.Peer{r.Members, r.Standbys}, [][]dht.Peer{members, standbys}); d != "" || w != r.W {
			t.Fatalf("chosen without a transcript:\n%s", d)
		}
		// Electing again with the result in force changes nothing.
		var inForce []election.Incumbent
		for _, p := range all {
			inForce = append(inForce, election.Incumbent{Peer: p.ID, Since: now.Add(-time.Hour)})
		}
		again = elect(c, inForce, nil)
		if d := cmp.Diff([][]dht.Peer{r.Members, r.Standbys}, [][]dht.Peer{again.Members, again.Standbys}); d != "" {
			t.Fatalf("not sticky:\n%s", d)
		}
	})
}

func FuzzParseTranscript(f *testing.F) {
	f.Add(elect(goods(3), serving(day, 1), [][]byte{peerID(2)}).Transcript.Bytes())
	f.Add(elect(nil, nil, nil).Transcript.Bytes())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		tr, err := election.ParseTranscript(raw)
		if err != nil {
			return
		}
		if !bytes.Equal(tr.Bytes(), raw) {
			t.Error("changed")
		}
		if _, err := tr.Recompute(); err != nil {
			t.Error(err)
		}
		tr.Explain()
	})
}

// TestHeavierRelaysWinMoreOften compares shares over many seeds with the
// weights: relays twice as heavy win twice as often, as in any such race.
func TestHeavierRelaysWinMoreOften(t *testing.T) {
	p := election.LocalPolicy()
	p.R, p.S = 1, 1
	var c []election.Candidate
	for n := range 6 {
		x := good(n)
		if n < 2 { // half as old as maturity: half as heavy
			x.Known = now.Add(-15 * day)
		}
		c = append(c, x)
	}
	wins := make([]int, 6)
	const rounds = 6000
	for i := range rounds {
		var seed [32]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i))
		wins[numbers(election.Elect(seed, c, nil, nil, p, now).Members)[0]]++
	}
	for n, w := range wins {
		want := 1.0 / 5
		if n < 2 {
			want = 0.5 / 5
		}
		if got := float64(w) / rounds; math.Abs(got-want) > 0.03 {
			t.Errorf("relay %d won %.3f of the races, want %.3f", n, got, want)
		}
	}
}

func BenchmarkElect64(b *testing.B) {
	c := goods(64)
	for b.Loop() {
		elect(c, nil, nil)
	}
}

// Ten thousand candidates are judged like five: pins and incumbents race, one of each network group first.
func TestTenThousandCandidates(t *testing.T) {
	all := goods(10_000)
	for i := range all {
		all[i].Peer.Addrs = [][]byte{{4, byte(10 + i/200), byte(i), 1, 1, 6, 0, 80}}
	}
	first := elect(all, nil, nil)
	slices.Reverse(all)
	again := elect(all, nil, nil)
	if len(first.Members) != 3 || len(first.Standbys) != 2 || !bytes.Equal(first.Transcript.Bytes(), again.Transcript.Bytes()) {
		t.Errorf("%d members, %d standbys; reversed equal %t", len(first.Members), len(first.Standbys),
			bytes.Equal(first.Transcript.Bytes(), again.Transcript.Bytes()))
	}
	var inc []election.Incumbent
	for _, p := range slices.Concat(first.Members, first.Standbys) {
		inc = append(inc, election.Incumbent{Peer: p.ID, Since: now.Add(-10 * day)})
	}
	if kept := elect(all[1:], inc, nil); !cmp.Equal(kept.Members, first.Members) {
		t.Error("one candidate less, and the incumbents go")
	}
}

// Hysteresis: an incumbent whose week is bad leaves, and then does not come back as long as others serve, however good
// it is again. Between 85 and 90 % up it stays where it would not have been chosen anew.
func TestHysteresis(t *testing.T) {
	all := goods(9)
	inc := serving(30*day, 0, 1, 2, 3, 4)
	all[1].WeekGood, all[1].WeekBad = 80, 20
	r := elect(all, inc, nil)
	if slices.Contains(numbers(r.Members), 1) {
		t.Fatalf("80 %% up this week, and it stays: %v", numbers(r.Members))
	}
	var next []election.Incumbent
	for _, p := range slices.Concat(r.Members, r.Standbys) {
		next = append(next, election.Incumbent{Peer: p.ID, Since: now.Add(-day)})
	}
	all[1].WeekGood, all[1].WeekBad = 200, 0
	if again := elect(all, next, nil); !cmp.Equal(again.Members, r.Members) {
		t.Errorf("it came back: %v after %v", numbers(again.Members), numbers(r.Members))
	}
	all[2].Good, all[2].Bad, all[2].WeekGood, all[2].WeekBad = 880, 120, 88, 12
	if kept := elect(all, inc, nil); !slices.Contains(numbers(kept.Members), 2) {
		t.Errorf("88 %% up, and an incumbent left: %v", numbers(kept.Members))
	}
	if fresh := elect(all, nil, nil); slices.Contains(numbers(fresh.Members), 2) {
		t.Errorf("control: 88 %% up, and it was chosen anew: %v", numbers(fresh.Members))
	}
}

// A relay that was away for a day serves on where nobody else can, and stands by where nobody else can do that: it does not leave in one
// election and win its seat back in the next, an hour later, with everybody told of both.
func TestTheWeakServeWhereNobodyElseCan(t *testing.T) {
	for n := range 7 {
		all := goods(n + 2)
		for i := range 2 {
			all[i].WeekGood, all[i].WeekBad = 80, 60
		}
		inc := serving(30*day, 0)
		for round := range 4 {
			r := elect(all, inc, nil)
			chosen := append(numbers(r.Members), numbers(r.Standbys)...)
			if want := min(n+2, 5); len(chosen) != want {
				t.Fatalf("%d others: %v chosen", n, chosen)
			}
			strong := 0
			for _, c := range chosen {
				if c > 1 {
					strong++
				}
			}
			if strong != min(n, 5) || n >= 3 && slices.Min(numbers(r.Members)) < 2 {
				t.Errorf("%d others, round %d: members %v, standbys %v", n, round, numbers(r.Members), numbers(r.Standbys))
			}
			var next []election.Incumbent
			for _, p := range slices.Concat(r.Members, r.Standbys) {
				next = append(next, election.Incumbent{Peer: p.ID, Since: now.Add(-time.Hour)})
			}
			if round > 0 && !cmp.Equal(next, inc) {
				t.Errorf("%d others, round %d: other relays serve than before", n, round)
			}
			inc = next
		}
	}
}

// Whoever failed a proof is out, unless it is pinned, or nobody else is there.
func TestTheBrokenServeLast(t *testing.T) {
	all := goods(3)
	for i := range all {
		all[i].Failed = now.Add(-30 * day)
	}
	if r := elect(all, serving(day, 0, 1, 2), nil); len(r.Members) != 3 {
		t.Errorf("nobody else is there, and %d serve", len(r.Members))
	}
	all[2].Failed = time.Time{}
	if r := elect(all, serving(day, 0, 1, 2), nil); !cmp.Equal(numbers(r.Members), []int{2}) || !r.Thin || r.W != 1 {
		t.Errorf("one is honest: %v", numbers(r.Members))
	}
	if r := elect(all, nil, [][]byte{peerID(1)}); !cmp.Equal(numbers(r.Members), []int{1, 2}) {
		t.Errorf("one is pinned: %v", numbers(r.Members))
	}
	all[0].Failed = now.Add(-91 * day)
	if r := elect(all, nil, nil); len(r.Members) != 2 {
		t.Errorf("after 91 days it is not chosen: %v", numbers(r.Members))
	}
}

func BenchmarkChoose16(b *testing.B) {
	c := goods(16)
	for b.Loop() {
		election.Choose([32]byte{1}, c, nil, nil, election.DefaultPolicy(), now)
	}
}

func BenchmarkElect10000(b *testing.B) {
	all := goods(10_000)
	for b.Loop() {
		elect(all, serving(day, 1, 2, 3, 4, 5), nil)
	}
}

// BenchmarkSybil prints how many seats an attacker takes who has many young
// relays in few networks, over many seeds.
func BenchmarkSybil(b *testing.B) {
	for _, attackers := range []int{20, 100, 500} {
		b.Run(fmt.Sprintf("attackers=%d", attackers), func(b *testing.B) {
			c := goods(30)
			for n := range attackers {
				x := good(100 + n)
				x.Peer.Addrs[0][1], x.Peer.Addrs[0][2] = 200, byte(n%10)
				x.Known, x.Source = now.Add(-10*day), election.SourceDHT
				c = append(c, x)
			}
			taken, full := 0, 0
			for i := range b.N {
				var seed [32]byte
				binary.BigEndian.PutUint64(seed[:], uint64(i))
				here := 0
				for _, m := range numbers(election.Elect(seed, c, nil, nil, election.DefaultPolicy(), now).Members) {
					if m >= 100 {
						here++
					}
				}
				taken += here
				if here == 3 {
					full++
				}
			}
			b.ReportMetric(float64(taken)/float64(b.N)/3, "seats-share")
			b.ReportMetric(float64(full)/float64(b.N), "all-seats-share")
		})
	}
}
