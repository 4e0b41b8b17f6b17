package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// across is the parameter that lies along the axis of growth plots: the one with the most numbers.
type across struct {
	name, unit string
	values     map[string]float64 // by the parameter's text
	order      []string
}

func (p *page) across() (best across, ok bool) {
	for i, name := range p.axes {
		a := across{name: name, values: map[string]float64{}}
		numbers := true
		for _, g := range p.groups {
			text := g.Setting[i].Value
			v, unit, isNumber := compare.Number(text)
			if _, seen := a.values[text]; seen {
				continue
			}
			numbers = numbers && isNumber && (len(a.order) == 0 || unit == a.unit)
			a.unit = unit
			a.values[text] = v
			a.order = append(a.order, text)
		}
		if numbers && len(a.order) > max(len(best.order), 1) {
			best, ok = a, true
		}
	}
	return best, ok
}

// row is the groups that differ in nothing but what lies along the axis.
type row struct {
	label  string
	groups []compare.Group
	at     []float64
}

func (p *page) rows(a across) (out []row) {
	for _, g := range p.groups {
		var rest compare.Group
		at := 0.0
		for _, s := range g.Setting {
			if s.Name == a.name {
				at = a.values[s.Value]
				continue
			}
			rest.Setting = append(rest.Setting, s)
		}
		label := rest.Label()
		i := slices.IndexFunc(out, func(r row) bool { return r.label == label })
		if i < 0 {
			i = len(out)
			out = append(out, row{label: label})
		}
		out[i].groups, out[i].at = append(out[i].groups, g), append(out[i].at, at)
	}
	return out
}

// growth plots how each figure changes along a number that was swept, or from setting to setting.
func (p *page) growth() section {
	all, changing := p.chosen()
	a, ok := p.across()
	var rows []row
	if ok {
		rows = p.rows(a)
		ok = slices.ContainsFunc(rows, func(r row) bool { return len(r.groups) > 1 })
	}
	if !ok {
		a = across{name: strings.Join(p.axes, ", ")}
		r := row{groups: p.groups}
		for i := range p.groups {
			r.at = append(r.at, float64(i))
			var values []string
			for _, s := range p.groups[i].Setting {
				values = append(values, s.Value)
			}
			a.order = append(a.order, strings.Join(values, " "))
		}
		rows = []row{r}
	}
	of := len(rows)
	if of > maxCurves {
		rows = rows[:maxCurves]
	}
	var asked, good, other []drawing
	for _, v := range all {
		if !changing[v.Name] {
			continue
		}
		g := p.growthOf(v, a, rows, !ok)
		if of > len(rows) {
			g.note += fmt.Sprintf(" · %d of %d curves", len(rows), of)
		}
		draw := []drawing{g.draw}
		if ok && of > 2 && len(a.order) > 2 && v.Better != "" {
			draw = append(draw, p.table2(v, a))
		}
		switch {
		case p.expected(v.Name):
			asked = append(asked, draw...)
		case v.Better != "":
			good = append(good, draw...)
		default:
			other = append(other, draw...)
		}
	}
	return section{"By " + a.name, slices.Concat(asked, good, other)}
}

// expected reports whether an expectation is about a figure: these are what the scenario asks.
func (p *page) expected(name string) bool {
	return slices.ContainsFunc(p.runs, func(r *result.Result) bool {
		return slices.ContainsFunc(r.Checks, func(c result.Check) bool { return c.Name == name })
	})
}

// growthOf is the plot of one figure: log-log with slopes where both sides span enough.
func (p *page) growthOf(v result.Value, a across, rows []row, named bool) *plot {
	g := &plot{title: v.Name + " by " + a.name, xName: a.name, yName: v.Name, legend: len(rows) > 1}
	var xs, ys, low, high []float64
	var used []compare.Group
	for _, r := range rows {
		c := curve{name: r.label, bars: true}
		for i := range r.groups {
			samples := r.groups[i].Samples(v.Name)
			if len(samples) == 0 {
				continue
			}
			used = append(used, r.groups[i])
			e := compare.Mean(samples)
			c.points = append(c.points, [2]float64{r.at[i], e.Mean})
			c.band = append(c.band, [3]float64{r.at[i], e.Low, e.High})
			xs, ys = append(xs, r.at[i]), append(ys, e.Mean)
			low, high = append(low, e.Low), append(high, e.High)
		}
		if len(c.points) > 0 {
			g.curves = append(g.curves, c)
		}
	}
	g.note = p.note("mean, 95 % interval", used)
	// Wide intervals of few seeds leave the plot rather than make all else flat.
	if least, most := slices.Min(ys), slices.Max(ys); least >= 0 {
		ys = append(ys, max(0, slices.Min(low)), min(2*most, slices.Max(high)))
	} else {
		ys = slices.Concat(ys, low, high)
	}
	if named {
		g.x = scale{low: -0.5, high: float64(len(a.order)) - 0.5, from: left, to: plotWidth - right, names: a.order}
		g.y = ySpan(v.Unit, ys...)
		return g
	}
	g.x, g.y = xSpan(a.unit, xs...), ySpan(v.Unit, ys...)
	g.y.high += (g.y.high - g.y.low) / 20
	room := (g.x.high - g.x.low) / 20
	g.x.high += room
	if g.x.low != 0 {
		g.x.low -= room
	}
	slices.Sort(xs)
	if xs = slices.Compact(xs); len(xs) > 2 && xs[0] > 0 && xs[len(xs)-1] >= 8*xs[0] {
		g.x = logarithmic(a.unit, left, plotWidth-right, xs[0], xs[len(xs)-1])
		if len(xs) <= 7 {
			g.x.marks = xs
		}
		if positive(g.curves) {
			g.slopes(v.Unit)
		}
	}
	return g
}

