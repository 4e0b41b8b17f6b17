package mailboxtest

import (
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// somePasses are how many holders the suite's boxes have.
const somePasses = 2

// certs are the certificates of the suite by box and holder; making them signs.
var certs = func() (all [8][somePasses + 1]pass.Cert) {
	for box := range all {
		for n := 1; n <= somePasses; n++ {
			all[box][n] = Cert(box, n)
		}
	}
	return all
}()

// State is everything that a store shows of the suite's universe.
type State struct {
	Boxes []Known
	Held  []Held // boxes that hold something
	Days  []mailbox.Day
	Total mailbox.Usage
	Clock mailbox.Clock
	Left  time.Time // Leaving
}

// Known is a box that the store knows.
type Known struct {
	Box int
	Is  mailbox.Box
	Set string
}

// Held is the content of one box.
type Held struct {
	Box       int
	Envelopes []Seen // those that are found, by Seq
	Shares    []Share
}

// Share is what one pass has in a box; they are numbered from 1. What is left is
// the strangers'.
type Share struct {
	Pass  int
	Known bool // its certificate is kept
	Used  mailbox.Usage
}

// Seen is one envelope of a box.
type Seen struct {
	Seq    uint64
	Number int
	Buried bool
}

// Look reads the state of boxes 0..boxes-1 and envelopes 0..envelopes-1
// through every read that a Tx has, and fails where these disagree.
func Look(t tester, s mailbox.Store, boxes, envelopes int) State {
	t.Helper()
	var got State
	err := s.View(func(tx mailbox.Tx) error {
		got = look(t, tx, boxes, envelopes)
		return nil
	})
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	return got
}

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

func look(t tester, tx mailbox.Tx, boxes, envelopes int) State {
	t.Helper()
	got := State{Days: tx.Days(), Total: tx.Total(), Clock: tx.Clock(), Left: tx.Leaving()}
	if len(got.Days) == 0 {
		got.Days = nil
	}
	for box := range boxes {
		lookAt(t, tx, &got, box, envelopes)
	}
	return got
}

func lookAt(t tester, tx mailbox.Tx, got *State, box, envelopes int) {
	t.Helper()
	if b, known := tx.Box(Box(box)); known {
		set, err := tx.Set(Box(box))
		if err != nil {
			t.Errorf("box %d: set: %v", box, err)
		}
		got.Boxes = append(got.Boxes, Known{box, b, string(set)})
	}
	bySeq := map[uint64]int{}
	var seen []Seen
	for n := range envelopes {
		plain, _ := Envelope(n, 0)
		e, ok := tx.Find(Box(box), plain.ID)
		if !ok {
			continue
		}
		at := 0
		for at < len(seen) && seen[at].Seq < e.Seq {
			at++
		}
		seen = append(seen[:at], append([]Seen{{e.Seq, n, e.Buried}}, seen[at:]...)...)
		if !e.Buried {
			bySeq[e.Seq] = n
		}
	}
	var last uint64
	tx.List(Box(box), 0, func(e mailbox.Entry) bool {
		n, ok := bySeq[e.Seq]
		delete(bySeq, e.Seq)
		body, err := tx.Body(Box(box), e)
		_, want := Envelope(n, 0)
		if !ok || e.Seq <= last || err != nil || string(body) != string(want) {
			t.Errorf("box %d lists %d after %d: found %v, body %q, want %q, %v", box, e.Seq, last, ok, body, want, err)
		}
		last = e.Seq
		return true
	})
	if len(bySeq) > 0 {
		t.Errorf("box %d does not list %v", box, bySeq)
	}
	if used := tx.Usage(Box(box)); used.Count != count(seen, false) {
		t.Errorf("box %d: usage %+v, found %v", box, used, seen)
	}
	shares := sharesOf(t, tx, box)
	if len(seen) > 0 || len(shares) > 0 {
		got.Held = append(got.Held, Held{box, seen, shares})
	}
}

// sharesOf reads what strangers and the passes 1 and 2 have in a box; together
// it is all that the box has.
func sharesOf(t tester, tx mailbox.Tx, box int) (shares []Share) {
	t.Helper()
	var sum mailbox.Usage
	for n := range somePasses + 1 {
		var id pass.ID
		if n > 0 {
			id = certs[box][n].ID()
		}
		used := tx.By(Box(box), id)
		c, known := tx.Pass(Box(box), id)
		if known && c != certs[box][n] {
			t.Errorf("box %d: pass %d is %x", box, n, c)
		}
		if n > 0 && (known || used != (mailbox.Usage{})) {
			shares = append(shares, Share{n, known, used})
		}
		sum = mailbox.Usage{Count: sum.Count + used.Count, Tombs: sum.Tombs + used.Tombs, Bytes: sum.Bytes + used.Bytes}
	}
	if all := tx.Usage(Box(box)); sum != all {
		t.Errorf("box %d: shares amount to %+v of %+v", box, sum, all)
	}
	return shares
}

func count(seen []Seen, buried bool) (n int) {
	for _, s := range seen {
		if s.Buried == buried {
			n++
		}
	}
	return n
}

// Looks is a store that knows how many entries its longest View went through.
// It is for stores whose views come one after the other.
type Looks struct {
	mailbox.Store
	Most int
}

// View is the store's, counted.
func (l *Looks) View(fn func(mailbox.Tx) error) error {
	return l.Store.View(func(tx mailbox.Tx) error {
		c := &lister{Tx: tx}
		err := fn(c)
		l.Most = max(l.Most, c.n)
		return err
	})
}

type lister struct {
	mailbox.Tx
	n int
}

func (l *lister) List(box mailbox.ID, after uint64, fn func(mailbox.Entry) bool) {
	l.Tx.List(box, after, func(e mailbox.Entry) bool { l.n++; return fn(e) })
}
