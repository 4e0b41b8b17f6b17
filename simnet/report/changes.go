package report

import (
	"fmt"
	"math"

	"github.com/kith-im/kith/simnet/result/compare"
)

// tolerance of the table of changes: what is less is left out.
const tolerance = 0.05

// changes are what became of the figures from one set to another.
func (p *page) changes(a, b Set) {
	c, err := compare.Runs(a.Runs, b.Runs, tolerance, nil)
	if err != nil {
		return // no setting is on both sides, or all were interrupted: there is nothing to say
	}
	p.el("h2", "What changed")
	p.el("p", fmt.Sprintf("From %s to %s, by more than %s; %s.", a.Name, b.Name, three(100*tolerance)+" %", how(c)), "class", "hint")
	var rows [][]string
	bad := map[int]bool{}
	same := 0
	for _, f := range c.Figures {
		if f.Verdict == compare.Same {
			same++
			continue
		}
		row := []string{f.Name, quantity(f.A.Mean, f.Unit), quantity(f.B.Mean, f.Unit), "-", "-", f.Verdict}
		if f.Relative != nil {
			row[3] = signed(100 * *f.Relative)
		}
		if f.Low != nil && f.A.Mean != 0 {
			of := 100 / math.Abs(f.A.Mean)
			row[4] = signed(*f.Low*of) + " to " + signed(*f.High*of)
		}
		if len(p.groups) > 2 {
			row = append(row, f.Setting)
		}
		bad[len(rows)] = f.Verdict == compare.Worse
		rows = append(rows, row)
	}
	head := []string{"figure", short(a.Name, 30), short(b.Name, 30), "change, %", "interval, %", ""}
	if len(p.groups) > 2 {
		head = append(head, "setting")
	}
	if len(rows) > 0 {
		p.table("numbers", head, rows, bad)
	}
	p.el("p", plural(same, "figure")+" did not change that much.", "class", "hint")
}

func how(c *compare.Comparison) string {
	if !c.Intervals {
		return "a side has one seed, so there are no intervals"
	}
	return c.Method
}

func signed(v float64) string {
	if v > 0 {
		return "+" + three(v)
	}
	return three(v)
}
