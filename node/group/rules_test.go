package group

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
)

// meet gives everybody everything.
func meet(people []*person) {
	for range people {
		for _, p := range people {
			for _, o := range people {
				p.log.Merge(o.log.Beyond(nil))
			}
		}
	}
}

func who(people ...*person) (users []identity.UserID) {
	for _, p := range people {
		users = append(users, p.user)
	}
	return users
}

func remove(people ...*person) Act { return Act{Kind: Remove, Users: who(people...)} }

// in lists which of the people are members, by number.
func in(s *State, people []*person) string {
	out := []byte{}
	for i, p := range people {
		if _, ok := s.Find(p.user); ok {
			out = append(out, '0'+byte(i))
		}
	}
	return string(out)
}

func TestWhatHappensAtTheSameTime(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(t *testing.T, p []*person)
		want string
	}{
		{"who removes each other: the senior stays", func(t *testing.T, p []*person) {
			p[2].act(t, 10, remove(p[1]))
			p[1].act(t, 11, remove(p[2]))
		}, "0134"},
		{"what the removed did without knowing is void", func(t *testing.T, p []*person) {
			p[1].act(t, 10, remove(p[3]))
			p[2].act(t, 11, remove(p[1]))
		}, "0234"},
		{"also what an accomplice did by a right that the removed gave", func(t *testing.T, p []*person) {
			p[1].act(t, 3, Act{Kind: Admin, Users: who(p[4])})
			meet(p)
			p[1].act(t, 10, Act{Kind: Admin, Admin: true, Users: who(p[4])})
			p[4].log.Merge(p[1].log.Beyond(nil))
			p[4].act(t, 12, remove(p[2]))
			p[2].act(t, 11, remove(p[1]))
		}, "0234"},
		{"what the removed did before is not", func(t *testing.T, p []*person) {
			p[1].act(t, 10, remove(p[3]))
			meet(p)
			p[2].act(t, 11, remove(p[1]))
		}, "024"},
		{"a circle of three is decided by the most senior", func(t *testing.T, p []*person) {
			p[1].act(t, 10, remove(p[2]))
			p[2].act(t, 10, remove(p[3]))
			p[3].act(t, 10, remove(p[1]))
		}, "0134"},
		{"who was removed can be added again, and acts again", func(t *testing.T, p []*person) {
			p[1].act(t, 10, remove(p[2]))
			p[1].act(t, 11, Act{Kind: Add, Admin: true, Users: who(p[2])})
			meet(p)
			p[2].act(t, 12, remove(p[1]))
		}, "0234"},
		{"leaving is never void", func(t *testing.T, p []*person) {
			p[1].act(t, 10, Act{Kind: Leave})
			p[2].act(t, 9, remove(p[1]))
			meet(p)
			p[0].act(t, 11, Act{Kind: Leave})
		}, "234"},
	} {
		people := crowd(t, 5)
		found(t, people)
		c.play(t, people)
		meet(people)
		for i, p := range people {
			if got := in(p.log.State(), people); got != c.want {
				t.Errorf("%s: for %d the members are %s, want %s", c.name, i, got, c.want)
			}
		}
	}
}

