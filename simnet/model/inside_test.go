package model

import (
	"math"
	"testing"
	"unsafe"
)

// What is looked at together lies in whole cache lines.
func TestSizes(t *testing.T) {
	for what, size := range map[string][2]uintptr{
		"an event": {unsafe.Sizeof(Event{}), 16},
		"an entry": {unsafe.Sizeof(entry{}), 12},
		"a page":   {unsafe.Sizeof(page{}), 64},
		"a device": {unsafe.Sizeof(device{}), 128},
	} {
		if size[0] != size[1] {
			t.Errorf("%s has %d bytes, want %d", what, size[0], size[1])
		}
	}
}

// The rest of a Weibull at a random moment has mean E[X^2]/2E[X]: populations begin as they go on.
func TestRest(t *testing.T) {
	w, d := Weibull{0.7, 100}, NewDice(1)
	const n = 400_000
	sum := 0.0
	for range n {
		sum += float64(w.Rest(d)) / minute
	}
	if got, want := sum/n, w.Moment(2)/(2*w.Moment(1)); math.Abs(got/want-1) > 0.015 {
		t.Errorf("mean rest %v, want %v", got, want)
	}
}
