// Package result is what comes of a simulated run, whatever played it: figures with names, distributions, courses over
// time and heat maps; how they are written down and read again, and how two of them, or two heaps of them, are compared.
//
// What it guarantees: a result holds nothing of the machine that made it, and the same result is the same bytes; what is
// read has one known form, within limits.
package result

import "strings"

// Format is the version of result.json.
const Format = 1

// The files of a run's folder.
const (
	ScenarioFile = "scenario.toml" // resolved: every key, also those that were left as they are
	ResultFile   = "result.json"
	SeriesFile   = "series.csv"
	EventsFile   = "events.ndjson" // only if asked for
	ReportFile   = "report.html"
)

// Run is something that is being played; a scenario makes one.
type Run interface {
	Step() bool       // plays a piece: about a virtual day, or a thirtieth of the whole; false: it is over
	Progress() string // "day 3 of 30"
	Result() *Result  // of what has been played. Its caller adds the scenario's name, question, parameters and checks
}

// Result is what came of one run.
type Result struct {
	Format     int         `json:"format"`
	Scenario   string      `json:"scenario"`
	Kind       string      `json:"kind"` // model, world, story, lookup, live
	Question   string      `json:"question"`
	Crypto     string      `json:"crypto"` // real, stand-in, none
	Seed       uint64      `json:"seed"`
	Partial    bool        `json:"partial"`    // it was interrupted
	Parameters []Parameter `json:"parameters"` // every one, resolved, in order
	Checks     []Check     `json:"checks"`     // those that failed first
	Values     []Value     `json:"values"`
	Spreads    []Spread    `json:"spreads"`
	Maps       []Map       `json:"maps,omitempty"`
	Series     []Series    `json:"-"` // series.csv
}

// Parameter is what the run was told, as text with its unit.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Check is one expectation and what came of it.
type Check struct {
	Name string `json:"name"` // the figure: "delivery.seconds.p99"
	Want string `json:"want"` // "<= 30 s"
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

// Which way a figure is better. Otherwise it says nothing about good and bad.
const (
	Lower  = "lower"
	Higher = "higher"
)

// Value is one figure of the whole run.
type Value struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Better string  `json:"better"` // Lower, Higher or ""
	Value  float64 `json:"value"`
}

// Spread is many figures of one kind.
type Spread struct {
	Name   string       `json:"name"`
	Unit   string       `json:"unit"`
	Better string       `json:"better"`
	N      uint64       `json:"n"`
	Min    float64      `json:"min"`
	Mean   float64      `json:"mean"`
	P50    float64      `json:"p50"`
	P90    float64      `json:"p90"`
	P99    float64      `json:"p99"`
	P999   float64      `json:"p999"`
	Max    float64      `json:"max"`
	CDF    [][2]float64 `json:"cdf"` // a number, and which share is not above it
}

// Series is the course of a figure over virtual time.
type Series struct {
	Name   string
	Unit   string
	Points [][2]float64 // seconds since the beginning, and the figure
}

// Axis is one side of a heat map: what lies along it, where its cells begin, and their unit.
type Axis struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"`
	Cells []string `json:"cells"`
}

// Map is a heat map: Cells[y][x].
type Map struct {
	Name  string      `json:"name"`
	Unit  string      `json:"unit"`
	X     Axis        `json:"x"`
	Y     Axis        `json:"y"`
	Cells [][]float64 `json:"cells"`
}

// Figures are the values and, by name.n, name.min, name.mean, name.p50 and so on, those of the spreads.
func (r *Result) Figures() []Value {
	out := append([]Value{}, r.Values...)
	for _, s := range r.Spreads {
		out = append(out, s.figures()...)
	}
	return out
}

// Names are those of all figures, also of distributions that have counted nothing yet.
func (r *Result) Names() (out []string) {
	for _, v := range r.Values {
		out = append(out, v.Name)
	}
	for _, s := range r.Spreads {
		s.N = max(s.N, 1)
		for _, v := range s.figures() {
			out = append(out, v.Name)
		}
	}
	return out
}

// Figure is one of Figures.
func (r *Result) Figure(name string) (Value, bool) {
	for _, v := range r.Values {
		if v.Name == name {
			return v, true
		}
	}
	for i := range r.Spreads {
		if !strings.HasPrefix(name, r.Spreads[i].Name+".") {
			continue
		}
		for _, v := range r.Spreads[i].figures() {
			if v.Name == name {
				return v, true
			}
		}
	}
	return Value{}, false
}

func (s *Spread) figures() []Value {
	out := []Value{{Name: s.Name + ".n", Value: float64(s.N)}}
	if s.N == 0 {
		return out
	}
	for _, f := range []struct {
		name  string
		value float64
	}{{"min", s.Min}, {"mean", s.Mean}, {"p50", s.P50}, {"p90", s.P90}, {"p99", s.P99}, {"p999", s.P999}, {"max", s.Max}} {
		out = append(out, Value{s.Name + "." + f.name, s.Unit, s.Better, f.value})
	}
	return out
}

// OK reports whether every check held.
func (r *Result) OK() bool {
	for _, c := range r.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}
