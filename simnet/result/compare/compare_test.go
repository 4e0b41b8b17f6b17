package compare_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// runs are so many seeds of one setting, each with a figure around a mean.
func runs(n int, setting string, mean, sigma float64, better string) []*result.Result {
	rng := rand.New(rand.NewPCG(uint64(n), math.Float64bits(mean+sigma)))
	var out []*result.Result
	for seed := range n {
		out = append(out, &result.Result{
			Format: 1, Scenario: "steady", Seed: uint64(seed), Parameters: []result.Parameter{{Name: "r", Value: setting}, {Name: "seed", Value: fmt.Sprint(seed)}},
			Values: []result.Value{{Name: "x", Unit: "s", Better: better, Value: mean + sigma*rng.NormFloat64()}},
			Checks: []result.Check{{Name: "lost", Want: "== 0", OK: true}},
		})
	}
	return out
}

func verdicts(t *testing.T, a, b []*result.Result, tolerance float64) (x string, c *compare.Comparison) {
	t.Helper()
	c, err := compare.Runs(a, b, tolerance, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Figures[0].Verdict, c
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		a, b, sigma, tolerance float64
		n                      int
		better, want           string
	}{
		{100, 110, 1, 0.05, 5, result.Lower, compare.Worse},
		{100, 110, 1, 0.05, 5, result.Higher, compare.Better},
		{100, 110, 1, 0.05, 5, "", compare.Changed},
		{100, 90, 1, 0.05, 5, result.Lower, compare.Better},
		{100, 90, 1, 0.05, 5, result.Higher, compare.Worse},
		{100, 110, 1, 0.20, 5, result.Lower, compare.Same},  // within the tolerance
		{100, 110, 30, 0.05, 5, result.Lower, compare.Same}, // the seeds vary more than that
		{100, 110, 30, 0.02, 400, result.Lower, compare.Worse},
		{100, 104, 0, 0.05, 1, result.Lower, compare.Same}, // one seed: the number itself
		{100, 106, 0, 0.05, 1, result.Lower, compare.Worse},
		{0, 1, 0, 0.05, 3, result.Lower, compare.Worse}, // of nothing everything is more
		{0, 0, 0, 0, 3, result.Lower, compare.Same},
		{-100, -90, 0, 0.05, 3, result.Lower, compare.Worse},
	} {
		got, all := verdicts(t, runs(c.n, "3", c.a, c.sigma, c.better), runs(c.n, "2", c.b, c.sigma, c.better), c.tolerance)
		if got != c.want || all.Worse != map[bool]int{true: 1}[got == compare.Worse] || all.Intervals != (c.n > 1) {
			t.Errorf("%+v: %s, %d worse, %+v", c, got, all.Worse, all.Figures)
		}
		if d := all.Differs; len(d) != 1 || d[0] != (compare.Difference{Name: "r", A: "3", B: "2"}) {
			t.Errorf("differs: %+v", d)
		}
	}
}

// What A has and B has not is no reason to be content; what B has beyond that, a figure that says nothing, and a check with another
// bound are.
func TestWhatIsMissingCounts(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(a, b *result.Result)
		lacks  int
	}{
		{"nothing (control)", func(_, _ *result.Result) {}, 0},
		{"a figure", func(a, _ *result.Result) { a.Values = append(a.Values, result.Value{Name: "y", Better: result.Lower}) }, 1},
		{"a figure without a better", func(a, _ *result.Result) { a.Values = append(a.Values, result.Value{Name: "y"}) }, 0},
		{"a figure, of A", func(_, b *result.Result) { b.Values = append(b.Values, result.Value{Name: "y", Better: result.Lower}) }, 0},
		{"a check", func(a, _ *result.Result) {
			a.Checks = append(a.Checks, result.Check{Name: "late", Want: "== 0", OK: true})
		}, 1},
		{"the bound", func(_, b *result.Result) { b.Checks[0].Want = "<= 1" }, 0},
	} {
		a, b := runs(1, "3", 1, 0, result.Lower), runs(1, "3", 1, 0, result.Lower)
		c.change(a[0], b[0])
		got, err := compare.Runs(a, b, 0, nil)
		if err != nil || got.Lacks != c.lacks || got.Worse != 0 {
			t.Errorf("%s: %d are missing, %d worse, %v %v", c.what, got.Lacks, got.Worse, got.Missing, err)
		}
	}
	a, b := append(runs(2, "3", 1, 0, result.Lower), runs(2, "4", 1, 0, result.Lower)...), runs(2, "3", 1, 0, result.Lower)
	if got, err := compare.Runs(a, b, 0, nil); err != nil || got.Lacks != 1 {
		t.Errorf("a setting: %+v %v", got, err)
	}
}

