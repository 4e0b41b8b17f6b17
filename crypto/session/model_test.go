package session

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// side is one device of the model with what a node would keep: its sessions in the order they
// were made, the book, and the cache of first flights.
type side struct {
	*device
	sessions []*Session
	book     *Book
	flights  map[FirstFlight]int // -> index of the session
	sent     int
	opened   map[string]int
}

func newSide(d *device) *side {
	return &side{device: d, book: NewBook(), flights: map[FirstFlight]int{}, opened: map[string]int{}}
}

// packet is an envelope under way, and what the reference list says about it.
type packet struct {
	env  []byte
	text string
}

// world is two devices and the envelopes under way to each.
type world struct {
	sides [2]*side
	wire  [2][]packet // wire[i] leads to sides[i]
	used  [2][]packet // delivered once, for duplicates
	now   time.Time
}

func (w *world) send(t *rapid.T, from int) {
	s, to := w.sides[from], w.sides[1-from]
	if len(s.sessions) == 0 || rapid.IntRange(0, 30).Draw(t, "initiate") == 0 && len(s.sessions) < 5 {
		fresh, err := Initiate(s.rng, s.Self, to.bundle)
		if err != nil {
			t.Fatal(err)
		}
		s.sessions = append(s.sessions, fresh)
		s.book.Put(refOf(fresh), fresh)
	}
	pick := s.sessions[Choose(s.sessions)]
	s.sent++
	text := fmt.Sprintf("%d/%d", from, s.sent)
	env, err := pick.Seal(s.rng, Body{Counter: uint64(s.sent), Content: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	w.wire[1-from] = append(w.wire[1-from], packet{env, text})
}

// receive hands an envelope over as a node does: tag, then cache of first flights, then trial.
func (w *world) receive(t *rapid.T, at int, p packet) (Body, error) {
	s := w.sides[at]
	i := -1
	if ref, ok := s.book.Find(p.env); ok {
		i = slices.IndexFunc(s.sessions, func(x *Session) bool { return refOf(x) == ref })
	} else if flight, ok := ParseFirstFlight(p.env); ok {
		if known, ok := s.flights[flight]; ok {
			i = known
		} else {
			fresh, from, body, err := Accept(s.Self, s.pre, trust, p.env, w.now)
			if err != nil {
				return Body{}, err
			}
			if from.Device() != w.sides[1-at].Keys.ID() {
				t.Fatal("foreign sender")
			}
			s.flights[flight] = len(s.sessions)
			s.sessions = append(s.sessions, fresh)
			s.book.Put(refOf(fresh), fresh)
			return body, nil
		}
	} else if refs := s.book.Trial(p.env, 100); len(refs) == 1 {
		i = slices.IndexFunc(s.sessions, func(x *Session) bool { return refOf(x) == refs[0] })
	}
	if i < 0 {
		return Body{}, ErrOpen
	}
	body, err := s.sessions[i].Open(p.env, w.now)
	if err == nil {
		s.book.Put(refOf(s.sessions[i]), s.sessions[i])
	}
	return body, err
}

func (w *world) deliver(t *rapid.T, to int) {
	n := len(w.wire[to])
	if n == 0 {
		return
	}
	i := 0
	if rapid.Bool().Draw(t, "reorder") {
		i = rapid.IntRange(0, n-1).Draw(t, "which")
	}
	p := w.wire[to][i]
	w.wire[to] = slices.Delete(w.wire[to], i, i+1)
	w.now = w.now.Add(time.Second)
	body, err := w.receive(t, to, p)
	if err != nil {
		t.Fatalf("%s did not open: %v", p.text, err)
	}
	if string(body.Content) != p.text {
		t.Fatalf("%s opened as %s", p.text, body.Content)
	}
	w.sides[to].opened[p.text]++
	w.used[to] = append(w.used[to], p)
}

func (w *world) duplicate(t *rapid.T, to int) {
	if len(w.used[to]) == 0 {
		return
	}
	p := rapid.SampledFrom(w.used[to]).Draw(t, "again")
	if _, err := w.receive(t, to, p); err != ErrOpen {
		t.Fatalf("%s a second time: %v", p.text, err)
	}
}

func (w *world) drop(t *rapid.T, to int) {
	if n := len(w.wire[to]); n > 0 {
		i := rapid.IntRange(0, n-1).Draw(t, "lost")
		w.wire[to] = slices.Delete(w.wire[to], i, i+1)
	}
}

func (w *world) restart(t *rapid.T, at int) {
	s := w.sides[at]
	s.book = NewBook()
	for i := range s.sessions {
		back, err := ParseSession(s.sessions[i].Marshal())
		if err != nil {
			t.Fatal(err)
		}
		s.sessions[i] = back
		s.book.Put(refOf(back), back)
	}
}

// checkBooks compares each book, kept up to date by many Puts, with a fresh one.
func (w *world) checkBooks(t *rapid.T) {
	for _, s := range w.sides {
		fresh := NewBook()
		for _, x := range s.sessions {
			fresh.Put(refOf(x), x)
		}
		if !maps.Equal(tagsOf(fresh), tagsOf(s.book)) {
			t.Fatal("the book is out of date")
		}
	}
}

func tagsOf(b *Book) map[[tagSize]byte]Ref {
	out := map[[tagSize]byte]Ref{}
	for tag, e := range b.byTag {
		out[tag] = e.ref
	}
	return out
}

func TestNoScheduleLosesOrRepeatsWhatWasDelivered(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{now: day0}
		for i, s := range []*device{a, b} {
			same := *s // keys and bundle are dear to make
			same.rng = seeded(byte(10 + i))
			w.sides[i] = newSide(&same)
		}
		who := func() int { return rapid.IntRange(0, 1).Draw(rt, "device") }
		steps := map[string]func(*rapid.T){
			"send": func(t *rapid.T) { w.send(t, who()) },
			"burst": func(t *rapid.T) {
				from := who()
				for range 40 {
					w.send(t, from)
				}
			},
			"deliver": func(t *rapid.T) { w.deliver(t, who()) },
			"all": func(t *rapid.T) {
				to := who()
				for len(w.wire[to]) > 0 {
					w.deliver(t, to)
				}
			},
			"drop":      func(t *rapid.T) { w.drop(t, who()) },
			"duplicate": func(t *rapid.T) { w.duplicate(t, who()) },
			"books":     w.checkBooks,
			"restart":   func(t *rapid.T) { w.restart(t, who()) },
		}
		rt.Repeat(steps)
		for to := range 2 {
			for len(w.wire[to]) > 0 {
				w.deliver(rt, to)
			}
			for text, n := range w.sides[to].opened {
				if n != 1 {
					rt.Fatalf("%s opened %d times", text, n)
				}
			}
		}
		w.checkBooks(rt)
		for from := range 2 { // both still understand each other
			w.send(rt, from)
			w.deliver(rt, 1-from)
		}
	})
}
