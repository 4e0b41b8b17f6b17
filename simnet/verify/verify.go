// Package verify holds the simulator against what can be known without it: closed forms of queues, renewal, replication
// and routing, and figures that others published. docs/simulation.md prints what comes of it.
//
// Each Check simulates a number many times and compares the mean with a formula, in standard errors. It also holds the
// mean against a control, the formula with a wrong constant, and has to tell the two apart: a check that accepts
// everything shows nothing.
package verify

import (
	"math"
	"slices"
)

// Check is one comparison.
type Check struct {
	Name    string
	Form    string // the formula, as it is printed
	Source  string
	Control string // what the control changes
	run     func(scale int, seed uint64) finding
}

// finding is what a check measured, and what it ought to be.
type finding struct {
	got, err    float64 // mean and its standard error
	want, wrong float64
}

// Outcome is what came of a check.
type Outcome struct {
	Check
	Got, Err, Want, Z float64
	Wrong, WrongZ     float64 // the control
}

// Bound is how many standard errors a mean may lie from its formula.
const Bound = 3

// OK says whether the mean agrees with the formula and not with the control.
func (o Outcome) OK() bool { return math.Abs(o.Z) < Bound && math.Abs(o.WrongZ) >= Bound }

// Run simulates. scale is how much, 1 for a quick look; one seed gives one outcome.
func (c Check) Run(scale int, seed uint64) Outcome {
	f := c.run(max(scale, 1), seed)
	return Outcome{
		Check: c, Got: f.got, Err: f.err, Want: f.want, Z: (f.got - f.want) / f.err,
		Wrong: f.wrong, WrongZ: (f.got - f.wrong) / f.err,
	}
}

// Checks are all comparisons, in the order in which they are printed.
func Checks() []Check {
	return slices.Concat(queues(), people(), traffic(), replicas(), choices())
}

// mean simulates n times and gives mean and standard error. Runs are independent: each has a seed of its own.
func mean(n int, seed uint64, run func(seed uint64) float64) (m, err float64) {
	var sum, squares float64
	for i := range n {
		x := run(seed*1_000_003 + uint64(i))
		sum += x
		squares += x * x
	}
	m = sum / float64(n)
	return m, math.Sqrt(max(squares/float64(n)-m*m, 0) / float64(n-1))
}
