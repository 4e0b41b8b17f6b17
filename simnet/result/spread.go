package result

import (
	"math/bits"
	"slices"
)

// Histogram counts whole numbers in steps of at most 1/64 of their size.
type Histogram struct {
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

// NewHistogram is one that has counted nothing.
func NewHistogram() Histogram { return Histogram{counts: make([]uint64, 48<<subBits)} }

// Add counts a number.
func (h *Histogram) Add(v uint64) {
	h.counts[min(bucketOf(v), len(h.counts)-1)]++
	h.n++
	h.sum += float64(v)
	if h.n == 1 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
}

// N is how many numbers were counted.
func (h *Histogram) N() uint64 { return h.n }

// Spread sums up what was counted; one step is so much of a unit. Percentiles are at most 1/64 too low.
func (h *Histogram) Spread(name, unit, better string, step float64) Spread {
	s := Spread{Name: name, Unit: unit, Better: better}
	if h.n == 0 {
		return s
	}
	s.N, s.Mean = h.n, h.sum/float64(h.n)*step
	s.Min, s.Max = float64(h.min)*step, float64(h.max)*step
	s.ranks(func(rank uint64) (float64, uint64) {
		seen, i := h.counts[0], 0
		for seen < rank {
			i++
			seen += h.counts[i]
		}
		return float64(max(lowest(i), h.min)) * step, seen
	})
	return s
}

// Of sums up samples, which it leaves as they are.
func Of(name, unit, better string, samples []float64) Spread {
	s := Spread{Name: name, Unit: unit, Better: better}
	if len(samples) == 0 {
		return s
	}
	sorted := slices.Sorted(slices.Values(samples))
	s.N, s.Min, s.Max = uint64(len(sorted)), sorted[0], sorted[len(sorted)-1]
	sum := 0.0
	for _, v := range sorted {
		sum += v
	}
	s.Mean = sum / float64(len(sorted))
	s.ranks(func(rank uint64) (float64, uint64) {
		v := sorted[rank-1]
		above, _ := slices.BinarySearchFunc(sorted, v, func(x, v float64) int {
			if x <= v {
				return -1
			}
			return 1
		})
		return v, uint64(above)
	})
	return s
}

// cdfRanks are the shares, in ten thousandths, at which a CDF is kept: evenly, and closer in the tail.
var cdfRanks = func() []uint64 {
	out := []uint64{0, 10, 50, 100}
	for r := uint64(200); r <= 9800; r += 200 {
		out = append(out, r)
	}
	return append(out, 9900, 9950, 9980, 9990, 9995, 9999, 10000)
}()

// ranks fills in what comes of an order: at gives the number of a rank (1 is the least) and how many are not above it.
func (s *Spread) ranks(at func(rank uint64) (value float64, upTo uint64)) {
	rank := func(share uint64) uint64 { return max((s.N*share+9999)/10000, 1) }
	s.P50, _ = at(rank(5000))
	s.P90, _ = at(rank(9000))
	s.P99, _ = at(rank(9900))
	s.P999, _ = at(rank(9990))
	for _, share := range cdfRanks {
		v, upTo := at(rank(share))
		point := [2]float64{v, float64(upTo) / float64(s.N)}
		if last := len(s.CDF) - 1; last >= 0 && s.CDF[last][0] == v {
			s.CDF[last] = point
			continue
		}
		s.CDF = append(s.CDF, point)
	}
	s.CDF[len(s.CDF)-1][0] = s.Max // the last step is wide
}
