// Package report makes one page of simulated runs: tables, and plots as SVG.
//
// What it guarantees: the page holds everything it needs and no script, and its content security policy forbids both
// scripts and requests; every text of a run is escaped, whoever wrote it; the same runs give the same bytes.
package report

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
)

// Set is runs that lie together: one run, one setting with many seeds, or a sweep.
type Set struct {
	Name string
	Runs []*result.Result
}

// page is a report being written.
type page struct {
	markup
	runs   []*result.Result
	axes   []string
	groups []compare.Group
	seeds  string
}

// HTML is the report of one set, or of several that are held against each other.
func HTML(sets ...Set) ([]byte, error) {
	p, err := newPage(sets)
	if err != nil {
		return nil, err
	}
	p.head()
	p.checks()
	if len(sets) == 2 {
		p.changes(sets[0], sets[1])
	}
	if len(p.groups) == 1 {
		p.figures(p.groups[0])
		p.spreads(p.groups[0])
	} else {
		p.byGroup()
	}
	for _, s := range p.sections() {
		p.plots(s)
	}
	p.parameters()
	p.WriteString("</main></body></html>\n")
	return []byte(p.String()), nil
}

// newPage sorts runs into groups.
func newPage(sets []Set) (*page, error) {
	p := &page{}
	for _, s := range sets {
		for _, r := range s.Runs {
			if len(sets) > 1 {
				named := *r
				named.Parameters = append([]result.Parameter{{Name: "runs", Value: s.Name}}, r.Parameters...)
				r = &named
			}
			p.runs = append(p.runs, r)
		}
	}
	if len(p.runs) == 0 {
		return nil, errors.New("a report of no runs")
	}
	var err error
	if p.axes, p.groups, err = compare.Groups(p.runs); err != nil {
		return nil, err
	}
	p.seeds = seeds(p.runs)
	return p, nil
}

// first is what all runs have in common, except for the axes.
func (p *page) first() *result.Result { return p.runs[0] }

// title names the scenario, or how many there are.
func (p *page) title() string {
	var names []string
	for _, r := range p.runs {
		if !slices.Contains(names, r.Scenario) {
			names = append(names, r.Scenario)
		}
	}
	if len(names) > 3 {
		return fmt.Sprintf("%d scenarios", len(names))
	}
	return strings.Join(names, ", ")
}

func seeds(runs []*result.Result) string {
	var all []uint64
	for _, r := range runs {
		all = append(all, r.Seed)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 1 {
		return "seed " + strconv.FormatUint(all[0], 10)
	}
	if all[len(all)-1]-all[0] == uint64(len(all)-1) {
		return fmt.Sprintf("seeds %d to %d", all[0], all[len(all)-1])
	}
	return fmt.Sprintf("%d seeds from %d to %d", len(all), all[0], all[len(all)-1])
}

func (p *page) head() {
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	p.WriteString("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
	p.open("meta", "http-equiv", "Content-Security-Policy", "content", policy)
	p.WriteString(`<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">`)
	p.el("title", "kith sim: "+p.title()+", "+p.seeds)
	p.WriteString("<style>" + style + "</style></head>\n<body><main>\n")
	r := p.first()
	p.el("h1", p.title())
	if r.Question != "" && !slices.Contains(p.axes, "scenario") {
		p.el("p", r.Question, "class", "question")
	}
	p.open("ul", "class", "facts")
	fact := func(text, class string) { p.el("li", text, "class", class) }
	failed, checks, partial := 0, 0, 0
	for _, r := range p.runs {
		checks += len(r.Checks)
		for _, c := range r.Checks {
			if !c.OK {
				failed++
			}
		}
		if r.Partial {
			partial++
		}
	}
	if partial > 0 {
		fact(fmt.Sprintf("partial: %s interrupted", plural(partial, "run")), "bad")
	}
	switch {
	case failed > 0:
		fact(fmt.Sprintf("%d of %s did not hold", failed, plural(checks, "expectation")), "bad")
	case checks > 0:
		fact(plural(checks, "expectation")+" held", "good")
	case partial == 0: // of an interrupted run nothing was checked
		fact("no expectations", "plain")
	}
	if len(p.runs) > 1 {
		fact(plural(len(p.runs), "run"), "plain")
	}
	if len(p.groups) > 1 {
		fact(plural(len(p.groups), "setting"), "plain")
	}
	fact(p.seeds, "plain")
	for _, f := range [][2]string{{"kind", r.Kind}, {"crypto", r.Crypto}} {
		if !slices.Contains(p.axes, f[0]) && f[1] != "" {
			fact(f[0]+" "+f[1], "plain")
		}
	}
	p.end("ul")
	p.WriteString("\n")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// section is plots of one kind.
type section struct {
	head  string
	plots []drawing
}

// sections are all plots; each says of how many runs it is.
func (p *page) sections() (out []section) {
	if len(p.groups) > 2 { // of two the table says all
		out = append(out, p.growth())
	}
	out = append(out, section{"Distributions", p.distributions()}, section{"Over virtual time", p.courses()}, section{"Maps", p.maps()})
	for i := range out {
		out[i].plots = out[i].plots[:min(len(out[i].plots), maxPlots)]
	}
	return out
}

// maxPlots is how many plots of a kind anybody would look at.
const maxPlots = 120

// drawing puts an SVG on the page.
type drawing func(*markup)

func (p *page) plots(s section) {
	if len(s.plots) == 0 {
		return
	}
	p.el("h2", s.head)
	if len(s.plots) == maxPlots {
		p.el("p", "More would follow.", "class", "hint")
	}
	p.open("div", "class", "plots")
	p.WriteString("\n")
	for _, draw := range s.plots {
		p.open("figure")
		draw(&p.markup)
		p.end("figure")
		p.WriteString("\n")
	}
	p.end("div")
	p.WriteString("\n")
}

// note says of what a plot was made.
func (p *page) note(of string, groups []compare.Group) string {
	var runs []*result.Result
	for _, g := range groups {
		runs = append(runs, g.Runs...)
	}
	out := seeds(runs)
	if len(runs) > 1 {
		out += fmt.Sprintf(" · %d runs", len(runs))
	}
	if len(groups) < len(p.groups) {
		out += fmt.Sprintf(" · %d of %d settings", len(groups), len(p.groups))
	}
	return out + " · " + of
}

// shown are the groups that a plot can tell apart: evenly chosen if they are more.
func (p *page) shown() []compare.Group {
	n := len(p.groups)
	if n <= maxCurves {
		return p.groups
	}
	var out []compare.Group
	for i := range maxCurves {
		out = append(out, p.groups[i*(n-1)/(maxCurves-1)])
	}
	return out
}
