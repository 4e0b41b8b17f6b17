package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kith-im/kith/simnet/result"
)

// Group is runs that differ in nothing but their seed.
type Group struct {
	Setting []result.Parameter // what sets it apart from the other groups
	Runs    []*result.Result   // by seed
}

// Label is its setting in a line.
func (g *Group) Label() string {
	var out []string
	for _, p := range g.Setting {
		out = append(out, p.Name+" "+p.Value)
	}
	return strings.Join(out, ", ")
}

// Groups sorts runs into groups, and gives the parameters that vary. A seed twice in a group is an error.
func Groups(runs []*result.Result) (axes []string, groups []Group, err error) {
	axes = varying(runs)
	groups, err = groupBy(axes, runs)
	return axes, groups, err
}

// settings are all parameters of a run, with what else sets it apart.
func settings(r *result.Result) []result.Parameter {
	out := []result.Parameter{{Name: "scenario", Value: r.Scenario}, {Name: "kind", Value: r.Kind}, {Name: "crypto", Value: r.Crypto}}
	for _, p := range r.Parameters {
		if p.Name != "seed" {
			out = append(out, p)
		}
	}
	return out
}

// absent is the value of a parameter that a run does not have.
const absent = "-"

func setting(r *result.Result, name string) string {
	for _, p := range settings(r) {
		if p.Name == name {
			return p.Value
		}
	}
	return absent
}

// varying are the parameters that are not the same in all runs.
func varying(runs []*result.Result) (out []string) {
	seen := map[string]bool{}
	for _, r := range runs {
		for _, p := range settings(r) {
			if seen[p.Name] {
				continue
			}
			seen[p.Name] = true
			first := setting(runs[0], p.Name)
			if slices.ContainsFunc(runs, func(o *result.Result) bool { return setting(o, p.Name) != first }) {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

func groupBy(axes []string, runs []*result.Result) ([]Group, error) {
	var groups []Group
	at := map[string]int{}
	for _, r := range runs {
		var g Group
		key := ""
		for _, name := range axes {
			v := setting(r, name)
			g.Setting = append(g.Setting, result.Parameter{Name: name, Value: v})
			key += strconv.Quote(v)
		}
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, g)
		}
		groups[i].Runs = append(groups[i].Runs, r)
	}
	for _, g := range groups {
		slices.SortStableFunc(g.Runs, func(a, b *result.Result) int { return cmp.Compare(a.Seed, b.Seed) })
		for i, r := range g.Runs[1:] {
			if r.Seed == g.Runs[i].Seed {
				return nil, fmt.Errorf("seed %d twice for %.200s", r.Seed, strings.TrimSpace(r.Scenario+" "+g.Label()))
			}
		}
	}
	order := map[result.Parameter]int{} // of words, as they came
	for _, g := range groups {
		for _, p := range g.Setting {
			if _, seen := order[p]; !seen {
				order[p] = len(order)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		return slices.CompareFunc(a.Setting, b.Setting, func(p, q result.Parameter) int {
			x, _, isX := Number(p.Value)
			y, _, isY := Number(q.Value)
			switch {
			case isX && isY:
				return cmp.Compare(x, y)
			case isX:
				return -1
			case isY:
				return 1
			}
			return cmp.Compare(order[p], order[q])
		})
	})
	return groups, nil
}

// Number reads a parameter's value as a number with a unit: "1000", "20 ms", "2.5%". Times become seconds.
func Number(value string) (v float64, unit string, ok bool) {
	value = strings.TrimSpace(value)
	digits := strings.IndexFunc(value, func(r rune) bool { return !strings.ContainsRune("0123456789.+-_,", r) })
	if digits < 0 {
		digits = len(value)
	}
	v, err := strconv.ParseFloat(strings.NewReplacer("_", "", ",", "").Replace(value[:digits]), 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, "", false
	}
	unit = strings.TrimSpace(value[digits:])
	switch unit {
	case "d", "day", "days":
		return v * 86400, "s", true
	}
	if d, err := time.ParseDuration(strings.ReplaceAll(value, " ", "")); err == nil && unit != "" {
		return d.Seconds(), "s", true
	}
	if strings.ContainsAny(unit, "0123456789") {
		return 0, "", false
	}
	return v, unit, true
}

// Samples are a figure of every run that has it.
func (g *Group) Samples(name string) []float64 {
	var out []float64
	for _, r := range g.Runs {
		if v, ok := r.Figure(name); ok {
			out = append(out, v.Value)
		}
	}
	return out
}
