package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/result"
)

// expectation is one line of [expect]: a figure of the result and what it has to be.
type expectation struct {
	figure, want string
	bounds       []bound
}

// bound is one comparison of an expectation.
type bound struct {
	op    string
	value float64
	unit  unit
}

var comparisons = []string{"==", "!=", "<=", ">=", "<", ">"}

func (s *Scenario) setExpect(figure string, v any) error {
	e := expectation{figure: figure, want: plain(v)}
	for text := range strings.SplitSeq(e.want, " and ") {
		b, ok := comparison(strings.TrimSpace(text))
		if !ok {
			return fmt.Errorf("expect.%s: wants a comparison with a number and its unit, for example \"== 0\", \"<= 30 s\" or \">= 1 %% and <= 2 %%\", not %s", figure, given(v))
		}
		e.bounds = append(e.bounds, b)
	}
	if i := slices.IndexFunc(s.expect, func(x expectation) bool { return x.figure == figure }); i >= 0 {
		s.expect[i] = e
		return nil
	}
	s.expect = append(s.expect, e)
	return nil
}

func comparison(text string) (b bound, ok bool) {
	for _, op := range comparisons {
		if rest, is := strings.CutPrefix(text, op); is {
			b.op = op
			b.value, b.unit, ok = quantity(rest)
			return b, ok
		}
	}
	return b, false
}

func (e expectation) holds(v float64) bool {
	return !slices.ContainsFunc(e.bounds, func(b bound) bool { return !b.holds(v) })
}

func (b bound) holds(v float64) bool {
	switch b.op {
	case "==":
		return v == b.value
	case "!=":
		return v != b.value
	case "<=":
		return v <= b.value
	case ">=":
		return v >= b.value
	case "<":
		return v < b.value
	}
	return v > b.value
}

// checkFigures holds what is expected against the figures that a run gives: an expectation of something that is never
// counted would hold for ever, or never.
func (s *Scenario) checkFigures(r *result.Result) error {
	dims, names := map[string]string{}, []string{}
	add := func(name, dim string) { dims[name], names = dim, append(names, name) }
	for _, v := range r.Values {
		add(v.Name, v.Unit)
	}
	for _, d := range r.Spreads {
		add(d.Name+".n", "")
		for _, x := range []string{"p50", "p99", "p90", "p999", "mean", "min", "max"} {
			add(d.Name+"."+x, d.Unit)
		}
	}
	for _, e := range s.expect {
		dim, known := dims[e.figure]
		if !known {
			return s.bad(result.Unknown(e.figure, names), "expect."+e.figure)
		}
		for _, b := range e.bounds {
			if plainDim(dim) != b.unit.of && (b.value != 0 || b.unit.name != "") {
				return s.bad(fmt.Sprintf("expect.%s: is counted in %s, not as in %q", e.figure, dimension(dim), e.want), "expect."+e.figure)
			}
		}
	}
	return nil
}

// plainDim is the dimension of a unit of results: those that we do not know are plain numbers.
func plainDim(dim string) string {
	if slices.ContainsFunc(units, func(u unit) bool { return u.of == dim }) {
		return dim
	}
	return ""
}

func dimension(dim string) string {
	if plainDim(dim) == "" {
		return "plain numbers"
	}
	return dim
}

// promises are figures that are nothing in every run that counts them, whatever else its scenario expects. What is lost is not
// among them: how much that is may be the question.
var promises = []string{"doubled.count", "late.count", "removed.read.count", "clear.count", "broken.count"}

// Finish gives a result what belongs to the scenario: its name, its question, every parameter, and what came of what was
// expected, failures first. Of a part of a run nothing is expected.
func (s *Scenario) Finish(r *result.Result) {
	r.Scenario, r.Kind, r.Question, r.Seed, r.Parameters = s.config.name, s.config.kind, s.config.question, s.config.seed, s.Parameters()
	if r.Partial {
		r.Checks = nil
		return
	}
	expect := slices.Clone(s.expect)
	for _, name := range promises {
		_, known := r.Figure(name)
		if known && !slices.ContainsFunc(expect, func(e expectation) bool { return e.figure == name }) {
			expect = append(expect, expectation{name, "== 0", []bound{{op: "=="}}})
		}
	}
	for _, e := range expect {
		c := result.Check{Name: e.figure, Want: e.want, Got: "nothing"}
		if f, ok := r.Figure(e.figure); ok {
			c.Got, c.OK = Figure(f.Value, f.Unit), e.holds(f.Value)
		}
		r.Checks = append(r.Checks, c)
	}
	slices.SortStableFunc(r.Checks, func(a, b result.Check) int {
		switch {
		case a.OK == b.OK:
			return 0
		case b.OK:
			return -1
		}
		return 1
	})
}
