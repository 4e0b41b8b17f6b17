package model_test

import (
	"encoding/json"
	"runtime"
	"testing"

	"github.com/kith-im/kith/simnet/model"
)

func run(t testing.TB, c model.Config) model.Totals {
	t.Helper()
	w, err := model.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for w.Step() {
	}
	return w.Totals()
}

func small(devices, days int, seed uint64) model.Config {
	c := model.Default()
	c.Devices, c.Days, c.Seed = devices, days, seed
	return c
}

func raw(t testing.TB, r model.Totals) string {
	t.Helper()
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestOneSeedOneResult(t *testing.T) {
	c := small(400, 20, 7)
	first := raw(t, run(t, c))
	before := runtime.GOMAXPROCS(1)
	again := raw(t, run(t, c))
	runtime.GOMAXPROCS(before)
	if first != again {
		t.Errorf("one seed, two results:\n%s\n%s", first, again)
	}
	c.Seed = 8
	if raw(t, run(t, c)) == first {
		t.Error("control: another seed gives the same result")
	}
}

// Whoever has enough does not wait for the end of a day, and has what came of it until then. The control goes on where it stopped, and has
// what nobody interrupted has.
func TestHalt(t *testing.T) {
	c := small(20_000, 1, 7)
	whole := run(t, c)
	w, err := model.New(c)
	if err != nil {
		t.Fatal(err)
	}
	enough := whole.Events / 2
	w.Halt(func() bool { return w.Totals().Events >= enough })
	for w.Step() && w.Totals().Events < enough {
	}
	if r := w.Result(); !r.Partial || w.Days() != 0 || w.Totals().Events == whole.Events {
		t.Errorf("partial %t after %d days and %d of %d events", r.Partial, w.Days(), w.Totals().Events, whole.Events)
	}
	w.Halt(nil)
	for w.Step() {
	}
	if w.Result().Partial || raw(t, w.Totals()) != raw(t, whole) {
		t.Error("control: an interrupt leaves something behind")
	}
}

// Of every delivery exactly one thing becomes.
func TestDeliveriesAreAccountedFor(t *testing.T) {
	for seed := range uint64(3) {
		c := small(300, 45, seed)
		c.SendersDie = seed == 1
		c.NoRepair = seed == 2
		c.People[0].LifeDays = 20
		n := run(t, c).Counts
		sum := n.There + n.Fetched + n.Recovered + n.Expired + n.Orphaned + n.Lost + n.Pending
		if sum != n.Deliveries || n.Stored+n.There != n.Deliveries {
			t.Errorf("seed %d: %d deliveries, %d outcomes, %d there, %d stored", seed, n.Deliveries, sum, n.There, n.Stored)
		}
		for name, v := range map[string]uint64{"there": n.There, "pushed": n.Pushed, "fetched": n.Fetched, "orphaned": n.Orphaned, "pending": n.Pending} {
			if v == 0 {
				t.Errorf("seed %d: nothing was %s", seed, name)
			}
		}
		t.Logf("%+v", n)
	}
}

func BenchmarkPopulation(b *testing.B) {
	for b.Loop() {
		run(b, small(10_000, 30, 1))
	}
}
