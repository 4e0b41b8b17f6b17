package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/result/compare"
	"github.com/kith-im/kith/simnet/scenario"
)

// sweep is one scenario at many settings, each with many seeds.
type sweep struct {
	name, file, text string
	axes             []scenario.Axis // those with one value too
	seeds            []uint64
	show             []string
	out              string
}

const (
	maxSeeds = 1000
	maxRuns  = 4096
	// sweepFile is what the runs of a sweep come to.
	sweepFile = "sweep.json"
)

func (a *app) simSweep() *cobra.Command {
	var sets, show []string
	var out, seeds string
	cmd := tolerant(&cobra.Command{
		Use: "sweep NAME|FILE", Args: args(1, 1), Short: "Play a scenario at many settings, with many seeds",
		Long: "Plays a scenario once for each seed and each combination of the values that --set gives, with commas between them, on all\n" +
			"cores. What a scenario varies itself (its table [sweep], kith sim list --json) is varied if --set does not say otherwise.\n" +
			"It prints the mean of each figure with its 95 % interval over the seeds (Student's t); --json has all figures. With --out a\n" +
			"folder has every run, for kith sim compare and kith sim report.",
		Example: "  kith sim sweep durability --seeds 1..10\n  kith sim sweep steady --seeds 1..20 --set relays=8,16 --set r=2,3 --out DIR\n" +
			"  kith sim sweep steady --set devices=1000,10000 --show device.bytes_hour,lookup.hops.mean",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, text, err := source(args[0])
			if err != nil {
				return err
			}
			w := sweep{name: args[0], file: file, text: text, show: show, out: out}
			if w.seeds, err = seedList(cmd, seeds); err != nil {
				return err
			}
			if w.axes, err = axesOf(cmd, sets); err != nil {
				return err
			}
			return a.doSweep(cmd.Context(), cmd, &w)
		},
	})
	f := cmd.Flags()
	f.StringVar(&seeds, "seeds", "1..5", "seeds: 1..20, or with commas")
	f.StringArrayVar(&sets, "set", nil, "KEY=VALUE,VALUE… instead of the scenario's own value; may be repeated")
	f.StringSliceVar(&show, "show", nil, "figures that are printed (default: those that the scenario expects something of)")
	f.StringVar(&out, "out", "", "folder for the runs")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// seedList reads "1..5,9".
func seedList(cmd *cobra.Command, text string) (out []uint64, err error) {
	bad := func() error {
		return usage(cmd, fmt.Sprintf("--seeds %.80s: wants numbers as 1..20 or 1,2,3, each once and at most %d", text, maxSeeds))
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, run := strings.Cut(strings.TrimSpace(part), "..")
		if !run {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 63)
		last, err2 := strconv.ParseUint(to, 10, 63)
		if err1 != nil || err2 != nil || last < first || last-first >= maxSeeds {
			return nil, bad()
		}
		for s := first; s <= last; s++ {
			if slices.Contains(out, s) || len(out) == maxSeeds {
				return nil, bad()
			}
			out = append(out, s)
		}
	}
	return out, nil
}

func axesOf(cmd *cobra.Command, sets []string) (out []scenario.Axis, err error) {
	given, err := assignments(cmd, sets, "")
	for _, g := range given {
		if g.Key == "seed" {
			return nil, usage(cmd, "--set seed: a sweep takes its seeds by --seeds")
		}
		if slices.ContainsFunc(out, func(a scenario.Axis) bool { return a.Key == g.Key }) {
			return nil, usage(cmd, "--set "+g.Key+" is given twice: put commas between its values")
		}
		axis := scenario.Axis{Key: g.Key}
		for v := range strings.SplitSeq(g.Value, ",") {
			axis.Values = append(axis.Values, strings.TrimSpace(v))
		}
		out = append(out, axis)
	}
	return out, err
}

// settings are all combinations of values.
func (w *sweep) settings() [][]scenario.Set {
	out := [][]scenario.Set{nil}
	for _, a := range w.axes {
		var longer [][]scenario.Set
		for _, before := range out {
			for _, v := range a.Values {
				longer = append(longer, append(slices.Clone(before), scenario.Set{Key: a.Key, Value: v}))
			}
		}
		out = longer
	}
	return out
}

// line is the command with everything that was left as it is.
func (w *sweep) line() string {
	var seeds []string
	for _, s := range w.seeds {
		seeds = append(seeds, fmt.Sprint(s))
	}
	text := strings.Join(seeds, ",")
	if n := len(w.seeds); n > 1 && w.seeds[n-1]-w.seeds[0] == uint64(n-1) && slices.IsSorted(w.seeds) {
		text = seeds[0] + ".." + seeds[n-1]
	}
	out := asBuilt("kith sim sweep ") + quote(w.name) + " --seeds " + text
	for _, a := range w.axes {
		out += " --set " + quote(a.Key+"="+strings.Join(a.Values, ","))
	}
	return out
}

