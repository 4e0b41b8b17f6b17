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
		"a user":   {unsafe.Sizeof(user{}), 16},
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

// Everybody writes by how much they write: at all hours, in all zones, in order.
func TestWriters(t *testing.T) {
	c := Default()
	c.Devices, c.PerUser, c.Messages = 400, []float64{1}, 1
	rates := make([]float64, c.Devices)
	for i := range rates {
		rates[i] = float64(i%10) * 100
	}
	w, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.writers = writers{}
	w.makeWriters(rates)
	var wrote [10]float64
	last, sum := uint64(0), 0.0
	for at := w.nextLetter(); at < dayMillis; at = w.nextLetter() {
		if at < last {
			t.Fatalf("%d after %d", at, last)
		}
		wrote[w.writers.drawn[w.writers.taken].from%10]++
		w.writers.taken++
		last, sum = at, sum+1
	}
	if want := 24 * 100.0 * 40 * 45; math.Abs(sum-want) > 4*math.Sqrt(want) {
		t.Errorf("%g messages, want %g", sum, want)
	}
	off := 0.0 // chi squared
	for i, n := range wrote {
		if want := sum * float64(i) / 45; want > 0 {
			off += (n - want) * (n - want) / want
		} else if n > 0 {
			t.Errorf("%g messages of people who write nothing", n)
		}
	}
	if off > 27.9 { // one of a thousand with 8 degrees of freedom
		t.Errorf("chi squared %g", off)
	}
	if even := sum / 10; math.Abs(wrote[1]-even) < 4*math.Sqrt(even) {
		t.Error("control: who writes little writes as much as all")
	}
}
