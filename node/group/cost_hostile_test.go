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

// Many people, each removed by itself in such a log, are told that they were, and nothing that came later, though a state
// is not computed for each.
func TestManyAreToldThatTheyWereRemoved(t *testing.T) {
	all := feud(t, 4, 20)
	l := NewLog(all[0].Group())
	l.Merge(all)
	founder := crowd(t, 4)[0]
	var users []identity.UserID
	for n := range 100 {
		users = append(users, identity.UserID{0xee, byte(n)})
	}
	sign := func(at uint64, a Act) *Entry {
		f := l.Act(founder.user, all[0].f.List, at, a)
		x, err := Sign(founder.keys, f)
		if err != nil {
			t.Fatal(err)
		}
		if added, _ := l.Merge([]*Entry{x}); len(added) != 1 {
			t.Fatal("control: refused")
		}
		return x
	}
	for some := range slices.Chunk(users, MaxUsers) {
		sign(1000, Act{Kind: Add, Users: some})
	}
	have := [][16]byte{l.Heads()[0].Short()}
	for _, u := range users {
		sign(2000, Act{Kind: Remove, Users: []identity.UserID{u}})
	}
	out := l.Undo(have, users)
	if len(out) != len(users) {
		t.Fatalf("%d people are told in %d ways", len(users), len(out))
	}
	for i, x := range out {
		if last := x.Entries[len(x.Entries)-1]; last.f.Kind != Remove || last.f.Users[0] != users[i] {
			t.Fatalf("person %d is told more than that it was removed", i)
		}
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
