package model

import "math/bits"

// histogram counts whole numbers in steps of at most 1/64 of their size.
type histogram struct {
	counts   []uint64
	n        uint64
	sum      float64
	min, max uint64
}

const subBits = 6

func bucketOf(v uint64) int {
	exp := bits.Len64(v >> subBits)
	if exp == 0 {
		return int(v)
	}
	return exp<<subBits + int(v>>(exp-1)&(1<<subBits-1))
}

// lowest is the least number of a bucket.
func lowest(bucket int) uint64 {
	exp := bucket >> subBits
	if exp == 0 {
		return uint64(bucket)
	}
	return (uint64(bucket)&(1<<subBits-1) | 1<<subBits) << (exp - 1)
}

func newHistogram() histogram { return histogram{counts: make([]uint64, 48<<subBits)} }

func (h *histogram) add(v uint64) {
	h.counts[min(bucketOf(v), len(h.counts)-1)]++
	h.n++
	h.sum += float64(v)
	if h.n == 1 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
}

// Spread sums up many numbers. Percentiles are at most 1/64 too low.
type Spread struct {
	N    uint64  `json:"n"`
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// spread gives what was counted, in another unit.
func (h *histogram) spread(unit float64) Spread {
	if h.n == 0 {
		return Spread{}
	}
	return Spread{
		N: h.n, Mean: h.sum / float64(h.n) * unit, Min: float64(h.min) * unit,
		P50: h.at(500) * unit, P90: h.at(900) * unit, P99: h.at(990) * unit, P999: h.at(999) * unit, Max: float64(h.max) * unit,
	}
}

// at is the number below which so many of a thousand lie.
func (h *histogram) at(permille uint64) float64 {
	rank := (h.n*permille + 999) / 1000
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return float64(max(lowest(i), h.min))
		}
	}
	return float64(h.max)
}
