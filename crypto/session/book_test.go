package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func refOf(s *Session) Ref { return Ref{s.Peer().Device(), s.ID()} }

func mustFind(t testing.TB, b *Book, env []byte, want Ref) {
	t.Helper()
	if got, ok := b.Find(env); !ok || got != want {
		t.Fatalf("found %v %v, want %v", got, ok, want)
	}
}

func TestTheBookFindsEveryMessageOfItsSession(t *testing.T) {
	p, book := newPair(t), NewBook()
	ref := refOf(p.sb)
	book.Put(ref, p.sb)
	var late [][]byte
	for round := range 40 {
		lost := p.a.seal(t, p.sa, "late")
		late = append(late, lost)
		mustFind(t, book, lost, ref)
		env := p.a.seal(t, p.sa, "on time")
		mustFind(t, book, env, ref) // whether it begins a chain or not
		mustOpen(t, p.sb, env, "on time")
		if round%3 == 0 {
			mustOpen(t, p.sa, p.b.seal(t, p.sb, "turn"), "turn")
		}
		if round%5 == 0 {
			p.sb, book = stored(t, p.sb), NewBook() // a restart
		}
		book.Put(ref, p.sb)
	}
	for _, env := range late {
		mustFind(t, book, env, ref)
		mustOpen(t, p.sb, env, "late")
		book.Put(ref, p.sb)
		if _, ok := book.Find(env); ok {
			t.Fatal("the tag of an opened message is still known")
		}
	}
	if n := len(book.byTag); n != 2*window {
		t.Fatalf("%d tags left", n)
	}
	book.Remove(ref)
	if len(book.byTag)+len(book.byRef)+book.Len() != 0 {
		t.Fatal("the removed session left something")
	}
}

func TestTheBookFindsRepeatedFirstFlights(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	sa, book := a.initiate(t, b), NewBook()
	one, two := a.seal(t, sa, "one"), a.seal(t, sa, "two")
	if _, ok := book.Find(one); ok {
		t.Fatal("found in an empty book")
	}
	sb, _, _ := b.accept(t, one)
	book.Put(refOf(sb), sb)
	mustFind(t, book, two, refOf(sb))
}

func TestTheBookKnows32AheadAndTrialFindsTheRest(t *testing.T) {
	p, book := newPair(t), NewBook()
	mustOpen(t, p.sb, p.a.seal(t, p.sa, "begin"), "begin")
	ref := refOf(p.sb)
	book.Put(ref, p.sb)
	for range window - 1 {
		p.a.seal(t, p.sa, "lost")
	}
	mustFind(t, book, p.a.seal(t, p.sa, "last"), ref)
	beyond := p.a.seal(t, p.sa, "beyond")
	if _, ok := book.Find(beyond); ok {
		t.Fatal("the window is larger than documented")
	}
	if diff := cmp.Diff([]Ref{ref}, book.Trial(beyond, 4)); diff != "" {
		t.Fatal(diff)
	}
	if got := book.Trial(flip(beyond, 20), 4); got != nil {
		t.Fatal("junk found", got)
	}
	if got := book.Trial([]byte("short"), 4); got != nil {
		t.Fatal("junk found", got)
	}
	mustOpen(t, p.sb, beyond, "beyond")
}

// manySessions makes n sessions with their book by renaming one, each received a second later
// than the one before. The last to be asked for is the first.
func manySessions(t testing.TB, n int) (*Book, []*Session) {
	t.Helper()
	p, book := newPair(t), NewBook()
	var all []*Session
	for i := range n {
		s := p.sb.Clone()
		s.recv.head, s.nextRecv = newHeadKey([32]byte{1, byte(i), byte(i >> 8)}), newHeadKey([32]byte{2, byte(i), byte(i >> 8)})
		s.send.head, s.send.live, s.send.key = s.recv.head, true, [32]byte{byte(i)}
		s.ad[0], s.ad[1] = byte(i), byte(i>>8)
		s.lastReceived = day0.Add(time.Duration(i) * time.Second).UnixMilli()
		book.Put(refOf(s), s)
		all = append(all, s)
	}
	return book, all
}

// far seals a message outside s's window, for s itself: manySessions gives it its own keys.
func far(t testing.TB, s *Session) []byte {
	t.Helper()
	c := s.Clone()
	c.send.n = window + 100
	env, err := c.Seal(seeded(5), Body{})
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func TestTrialStaysInItsBudgetAndReachesEverySessionInTheEnd(t *testing.T) {
	const n, budget = 200, 40
	book, all := manySessions(t, n)
	if got := book.Trial(far(t, all[n-1]), budget); len(got) != 1 {
		t.Fatal("the session that received last is not tried first")
	}
	env, calls := far(t, all[0]), 0
	for calls = 1; len(book.Trial(env, budget)) == 0; calls++ {
		if calls > n/(budget/4)+1 {
			t.Fatal("never reached")
		}
	}
	if calls == 1 {
		t.Fatal("control: the budget did not bind")
	}
	if got := book.Trial(env, 2*n); len(got) != 1 || got[0] != refOf(all[0]) {
		t.Fatal("a budget for all does not reach all")
	}
	if got := book.Trial(env, 0); got != nil {
		t.Fatal("tried without a budget")
	}
}

func TestTheBookDoesNotDependOnTheOrderOfPuts(t *testing.T) {
	forward, all := manySessions(t, 50)
	backward := NewBook()
	for i := range all {
		s := all[len(all)-1-i]
		backward.Put(refOf(s), s)
		backward.Put(refOf(s), s)
	}
	names := func(b *Book) (out []string) {
		for _, e := range b.order {
			out = append(out, fmt.Sprint(e.ref))
		}
		return out
	}
	if diff := cmp.Diff(names(forward), names(backward)); diff != "" {
		t.Fatal(diff)
	}
}
