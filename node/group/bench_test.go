package group

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/kith-im/kith/crypto/identity"
)

// busy is a group of members with so many entries; every fork-th is made without knowing of the one before (0: none is).
func busy(b *testing.B, members, entries, fork int) (*Log, *person) {
	people := crowd(b, 2)
	found(b, people)
	l := people[0].log
	now := uint64(10)
	for i := 2; i < members; i += MaxUsers {
		a := Act{Kind: Add}
		for j := i; j < min(members, i+MaxUsers); j++ {
			var u identity.UserID
			binary.BigEndian.PutUint32(u[:], uint32(j))
			a.Users = append(a.Users, u)
		}
		people[0].act(b, now, a)
	}
	for i := 0; l.Len() < entries; i++ {
		now += 10
		var u identity.UserID
		binary.BigEndian.PutUint32(u[:], uint32(2+i/2%(members-2)))
		a := Act{Kind: Remove, Users: []identity.UserID{u}}
		if i%2 == 1 {
			a.Kind = Add
		}
		var other *Entry
		if fork > 0 && i%fork == 0 {
			other = people[1].sign(b, l.Act(people[1].user, people[1].list.Head(), now, Act{Kind: Name, Data: []byte(fmt.Sprint(i))}))
		}
		people[0].act(b, now, a)
		if other != nil {
			l.Merge([]*Entry{other})
		}
	}
	return l, people[0]
}

func BenchmarkOneMore(b *testing.B) {
	for _, c := range []struct{ members, entries, fork int }{{4, 10, 0}, {256, 1000, 0}, {256, 1000, 10}, {256, 4000, 10}} {
		b.Run(fmt.Sprintf("members=%d/entries=%d/fork=%d", c.members, c.entries, c.fork), func(b *testing.B) {
			l, p := busy(b, c.members, c.entries, c.fork)
			next := p.sign(b, l.Act(p.user, p.list.Head(), 1<<30, Act{Kind: Name, Data: []byte("x")}))
			all := l.Beyond(nil)
			for b.Loop() {
				b.StopTimer()
				l := NewLog(l.ID())
				l.Merge(all)
				l.now = nil // the dearest case: nothing is known of the state before
				b.StartTimer()
				l.Merge([]*Entry{next})
				if len(l.State().Members) != c.members {
					b.Fatal(len(l.State().Members))
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, fork := range []int{0, 10, 1} {
		b.Run(fmt.Sprintf("members=256/entries=1000/fork=%d", fork), func(b *testing.B) {
			l, _ := busy(b, 256, 1000, fork)
			all := l.Beyond(nil)
			for b.Loop() {
				NewLog(l.ID()).Merge(all)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	people := crowd(b, 2)
	raw := found(b, people)[1].Bytes()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
