package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/scenario"
)

func (a *app) simRun() *cobra.Command {
	var sets []string
	var out string
	seed := &onceSeed{}
	cmd := tolerant(&cobra.Command{
		Use: "run NAME|FILE", Args: args(1, 1), Short: "Play a scenario",
		Long: "Plays a scenario that comes along (kith sim list) or a file that ends in .toml, in virtual time. The first line repeats\n" +
			"every value; what went wrong stands before what came out. With --out a folder has the resolved scenario, result.json and\n" +
			"series.csv, and a report. One seed gives one result, byte for byte. The exit code is 0 if everything in [expect] holds and\n" +
			"1 if not; an interrupt keeps what came out so far, marked partial.",
		Example: "  kith sim run steady --seed 7 --out DIR\n  kith sim run steady --set devices=100000 --set relay_life=30d\n  kith sim run my.toml --jq .ok",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, text, err := source(args[0])
			if err != nil {
				return err
			}
			given, err := assignments(cmd, sets, seed.text)
			if err != nil {
				return err
			}
			s, err := scenario.Parse(file, text, given...)
			if err != nil {
				return wrong(err)
			}
			return a.playScenario(cmd.Context(), s, args[0], out)
		},
	})
	f := cmd.Flags()
	f.Var(seed, "seed", "where all chance comes from (default: as the scenario says)")
	f.StringArrayVar(&sets, "set", nil, "KEY=VALUE instead of the scenario's own value; may be repeated")
	f.StringVar(&out, "out", "", "folder for what comes out")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// simProgress is how often progress is told.
const simProgress = time.Second

// runLine is a command that plays the same again.
func runLine(s *scenario.Scenario, name string) string {
	words := []string{asBuilt("kith sim run"), quote(name), "--seed", fmt.Sprint(s.Seed())}
	for _, p := range s.Parameters() {
		value := p.Value
		if number, unit, ok := strings.Cut(value, " "); ok && !strings.Contains(unit, " ") {
			value = number + unit
		}
		words = append(words, "--set", quote(p.Name+"="+value))
	}
	for _, x := range s.Given() {
		words = append(words, "--set", quote(x.Key+"="+x.Value))
	}
	return strings.Join(words, " ")
}

// signatures is how many of them a process with many devices in it remembers: 64 MB.
const signatures = 1 << 20

// engines readies this process for many devices at once, if that is what is played.
func engines(s *scenario.Scenario) {
	if c, err := s.Crowd(); err == nil {
		remember(c.Users)
	}
}

// remember has what one device has signed, verified or read be good for all.
func remember(people int) {
	signature.Remember(signatures)
	dht.Remember(crowd.Records(people))
}

func (a *app) playScenario(ctx context.Context, s *scenario.Scenario, name, out string) error {
	if out != "" {
		if err := outFolder(out, result.ResultFile, s.Name()); err != nil {
			return err
		}
	}
	engines(s)
	run, err := s.Start()
	if err != nil {
		return wrong(err)
	}
	if !a.json {
		a.out.Printf("%s\n", runLine(s, name))
	}
	told, last := time.Now(), ""
	r, err := playOut(ctx, s, run, func() {
		if text := run.Progress(); time.Since(told) >= simProgress && text != last {
			told, last = time.Now(), text
			a.progress(text)
		}
	})
	if err != nil {
		return err
	}
	var unsaved error // told last: the figures are here, and nobody wants to play for hours again
	if out != "" {
		if unsaved = writeRun(out, s, r, traceOf(run)); unsaved == nil {
			_, unsaved = writeReport([]string{out}, filepath.Join(out, result.ReportFile), "")
		}
	}
	answer := struct {
		OK bool `json:"ok"`
		*result.Result
		Trace []string `json:"trace,omitempty"`
	}{r.OK() && !r.Partial, r, nil}
	if out == "" || unsaved != nil || s.Kind() == scenario.KindStory { // else it is in the folder
		answer.Trace = traceOf(run)
	}
	if err := a.emitAs("sim", answer, func() { a.showRun(r, answer.Trace) }); err != nil {
		return err
	}
	if unsaved != nil {
		return notSaved(out, unsaved, "kith sim run --help")
	}
	if out != "" {
		a.note("written: %s", out)
	}
	switch {
	case r.Partial:
		return silent{api.ExitInterrupted}
	case !r.OK():
		return silent{api.ExitFailed}
	}
	return nil
}

