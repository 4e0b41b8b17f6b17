package scenario

import (
	"github.com/kith-im/kith/simnet/result"
)

// told is a story as a run.
type told struct {
	name string
	seed uint64
	over bool
	came Result
	err  error
}

func (t *told) Step() bool {
	t.over = true
	t.came, t.err = Stories[t.name].Run(t.seed)
	return false
}

func (t *told) Progress() string { return t.name }

// Trace is what happened, line by line.
func (t *told) Trace() []string { return t.came.Trace }

func (t *told) Result() *result.Result {
	r := &result.Result{Format: result.Format, Kind: KindStory, Crypto: "real", Seed: t.seed, Partial: !t.over}
	broken := append([]string(nil), t.came.Broken...)
	if t.err != nil {
		broken = append(broken, t.err.Error())
	}
	for _, b := range broken {
		r.Checks = append(r.Checks, result.Check{Name: "story", Want: "every line holds", Got: b})
	}
	r.Values = []result.Value{
		{Name: "broken.count", Better: result.Lower, Value: float64(len(broken))},
		{Name: "events", Value: float64(t.came.Events)},
		{Name: "virtual.seconds", Unit: "s", Value: t.came.Time.Seconds()},
	}
	return r
}