// job is one run of a sweep.
type job struct {
	scenario *scenario.Scenario
	folder   string // below that of the sweep
	came     *result.Result
	err      error
	unsaved  error // it came, and its folder did not
}

// plan is what a run says of itself before it is played.
func (j *job) plan() *result.Result {
	s := j.scenario
	return &result.Result{Scenario: s.Name(), Kind: s.Kind(), Seed: s.Seed(), Parameters: s.Parameters()}
}

// jobs are all runs in order. Nothing begins before all of them were read.
func (w *sweep) jobs() (all []*job, err error) {
	own, err := scenario.Parse(w.file, w.text)
	if err != nil {
		return nil, wrong(err)
	}
	for _, a := range own.Axes() {
		if !slices.ContainsFunc(w.axes, func(b scenario.Axis) bool { return a.Key == b.Key }) {
			w.axes = append(w.axes, a)
		}
	}
	n := len(w.seeds)
	for _, a := range w.axes {
		n = min(n*len(a.Values), 1<<30)
	}
	if n > maxRuns {
		return nil, api.Fail(api.ExitUsage, fmt.Sprintf("%d runs, at most %d", n, maxRuns), "kith sim sweep --help")
	}
	seen := map[string]int{}
	for i, sets := range w.settings() {
		folder := []string{}
		for k, s := range sets {
			if len(w.axes[k].Values) > 1 {
				folder = append(folder, strings.NewReplacer(" ", "", "/", "_", string(os.PathSeparator), "_").Replace(s.Key+"="+s.Value))
			}
		}
		for _, seed := range w.seeds {
			s, err := scenario.Parse(w.file, w.text, append(slices.Clone(sets), scenario.Set{Key: "seed", Value: fmt.Sprint(seed)})...)
			if err != nil {
				return nil, wrong(err)
			}
			all = append(all, &job{scenario: s, folder: filepath.Join(strings.Join(folder, ","), fmt.Sprintf("seed-%d", seed))})
		}
		p := all[len(all)-1].plan()
		key := fmt.Sprintf("%q", []any{p.Scenario, p.Kind, p.Parameters})
		if before, twice := seen[key]; twice {
			return nil, api.Fail(api.ExitUsage, w.between(before, i)+": two of its values give the same runs", "kith sim sweep --help")
		}
		seen[key] = i
	}
	return all, nil
}

// between names the axes in which two settings are not the same.
func (w *sweep) between(i, k int) string {
	var out []string
	for _, a := range slices.Backward(w.axes) {
		n := len(a.Values)
		if i%n != k%n {
			out = append(out, "--set "+quote(a.Key+"="+strings.Join(a.Values, ",")))
		}
		i, k = i/n, k/n
	}
	return strings.Join(out, " ")
}

// play plays one run to its end, or until somebody has enough.
func (j *job) play(ctx context.Context, out string) {
	run, err := j.scenario.Start()
	if err != nil {
		j.err = wrong(err)
		return
	}
	r, err := playOut(ctx, j.scenario, run, func() {})
	if err != nil {
		j.err = err
		return
	}
	if out != "" {
		dir := filepath.Join(out, j.folder)
		if j.unsaved = os.MkdirAll(dir, 0o755); j.unsaved == nil {
			j.unsaved = writeRun(dir, j.scenario, r, traceOf(run))
		}
	}
	r.Series, r.Maps = nil, nil // for the table nobody needs them
	j.came = r
}