// notSaved is told after the figures of what was played: they are not in the folder, or not all of them.
func notSaved(out string, err error, hint string) error {
	return api.Fail(api.ExitFailed, "--out "+out+": not everything was written: "+err.Error(), hint)
}

// playOut plays a run to its end, or until somebody has enough, in the midst of a step where the run can, and holds it against
// what its scenario expects. tell is called after each step.
func playOut(ctx context.Context, s *scenario.Scenario, run result.Run, tell func()) (*result.Result, error) {
	defer tend()()
	if x, ok := run.(interface{ Halt(func() bool) }); ok { // a step may take long
		x.Halt(func() bool { return ctx.Err() != nil })
	}
	more := true
	for more && ctx.Err() == nil {
		more = run.Step()
		tell()
	}
	if x, ok := run.(interface{ Err() error }); ok && x.Err() != nil {
		return nil, api.Fail(api.ExitFailed, s.Name()+" could not be set up: "+x.Err().Error(), "kith sim list")
	}
	r := run.Result()
	r.Partial = r.Partial || more
	s.Finish(r)
	return r, nil
}

// progress is one line on stderr, also for programs.
func (a *app) progress(text string) {
	if object, err := api.Object("progress", struct {
		Text string `json:"text"`
	}{text}); err == nil && a.json && !a.quiet {
		a.err.JSON(object)
	}
	a.note("%s", text)
}

// writeRun writes the folder of a run. The result comes last: a folder that has one is whole.
func writeRun(dir string, s *scenario.Scenario, r *result.Result, trace []string) error {
	raw, err := r.JSON()
	if err != nil {
		return err
	}
	series, err := r.CSV()
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, result.EventsFile)); err != nil && !errors.Is(err, os.ErrNotExist) { // of an earlier run
		return err
	}
	type file struct {
		name string
		raw  []byte
	}
	files := []file{{result.ScenarioFile, []byte(s.Text())}, {result.SeriesFile, series}, {result.ResultFile, raw}}
	if len(trace) > 0 {
		files = append([]file{{result.EventsFile, eventLines(trace)}}, files...)
	}
	for _, f := range files {
		if err := keepFile(filepath.Join(dir, f.name), f.raw); err != nil {
			return err
		}
	}
	return nil
}

// eventLines is what happened, an object a line.
func eventLines(trace []string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, line := range trace {
		_ = enc.Encode(struct { // text is always written
			Line string `json:"line"`
		}{line})
	}
	return out.Bytes()
}

// traceOf is what a run tells of what happened, line by line.
func traceOf(run result.Run) []string {
	if t, ok := run.(interface{ Trace() []string }); ok {
		return t.Trace()
	}
	return nil
}

// showRun prints a result: failures first.
func (a *app) showRun(r *result.Result, trace []string) {
	if r.Partial {
		a.out.Printf("%s\n", term.In(term.Red, "partial: interrupted, nothing was checked"))
	}
	held := 0
	for _, c := range r.Checks {
		word := term.In(term.Green, "ok")
		if !c.OK {
			word = term.In(term.Red, "FAILED")
		} else {
			held++
		}
		a.out.Printf("%-7s %s is %s, want %s\n", word, c.Name, c.Got, c.Want)
	}
	for _, line := range trace {
		a.out.Printf("  %s\n", line)
	}
	var rows [][]any
	for _, v := range r.Values {
		rows = append(rows, []any{v.Name, scenario.Figure(v.Value, v.Unit)})
	}
	a.out.Table(rows)
	if len(r.Spreads) > 0 {
		rows = [][]any{{"", "min", "avg", "P50", "P90", "P99", "P99.9", "max", "n"}}
		for _, d := range r.Spreads {
			row := []any{d.Name}
			for _, v := range []float64{d.Min, d.Mean, d.P50, d.P90, d.P99, d.P999, d.Max} {
				text := "-"
				if d.N > 0 {
					text = scenario.Figure(v, d.Unit)
				}
				row = append(row, text)
			}
			rows = append(rows, append(row, fmt.Sprint(d.N)))
		}
		a.out.Table(rows)
	}
	if !r.Partial {
		a.out.Printf("%d of %s held\n", held, count(len(r.Checks), "expectation"))
	}
}
