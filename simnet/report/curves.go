package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// names are those of something in all runs, in order of appearance.
func names(runs []*result.Result, of func(*result.Result) []string) (out []string) {
	seen := map[string]bool{}
	for _, r := range runs {
		for _, name := range of(r) {
			if !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}

// maxPooled is at how many numbers a distribution of many runs is drawn.
const maxPooled = 256

// pool is one distribution of those of several runs.
func pool(g *compare.Group, name string) (out result.Spread, ok bool) {
	var all []result.Spread
	for _, r := range g.Runs {
		for _, s := range r.Spreads {
			if s.Name == name && s.N > 0 && len(s.CDF) > 0 {
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return out, false
	}
	if len(all) == 1 {
		return all[0], true
	}
	out = result.Spread{Name: name, Unit: all[0].Unit}
	var at []float64
	for _, s := range all {
		out.N += s.N
		for _, p := range s.CDF {
			at = append(at, p[0])
		}
	}
	slices.Sort(at)
	at = slices.Compact(at)
	if n := len(at); n > maxPooled {
		for i := range maxPooled {
			at[i] = at[i*(n-1)/(maxPooled-1)]
		}
		at = at[:maxPooled]
	}
	for _, v := range at {
		share := 0.0
		for _, s := range all {
			share += below(s.CDF, v) * float64(s.N) / float64(out.N)
		}
		out.CDF = append(out.CDF, [2]float64{v, math.Min(share, 1)})
	}
	return out, true
}

// below is the share that is not above v: between two points in proportion.
func below(cdf [][2]float64, v float64) float64 {
	i, found := slices.BinarySearchFunc(cdf, v, func(p [2]float64, v float64) int {
		switch {
		case p[0] < v:
			return -1
		case p[0] > v:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return cdf[i][1]
	case i == 0:
		return 0
	case i == len(cdf):
		return 1
	}
	a, b := cdf[i-1], cdf[i]
	return a[1] + (b[1]-a[1])*(v-a[0])/(b[0]-a[0])
}

func (p *page) distributions() (out []drawing) {
	all := names(p.runs, func(r *result.Result) (out []string) {
		for _, s := range r.Spreads {
			out = append(out, s.Name)
		}
		return out
	})
	for _, name := range all {
		g := plot{title: "Distribution of " + name, xName: name, yName: "share not above", legend: len(p.groups) > 1, y: ySpan("", 0, 1)}
		groups := p.shown()
		var xs []float64
		n, unit := uint64(0), ""
		for i := range groups {
			s, ok := pool(&groups[i], name)
			if !ok {
				continue
			}
			n, unit = n+s.N, s.Unit
			c := curve{name: groups[i].Label(), points: rising(s.CDF)}
			for _, q := range s.CDF {
				xs = append(xs, q[0])
			}
			g.curves = append(g.curves, c)
			if len(groups) == 1 && len(groups[0].Runs) == 1 {
				g.lines = []mark{{s.P50, "P50"}, {s.P90, "P90"}, {s.P99, "P99"}}
			}
		}
		if len(g.curves) == 0 {
			continue
		}
		g.x = distributionScale(unit, xs)
		if g.x.log && slices.Min(xs) == 0 {
			g.xName += " (zeros at the left end)"
		}
		g.note = p.note(fmt.Sprintf("n %s", grouped(float64(n))), groups)
		out = append(out, g.draw)
	}
	return out
}

// A distribution of fewer numbers than that is drawn in steps.
const fewNumbers = 12

// rising begins a CDF at zero; between numbers that are few nothing lies.
func rising(cdf [][2]float64) [][2]float64 {
	out := [][2]float64{{cdf[0][0], 0}}
	for i, p := range cdf {
		if i > 0 && len(cdf) <= fewNumbers {
			out = append(out, [2]float64{p[0], cdf[i-1][1]})
		}
		out = append(out, p)
	}
	return out
}

// distributionScale is logarithmic where the numbers are of very different size; zeros lie at its beginning.
func distributionScale(unit string, xs []float64) scale {
	var positive []float64
	for _, x := range xs {
		if x > 0 {
			positive = append(positive, x)
		}
	}
	if s := xWide(unit, positive...); s.log && slices.Min(xs) >= 0 {
		return s
	}
	return xSpan(unit, xs...)
}

// courses are the figures over virtual time: the mean of the runs of a setting.
func (p *page) courses() (out []drawing) {
	all := names(p.runs, func(r *result.Result) (out []string) {
		for _, s := range r.Series {
			out = append(out, s.Name)
		}
		return out
	})
	for _, name := range all {
		g := plot{title: name + " over virtual time", xName: "virtual time", yName: name, legend: len(p.groups) > 1}
		groups := p.shown()
		var xs, ys []float64
		n, unit := 0, ""
		for i := range groups {
			s := together(&groups[i], name)
			if len(s.Points) == 0 {
				continue
			}
			n, unit = n+len(s.Points), s.Unit
			c := curve{name: groups[i].Label()}
			c.points, c.band = thin(s.Points)
			for j, q := range c.points {
				xs, ys = append(xs, q[0]), append(ys, q[1])
				if c.band != nil {
					ys = append(ys, c.band[j][1], c.band[j][2])
				}
			}
			g.curves = append(g.curves, c)
		}
		if len(g.curves) == 0 {
			continue
		}
		if low, high := slices.Min(ys), slices.Max(ys); low == high {
			g.inside = "always " + quantity(low, unit)
		}
		g.x, g.y = xSpan("s", xs...), ySpan(unit, ys...)
		g.note = p.note("n "+grouped(float64(n))+" points", groups)
		out = append(out, g.draw)
	}
	return out
}

// together is the mean course of the runs of a setting that were looked at at the same times as the first.
func together(g *compare.Group, name string) (out result.Series) {
	n := 0.0
	for _, r := range g.Runs {
		for _, s := range r.Series {
			if s.Name != name || n > 0 && !slices.EqualFunc(s.Points, out.Points, func(a, b [2]float64) bool { return a[0] == b[0] }) {
				continue
			}
			if n++; n == 1 {
				out = result.Series{Name: s.Name, Unit: s.Unit, Points: slices.Clone(s.Points)}
				continue
			}
			for i := range out.Points {
				out.Points[i][1] += (s.Points[i][1] - out.Points[i][1]) / n
			}
		}
	}
	return out
}

// The most settings whose maps are shown.
const maxMapGroups = 4

func (p *page) maps() (out []drawing) {
	for i := range p.groups[:min(len(p.groups), maxMapGroups)] {
		g := p.groups[i]
		for _, h := range g.Runs[0].Maps {
			if len(h.X.Cells) == 0 || len(h.Y.Cells) == 0 {
				continue
			}
			title := h.Name
			if len(p.groups) > 1 {
				title += ", " + g.Label()
			}
			one := compare.Group{Setting: g.Setting, Runs: g.Runs[:1]}
			note := p.note(fmt.Sprintf("n %s cells", grouped(float64(len(h.X.Cells)*len(h.Y.Cells)))), []compare.Group{one})
			out = append(out, func(m *markup) { heat(m, h, title, note) })
		}
	}
	return out
}
