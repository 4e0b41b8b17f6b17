// Package fuzztest bounds what hostile bytes may cost: memory is taken in proportion to the input, whatever the input says.
package fuzztest

import (
	"runtime/metrics"
	"testing"
)

// Slack is what any input may cost, beside its share.
const Slack = 1 << 20

const allocated = "/gc/heap/allocs:bytes"

// Bounded runs fn, which reads size bytes of somebody else's, and fails the test if that allocates more than Slack and
// times bytes for each byte. Other goroutines allocate as well: only what is too much four times in a row counts.
func Bounded(t testing.TB, size, times int, fn func()) {
	t.Helper()
	most, got := uint64(Slack+times*size), uint64(0)
	for range 4 {
		if got = Cost(fn); got <= most {
			return
		}
	}
	t.Fatalf("%d bytes of input cost %d bytes of memory, at most %d are good", size, got, most)
}

// Cost is what fn, and whatever runs beside it, allocates.
func Cost(fn func()) uint64 {
	sample := []metrics.Sample{{Name: allocated}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	fn()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// Share is what a byte of input may cost where it is decoded: two bytes can be an empty message in a list.
const Share = 256

// Limit fails the test if what happens until the function it returns is called allocates more than Slack and Share times
// size. It is for fuzz targets, beside which nothing runs:
//
//	defer fuzztest.Limit(t, len(raw))()
func Limit(t testing.TB, size int) func() {
	sample := []metrics.Sample{{Name: allocated}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	return func() {
		t.Helper()
		metrics.Read(sample)
		if got, most := sample[0].Value.Uint64()-before, uint64(Slack+Share*size); got > most {
			t.Errorf("%d bytes of input cost %d bytes of memory, at most %d are good", size, got, most)
		}
	}
}
