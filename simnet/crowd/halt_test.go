package crowd

import (
	"bytes"
	"testing"
)

// Whoever has enough waits for some hundred events and not for the end of a step, in the set-up, in the middle and in the drain, and has
// what came of it until then. The control: who never has enough gets, byte for byte, what nobody asked about gives.
func TestHalt(t *testing.T) {
	whole := play(t, hamlet(nil), nil)
	want, err := whole.Result().JSON()
	if err != nil {
		t.Fatal(err)
	}
	last := whole.w.Events()
	for _, at := range []int{0, 300, last / 2, last - 300, last + 1} {
		x, err := New(hamlet(nil))
		if err != nil {
			t.Fatal(err)
		}
		x.Halt(func() bool { return x.w.Events() >= at })
		for x.Step() && !x.w.Halted() {
		}
		r := x.Result()
		if halts := at <= last; r.Partial != halts || x.Err() != nil || halts && x.w.Events() > at+300 {
			t.Errorf("enough at event %d of %d: partial %t, %v, after %d", at, last, r.Partial, x.Err(), x.w.Events())
		}
		if got, err := r.JSON(); err != nil || bytes.Equal(got, want) != (at > last) {
			t.Errorf("enough at event %d of %d: the result is that of all: %t, %v", at, last, bytes.Equal(got, want), err)
		}
		if before := x.w.Events(); at <= last && (!x.Step() || x.w.Events() != before) {
			t.Errorf("enough at event %d of %d: it goes on, or is over", at, last)
		}
	}
}