func TestTheLastAdminLeavesTheGroupToTheMostSenior(t *testing.T) {
	people := crowd(t, 4)
	found(t, people)
	for _, p := range people[1:] {
		people[0].act(t, 5, Act{Kind: Admin, Users: who(p)})
	}
	people[0].act(t, 6, Act{Kind: Leave})
	s := people[0].log.State()
	for i, p := range people[1:] {
		if m, ok := s.Find(p.user); !ok || m.Admin != (i == 0) {
			t.Errorf("%d: member %v, admin %v", i+1, ok, m.Admin)
		}
	}
	meet(people)
	if people[1].act(t, 9, Act{Kind: Name, Data: []byte("ours")}) == nil {
		t.Error("the heir may not act")
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	people := crowd(t, 5)
	found(t, people[:4])
	people[0].act(t, 3, Act{Kind: Admin, Users: who(people[3])})
	people[0].act(t, 4, remove(people[2]))
	meet(people[:4])
	people[4].log = people[0].log
	everything := []Act{
		{Kind: Add, Users: who(people[4])},
		remove(people[1]),
		{Kind: Admin, Users: who(people[1])},
		{Kind: Name, Data: []byte("x")},
		{Kind: Image, Data: []byte("x")},
		{Kind: Leave},
	}
	for name, c := range map[string]struct {
		p    *person
		acts []Act
	}{
		"an outsider":      {people[4], everything},
		"who was removed":  {people[2], everything},
		"who is no admin":  {people[3], everything[:5]},
		"a second creator": {people[0], []Act{{Kind: Create}}},
		"an admin who changes nothing": {people[0], []Act{
			{Kind: Add, Users: who(people[1])},
			remove(people[2]), remove(people[4]),
			{Kind: Admin, Users: who(people[3])},
			{Kind: Admin, Admin: true, Users: who(people[1], people[3])},
		}},
	} {
		for _, a := range c.acts {
			f := c.p.log.Act(c.p.user, c.p.list.Head(), 100, a)
			if a.Kind == Create {
				f.Group, f.Parents = ID{}, nil
			}
			if added, missing := people[0].log.Merge([]*Entry{c.p.sign(t, f)}); len(added)+len(missing) > 0 {
				t.Errorf("%s did %d", name, a.Kind)
			}
		}
	}
	for _, a := range everything {
		if people[0].act(t, 100, a) == nil && a.Kind != Admin { // it was removed just before
			t.Errorf("control: an admin may not do %d", a.Kind)
		}
	}
}

func TestAnEntryIsLaterThanWhatItBuildsOn(t *testing.T) {
	people := crowd(t, 2)
	found(t, people)
	f := people[0].log.Act(people[0].user, people[0].list.Head(), 100, Act{Kind: Name})
	for _, back := range []uint64{0, 1} {
		f.Lamport = people[0].log.Latest() - back
		if added, _ := people[0].log.Merge([]*Entry{people[0].sign(t, f)}); len(added) > 0 {
			t.Errorf("an entry %d ms before its parent was taken", back)
		}
	}
	f.Lamport = people[0].log.Latest() + 1
	if added, _ := people[0].log.Merge([]*Entry{people[0].sign(t, f)}); len(added) != 1 {
		t.Error("control: an entry after its parent was refused")
	}
}

// A member that forks its log without end fills only a small part of everybody's, until somebody builds on more of it.
func TestForksWithoutEndAreRefused(t *testing.T) {
	people := crowd(t, 3)
	entries := found(t, people)
	var forks []*Entry
	for i := range uint64(100) {
		forks = append(forks, people[1].sign(t, Fields{
			Group: people[0].log.ID(), Lamport: 50 + i, Parents: []Hash{entries[len(entries)-1].hash}, Act: Act{Kind: Name, Data: []byte{'a'}},
		}))
	}
	added, missing := people[0].log.Merge(forks)
	if len(added) != maxTips || len(missing) > 0 {
		t.Fatalf("%d forks taken, %d asked for", len(added), len(missing))
	}
	if heads := people[0].log.Heads(); len(heads) != maxTips {
		t.Errorf("%d heads", len(heads))
	}
	late := people[2].sign(t, Fields{Group: people[0].log.ID(), Lamport: 1000, Parents: []Hash{forks[99].hash}, Act: Act{Kind: Name}})
	if added, missing := people[0].log.Merge([]*Entry{late}); len(added) > 0 || len(missing) != 1 {
		t.Fatalf("%d taken, %d asked for", len(added), len(missing))
	}
	if added, _ := people[0].log.Merge([]*Entry{late, forks[99]}); len(added) != 2 {
		t.Errorf("%d taken of a fork and what somebody else built on it", len(added))
	}
}

func TestALogIsBounded(t *testing.T) {
	people := crowd(t, 2)
	found(t, people)
	l := people[0].log
	for now := uint64(10); l.Len() < MaxEntries; now++ {
		if people[0].act(t, now, Act{Kind: Name, Data: []byte{'a' + byte(now%26)}}) == nil {
			t.Fatal("refused before the limit")
		}
	}
	if people[0].act(t, 1<<20, Act{Kind: Name}) != nil || l.Len() != MaxEntries {
		t.Error("the log grew beyond its limit")
	}
}

func TestAGroupIsBounded(t *testing.T) {
	people := crowd(t, 2)
	found(t, people[:1])
	l := people[0].log
	for i := range 2 * MaxMembers / MaxUsers {
		a := Act{Kind: Add}
		for j := range MaxUsers {
			var u identity.UserID
			binary.BigEndian.PutUint32(u[:], uint32(1+i*MaxUsers+j))
			a.Users = append(a.Users, u)
		}
		people[0].act(t, uint64(10+i), a)
	}
	if n := len(l.State().Members); n != MaxMembers {
		t.Errorf("%d members", n)
	}
}

func TestMembershipHasTimes(t *testing.T) {
	people := crowd(t, 2)
	found(t, people[:1])
	people[0].act(t, 10, Act{Kind: Add, Users: who(people[1])})
	people[0].act(t, 20, remove(people[1]))
	people[0].act(t, 30, Act{Kind: Add, Users: who(people[1])})
	s := people[0].log.State()
	for at, want := range map[uint64]bool{9: false, 10: true, 19: true, 20: false, 29: false, 30: true, 1 << 40: true} {
		if got := s.MemberAt(people[1].user, at); got != want {
			t.Errorf("member at %d: %v", at, got)
		}
	}
}

func TestAnEntryReadsAsItWasSigned(t *testing.T) {
	people := crowd(t, 2)
	entries := found(t, people)
	entries = append(entries,
		people[0].act(t, 10, Act{Kind: Image, Data: bytes.Repeat([]byte{7}, MaxImage)}),
		people[0].act(t, 11, Act{Kind: Leave}))
	for _, e := range entries {
		got, err := Parse(e.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != e.Hash() || got.Group() != people[0].log.ID() || !got.By(people[0].list) {
			t.Error("the entry reads as another")
		}
		if got.By(people[1].list) {
			t.Error("somebody else's list proves it")
		}
	}
}

func TestEveryBitOfAnEntryIsSigned(t *testing.T) {
	people := crowd(t, 2)
	raw := found(t, people)[1].Bytes()
	wellFormed := 0
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := Parse(raw); err != ErrInvalid {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		if _, err := Restore(raw); err == nil {
			wellFormed++
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
	if wellFormed < len(raw)*8*8/10 {
		t.Errorf("control: without the signature only %d of %d flips pass", wellFormed, len(raw)*8)
	}
	for n := range raw {
		if _, err := Parse(raw[:n]); err != ErrInvalid {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
}

// What a hostile device signs beside the rules is refused under a good signature.
func TestBrokenEntriesAreRefused(t *testing.T) {
	people := crowd(t, 2)
	entries := found(t, people)
	good := entries[1]
	forge := func(f Fields) []byte {
		body := (&Entry{device: good.device, f: f}).encode()
		return append(body, signature.Sign(people[0].keys.Sign, append([]byte(labelEntry), body...))...)
	}
	if _, err := Parse(forge(good.f)); err != nil {
		t.Fatal("control: the forger changed nothing and was refused")
	}
	for name, edit := range map[string]func(f *Fields){
		"an unknown kind":            func(f *Fields) { f.Kind = 8 },
		"no parents":                 func(f *Fields) { f.Parents = nil },
		"no group":                   func(f *Fields) { f.Group = ID{} },
		"a creation with parents":    func(f *Fields) { f.Act = Act{Kind: Create} },
		"a parent twice":             func(f *Fields) { f.Parents = []Hash{{1}, {1}} },
		"parents out of order":       func(f *Fields) { f.Parents = []Hash{{2}, {1}} },
		"nine parents":               func(f *Fields) { f.Parents = []Hash{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}} },
		"a person twice":             func(f *Fields) { f.Users = append(f.Users, f.Users[0]) },
		"nobody":                     func(f *Fields) { f.Users = nil },
		"a removal of the author":    func(f *Fields) { f.Act = Act{Kind: Remove, Users: []identity.UserID{f.User}} },
		"time zero":                  func(f *Fields) { f.Lamport = 0 },
		"the end of time":            func(f *Fields) { f.Lamport = 1 << 63 },
		"a name of 65 bytes":         func(f *Fields) { f.Act = Act{Kind: Name, Data: bytes.Repeat([]byte{'a'}, 65)} },
		"a name that is no UTF-8":    func(f *Fields) { f.Act = Act{Kind: Name, Data: []byte{0xff}} },
		"a leave with words":         func(f *Fields) { f.Act = Act{Kind: Leave, Data: []byte{'x'}} },
		"an image of a million bits": func(f *Fields) { f.Act = Act{Kind: Image, Data: make([]byte, MaxImage+1)} },
		"ten megabytes of a name":    func(f *Fields) { f.Act = Act{Kind: Name, Data: make([]byte, 10<<20)} },
	} {
		f := good.f
		edit(&f)
		if _, err := Parse(forge(f)); err != ErrInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A list proves only what it names: not another device's entry, not that of a device of another list.
func TestOnlyAListedDeviceSpeaksForItsUser(t *testing.T) {
	people := crowd(t, 2)
	e := found(t, people)[0]
	thief := &person{user: people[0].user, keys: people[1].keys, list: people[0].list}
	if thief.sign(t, Fields{Lamport: 1, Act: Act{Kind: Create}}).By(people[0].list) {
		t.Error("a device that the list does not name speaks for its user")
	}
	newer, err := identity.NewRootFromSeed([32]byte{}).Account(0).SignList(identity.ListFields{
		Seq: 1, Issued: day0, NotAfter: day0.Add(identity.ListLifetime), Devices: people[0].list.Devices(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.By(newer) || !e.By(people[0].list) {
		t.Error("a list that the entry does not name proves it, or its own does not")
	}
}

func FuzzParse(f *testing.F) {
	people := crowd(f, 2)
	for _, e := range found(f, people) {
		f.Add(e.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		e, err := Restore(raw)
		if err == nil && !bytes.Equal(append(e.encode(), raw[len(raw)-signatureSize:]...), raw) {
			t.Fatal("an entry encodes to other bytes than it was read from")
		}
	})
}
