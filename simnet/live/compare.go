package live

import (
	"fmt"
	"math"
	"strings"

	"github.com/kith-im/kith/simnet/result"
)

// Difference is a figure of a population of engines beside that of real nodes.
type Difference struct {
	Name, Unit  string
	World, Live float64
	Bound       float64 // how far live may be from the world; 0: it is only shown
	Points      bool    // Bound is a difference of shares, and not a part of the world's figure
}

// How far the two may be apart.
const (
	sharesApart = 0.001
	p50Apart    = 0.05
	p99Apart    = 0.10
)

// Compare holds real nodes against the population of engines that stands for them, on the same scenario.
func Compare(world, live *result.Result) []Difference {
	out := []Difference{{Name: "delivery.share", World: delivered(world), Live: delivered(live), Bound: sharesApart, Points: true}}
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
		w, l := figureOf(world, f.name), figureOf(live, f.name)
		out = append(out, Difference{Name: f.name, Unit: w.Unit, World: w.Value, Live: l.Value, Bound: f.bound})
	}
	return out
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
func (d Difference) OK() bool { return d.Bound == 0 || math.Abs(d.apart()) <= d.Bound }

func (d Difference) apart() float64 {
	if d.Points {
		return d.Live - d.World
	}
	if d.World == 0 {
		if d.Live == 0 {
			return 0
		}
		return math.Inf(1)
	}
	return d.Live/d.World - 1
}

// Table shows differences, a line each.
func Table(all []Difference) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-28s %12s %12s  %s\n", "", "figure", "world", "live", "difference")
	for _, d := range all {
		word, bound, apart := "", "", fmt.Sprintf("%+.1f %%", 100*d.apart())
		if d.Points {
			apart = fmt.Sprintf("%+.3f points", 100*d.apart())
		}
		if d.Bound > 0 {
			if word = "ok"; !d.OK() {
				word = "FAILED"
			}
			if bound = fmt.Sprintf(", at most %g %%", 100*d.Bound); d.Points {
				bound = fmt.Sprintf(", at most %g points", 100*d.Bound)
			}
		}
		line := fmt.Sprintf("%-8s %-28s %12s %12s  %s%s", word, d.Name, figure(d.World, d.Unit), figure(d.Live, d.Unit), apart, bound)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func figure(v float64, unit string) string { return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, unit)) }