// playAll plays all runs on all cores. Which core plays which run changes nothing. A folder that cannot be written stops nothing.
func (a *app) playAll(ctx context.Context, all []*job, out string) (unsaved, first error) {
	for _, j := range all[:min(1, len(all))] {
		engines(j.scenario)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	next, done := make(chan *job), make(chan *job, len(all))
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		workers.Go(func() {
			for j := range next {
				j.play(ctx, out)
				done <- j
			}
		})
	}
	go func() {
		defer close(next)
		for _, j := range all {
			select {
			case next <- j:
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() { workers.Wait(); close(done) }()
	n, told := 0, time.Now()
	for j := range done {
		if j.err != nil && first == nil {
			first = j.err
			stop()
		}
		if j.unsaved != nil && unsaved == nil { // told at once too: who wants the folders need not wait for the table
			unsaved = j.unsaved
			a.progress("not written: " + unsaved.Error())
		}
		if n++; time.Since(told) >= simProgress {
			told = time.Now()
			a.progress(fmt.Sprintf("run %d of %d", n, len(all)))
		}
	}
	return unsaved, first
}

// sweepAnswer is what came of a sweep. It holds nothing of the machine.
type sweepAnswer struct {
	OK       bool         `json:"ok"`
	Partial  bool         `json:"partial"`
	Scenario string       `json:"scenario"`
	Command  string       `json:"command"`
	Seeds    []uint64     `json:"seeds"`
	Settings []sweepPoint `json:"settings"`
}

type sweepPoint struct {
	Setting []result.Parameter `json:"setting"` // what sets it apart from the others
	Runs    int                `json:"runs"`
	Checks  []sweepCheck       `json:"checks"`
	Figures []sweepFigure      `json:"figures"`
}

type sweepCheck struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Held int    `json:"held"` // in so many runs
}

type sweepFigure struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	compare.Estimate
}

func (a *app) doSweep(ctx context.Context, cmd *cobra.Command, w *sweep) error {
	all, err := w.jobs()
	if err != nil {
		return err
	}
	if err := w.checkShow(cmd, all[0].scenario); err != nil {
		return err
	}
	if w.out != "" {
		if err := outFolder(w.out, "", ""); err != nil {
			return err
		}
	}
	if !a.json {
		a.out.Printf("%s\n", w.line())
	}
	unsaved, err := a.playAll(ctx, all, w.out)
	if err != nil {
		return err
	}
	var runs []*result.Result
	for _, j := range all {
		if j.came != nil && !j.came.Partial {
			runs = append(runs, j.came)
		}
	}
	answer := sweepAnswer{Partial: len(runs) < len(all), Scenario: all[0].scenario.Name(), Command: w.line(), Seeds: w.seeds, Settings: []sweepPoint{}}
	answer.OK = !answer.Partial
	if len(runs) > 0 {
		if answer.Settings, err = sumUp(all); err != nil {
			return err
		}
	}
	for _, r := range runs {
		answer.OK = answer.OK && r.OK()
	}
	if w.out != "" {
		if err := w.write(answer, len(runs) > 0 && unsaved == nil); unsaved == nil {
			unsaved = err
		}
	}
	if err := a.emitAs("sim_sweep", answer, func() { a.showSweep(answer, w.figures(answer)) }); err != nil {
		return err
	}
	if unsaved != nil {
		return notSaved(w.out, unsaved, "kith sim sweep --help")
	}
	if w.out != "" {
		a.note("written: %s", w.out)
	}
	switch {
	case answer.Partial:
		return silent{api.ExitInterrupted}
	case !answer.OK:
		return silent{api.ExitFailed}
	}
	return nil
}

// write adds to the folders of the runs what they come to, and a page of all.
func (w *sweep) write(answer sweepAnswer, any bool) error {
	raw, err := json.MarshalIndent(answer, "", " ")
	if err != nil {
		return err
	}
	if err := keepFile(filepath.Join(w.out, sweepFile), append(raw, '\n')); err != nil || !any {
		return err
	}
	_, err = writeReport([]string{w.out}, filepath.Join(w.out, result.ReportFile), "")
	return err
}

// checkShow finds figures that no run has before all of them are played.
func (w *sweep) checkShow(cmd *cobra.Command, s *scenario.Scenario) error {
	if len(w.show) == 0 {
		return nil
	}
	run, err := s.Start()
	if err != nil {
		return wrong(err)
	}
	names := run.Result().Names()
	for _, name := range w.show {
		if !slices.Contains(names, name) {
			return usage(cmd, "--show: "+result.Unknown(name, names))
		}
	}
	return nil
}

// figures are those that are printed.
func (w *sweep) figures(answer sweepAnswer) (out []string) {
	if len(w.show) > 0 || len(answer.Settings) == 0 {
		return w.show
	}
	for _, c := range answer.Settings[0].Checks {
		out = append(out, c.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// showSweep prints failures, then a row for each setting.
func (a *app) showSweep(answer sweepAnswer, figures []string) {
	if answer.Partial {
		a.out.Printf("%s\n", term.In(term.Red, "partial: interrupted"))
	}
	for _, p := range answer.Settings {
		for _, c := range p.Checks {
			if c.Held < p.Runs {
				a.out.Printf("%s  %s %s held in %d of %s%s\n", term.In(term.Red, "FAILED"), c.Name, c.Want, c.Held, count(p.Runs, "run"), where(p))
			}
		}
	}
	var rows [][]any
	for i, p := range answer.Settings {
		var head, row []any
		for _, s := range p.Setting {
			head, row = append(head, s.Name), append(row, s.Value)
		}
		for _, name := range figures {
			text := "-"
			for _, f := range p.Figures {
				if f.Name == name {
					text = scenario.Figure(f.Mean, f.Unit)
					if f.N > 1 {
						text += " ± " + scenario.Figure((f.High-f.Low)/2, f.Unit)
					}
				}
			}
			head, row = append(head, name), append(row, text)
		}
		if i == 0 {
			rows = append(rows, append(head, "runs"))
		}
		rows = append(rows, append(row, fmt.Sprint(p.Runs)))
	}
	if len(rows) == 0 {
		a.out.Printf("no run was played to its end\n")
		return
	}
	a.out.Table(rows)
	a.out.Printf("± is half of the 95 %% interval of the mean over the runs of a row\n")
}

func where(p sweepPoint) string {
	text := ""
	for _, s := range p.Setting {
		text += ", " + s.Name + " " + s.Value
	}
	return text
}
