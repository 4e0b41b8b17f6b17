package scenario_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kith-im/kith/simnet/scenario"
)

// Every story holds, and one seed gives one trace: the engine reads no clock, no randomness and no map order of its own.
func TestStoriesHoldAndRepeat(t *testing.T) {
	for _, name := range scenario.Names() {
		for seed := range uint64(3) {
			first, err := scenario.Stories[name].Run(seed)
			if err != nil {
				t.Fatalf("%s, seed %d: %v\n%s", name, seed, err, strings.Join(first.Trace, "\n"))
			}
			if len(first.Broken) > 0 {
				t.Fatalf("%s, seed %d: %q\n%s", name, seed, first.Broken, strings.Join(first.Trace, "\n"))
			}
			again, err := scenario.Stories[name].Run(seed)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(first.Trace, again.Trace) {
				t.Errorf("%s, seed %d: two runs, two traces", name, seed)
			}
		}
	}
}

var update = flag.Bool("update", false, "rewrite the traces in testdata")

// The trace of seed 7 is kept, so that a change of behaviour shows in review.
func TestGoldenTraces(t *testing.T) {
	for _, name := range scenario.Names() {
		r, err := scenario.Stories[name].Run(7)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.Trace, "\n") + "\n"
		file := filepath.Join("testdata", name+".seed7.txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: the trace has changed; if it should: go test ./simnet/scenario -update", name)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, err := scenario.FirstSteps(1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := scenario.FirstSteps(2)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(a.Trace, b.Trace) {
		t.Error("the seed changes nothing")
	}
}
