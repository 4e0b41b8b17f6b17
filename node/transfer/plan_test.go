package transfer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAPlanGetsAllThatAnybodyHas lets random sources answer, fail and lack in a random order: whatever one of them can
// give is there at the end, and no chunk was ever with two at once.
func TestAPlanGetsAllThatAnybodyHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, sources := rapid.IntRange(0, 20).Draw(t, "chunks"), rapid.IntRange(1, 4).Draw(t, "sources")
		var chunks []int
		has := make([][]bool, sources)
		for c := range n {
			chunks = append(chunks, c)
		}
		for s := range has {
			has[s] = rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "has")
		}
		p := NewPlan(chunks, sources)
		with := map[int]int{} // chunk -> who works on it
		var got []int
		for {
			over := true
			for s := range sources {
				over = over && p.Over(s)
			}
			if over {
				break
			}
			s := rapid.IntRange(0, sources-1).Draw(t, "source")
			if c, ok := p.Next(s); ok {
				if _, twice := with[c]; twice {
					t.Fatalf("chunk %d is with two", c)
				}
				with[c] = s
			}
			for c, s := range with {
				if rapid.Bool().Draw(t, "answers") {
					delete(with, c)
					if has[s][c] {
						got = append(got, c)
						p.Got(s, c)
					} else {
						p.Lacks(s, c, true)
					}
				}
				break
			}
		}
		for c := range n {
			can := slices.ContainsFunc(has, func(h []bool) bool { return h[c] })
			if slices.Contains(got, c) != can {
				t.Fatalf("chunk %d: can %v, got %v", c, can, got)
			}
		}
		if p.Done() != (len(got) == n) || p.Left() != n-len(got) {
			t.Fatalf("done %v, %d left, %d of %d", p.Done(), p.Left(), len(got), n)
		}
	})
}

func TestASourceThatDoesNotAnswerIsAskedNoMore(t *testing.T) {
	p := NewPlan([]int{1, 2, 3}, 2)
	for range maxStrikes {
		c, ok := p.Next(0)
		if !ok || c != 1 {
			t.Fatal(c, ok)
		}
		p.Broke(0, c)
	}
	if _, ok := p.Next(0); ok || !p.Over(0) {
		t.Error("it is asked again")
	}
	if c, ok := p.Next(1); !ok || c != 1 {
		t.Error("the other is not asked for what it did not give:", c, ok)
	}
}
