package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// table writes a table; the first of a row names it, the others are numbers.
func (p *page) table(class string, head []string, rows [][]string, bad map[int]bool) {
	p.open("div", "class", "wide")
	p.open("table", "class", class)
	p.open("thead")
	p.open("tr")
	for _, h := range head {
		p.el("th", h)
	}
	p.end("tr")
	p.end("thead")
	p.open("tbody")
	for i, row := range rows {
		p.WriteString("\n")
		if bad[i] {
			p.open("tr", "class", "bad")
		} else {
			p.open("tr")
		}
		p.el("th", row[0])
		for _, cell := range row[1:] {
			p.el("td", cell)
		}
		p.end("tr")
	}
	p.end("tbody")
	p.end("table")
	p.end("div")
	p.WriteString("\n")
}

// checks are the expectations, those that did not hold first.
func (p *page) checks() {
	type key struct{ setting, name, want string }
	var order []key
	held, runs, got := map[key]int{}, map[key]int{}, map[key]string{}
	for i := range p.groups {
		g := &p.groups[i]
		for _, r := range g.Runs {
			for _, c := range r.Checks {
				k := key{g.Label(), c.Name, c.Want}
				if runs[k] == 0 {
					order = append(order, k)
				}
				if runs[k]++; c.OK {
					held[k]++
				}
				if _, seen := got[k]; !c.OK || !seen {
					got[k] = c.Got // that of a failure, if there is one
				}
			}
		}
	}
	if len(order) == 0 {
		return
	}
	slices.SortStableFunc(order, func(a, b key) int {
		x, y := 0, 0
		if held[a] == runs[a] {
			x = 1
		}
		if held[b] == runs[b] {
			y = 1
		}
		return x - y
	})
	head, bad := []string{"expectation", "want", "got", "held"}, map[int]bool{}
	var rows [][]string
	well := 0
	for i, k := range order {
		if held[k] == runs[k] && len(order) > maxHeld {
			well++
			continue
		}
		row := []string{k.name, k.want, got[k], fmt.Sprintf("%d of %d", held[k], runs[k])}
		if len(p.groups) > 1 {
			row = append(row, k.setting)
		}
		rows, bad[i] = append(rows, row), held[k] < runs[k]
	}
	if len(p.groups) > 1 {
		head = append(head, "setting")
	}
	p.el("h2", "Expectations")
	if len(rows) > 0 {
		p.table("checks", head, rows, bad)
	}
	if well > 0 {
		p.el("p", fmt.Sprintf("%d of %s held in every run of their setting.", well, plural(len(order), "expectation")), "class", "hint")
	}
}

// More expectations than that are not listed if they held.
const maxHeld = 16

// mean is a figure of a group, with its interval if there are several seeds and they differ.
func mean(g *compare.Group, name, unit string) string {
	samples := g.Samples(name)
	if len(samples) == 0 {
		return "-"
	}
	e := compare.Mean(samples)
	if half := (e.High - e.Low) / 2; half > 0 {
		return within(e.Mean, half, unit)
	}
	return quantity(e.Mean, unit)
}

const intervals = " ± is half of a 95 % interval of the mean over seeds (Student's t)."

func (p *page) figures(g compare.Group) {
	var rows [][]string
	for _, v := range g.Runs[0].Values {
		rows = append(rows, []string{v.Name, mean(&g, v.Name, v.Unit), better(v.Better)})
	}
	if len(rows) == 0 {
		return
	}
	p.el("h2", "Figures")
	if len(g.Runs) > 1 {
		p.el("p", "Means of "+plural(len(g.Runs), "run")+"."+intervals, "class", "hint")
	}
	p.beside("figures", []string{"figure", "value", "better"}, rows)
}

// beside writes a long table as two that stand side by side.
func (p *page) beside(class string, head []string, rows [][]string) {
	half := len(rows)
	if half > 8 {
		half = (half + 1) / 2
	}
	p.open("div", "class", "beside")
	p.table(class, head, rows[:half], nil)
	if half < len(rows) {
		p.table(class, head, rows[half:], nil)
	}
	p.end("div")
}

func better(which string) string {
	if which == "" {
		return "-"
	}
	return which
}

