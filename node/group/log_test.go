package group

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func differ(a, b *State) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(State{}), cmpopts.EquateEmpty())
}

// Whatever six people do at the same time, hostile ones included, and in whatever order others hear of it: who has all of
// it has one state, and it is the one that the definition gives.
func TestEveryOrderGivesTheSameState(t *testing.T) {
	people := crowd(t, 6)
	rapid.Check(t, func(t *rapid.T) {
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }
		all := story(t, people, 40, pick)
		want := newReference(all, "").state()
		for range 3 {
			if diff := differ(want, deliver(people[0].log.ID(), all, pick).State()); diff != "" {
				t.Fatalf("state differs from the definition (-definition +log):\n%s", diff)
			}
		}
		for _, p := range people { // who took part gets there from where it stands
			for added := all; len(added) > 0; {
				added, _ = p.log.Merge(all)
			}
			if diff := differ(want, p.log.State()); diff != "" {
				t.Fatalf("state of one who took part differs:\n%s", diff)
			}
		}
	})
}

// The control of the test above: with any rule taken out of the definition it finds a difference.
func TestEveryRuleIsNoticed(t *testing.T) {
	people := crowd(t, 6)
	for rule, from := range map[string]uint64{ // where to begin, since some are noticed in few stories
		"removal wins": 0, "basis": 0, "voided": 1800, "seniority": 0, "rights at last": 0, "inheritance": 100,
	} {
		found := 0
		for seed := from; seed < from+4000 && found == 0; seed++ {
			pick := rand.New(rand.NewPCG(seed, 1)).IntN
			all := story(t, people, 40, pick)
			l := deliver(people[0].log.ID(), all, pick)
			if differ(newReference(all, rule).state(), l.State()) != "" {
				found++
				t.Logf("without %q: seed %d", rule, seed)
			}
		}
		if found == 0 {
			t.Errorf("nobody notices that %q is missing", rule)
		}
	}
}
