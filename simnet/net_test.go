package simnet

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func netWorld(n Net) (*World, *Device, *Device) {
	w := New(1)
	w.Connect(n)
	a, b := w.blankDevice("a"), w.blankDevice("b")
	return w, a, b
}

func mean(n int, fn func() time.Duration) float64 {
	sum := 0.0
	for range n {
		sum += fn().Seconds()
	}
	return sum / float64(n)
}

// A message takes half a round trip, both last miles, and up to a tenth more.
func TestWaysHaveTheirLength(t *testing.T) {
	far := [][]time.Duration{{10 * time.Millisecond, 100 * time.Millisecond}, {100 * time.Millisecond, 10 * time.Millisecond}}
	w, a, b := netWorld(Net{RTT: far})
	a.Put(Place{Region: 0, Mile: 5 * time.Millisecond})
	b.Put(Place{Region: 1, Mile: 25 * time.Millisecond})
	if got, want := mean(1000, func() time.Duration { return w.way(a, b, 0) }), 0.080*1.05; math.Abs(got-want) > 0.001 {
		t.Errorf("%g s, want %g", got, want)
	}
	if x := a.Traffic(); x.Sent != 1000*frame || b.Traffic().Got != 1000*frame {
		t.Errorf("%d bytes sent, %d got", x.Sent, b.Traffic().Got)
	}
	// Links are queues: the third of three messages waits for the two before it.
	a.Put(Place{Up: 1000})
	b.Put(Place{})
	for i := range 3 {
		if got, want := w.way(a, b, 1000-frame).Seconds(), float64(i+1)+0.005; math.Abs(got-want) > 0.001 {
			t.Errorf("message %d takes %g s, want %g", i, got, want)
		}
	}
}

// Of a loss of p, a packet needs p/(1-p) more rounds; the first costs three ways and the delay of an acknowledgement, the next doubles.
func TestLossCostsTime(t *testing.T) {
	rtt := [][]time.Duration{{100 * time.Millisecond}}
	w, a, b := netWorld(Net{RTT: rtt, Loss: 0.1})
	got := mean(100_000, func() time.Duration { return w.again(w.leg(&a.at, &b.at), 500) })
	wait := 3*0.05*1.05 + ackDelay.Seconds()
	want := 0.1 * wait / (1 - 2*0.1) // sum of 0.1^n 2^(n-1) wait
	if math.Abs(got-want)/want > 0.05 {
		t.Errorf("%g s, want %g", got, want)
	}
	w.net.Loss = 0
	if got := w.again(50*time.Millisecond, 500); got != 0 {
		t.Errorf("control: %v without loss", got)
	}
}

// So many pairs reach each other as they should, both ways, each always or never.
func TestPunches(t *testing.T) {
	n := 0
	for i := range 10_000 {
		x, y := fmt.Sprint("x", i), fmt.Sprint("y", i)
		if Chance(3, 0.7, x, y) {
			n++
		}
		if Chance(3, 0.7, x, y) != Chance(3, 0.7, y, x) {
			t.Fatal("one way only")
		}
	}
	if z := (float64(n) - 7000) / math.Sqrt(10_000*0.7*0.3); math.Abs(z) > 3 {
		t.Errorf("%d of 10000, z %.1f", n, z)
	}
	if z := (float64(n) - 6500) / math.Sqrt(10_000*0.65*0.35); math.Abs(z) < 3 {
		t.Error("control: so many would be 65 % too")
	}
}

// Who is away, on the other side or kept from a relay does not reach it.
func TestReach(t *testing.T) {
	w, a, b := netWorld(Net{RTT: [][]time.Duration{{0}}})
	r := w.AddRelay("r")
	a.up, b.up = true, true
	reaches := func() string {
		_, x := w.reach(a, b.self.ID)
		_, y := w.relayAt(a, r.self.ID)
		return fmt.Sprint(x, y)
	}
	var ends []func()
	begin := func(end func()) { ends = append(ends, end) }
	end := func(i int) func() { return func() { ends[i]() } }
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "true true"},
		{func() { w.Part("a") }, "false false"},
		{w.Heal, "true true"},
		{func() { w.Part("a"); w.Part("b", "r") }, "false false"},
		{func() { w.Part("r") }, "true false"},
		{w.Heal, "true true"},
		{func() { begin(w.Censor([]string{"a"}, []string{"r"}, true)) }, "true false"},
		{func() { begin(w.Censor([]string{"b", "a"}, []string{"r"}, false)) }, "true false"},
		{func() { begin(w.Divide("a")) }, "false false"},
		{func() { begin(w.Divide("b")) }, "false false"},
		{end(2), "false false"}, // each of several ends alone
		{end(3), "true false"},
		{end(0), "true false"},
		{end(0), "true false"}, // once
		{end(1), "true true"},
		{func() { begin(w.Divide("a")); w.Heal() }, "true true"},
		{end(4), "true true"},
		{a.Leave, "false false"},
		{a.Return, "true true"},
		{b.Leave, "false true"},
		{r.Kill, "false false"},
	} {
		step.do()
		if got := reaches(); got != step.want {
			t.Errorf("reaches %s, want %s", got, step.want)
		}
	}
}

// A host behind a translator dials out; it is reached over the link that stands then, and by whom it dialled just before.
func TestTranslatorsLetInWhoWasDialled(t *testing.T) {
	for _, punch := range []float64{0, 1} {
		w, open, a := netWorld(Net{RTT: [][]time.Duration{{time.Millisecond}}, Punch: punch})
		b := w.blankDevice("behind")
		a.Put(Place{NAT: true})
		b.Put(Place{NAT: true})
		open.up, a.up, b.up = true, true, true
		check := func(what string, got, want bool) {
			t.Helper()
			if got != want {
				t.Errorf("punch %g: %s: reached %t", punch, what, got)
			}
		}
		check("from the open", open.reaches(a), false)
		check("to the open", a.reaches(open), true)
		a.dial(open)
		w.Run(time.Second)
		check("over a link", open.reaches(a), true)
		check("the first of two", a.reaches(b), false)
		w.Run(mapping)
		check("after it was forgotten", b.reaches(a), false)
		check("the second of two", a.reaches(b), punch == 1)
		a.dial(b)
		w.Run(time.Second)
		check("over a link of two", b.links.has(string(a.self.ID)), punch == 1)
	}
}

// The first frame to somebody waits for four one-way trips, and what comes meanwhile with it; over a link that stands nothing waits.
func TestDialsTakeTheirTime(t *testing.T) {
	w, a, b := netWorld(Net{RTT: [][]time.Duration{{100 * time.Millisecond}}})
	a.up, b.up = true, true
	var at []time.Duration
	arrives := func(up bool) {
		if !up {
			t.Error("no link")
		}
		at = append(at, w.now.Sub(Start))
	}
	a.linked(b, arrives)
	w.Run(10 * time.Millisecond)
	a.linked(b, arrives)
	b.linked(a, arrives)
	w.Run(time.Second)
	a.linked(b, arrives)
	if len(at) != 4 || at[0] != at[1] || at[0] < 200*time.Millisecond || at[2] > 230*time.Millisecond || at[3] != time.Second+10*time.Millisecond {
		t.Errorf("frames could go at %v", at)
	}
	c := w.blankDevice("c")
	c.up = true
	a.linked(c, func(up bool) {
		if up {
			t.Error("a link to somebody who left while he was dialled")
		}
	})
	c.up = false
	w.Run(time.Second)
}
