package fuzz_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet/fuzz"
	"github.com/kith-im/kith/simnet/story"
)

// number is one from the environment, or the given one.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever happens to people's devices, relays and links: every promise holds, after every line of it.
func TestPromisesHold(t *testing.T) {
	messages, arrived := 0, 0
	from := number(t, "FROM", 1)
	for seed := from; seed < from+number(t, "SEEDS", 6); seed++ {
		o := fuzz.Of(seed).Play(nil)
		if len(o.Broken) > 0 {
			t.Errorf("seed %d: %s", seed, strings.Join(o.Broken, "\n"))
		}
		messages, arrived = messages+o.Messages, arrived+o.Arrived
	}
	t.Logf("%d messages, %d deliveries arrived", messages, arrived)
	if messages < 30 || arrived < 30 {
		t.Errorf("control: %d messages and %d deliveries", messages, arrived)
	}
}

// What was found once is not there any more.
func TestRegressions(t *testing.T) {
	files, err := filepath.Glob("regressions/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := story.Read(file, raw)
		if err != nil {
			t.Fatal(err)
		}
		if o := (fuzz.Case{Seed: s.Seed, Script: s.Script}).Play(nil); len(o.Broken) > 0 {
			t.Errorf("%s: %s\n%s", file, strings.Join(o.Broken, "\n"), strings.Join(o.Trace, "\n"))
		}
	}
}

// One seed gives one schedule, one trace and one verdict, on one processor or several.
func TestSchedulesRepeat(t *testing.T) {
	for _, seed := range []uint64{1} {
		first := fuzz.Of(seed).Play(nil).Trace
		before := runtime.GOMAXPROCS(1)
		again := fuzz.Of(seed).Play(nil).Trace
		runtime.GOMAXPROCS(before)
		if !slices.Equal(first, again) || len(first) < 50 {
			t.Errorf("seed %d: %d lines and %d lines, not the same", seed, len(first), len(again))
		}
	}
}

// A schedule that fails is shortened to what it takes, in a file that is played again.
func TestAFailureIsShortened(t *testing.T) {
	plant := wrap(func(s store.Store) store.Store { return hasty{s} })
	long := fuzz.Of(1)
	found := long.Play(plant)
	if len(found.Broken) == 0 || found.Promise == "" {
		t.Fatal("the fault is not found")
	}
	fails := func(c fuzz.Case) bool {
		o := c.Play(plant)
		if (o.Promise == "") != (len(o.Broken) == 0) {
			t.Errorf("%q broken, promise %q", o.Broken, o.Promise)
		}
		return o.Promise == found.Promise
	}
	short := long.Shrink(fails)
	if len(short.Script) > len(long.Script)/2 {
		t.Errorf("%d of %d lines are left:\n%s", len(short.Script), len(long.Script), short.Script)
	}
	s, err := story.Read("x.txtar", short.File("why", "v1"))
	if err != nil || s.Seed != 1 || s.Script.String() != short.Script.String() {
		t.Fatalf("%v, seed %d\n%s", err, s.Seed, s.Script)
	}
	again := fuzz.Case{Seed: s.Seed, Script: s.Script}
	if !fails(again) {
		t.Error("what was written does not fail")
	}
	if o := again.Play(nil); len(o.Broken) > 0 {
		t.Errorf("control: it fails without the fault, too: %q", o.Broken)
	}
}