// spreadColumns are what a table says of a distribution.
var spreadColumns = []string{"n", "min", "mean", "p50", "p90", "p99", "p999", "max"}

func (p *page) spreads(g compare.Group) {
	var rows [][]string
	for _, s := range g.Runs[0].Spreads {
		row := []string{s.Name}
		for i, column := range spreadColumns {
			unit := s.Unit
			if i == 0 {
				unit = ""
			}
			samples := g.Samples(s.Name + "." + column)
			if len(samples) == 0 {
				row = append(row, "-")
				continue
			}
			row = append(row, quantity(compare.Mean(samples).Mean, unit))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return
	}
	p.el("h2", "Percentiles")
	if len(g.Runs) > 1 {
		p.el("p", "Each number is the mean of that number over "+plural(len(g.Runs), "run")+".", "class", "hint")
	}
	p.table("numbers", []string{"distribution", "n", "min", "mean", "P50", "P90", "P99", "P99.9", "max"}, rows, nil)
}

// Columns that fit a page, and settings that make sense in a table.
const maxTableGroups = 6

// chosen are the figures of a sweep: values, and of distributions what is worth a row; changing says which vary.
func (p *page) chosen() (all []result.Value, changing map[string]bool) {
	changing = map[string]bool{}
	first, seen := map[string]float64{}, map[string]bool{}
	for _, r := range p.runs {
		for _, v := range r.Figures() {
			if compare.Fingerprint(v.Name) {
				continue
			}
			if at := strings.LastIndex(v.Name, "."); slices.Contains([]string{"n", "min", "p90", "p999", "max"}, v.Name[at+1:]) && isSpread(r, v.Name[:max(at, 0)]) {
				continue
			}
			if !seen[v.Name] {
				seen[v.Name] = true
				first[v.Name] = v.Value
				all = append(all, v)
			}
			if first[v.Name] != v.Value {
				changing[v.Name] = true
			}
		}
	}
	return all, changing
}

func isSpread(r *result.Result, name string) bool {
	return slices.ContainsFunc(r.Spreads, func(s result.Spread) bool { return s.Name == name })
}

// byGroup is a table of all figures: a column for each setting if they are few.
func (p *page) byGroup() {
	all, changing := p.chosen()
	p.el("h2", "Figures by setting")
	p.el("p", "What varies: "+strings.Join(p.axes, ", ")+". Means over seeds;"+intervals, "class", "hint")
	if len(p.groups) <= maxTableGroups {
		head := []string{"figure"}
		for i := range p.groups {
			head = append(head, p.groups[i].Label())
		}
		var rows [][]string
		for _, v := range all {
			if !changing[v.Name] {
				continue
			}
			row := []string{v.Name}
			for i := range p.groups {
				row = append(row, mean(&p.groups[i], v.Name, v.Unit))
			}
			rows = append(rows, row)
		}
		p.table("numbers", head, rows, nil)
	}
	var same []string
	for _, v := range all {
		if !changing[v.Name] {
			same = append(same, v.Name+" "+quantity(v.Value, v.Unit))
		}
	}
	if len(same) > 0 {
		p.el("p", "The same in all runs: "+strings.Join(same, ", ")+".", "class", "hint")
	}
}

// parameters are what all runs were told.
func (p *page) parameters() {
	var rows [][]string
	for _, q := range p.first().Parameters {
		if q.Name != "seed" && !slices.Contains(p.axes, q.Name) {
			rows = append(rows, []string{q.Name, q.Value})
		}
	}
	for _, name := range p.axes {
		var values []string
		for i := range p.groups {
			for _, q := range p.groups[i].Setting {
				if q.Name == name && !slices.Contains(values, q.Value) {
					values = append(values, q.Value)
				}
			}
		}
		rows = append(rows, []string{name, strings.Join(values, " · ")})
	}
	if len(rows) > 0 {
		p.el("h2", "Parameters")
		p.beside("parameters", []string{"parameter", "value"}, rows)
	}
	p.WriteString("<h2>How to read it</h2>\n")
	p.el("p", "Time is virtual and charges no CPU and no disk. One seed gives one result, byte for byte. Percentiles from histograms are at most "+
		"1/64 too low. A plot of many points shows means of stretches, with their range as a band; one of several runs shows their mean.", "class", "hint")
}