// positive reports whether there is nothing at or below zero, which has no logarithm.
func positive(curves []curve) bool {
	return !slices.ContainsFunc(curves, func(c curve) bool {
		return slices.ContainsFunc(c.points, func(p [2]float64) bool { return !(p[1] > 0) })
	})
}

// slopes makes a plot log-log, from whose slopes growth can be read.
func (g *plot) slopes(unit string) {
	var ys []float64
	for _, c := range g.curves {
		for i, q := range c.points {
			ys = append(ys, q[1], math.Max(c.band[i][1], q[1]/2), math.Min(c.band[i][2], q[1]*2))
		}
	}
	g.y = logarithmic(unit, plotHeight-bottom, top, slices.Min(ys), slices.Max(ys))
	var with []curve
	for _, c := range g.curves {
		for i := range c.band { // an interval below zero has no place here
			c.band[i][1] = math.Max(c.band[i][1], g.y.low)
		}
		var logs [][2]float64
		for _, q := range c.points {
			logs = append(logs, [2]float64{math.Log(q[0]), math.Log(q[1])})
		}
		line, ok := compare.Fit(logs)
		if !ok {
			with = append(with, c)
			continue
		}
		slope := "slope " + fixed(line.Slope)
		if line.Interval {
			slope += " (" + fixed(line.Low) + " to " + fixed(line.High) + ")"
		}
		if len(g.curves) == 1 {
			g.inside = slope
		}
		c.name = strings.TrimPrefix(c.name+": "+slope, ": ")
		from, to := logs[0][0], logs[len(logs)-1][0]
		fit := curve{dashed: true, points: [][2]float64{
			{math.Exp(from), math.Exp(line.Offset + line.Slope*from)}, {math.Exp(to), math.Exp(line.Offset + line.Slope*to)},
		}}
		with = append(with, c, fit)
	}
	g.curves = with
	g.note += " · log-log"
}

func fixed(v float64) string { return fmt.Sprintf("%.2f", math.Round(v*100)/100+0) } // never -0.00

// logarithmic is a scale with some room at both ends, at least one power of two.
func logarithmic(unit string, from, to, low, high float64) scale {
	room := math.Max(math.Pow(high/low, 0.06), 1.05)
	low, high = low/room, high*room
	if high < 2*low {
		middle := math.Sqrt(low * high)
		low, high = middle/math.Sqrt2, middle*math.Sqrt2
	}
	return scale{low: low, high: high, from: from, to: to, log: true, unit: unit}
}

// table2 is a figure over two things that were swept, as a heat map.
func (p *page) table2(v result.Value, a across) drawing {
	rows := p.rows(a)
	m := result.Map{Name: v.Name, Unit: v.Unit, X: result.Axis{Name: a.name, Cells: a.order}, Y: result.Axis{Name: "setting"}}
	for _, r := range rows {
		cells := make([]float64, len(a.order))
		for i := range r.groups {
			for x, text := range a.order {
				if a.values[text] == r.at[i] {
					cells[x] = compare.Mean(r.groups[i].Samples(v.Name)).Mean
				}
			}
		}
		m.Cells, m.Y.Cells = append(m.Cells, cells), append(m.Y.Cells, r.label)
	}
	var names []string
	for _, s := range p.groups[0].Setting {
		if s.Name != a.name {
			names = append(names, s.Name)
		}
	}
	m.Y.Name = strings.Join(names, ", ")
	for i, label := range m.Y.Cells { // "r 3, w 2" is "3, 2" beside an axis that says "r, w"
		for _, n := range names {
			label = strings.Replace(label, n+" ", "", 1)
		}
		m.Y.Cells[i] = label
	}
	note := p.note("means over seeds", p.groups)
	return func(w *markup) { heat(w, m, v.Name, note) }
}
