package group

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
}

// person is somebody with one device.
type person struct {
	user identity.UserID
	keys *identity.DeviceKeys
	list *identity.DeviceList
	log  *Log
}

var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPerson(t tb, name string) *person {
	t.Helper()
	keys, err := identity.NewDeviceKeys(rand.NewChaCha8(sha256.Sum256([]byte(name))))
	if err != nil {
		t.Fatal(err)
	}
	root := identity.NewRootFromSeed(sha256.Sum256([]byte(name)))
	list, err := root.Account(0).SignList(identity.ListFields{
		Seq: 1, Issued: day0, NotAfter: day0.Add(identity.ListLifetime),
		Devices: []identity.Device{keys.Public(identity.FlagAdmin, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &person{user: root.User(), keys: keys, list: list}
}

func crowd(t tb, n int) []*person {
	var out []*person
	for i := range n {
		out = append(out, newPerson(t, fmt.Sprint("person ", i)))
	}
	return out
}

func (p *person) sign(t tb, f Fields) *Entry {
	t.Helper()
	f.User, f.List = p.user, p.list.Head()
	e, err := Sign(p.keys, f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// act is the next entry of an honest device; nil if it may not.
func (p *person) act(t tb, now uint64, a Act) *Entry {
	t.Helper()
	e := p.sign(t, p.log.Act(p.user, p.list.Head(), now, a))
	if added, _ := p.log.Merge([]*Entry{e}); len(added) == 0 {
		return nil
	}
	return e
}

// found makes a group whose members are all admins; everybody knows that.
func found(t tb, people []*person) []*Entry {
	t.Helper()
	first := people[0].sign(t, Fields{Lamport: 1, Act: Act{Kind: Create, Data: []byte("friends")}})
	people[0].log = NewLog(first.Group())
	people[0].log.Merge([]*Entry{first})
	entries := []*Entry{first}
	for _, p := range people[1:] {
		entries = append(entries, people[0].act(t, 2, Act{Kind: Add, Users: []identity.UserID{p.user}, Admin: true}))
	}
	for _, p := range people[1:] {
		p.log = NewLog(first.Group())
		p.log.Merge(entries)
	}
	return entries
}

// story plays random acts of six people, some of them hostile; pick draws a number below n.
func story(t tb, people []*person, acts int, pick func(n int) int) []*Entry {
	all := slices.Clone(found(t, people))
	now := uint64(2)
	for range acts {
		now += uint64(pick(3))
		p := people[pick(len(people))]
		switch pick(5) {
		case 0, 1: // hears from somebody else, not always all
			from := people[pick(len(people))]
			p.log.Merge(shuffled(from.log.Beyond(nil)[pick(from.log.Len()):], pick))
			p.log.Merge(from.log.Beyond(nil)[:1+pick(from.log.Len())])
		case 2:
			if e := p.forge(t, people, all, pick); e != nil && !slices.ContainsFunc(all, func(o *Entry) bool { return o.hash == e.hash }) {
				all = append(all, e)
				p.log.Merge([]*Entry{e})
			}
		default:
			if e := p.act(t, now, randomAct(p, people, pick)); e != nil {
				all = append(all, e)
			}
		}
	}
	return all
}

// forge is what a hostile member signs: on any entries that exist, at any time, whatever its rights.
func (p *person) forge(t tb, people []*person, all []*Entry, pick func(n int) int) *Entry {
	f := Fields{Group: p.log.ID(), Act: randomAct(p, people, pick)}
	for range 1 + pick(2) {
		parent := all[pick(len(all))]
		if !slices.Contains(f.Parents, parent.hash) {
			f.Parents = append(f.Parents, parent.hash)
			f.Lamport = max(f.Lamport, parent.f.Lamport+uint64(pick(3)))
		}
	}
	tips := 0
	for _, e := range all {
		if e.f.User == p.user && p.log.index[e.hash] != 0 && p.log.nodes[p.log.index[e.hash]].children == 0 {
			tips++
		}
	}
	if tips >= maxTips/2 { // more than a log takes from one author: another test
		return nil
	}
	return p.sign(t, f)
}

func randomAct(p *person, people []*person, pick func(n int) int) Act {
	other := people[pick(len(people))].user
	for other == p.user {
		other = people[pick(len(people))].user
	}
	switch pick(12) {
	case 0, 1:
		return Act{Kind: Add, Users: []identity.UserID{other}}
	case 2, 3:
		return Act{Kind: Add, Users: []identity.UserID{other}, Admin: true}
	case 4, 5, 6:
		return Act{Kind: Remove, Users: []identity.UserID{other}}
	case 7:
		return Act{Kind: Leave}
	case 8:
		return Act{Kind: Admin, Users: []identity.UserID{other}, Admin: true}
	case 9:
		return Act{Kind: Admin, Users: []identity.UserID{people[pick(len(people))].user}}
	case 10:
		return Act{Kind: Image, Data: []byte{byte(pick(256))}}
	}
	return Act{Kind: Name, Data: []byte{'a' + byte(pick(26))}}
}

func shuffled(entries []*Entry, pick func(n int) int) []*Entry {
	out := slices.Clone(entries)
	for i := len(out) - 1; i > 0; i-- {
		j := pick(i + 1)
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// deliver merges entries in random order and random batches, as a network would that loses and repeats.
func deliver(id ID, entries []*Entry, pick func(n int) int) *Log {
	l := NewLog(id)
	for _, e := range shuffled(entries, pick) {
		if pick(3) == 0 {
			l.Merge([]*Entry{e})
		}
	}
	for rest := shuffled(entries, pick); len(rest) > 0; {
		n := 1 + pick(len(rest))
		l.Merge(rest[:n])
		rest = rest[n:]
	}
	for { // what was missing is asked for again
		if added, _ := l.Merge(entries); len(added) == 0 {
			return l
		}
	}
}
