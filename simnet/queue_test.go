package simnet

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// Events come by their time, those of one time by their number.
func TestQueueIsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q eventQueue
	var want []event
	for n := range uint64(2000) {
		e := event{at: rng.Int64N(300), number: n}
		want = append(want, e)
		q.push(e)
	}
	slices.SortFunc(want, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number)) })
	for i, w := range want {
		if e := q.pop(); e.at != w.at || e.number != w.number {
			t.Fatalf("event %d is %d of %d, want %d of %d", i, e.number, e.at, w.number, w.at)
		}
	}
	if len(q) != 0 {
		t.Errorf("%d are left", len(q))
	}
}

// BenchmarkQueue takes an event and plans another, with 10^5 pending.
func BenchmarkQueue(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q eventQueue
	for n := range uint64(100_000) {
		q.push(event{at: rng.Int64N(1e12), number: n})
	}
	for n := uint64(100_000); b.Loop(); n++ {
		e := q.pop()
		q.push(event{at: e.at + rng.Int64N(1e12), number: n})
	}
}
