package group

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
)

// feud is the log of admins who remove all the others and take them back, again and again, each on a branch of its own:
// every removal of one hits every removal of the others.
func feud(t tb, admins, rounds int) []*Entry {
	people := crowd(t, admins)
	all := found(t, people)
	for _, p := range people {
		others := slices.DeleteFunc(who(people...), func(u identity.UserID) bool { return u == p.user })
		for n := range rounds {
			all = append(all, p.act(t, uint64(10+2*n), Act{Kind: Remove, Users: others}))
			all = append(all, p.act(t, uint64(11+2*n), Act{Kind: Add, Users: others, Admin: true}))
		}
	}
	return all
}

// A member that makes a log for nothing but to be dear to reduce does not stop the device: with steps that grow with the
// third power of the removals, as they once did, this takes minutes.
func TestAFeudIsReducedInTime(t *testing.T) {
	all := feud(t, 6, 60)
	l := NewLog(all[0].Group())
	if added, _ := l.Merge(all); len(added) != len(all) {
		t.Fatalf("%d of %d entries entered", len(added), len(all))
	}
	s := l.State()
	if len(s.Members) != 6 || s.Members[0].User != all[0].f.User || !s.Members[0].Admin {
		t.Errorf("the most senior has lost: %+v", s.Members)
	}
	void := 0
	for _, v := range l.judge(l.all()) {
		if v != effective {
			void++
		}
	}
	if want := 5 * 60; void != want {
		t.Errorf("%d removals are void, want %d", void, want)
	}
}

func BenchmarkFeud(b *testing.B) {
	for _, admins := range []int{2, 6, 16} {
		all := feud(b, admins, MaxEntries/2/admins-admins)
		b.Run(fmt.Sprintf("admins=%d/entries=%d", admins, len(all)), func(b *testing.B) {
			l := NewLog(all[0].Group())
			l.Merge(all)
			for b.Loop() {
				l.now, l.threats = nil, nil
				l.State()
			}
		})
	}
}
