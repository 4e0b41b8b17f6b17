package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
	"github.com/kith-im/kith/simnet/scenario"
)

func (a *app) simCompare() *cobra.Command {
	tolerance, only := "5%", []string{}
	cmd := tolerant(&cobra.Command{
		Use: "compare A B", Args: args(2, 2), Short: "What became worse from A to B",
		Long: `Holds the runs of B against those of A. Each is the folder of a run, a folder with many of them below it, or a result.json.
Runs that differ in nothing but their seed are samples of one setting; a sweep is compared setting by setting.

A figure is worse if the whole interval of its change is worse by more than the tolerance: Welch's t over seeds, 95 % for all
figures together (Bonferroni), so that a comparison of like with like fails in one of twenty cases at most. With one seed
there is no interval, and the number itself counts. A check is worse if it holds less often. Exit code 1 if anything is worse,
or if B lacks a setting, a check or a figure that A has.`,
		Example: `  kith sim compare out/main out/mine
  kith sim compare out/main out/mine --tolerance 1% --only lost.share,delivery.seconds.p99
  kith sim compare out/main out/mine --jq '.figures[] | select(.verdict == "worse") | .name'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.compareRuns(cmd, args, tolerance, only)
		},
	})
	f := cmd.Flags()
	f.StringVar(&tolerance, "tolerance", tolerance, "how much worse a figure may become")
	f.StringSliceVar(&only, "only", nil, "figures that count (default: all that have a better and a worse, without extremes)")
	return cmd
}

// compareAnswer is a comparison of two heaps of runs.
type compareAnswer struct {
	A  heap `json:"a"`
	B  heap `json:"b"`
	OK bool `json:"ok"`
	*compare.Comparison
}

// heap is runs that lie together.
type heap struct {
	Path string `json:"path"`
	Runs int    `json:"runs"`
	all  []*result.Result
}

func (a *app) compareRuns(cmd *cobra.Command, paths []string, tolerance string, only []string) error {
	share, unit, ok := compare.Number(tolerance)
	if !ok || unit != "%" || share < 0 || share > 1000 {
		return usage(cmd, fmt.Sprintf("--tolerance %q: want a percentage, as 5%%", tolerance))
	}
	var sides [2]heap
	for i, p := range paths {
		runs, err := readRuns(p)
		if err != nil {
			return err
		}
		sides[i] = heap{p, len(runs), runs}
	}
	c, err := compare.Runs(sides[0].all, sides[1].all, share/100, only)
	if err != nil {
		return usage(cmd, err.Error())
	}
	answer := compareAnswer{sides[0], sides[1], c.Worse+c.Lacks == 0, c}
	err = a.emitAs("sim_compare", answer, func() {
		line := []string{asBuilt("kith sim compare"), quote(paths[0]), quote(paths[1]), "--tolerance", quote(tolerance)}
		if len(only) > 0 {
			line = append(line, "--only", quote(strings.Join(only, ",")))
		}
		a.out.Printf("%s\n", strings.Join(line, " "))
		a.showComparison(answer)
	})
	if err == nil && !answer.OK {
		return silent{api.ExitFailed}
	}
	return err
}

// readRuns reads every run at and below a path.
func readRuns(path string) ([]*result.Result, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, api.Fail(api.ExitNotFound, "there is no file or folder "+path, "kith sim run --help")
	}
	if err != nil {
		return nil, api.Fail(api.ExitNotFound, err.Error(), "kith sim run --help")
	}
	var runs []*result.Result
	switch {
	case info.IsDir():
		runs, _, err = result.ReadAll(os.DirFS(path))
	case info.Mode().IsRegular():
		var r *result.Result
		r, err = result.Read(os.DirFS(filepath.Dir(path)), ".", filepath.Base(path))
		runs = append(runs, r)
	}
	if err != nil {
		return nil, api.Fail(api.ExitUsage, path+": "+strings.TrimPrefix(err.Error(), filepath.Base(path)+": "), "kith sim run --help")
	}
	if len(runs) == 0 {
		return nil, api.Fail(api.ExitNotFound, path+": no "+result.ResultFile+" in or below it", "kith sim run --help")
	}
	return runs, nil
}

// showComparison shows what is worse first, and what is the same not at all, except with -v.
func (a *app) showComparison(c compareAnswer) {
	for _, side := range []struct {
		name string
		heap
	}{{"A", c.A}, {"B", c.B}} {
		a.out.Printf("%-8s%s: %s of %s, %s\n", side.name, side.Path, count(side.Runs, "run"), scenariosOf(side.all), seedsOf(side.all))
	}
	for _, d := range c.Differs {
		a.out.Printf("%-8s%s: %s -> %s\n", "differs", d.Name, d.A, d.B)
	}
	if c.Partial > 0 {
		a.out.Printf("%-8s%s left out\n", "partial", count(c.Partial, "interrupted run"))
	}
	for _, m := range c.Missing {
		a.out.Printf("%-8sfrom %s\n", "missing", m)
	}
	paint := map[string]term.Style{compare.Worse: term.Red, compare.Better: term.Green}
	verdict := func(v string) any {
		if style, ok := paint[v]; ok {
			return term.In(style, fmt.Sprintf("%-7s", v))
		}
		return fmt.Sprintf("%-7s", v)
	}
	for _, ch := range c.Checks {
		a.out.Printf("%s %s %s%s: held in %d of %d, now in %d of %d\n", verdict(ch.Verdict), ch.Name, ch.Want, in(ch.Setting), ch.A.OK, ch.A.Runs, ch.B.OK, ch.B.Runs)
	}
	same := 0
	for _, f := range c.Figures {
		if f.Verdict == compare.Same && !a.verbose {
			same++
			continue
		}
		a.out.Printf("%s %s%s: %s\n", verdict(f.Verdict), f.Name, in(f.Setting), changeOf(f))
	}
	if same > 0 {
		a.out.Printf("%-8s%s (-v shows them)\n", compare.Same, count(same, "figure"))
	}
	how := c.Method
	if !c.Intervals {
		how = "no intervals where a side has one seed: the number itself counts"
	}
	lacks := ""
	if c.Lacks > 0 {
		lacks = fmt.Sprintf(", %d missing from B", c.Lacks)
	}
	a.out.Printf("%d worse%s, tolerance %s; %s\n", c.Worse, lacks, percent(c.Tolerance), how)
}

func in(setting string) string {
	if setting == "" {
		return ""
	}
	return " (" + setting + ")"
}

// changeOf is a change in a line: from, to, by how much, and between what.
func changeOf(f compare.Figure) string {
	out := scenario.Figure(f.A.Mean, f.Unit) + " -> " + scenario.Figure(f.B.Mean, f.Unit)
	if f.Relative != nil {
		out = fmt.Sprintf("%s, %+.3g %%", out, 100**f.Relative)
	}
	if f.Low != nil && f.A.Mean != 0 {
		of := 100 / max(f.A.Mean, -f.A.Mean)
		out += fmt.Sprintf(" (%+.3g to %+.3g %%)", *f.Low*of, *f.High*of)
	}
	return out
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'g', 4, 64) + " %" }

func scenariosOf(runs []*result.Result) string {
	var names []string
	seen := map[string]bool{}
	for _, r := range runs {
		if !seen[r.Scenario] {
			seen[r.Scenario] = true
			names = append(names, r.Scenario)
		}
	}
	if len(names) > 3 {
		return count(len(names), "scenario")
	}
	return strings.Join(names, ", ")
}

func seedsOf(runs []*result.Result) string {
	seeds := map[uint64]bool{}
	low, high := runs[0].Seed, runs[0].Seed
	for _, r := range runs {
		seeds[r.Seed] = true
		low, high = min(low, r.Seed), max(high, r.Seed)
	}
	if len(seeds) == 1 {
		return fmt.Sprintf("seed %d", low)
	}
	return fmt.Sprintf("%d seeds from %d to %d", len(seeds), low, high)
}

// sumUp takes the runs of each setting together. What sets one apart is told by all that was to be played.
func sumUp(all []*job) (out []sweepPoint, err error) {
	var runs []*result.Result
	crypto := ""
	for _, j := range all {
		r := j.plan()
		if j.came != nil && !j.came.Partial {
			r, crypto = j.came, j.came.Crypto
		}
		runs = append(runs, r)
	}
	played := func(r *result.Result) bool { return r.Format != 0 }
	for _, r := range runs {
		if !played(r) {
			r.Crypto = crypto // which only who plays knows
		}
	}
	_, groups, err := compare.Groups(runs)
	for _, g := range groups {
		if g.Runs = slices.DeleteFunc(g.Runs, func(r *result.Result) bool { return !played(r) }); len(g.Runs) == 0 {
			continue
		}
		p := sweepPoint{Setting: g.Setting, Runs: len(g.Runs), Checks: []sweepCheck{}, Figures: []sweepFigure{}}
		for _, r := range g.Runs {
			for _, c := range r.Checks {
				i := slices.IndexFunc(p.Checks, func(x sweepCheck) bool { return x.Name == c.Name && x.Want == c.Want })
				if i < 0 {
					i = len(p.Checks)
					p.Checks = append(p.Checks, sweepCheck{Name: c.Name, Want: c.Want})
				}
				if c.OK {
					p.Checks[i].Held++
				}
			}
		}
		for _, f := range g.Runs[0].Figures() {
			p.Figures = append(p.Figures, sweepFigure{f.Name, f.Unit, compare.Mean(g.Samples(f.Name))})
		}
		out = append(out, p)
	}
	return out, err
}
