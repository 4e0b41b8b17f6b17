package bench

import (
	"slices"
	"time"
)

// Latency is how long something took, in milliseconds: the smallest, the mean, percentiles, the largest, and of how many.
type Latency struct {
	Min  float64 `json:"min_ms"`
	Avg  float64 `json:"avg_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
	N    int     `json:"n"`
}

// latencyOf sorts ds.
func latencyOf(ds []time.Duration) Latency {
	if len(ds) == 0 {
		return Latency{}
	}
	slices.Sort(ds)
	var sum time.Duration
	for _, d := range ds {
		sum += d
	}
	at := func(q float64) float64 { return inMS(ds[min(len(ds)-1, int(q*float64(len(ds))))]) }
	return Latency{
		Min: inMS(ds[0]), Avg: inMS(sum / time.Duration(len(ds))), P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999),
		Max: inMS(ds[len(ds)-1]), N: len(ds),
	}
}

func inMS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// perSecond is a rate.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(int(float64(n)/d.Seconds()*10)) / 10
}
