package live

import (
	"fmt"
	"math"
	"strings"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// Difference is a figure of populations of engines beside that of real nodes: means over seeds.
type Difference struct {
	Name, Unit  string
	World, Live float64
	Apart       compare.Estimate // of live from the world, seed by seed: a part of the world's figure, or points
	Bound       float64          // how far; 0: it is only shown
	Points      bool             // Apart is a difference of shares
}

// How far the two may be apart.
const (
	sharesApart = 0.001
	p50Apart    = 0.05
	p99Apart    = 0.10
)

// Compare holds real nodes against the populations of engines that stand for them, on the same scenario and seeds.
func Compare(worlds, lives []*result.Result) []Difference {
	out := []Difference{compared(worlds, lives, delivered, Difference{Name: "delivery.share", Bound: sharesApart, Points: true})}
	for _, f := range []struct {
		name  string
		bound float64
	}{
		{"delivery.seconds.p50", p50Apart},
		{"delivery.seconds.p99", p99Apart},
		{"delivery.there.seconds.p50", 0},
		{"delivery.there.seconds.p90", 0},
		{"delivery.there.seconds.p99", 0},
		{"delivery.away.seconds.p50", 0},
		{"delivery.away.seconds.p99", 0},
		{"custody.share", 0},
		{"messages.count", 0},
		{"deliveries.count", 0},
		{"lost.count", 0},
		{"doubled.count", 0},
		{"device.bytes_hour", 0},
		{"relay.bytes_hour", 0},
	} {
		figure := func(r *result.Result) float64 { return figureOf(r, f.name).Value }
		out = append(out, compared(worlds, lives, figure, Difference{Name: f.name, Unit: figureOf(worlds[0], f.name).Unit, Bound: f.bound}))
	}
	return out
}

// compared fills a difference.
func compared(worlds, lives []*result.Result, figure func(*result.Result) float64, d Difference) Difference {
	var w, l, apart []float64
	for i := range worlds {
		w, l = append(w, figure(worlds[i])), append(l, figure(lives[i]))
		apart = append(apart, d.apart(w[i], l[i]))
	}
	d.World, d.Live, d.Apart = compare.Mean(w).Mean, compare.Mean(l).Mean, compare.Mean(apart)
	return d
}

// figureOf is a figure of a result. One that it does not have is no number, and as close to nothing.
func figureOf(r *result.Result, name string) result.Value {
	v, ok := r.Figure(name)
	if !ok {
		v.Value = math.NaN()
	}
	return v
}

// delivered is the share of the deliveries that arrived.
func delivered(r *result.Result) float64 {
	return figureOf(r, "delivery.seconds.n").Value / figureOf(r, "deliveries.count").Value // of none it is no number
}

// OK reports whether the two are as close as they should be.
func (d Difference) OK() bool { return d.Bound == 0 || math.Abs(d.Apart.Mean) <= d.Bound }

// Sure reports whether as many seeds say so as it takes: the bound lies outside of the interval.
func (d Difference) Sure() bool {
	return d.Apart.N > 1 && !(d.Apart.Low <= d.Bound && d.Bound <= d.Apart.High) && !(d.Apart.Low <= -d.Bound && -d.Bound <= d.Apart.High)
}

func (d Difference) apart(world, live float64) float64 {
	if d.Points {
		return live - world
	}
	if world == 0 {
		if live == 0 {
			return 0
		}
		return math.Inf(1)
	}
	return live/world - 1
}

// Table shows differences, a line each.
func Table(all []Difference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-28s %12s %12s  %s\n", "", "figure", "world", "live", fmt.Sprintf("difference over %d seeds, its 95 %% interval", all[0].Apart.N))
	for _, d := range all {
		word, unit, places := "", "%", 1
		if d.Points {
			unit, places = "points", 3
		}
		text := fmt.Sprintf("%+.*f %s", places, 100*d.Apart.Mean, unit)
		if d.Apart.N > 1 {
			text += fmt.Sprintf(" (%+.*f to %+.*f)", places, 100*d.Apart.Low, places, 100*d.Apart.High)
		}
		if d.Bound > 0 {
			if word = "ok"; !d.OK() {
				word = "FAILED"
			}
			text += fmt.Sprintf(", at most %g %s", 100*d.Bound, unit)
			if d.Apart.N > 1 && !d.Sure() {
				text += ", more seeds could say otherwise"
			}
		}
		line := fmt.Sprintf("%-8s %-28s %12s %12s  %s", word, d.Name, figure(d.World, d.Unit), figure(d.Live, d.Unit), text)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func figure(v float64, unit string) string { return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, unit)) }
