package report

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
	"github.com/kith-im/kith/simnet/verify"
)

const published = "../../docs/plots"

// beside are our results beside what others published and what formulas say. docs/simulation.md shows them.
func beside(t *testing.T) map[string]*plot {
	return map[string]*plot{"sessions": sessions(), "hops": hops(), "loss": loss(t)}
}

// sessions are drawn as the simulator draws them. Dots: what Trautwein et al. print, and the fit of Steiner et al.
func sessions() *plot {
	const n = 10_000
	g := &plot{
		title: "Length of sessions: simulated, published (dots)", note: fmt.Sprintf("seed 1 · n %s sessions of each", grouped(n)), legend: true,
		xName: "length of a session", yName: "share not longer", y: ySpan("", 0, 1), x: logarithmic("s", left, plotWidth-right, 60, 7*86400),
	}
	for _, c := range []struct {
		preset, name string
		dots         [][2]float64
	}{
		{"ipfs", "IPFS 2022: 8 h and 24 h", [][2]float64{{8 * 3600, 0.876}, {24 * 3600, 0.975}}},
		{"kad", "KAD 2009: its Weibull fit", nil},
	} {
		w, d := model.Presets[c.preset].On, model.NewDice(1)
		var lengths []float64
		for range n {
			lengths = append(lengths, float64(w.Draw(d))/1000)
		}
		s := result.Of("", "s", "", lengths)
		if c.dots == nil { // the fit itself, in minutes
			for m := 2.0; m < 10_000; m *= 3 {
				c.dots = append(c.dots, [2]float64{m * 60, 1 - math.Exp(-math.Pow(m/169.5385, 0.61511))})
			}
		}
		g.curves = append(g.curves, curve{name: c.name, points: s.CDF}, curve{dots: true, points: c.dots})
	}
	return g
}

// hops of greedy walks, and the closed form of Cai and Devroye (2013) through the first of them.
func hops() *plot {
	const seeds, walks = 5, 200
	g := &plot{
		title: "Hops of a lookup: simulated, closed form (dashed)", legend: true, xName: "nodes", yName: "mean number of hops",
		note: fmt.Sprintf("seeds 1 to %d · n %d walks each · mean, 95 %% interval", seeds, walks),
		x:    logarithmic("", left, plotWidth-right, 1<<7, 1<<15), y: ySpan("", 0, 8),
	}
	for _, k := range []int{1, 20} {
		most := 0.0 // E[max of k geometric]
		for j := 1; j < 64; j++ {
			most += 1 - math.Pow(1-math.Pow(2, -float64(j)), float64(k))
		}
		c, form := curve{name: fmt.Sprintf("%d known of each distance", k), bars: true}, curve{dashed: true}
		for bits := 7; bits <= 15; bits += 2 {
			var means []float64
			for seed := range uint64(seeds) {
				means = append(means, model.Hops(1<<bits, k, walks, seed+1).Mean)
			}
			e := compare.Mean(means)
			n := math.Pow(2, float64(bits))
			c.points, c.band = append(c.points, [2]float64{n, e.Mean}), append(c.band, [3]float64{n, e.Low, e.High})
			form.points = append(form.points, [2]float64{n, c.points[0][1] + float64(bits-7)/(1+most)})
		}
		g.curves = append(g.curves, c, form)
	}
	return g
}

// loss of mail that waits for up to 29 days at relays that die, without repair and outbox.
func loss(t *testing.T) *plot {
	const seeds, days = 5, 29
	g := &plot{
		title: "Loss without repair: simulated, formula (dashed)", legend: true, xName: "mean life of a relay", yName: "share of mail in custody",
		note: fmt.Sprintf("seeds 1 to %d · n 200 mailboxes, 29 d · mean, 95 %% interval", seeds),
		x:    logarithmic("s", left, plotWidth-right, 10*86400, 120*86400), y: logarithmic("", plotHeight-bottom, top, 0.001, 1),
	}
	g.x.marks = []float64{10 * 86400, 20 * 86400, 40 * 86400, 80 * 86400, 120 * 86400}
	for r := 1; r <= 3; r++ {
		c, form := curve{name: fmt.Sprintf("R = W = %d, one standby", r), bars: true}, curve{dashed: true}
		for _, life := range []float64{10, 20, 40, 80} {
			var shares []float64
			for seed := range uint64(seeds) {
				m := model.Default()
				m.Devices, m.Days, m.Seed, m.R, m.W, m.S = 400, days, seed+1, r, r, 1
				m.PerUser, m.Uneven, m.Flat, m.DirectPart = []float64{1}, 0, true, 1
				m.Messages, m.PerRelay, m.SendersDie, m.NoRepair = 1, 1, true, true
				m.People = []model.Part{{Churn: model.Presets["always"], Share: 0.5}, {Churn: model.Presets["never"], Share: 0.5}}
				m.Relays = []model.Part{{Churn: model.Presets["always"], Share: 1, LifeDays: life}}
				w, err := model.New(m)
				if err != nil {
					t.Fatal(err)
				}
				for w.Step() {
				}
				n := w.Totals().Counts
				shares = append(shares, float64(n.Destroyed)/float64(n.Custody))
			}
			e := compare.Mean(shares)
			c.points, c.band = append(c.points, [2]float64{life * 86400, e.Mean}), append(c.band, [3]float64{life * 86400, e.Low, e.High})
		}
		for life := 10.0; life <= 120; life *= 1.1 {
			form.points = append(form.points, [2]float64{life * 86400, verify.LostWithoutRepair(r, r, 1, life, days)})
		}
		g.curves = append(g.curves, c, form)
	}
	return g
}

// The plots in the documentation are what the simulator gives today.
func TestPlotsBesidePublishedOnes(t *testing.T) {
	update := flag.Lookup("update").Value.String() == "true"
	for name, g := range beside(t) {
		got, file := alone(g.draw).SVG, filepath.Join(published, name+".svg")
		if update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(got) {
			t.Errorf("%s is not what comes out: -update if this is meant", file)
		}
	}
}
