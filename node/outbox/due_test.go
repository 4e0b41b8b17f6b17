package outbox

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Due is compared with a map that is searched: whatever is set, moved and taken, the earliest is the earliest, and each
// number is taken once.
func TestDueAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, model := NewDue(), map[uint64]time.Time{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			n := rapid.Uint64Range(0, 9).Draw(t, "n")
			at := time.Unix(rapid.Int64Range(1, 50).Draw(t, "at"), 0)
			switch rapid.IntRange(0, 3).Draw(t, "act") {
			case 0:
				d.Set(n, time.Time{})
				delete(model, n)
			case 1:
				var want []uint64
				for m, due := range model {
					if !due.After(at) {
						want = append(want, m)
						delete(model, m)
					}
				}
				slices.Sort(want)
				if got := d.Take(at); !slices.Equal(got, want) {
					t.Fatalf("took %v, want %v", got, want)
				}
			default:
				d.Set(n, at)
				model[n] = at
			}
			next := time.Time{}
			for _, due := range model {
				if next.IsZero() || due.Before(next) {
					next = due
				}
			}
			if got := d.Next(); !got.Equal(next) {
				t.Fatalf("next %v, want %v", got, next)
			}
		}
	})
}
