// Package compare holds runs against each other: what varies in a heap of them, how sure a mean over seeds is, and what
// became worse from one heap to another.
package compare

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/result"
)

// What became of a figure or a check.
const (
	Worse   = "worse"
	Better  = "better"
	Changed = "changed" // it has no better
	Same    = "same"    // within the tolerance, as far as these runs can tell
)

// Method says how intervals are made.
const Method = "Welch's t over seeds, 95 % for all figures together (Bonferroni)"

// Comparison is what changed from A to B.
type Comparison struct {
	Method    string       `json:"method"`
	Tolerance float64      `json:"tolerance"` // of a figure: 0.05 is 5 %
	Intervals bool         `json:"intervals"` // both sides have two seeds or more
	Differs   []Difference `json:"differs"`   // parameters that are not the same on the two sides
	Partial   int          `json:"partial"`   // interrupted runs, left out
	Missing   []string     `json:"missing"`   // settings and figures that one side lacks
	Checks    []Check      `json:"checks"`    // those that do not hold as often as they did, or more often
	Figures   []Figure     `json:"figures"`   // the worse first
	Worse     int          `json:"worse"`     // checks and figures
	Lacks     int          `json:"lacks"`     // settings, checks and figures with a better of A that B has not
}

// Difference is a parameter that is not the same.
type Difference struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Check is an expectation that held in so many of the runs.
type Check struct {
	Setting string `json:"setting"`
	Name    string `json:"name"`
	Want    string `json:"want"`
	A       Held   `json:"a"`
	B       Held   `json:"b"`
	Verdict string `json:"verdict"`
}

// Held is how often an expectation held.
type Held struct {
	Runs int `json:"runs"`
	OK   int `json:"ok"`
}

// Figure is what became of a figure.
type Figure struct {
	Setting  string   `json:"setting"` // of a sweep, else ""
	Name     string   `json:"name"`
	Unit     string   `json:"unit"`
	Better   string   `json:"better"`
	A        Estimate `json:"a"`
	B        Estimate `json:"b"`
	Relative *float64 `json:"relative"` // (B-A)/|A|; null: A is 0
	Low      *float64 `json:"low"`      // the interval of B-A; null: too few runs
	High     *float64 `json:"high"`
	Verdict  string   `json:"verdict"`

	few bool // of several runs only one has it: that says nothing
}

// Runs holds B against A. The parameters that vary within a side are the settings of a sweep, which are compared one
// by one; what else differs is what is being compared. A figure is worse if its whole interval is worse by more than
// tolerance; with a single run on a side, if the number is. A check is worse if it holds less often. What A has and B has not is counted apart. only, if any,
// are the names of the figures that count.
func Runs(a, b []*result.Result, tolerance float64, only []string) (*Comparison, error) {
	c := &Comparison{Method: Method, Tolerance: tolerance, Intervals: true, Differs: []Difference{}, Missing: []string{}, Checks: []Check{}, Figures: []Figure{}}
	whole := func(runs []*result.Result) []*result.Result {
		return slices.DeleteFunc(slices.Clone(runs), func(r *result.Result) bool { return r.Partial })
	}
	wholeA, wholeB := whole(a), whole(b)
	c.Partial = len(a) + len(b) - len(wholeA) - len(wholeB)
	if len(wholeA) == 0 || len(wholeB) == 0 {
		return nil, errors.New("a side has no run that was played to its end")
	}
	pairs, err := c.pair(wholeA, wholeB)
	if err != nil {
		return nil, err
	}
	if len(pairs) == 0 {
		return nil, errors.New("no setting is on both sides")
	}
	for _, p := range pairs {
		c.checks(p)
		c.figures(p, only)
	}
	for _, name := range only {
		if !slices.ContainsFunc(c.Figures, func(f Figure) bool { return f.Name == name }) {
			return nil, errors.New("not on both sides: " + result.Unknown(name, common(pairs)))
		}
	}
	c.judge()
	return c, nil
}