// Of two heaps that are alike, a comparison without tolerance finds something worse in at most one of twenty, however many
// figures there are; without Bonferroni it would in most (the control).
func TestFalseAlarms(t *testing.T) {
	const figures, tries = 40, 60
	rng := rand.New(rand.NewPCG(7, 7))
	heap := func() (out []*result.Result) {
		for seed := range 6 {
			r := &result.Result{Format: 1, Seed: uint64(seed)}
			for i := range figures {
				r.Values = append(r.Values, result.Value{Name: fmt.Sprint("x", i), Better: result.Lower, Value: 100 + rng.NormFloat64()})
			}
			out = append(out, r)
		}
		return out
	}
	alarms, alone := 0, 0
	for range tries {
		a, b := heap(), heap()
		c, err := compare.Runs(a, b, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		alarms += min(c.Worse, 1)
		for i := range figures {
			c, err := compare.Runs(a, b, 0, []string{fmt.Sprint("x", i)})
			if err != nil {
				t.Fatal(err)
			}
			if c.Worse > 0 {
				alone++
				break
			}
		}
	}
	if alarms > tries/20 || alone < tries/4 {
		t.Errorf("%d of %d false alarms; %d if each figure is judged alone", alarms, tries, alone)
	}
}

// Intervals of 95 % hold the truth 95 times of 100, whatever the variances are.
func TestIntervalsHoldTheTruth(t *testing.T) {
	const tries = 2000
	rng := rand.New(rand.NewPCG(3, 1))
	heap := func(n int, sigma float64) []*result.Result {
		out := make([]*result.Result, n)
		for i := range out {
			out[i] = &result.Result{Format: 1, Seed: uint64(i), Values: []result.Value{{Name: "x", Better: result.Lower, Value: sigma * rng.NormFloat64()}}}
		}
		return out
	}
	welch, mean := 0, 0
	for range tries {
		c, err := compare.Runs(heap(4, 1), heap(9, 3), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := c.Figures[0]
		if *f.Low <= 0 && 0 <= *f.High {
			welch++
		}
		if f.A.Low <= 0 && 0 <= f.A.High {
			mean++
		}
	}
	for name, n := range map[string]int{"welch": welch, "mean": mean} {
		if z := (float64(n)/tries - 0.95) / math.Sqrt(0.95*0.05/tries); math.Abs(z) > 3.5 {
			t.Errorf("%s: %d of %d hold the truth, z %.1f", name, n, tries, z)
		}
	}
}

// The quantiles of Student's t are those of the tables.
func TestStudent(t *testing.T) {
	for n, want := range map[int]float64{2: 12.706, 3: 4.303, 6: 2.571, 11: 2.228, 31: 2.042, 1001: 1.962} {
		samples := make([]float64, n)
		for i := range samples {
			samples[i] = float64(i)
		}
		e := compare.Mean(samples)
		sd := math.Sqrt(float64(n) * float64(n+1) / 12) // of 0..n-1
		if got := (e.High - e.Mean) / (sd / math.Sqrt(float64(n))); math.Abs(got-want) > 0.0006*want {
			t.Errorf("n %d: %v, want %v", n, got, want)
		}
	}
	if e := compare.Mean([]float64{5}); e.Low != 5 || e.High != 5 || e.N != 1 {
		t.Errorf("%+v", e)
	}
}

// A digest differs from run to run and tells nothing of better and worse.
func TestFingerprints(t *testing.T) {
	a, b := runs(2, "3", 1, 0, ""), runs(2, "3", 1, 0, "")
	for i, r := range append(a, b...) {
		r.Values = append(r.Values, result.Value{Name: "digest.low", Value: float64(i)}, result.Value{Name: "y", Value: float64(i)})
	}
	if _, c := verdicts(t, a, b, 0); len(c.Figures) != 2 {
		t.Errorf("%+v", c.Figures)
	}
}

// What a single run of several has is no sample of anything; of a single run it is all there is.
func TestWhatOnlyOneRunHas(t *testing.T) {
	a, b := runs(3, "3", 1, 0, result.Lower), runs(3, "3", 1, 0, result.Lower)
	for i, r := range []*result.Result{a[0], b[2]} {
		r.Values = append(r.Values, result.Value{Name: "rare", Better: result.Lower, Value: float64(1 + i)})
	}
	if _, c := verdicts(t, a, b, 0); c.Worse != 0 || !c.Intervals || len(c.Figures) != 2 {
		t.Errorf("%+v", c)
	}
	if _, c := verdicts(t, a[:1], b[2:], 0); c.Worse != 1 || c.Intervals {
		t.Errorf("control: %+v", c)
	}
}

func TestChecks(t *testing.T) {
	a, b := runs(4, "3", 1, 0, ""), runs(4, "3", 1, 0, "")
	b[2].Checks[0].OK = false
	_, c := verdicts(t, a, b, 1)
	if len(c.Checks) != 1 || c.Worse != 1 || c.Checks[0].Verdict != compare.Worse || c.Checks[0].B != (compare.Held{Runs: 4, OK: 3}) {
		t.Errorf("%+v", c)
	}
	if _, c := verdicts(t, b, a, 1); c.Worse != 0 || c.Checks[0].Verdict != compare.Better {
		t.Errorf("control: %+v", c)
	}
	b[2].Partial = true // what was interrupted does not count
	if _, c := verdicts(t, a, b, 1); len(c.Checks) != 0 || c.Partial != 1 || c.Figures[0].B.N != 3 {
		t.Errorf("%+v", c)
	}
}

// Two sweeps are compared setting by setting.
func TestSweeps(t *testing.T) {
	sweep := func(shift float64) []*result.Result {
		return append(runs(3, "10", 5, 0.01, result.Lower), runs(3, "9", 1+shift, 0.01, result.Lower)...)
	}
	_, c := verdicts(t, sweep(0), append(sweep(1), runs(1, "100", 1, 0, "")...), 0.1)
	if len(c.Figures) != 2 || c.Worse != 1 || c.Figures[0].Setting != "r 9" || len(c.Differs) != 0 || len(c.Missing) != 1 {
		t.Errorf("%+v", c)
	}
	axes, groups, err := compare.Groups(sweep(0))
	if err != nil || fmt.Sprint(axes) != "[r]" || len(groups) != 2 || groups[0].Label() != "r 9" || len(groups[1].Runs) != 3 {
		t.Errorf("%v %+v %v", axes, groups, err)
	}
}

func TestWhatCannotBeCompared(t *testing.T) {
	a := runs(2, "3", 1, 0, "")
	partial := runs(1, "3", 1, 0, "")
	partial[0].Partial = true
	for name, b := range map[string][]*result.Result{"nothing": nil, "partial": partial, "seed twice": append(runs(1, "3", 1, 0, ""), a...)} {
		if c, err := compare.Runs(a, b, 0, nil); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c, err := compare.Runs(a, a, 0, []string{"y"}); err == nil {
		t.Errorf("a figure that is not there: %+v", c)
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"1000": "1000 ", "1_000": "1000 ", "2.5%": "2.5 %", "20 ms": "0.02 s", "30 d": "2.592e+06 s", "1h30m0s": "5400 s", "3 relays": "3 relays", "-1e3": "",
		"home": "", "": "", "kad 3": "", "NaN": "", "1 2": "", "30d": "2.592e+06 s",
	} {
		got := ""
		if v, unit, ok := compare.Number(in); ok {
			got = fmt.Sprintf("%g %s", v, unit)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestFit(t *testing.T) {
	l, ok := compare.Fit([][2]float64{{0, 1}, {1, 3}, {2, 5}, {3, 7.1}, {4, 8.9}})
	if !ok || math.Abs(l.Slope-1.99) > 1e-9 || !(l.Low < 2 && 2 < l.High && l.High-l.Low < 0.2) {
		t.Errorf("%+v, %v", l, ok)
	}
	if l, ok := compare.Fit([][2]float64{{1, 1}, {1, 2}}); ok {
		t.Errorf("a line that stands: %+v", l)
	}
}
