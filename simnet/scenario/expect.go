package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/result"
)

// expectation is one line of [expect]: a figure of the result and what it has to be.
type expectation struct {
	figure, op, bound string
	value             float64
	unit              unit
}

var comparisons = []string{"==", "!=", "<=", ">=", "<", ">"}

func (s *Scenario) setExpect(figure string, v any) error {
	text := plain(v)
	e := expectation{figure: figure}
	for _, op := range comparisons {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(text), op); ok {
			e.op, e.bound = op, strings.TrimSpace(rest)
			break
		}
	}
	ok := false
	if e.value, e.unit, ok = quantity(e.bound); !ok || e.op == "" {
		return fmt.Errorf("expect.%s: wants a comparison with a number and its unit, for example \"== 0\", \"<= 30 s\" or \">= 99 %%\", not %s", figure, given(v))
	}
	if i := slices.IndexFunc(s.expect, func(x expectation) bool { return x.figure == figure }); i >= 0 {
		s.expect[i] = e
		return nil
	}
	s.expect = append(s.expect, e)
	return nil
}

func (e expectation) want() string { return e.op + " " + e.bound }

func (e expectation) holds(v float64) bool {
	switch e.op {
	case "==":
		return v == e.value
	case "!=":
		return v != e.value
	case "<=":
		return v <= e.value
	case ">=":
		return v >= e.value
	case "<":
		return v < e.value
	}
	return v > e.value
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
			return s.bad("expect."+e.figure, unknown("figure", e.figure, names))
		}
		if plainDim(dim) != e.unit.of && !(e.value == 0 && e.unit.name == "") {
			return s.bad("expect."+e.figure, fmt.Sprintf("expect.%s: is counted in %s, not as %q", e.figure, dimension(dim), e.bound))
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

// Finish gives a result what belongs to the scenario: its name, its question, every parameter, and what came of what was
// expected, failures first. Of a part of a run nothing is expected.
func (s *Scenario) Finish(r *result.Result) {
	r.Scenario, r.Kind, r.Question, r.Seed, r.Parameters = s.config.name, s.config.kind, s.config.question, s.config.seed, s.Parameters()
	if r.Partial {
		r.Checks = nil
		return
	}
	for _, e := range s.expect {
		c := result.Check{Name: e.figure, Want: e.want(), Got: "nothing"}
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