// common are the names of the figures that somebody on each side has.
func common(pairs []pairing) (names []string) {
	for _, p := range pairs {
		for _, r := range p.a.Runs {
			for _, v := range r.Figures() {
				if slices.ContainsFunc(p.b.Runs, func(o *result.Result) bool { _, ok := o.Figure(v.Name); return ok }) {
					names = append(names, v.Name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// pairing is one setting on both sides.
type pairing struct {
	setting string
	a, b    Group
}

func (c *Comparison) pair(a, b []*result.Result) (out []pairing, err error) {
	axes := varying(a)
	for _, name := range varying(b) {
		if !slices.Contains(axes, name) {
			axes = append(axes, name)
		}
	}
	for _, name := range varying([]*result.Result{a[0], b[0]}) {
		if !slices.Contains(axes, name) {
			c.Differs = append(c.Differs, Difference{name, setting(a[0], name), setting(b[0], name)})
		}
	}
	as, err := groupBy(axes, a)
	if err != nil {
		return nil, err
	}
	bs, err := groupBy(axes, b)
	if err != nil {
		return nil, err
	}
	for _, g := range as {
		at := slices.IndexFunc(bs, func(o Group) bool { return slices.Equal(o.Setting, g.Setting) })
		if at < 0 {
			c.Missing = append(c.Missing, "B: "+g.Label())
			c.Lacks++
			continue
		}
		out = append(out, pairing{g.Label(), g, bs[at]})
		bs = slices.Delete(bs, at, at+1)
	}
	for _, g := range bs {
		c.Missing = append(c.Missing, "A: "+g.Label())
	}
	return out, nil
}

func (c *Comparison) checks(p pairing) {
	type key struct{ name, want string }
	count := func(runs []*result.Result) (order []key, held map[key]Held) {
		held = map[key]Held{}
		for _, r := range runs {
			for _, ch := range r.Checks {
				k := key{ch.Name, ch.Want}
				h, seen := held[k]
				if !seen {
					order = append(order, k)
				}
				h.Runs++
				if ch.OK {
					h.OK++
				}
				held[k] = h
			}
		}
		return order, held
	}
	had, before := count(p.a.Runs)
	order, after := count(p.b.Runs)
	for _, k := range had {
		if !slices.ContainsFunc(order, func(o key) bool { return o.name == k.name }) { // another bound is a check, too
			c.Missing = append(c.Missing, strings.TrimSpace("B: "+k.name+" "+k.want+" "+p.setting))
			c.Lacks++
		}
	}
	for _, k := range order {
		x, y := before[k], after[k]
		share := func(h Held) float64 { return float64(h.OK) / float64(max(h.Runs, 1)) }
		ch := Check{Setting: p.setting, Name: k.name, Want: k.want, A: x, B: y}
		switch {
		case x.Runs == 0 && y.OK < y.Runs || x.Runs > 0 && share(y) < share(x):
			ch.Verdict = Worse
			c.Checks = slices.Insert(c.Checks, c.Worse, ch)
			c.Worse++
		case x.Runs > 0 && share(y) > share(x):
			ch.Verdict = Better
			c.Checks = append(c.Checks, ch)
		}
	}
}

// extreme figures hang on one event: they are shown, and nobody is blamed for them.
func extreme(name string) bool {
	return strings.HasSuffix(name, ".min") || strings.HasSuffix(name, ".max")
}

// Fingerprint reports whether a figure only tells one run from another: more or less of it means nothing.
func Fingerprint(name string) bool { return strings.HasPrefix(name, "digest.") }

func (c *Comparison) figures(p pairing, only []string) {
	several := min(len(p.a.Runs), len(p.b.Runs)) > 1
	c.Intervals = c.Intervals && several
	var names []result.Value
	seen := map[string]bool{}
	for _, r := range slices.Concat(p.a.Runs, p.b.Runs) {
		for _, v := range r.Figures() {
			if !seen[v.Name] && !Fingerprint(v.Name) && (len(only) == 0 || slices.Contains(only, v.Name)) {
				seen[v.Name] = true
				names = append(names, v)
			}
		}
	}
	for _, v := range names {
		a, b := p.a.Samples(v.Name), p.b.Samples(v.Name)
		if len(a) == 0 || len(b) == 0 {
			side := "A: "
			if len(b) == 0 {
				side = "B: "
				if v.Better != "" {
					c.Lacks++
				}
			}
			c.Missing = append(c.Missing, strings.TrimSpace(side+v.Name+" "+p.setting))
			continue
		}
		ch := Figure{Setting: p.setting, Name: v.Name, Unit: v.Unit, Better: v.Better, A: Mean(a), B: Mean(b)}
		if extreme(v.Name) && len(only) == 0 {
			ch.Better = ""
		}
		ch.few = several && min(len(a), len(b)) < 2
		c.Figures = append(c.Figures, ch)
	}
}

// judge gives every figure its interval and its verdict.
func (c *Comparison) judge() {
	judged := 0
	for _, f := range c.Figures {
		if f.Better != "" && f.A.variance+f.B.variance > 0 {
			judged++
		}
	}
	alpha := (1 - confidence) / float64(max(judged, 1))
	for i := range c.Figures {
		f := &c.Figures[i]
		d := f.B.Mean - f.A.Mean
		low, high := d, d
		if f.A.N > 1 && f.B.N > 1 {
			half := welch(f.A, f.B, alpha)
			low, high = d-half, d+half
			f.Low, f.High = &low, &high
		}
		if f.A.Mean != 0 {
			if relative := d / math.Abs(f.A.Mean); !math.IsInf(relative, 0) {
				f.Relative = &relative
			}
		}
		if f.Verdict = verdict(f.Better, low, high, c.Tolerance*math.Abs(f.A.Mean)); f.few {
			f.Verdict = Same
		}
		if f.Verdict == Worse {
			c.Worse++
		}
	}
	order := map[string]int{Worse: 0, Better: 1, Changed: 2, Same: 3}
	slices.SortStableFunc(c.Figures, func(a, b Figure) int { return order[a.Verdict] - order[b.Verdict] })
}

func verdict(better string, low, high, allowed float64) string {
	more, less := low > allowed, high < -allowed
	switch {
	case !more && !less:
		return Same
	case better == "":
		return Changed
	case more == (better == result.Lower):
		return Worse
	}
	return Better
}
