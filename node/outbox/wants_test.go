package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Wants are compared with a look at all of them: the earliest is the earliest whatever was planned, answered and dropped, and what
// is due is taken once, until an answer comes.
func TestWantsAgainstALookAtAll(t *testing.T) {
	taken, early := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := NewWants()
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "key"))
			at := time.Unix(rapid.Int64Range(1, 50).Draw(t, "at"), 0)
			x := w.Of(key)
			switch rapid.IntRange(0, 6).Draw(t, "act") {
			case 0:
				w.Set(key, at, rapid.IntRange(0, 2).Draw(t, "failed"))
			case 1:
				w.Drop(key)
			case 2:
				w.Hurry(at)
			case 3, 4:
				if x == nil || !x.Busy {
					break
				}
				hurried := x.again
				if again := w.Answered(x, false, at); again != hurried || again && !x.next.Equal(at) {
					t.Fatalf("hurried %t, again %t at %v", hurried, again, x.next)
				} else if !again {
					w.Plan(x, at)
				}
			default:
				var want []string
				for k, x := range w.of {
					if !x.Busy && !x.next.After(at) {
						want = append(want, k)
					}
				}
				slices.Sort(want)
				if got := w.Take(at); !slices.Equal(got, want) {
					t.Fatalf("took %v, want %v", got, want)
				}
				taken += len(want)
			}
			if rapid.Bool().Draw(t, "look") {
				continue // so that what is not certain adds up
			}
			next := time.Time{}
			for _, x := range w.of {
				if !x.next.IsZero() && (next.IsZero() || x.next.Before(next)) {
					next = x.next
				}
			}
			if !w.sure {
				early++
			}
			if got := w.Next(); !got.Equal(next) {
				t.Fatalf("next %v, want %v", got, next)
			}
		}
	})
	if taken == 0 || early == 0 {
		t.Errorf("control: %d were taken, %d times the earliest was not certain", taken, early)
	}
}
