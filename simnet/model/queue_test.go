package model_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/simnet/model"
)

// The queue is compared with a list that is searched.
func TestQueueIsOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q model.Queue
		var all []model.Event
		now := uint64(0)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				shift := rapid.IntRange(0, 62).Draw(t, "digits")
				e := model.Event{
					At:   now + rapid.Uint64Range(0, 1<<shift).Draw(t, "in"),
					What: rapid.Uint64Range(0, 9).Draw(t, "what"),
				}
				if e.At < now {
					continue
				}
				q.Push(e)
				all = append(all, e)
				continue
			}
			limit := uint64(math.MaxUint64)
			if rapid.Bool().Draw(t, "limited") {
				limit = now + rapid.Uint64Range(0, 1<<rapid.IntRange(0, 62).Draw(t, "digits")).Draw(t, "until")
			}
			due := false
			for _, e := range all {
				due = due || e.At <= limit
			}
			got, ok := q.PopUpTo(limit)
			if ok != due {
				t.Fatalf("%d pending, taken %v", len(all), ok)
			}
			if !ok {
				if limit < math.MaxUint64 {
					now = limit // the caller goes on to there
				}
				continue
			}
			least, at := all[0].At, -1
			for i, e := range all {
				least = min(least, e.At)
				if e == got {
					at = i
				}
			}
			if at < 0 || got.At != least {
				t.Fatalf("got %v, the least time is %d", got, least)
			}
			now = got.At
			all = append(all[:at], all[at+1:]...)
			if q.Len() != len(all) {
				t.Fatalf("%d pending, want %d", q.Len(), len(all))
			}
		}
	})
}

func TestQueueOrdersOneMomentByWhat(t *testing.T) {
	var q model.Queue
	for _, what := range []uint64{7, 3, 9, 1, 3} {
		q.Push(model.Event{At: 1 << 40, What: what})
	}
	last := uint64(0)
	for range 5 {
		e, _ := q.Pop()
		if e.What < last {
			t.Errorf("%d after %d", e.What, last)
		}
		last = e.What
	}
}

// BenchmarkEvents takes an event and plans another, with so many pending.
func BenchmarkEvents(b *testing.B) {
	for _, pending := range []struct {
		name string
		n    int
	}{{"1e5", 1e5}, {"1e6", 1e6}} {
		b.Run(pending.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 2))
			var ahead [1 << 12]uint64
			for i := range ahead {
				ahead[i] = uint64(rng.ExpFloat64() * 3.6e6)
			}
			var q model.Queue
			for i := range pending.n {
				q.Push(model.Event{At: ahead[i%len(ahead)] + uint64(i%1000), What: uint64(i)})
			}
			b.ResetTimer()
			for i := range b.N {
				e, _ := q.Pop()
				q.Push(model.Event{At: e.At + ahead[i%len(ahead)], What: e.What})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
		})
	}
}
