package outbox

import (
	"slices"
	"time"
)

// Wants are directory keys that we look for, or under which records of ours are put. Make one with NewWants.
type Wants struct {
	of   map[string]*Want
	next time.Time // of the earliest, or before it
	sure bool      // it is that
}

// Want is one key: the next try, and how many failed.
type Want struct {
	Failed int
	Busy   bool // asked; the answer is on its way

	next  time.Time // zero: with the answer
	again bool      // somebody new can be asked: if the answer is no, ask at once
}

// NewWants returns none.
func NewWants() Wants { return Wants{of: map[string]*Want{}} }

// Of is what is known of a key, which is changed by the methods of Wants; nil: nothing.
func (w *Wants) Of(key string) *Want { return w.of[key] }

// Set begins to look for a key at a time, or begins anew, after so many tries that failed.
func (w *Wants) Set(key string, at time.Time, failed int) {
	w.Drop(key)
	x := &Want{Failed: failed}
	w.of[key] = x
	w.Plan(x, at)
}

// Drop forgets a key.
func (w *Wants) Drop(key string) {
	if x := w.of[key]; x != nil {
		w.sure = w.sure && x.next.After(w.next)
		delete(w.of, key)
	}
}

// Plan has a key be tried at a time.
func (w *Wants) Plan(x *Want, at time.Time) {
	w.sure = w.sure && (x.next.IsZero() || x.next.After(w.next))
	x.next = at
	if w.next.IsZero() || at.Before(w.next) {
		w.next = at
	}
}

// Answered says that an answer has come; true: it was no, and somebody new can be asked at once.
func (w *Wants) Answered(x *Want, found bool, now time.Time) (again bool) {
	x.Busy = false
	if found {
		x.Failed = 0
		return false
	}
	x.Failed++
	if again = x.again; again {
		x.again = false
		w.Plan(x, now)
	}
	return again
}

// Hurry tries again at once what failed; where an answer is on its way, once that has come and is no.
func (w *Wants) Hurry(now time.Time) {
	for _, x := range w.of {
		if x.Busy {
			x.again = true
		} else if x.Failed > 0 {
			w.Plan(x, now)
		}
	}
}

// Take marks what is due as asked, and returns the keys in order.
func (w *Wants) Take(now time.Time) (keys []string) {
	if w.next.After(now) || w.sure && w.next.IsZero() {
		return nil
	}
	for key, x := range w.of {
		if !x.Busy && !x.next.IsZero() && !x.next.After(now) {
			keys = append(keys, key)
			x.Busy, x.next, w.sure = true, time.Time{}, false
		}
	}
	slices.Sort(keys)
	return keys
}

// Next is when the next key is due; zero: never.
func (w *Wants) Next() time.Time {
	if !w.sure {
		w.next, w.sure = time.Time{}, true
		for _, x := range w.of {
			if !x.next.IsZero() && (w.next.IsZero() || x.next.Before(w.next)) {
				w.next = x.next
			}
		}
	}
	return w.next
}
