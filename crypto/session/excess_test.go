package session

import (
	"testing"
	"time"
)

// All sessions together keep a bounded number of keys: those of the session that received longest ago go first, its oldest
// before its newest.
func TestAllSessionsKeepABoundedNumberOfKeys(t *testing.T) {
	book := NewBook()
	sessions := map[Ref]*Session{}
	var quiet, busy Ref
	for i := range 3 {
		p := newPair(t)
		for range 10 {
			p.a.seal(t, p.sa, "skipped")
		}
		late := p.a.seal(t, p.sa, "received")
		if _, err := p.sb.Open(late, day0.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
		ref := Ref{Session: [8]byte{byte(i)}}
		sessions[ref] = p.sb
		book.Put(ref, p.sb)
		if busy = ref; i == 0 {
			quiet = ref
		}
	}
	if _, n := book.Excess(); n != 0 {
		t.Fatal("control: 30 keys are no excess")
	}
	newest := sessions[quiet].skipped[9].tag
	for _, want := range []struct {
		limit, total int
		ref          Ref
	}{{24, 24, quiet}, {21, 21, quiet}, {12, 12, Ref{Session: [8]byte{1}}}} {
		for ref, n := book.excess(want.limit); n > 0; ref, n = book.excess(want.limit) {
			sessions[ref].Forget(n)
			book.Put(ref, sessions[ref])
		}
		total := 0
		for _, s := range sessions {
			total += s.Skipped()
		}
		if total != want.total || total != book.kept {
			t.Fatalf("%d keys, the book counts %d, want %d", total, book.kept, want.total)
		}
		if want.limit == 21 && sessions[quiet].skipped[0].tag != newest {
			t.Error("the newest key went before older ones")
		}
	}
	if sessions[busy].Skipped() != 10 {
		t.Error("the session that received last lost keys")
	}
	book.Remove(busy)
	if book.kept != 2 {
		t.Errorf("%d keys are counted after a session went", book.kept)
	}
}
