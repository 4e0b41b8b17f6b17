// Command livesim plays a scenario of kind world with real nodes in virtual time; see package live.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/live"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/scenario"
)

const usage = `livesim plays a scenario of kind world with real nodes in virtual time.

  livesim [flags] NAME|FILE.toml

Exit codes: 0 all is as expected, 1 it is not, 2 usage.
`

// collectAt is how much garbage may gather, in percent of what lives, and collectMost from where on less: a population is mostly
// goroutines that wait.
const (
	collectAt   = 200
	collectMost = 1700 << 20
)

var (
	errUsage    = errors.New("usage")
	errExpected = errors.New("not as expected")
)

func main() {
	switch err := run(os.Args[1:]); {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errExpected):
		os.Exit(1)
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "livesim:", strings.TrimPrefix(err.Error(), errUsage.Error()+"\n"))
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "livesim:", err)
		os.Exit(1)
	}
}

// sets are --set KEY=VALUE.
type sets []scenario.Set

func (s *sets) String() string { return "" }

func (s *sets) Set(v string) error {
	key, value, ok := strings.Cut(v, "=")
	if !ok {
		return errors.New("wants KEY=VALUE")
	}
	*s = append(*s, scenario.Set{Key: key, Value: value})
	return nil
}

// job is what was asked for.
type job struct {
	scenario *scenario.Scenario
	config   crowd.Config
	compare  bool
	out      string
	profile  string
	dir      string // of the nodes' files
}

func parse(args []string) (*job, error) {
	j, given := &job{}, sets{}
	flags := flag.NewFlagSet("livesim", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.Var(&given, "set", "KEY=VALUE of the scenario; may be given again")
	flags.BoolVar(&j.compare, "compare", false, "play it with engines, too, and show how far the two are apart")
	flags.StringVar(&j.out, "out", "", "folder for the resolved scenario and the result")
	flags.StringVar(&j.profile, "cpuprofile", "", "file for a profile of the processor")
	if err := flags.Parse(args); err != nil {
		return nil, errors.Join(errUsage, err)
	}
	if flags.NArg() != 1 {
		return nil, errors.Join(errUsage, errors.New("one scenario, please: livesim town"))
	}
	name := flags.Arg(0)
	text, ok := scenario.Source(name)
	if !ok {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, errors.Join(errUsage, err)
		}
		text = string(raw)
	}
	var err error
	if j.scenario, err = scenario.Parse(name, text, given...); err == nil {
		j.config, err = j.scenario.Crowd()
	}
	if err != nil {
		return nil, errors.Join(errUsage, err)
	}
	return j, nil
}

func run(args []string) error {
	j, err := parse(args)
	if err != nil {
		return err
	}
	if j.dir, err = folder(); err != nil {
		return err
	}
	defer os.RemoveAll(j.dir)
	stop, err := startProfile(j.profile)
	if err != nil {
		return err
	}
	defer stop()
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(collectMost)
	header(os.Stdout, j.scenario)
	var r *result.Result
	live.Bubble(func() { r, err = j.play() })
	if err != nil {
		return err
	}
	return j.report(r)
}

// folder is where the nodes keep their files: in memory where the machine has such a folder, for a sync takes no virtual
// time on any disk.
func folder() (string, error) {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return os.MkdirTemp(shm, "livesim")
	}
	return os.MkdirTemp("", "livesim")
}

func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); f.Close() }, pprof.StartCPUProfile(f)
}

func header(w io.Writer, s *scenario.Scenario) {
	fmt.Fprintf(w, "%s seed %d", s.Name(), s.Seed())
	for _, p := range s.Parameters() {
		fmt.Fprintf(w, " %s=%q", p.Name, p.Value)
	}
	fmt.Fprintf(w, "\n%s\n", s.Question())
}

// play runs in the bubble.
func (j *job) play() (*result.Result, error) {
	t, err := live.New(j.config, filepath.Join(j.dir))
	if err != nil {
		return nil, errors.Join(errUsage, err)
	}
	defer t.Close()
	began, real := time.Now(), wall()
	for more := true; more; {
		what := t.Progress()
		more = t.Step()
		fmt.Fprintf(os.Stderr, "%s: %v of virtual time, %.1f s real, %.1f s of processor, %s MB, %d goroutines\n",
			what, time.Since(began).Round(time.Second), wall()-real, processor(), resident("VmRSS"), runtime.NumGoroutine())
	}
	return t.Result(), t.Err()
}

func (j *job) report(r *result.Result) error {
	j.scenario.Finish(r)
	r.Kind = "live"
	for _, v := range r.Figures() {
		fmt.Fprintf(os.Stdout, "        %-28s %.4g %s\n", v.Name, v.Value, v.Unit)
	}
	for _, c := range r.Checks {
		word := "ok"
		if !c.OK {
			word = "FAILED"
		}
		fmt.Fprintf(os.Stdout, "%-7s %s is %s, want %s\n", word, c.Name, c.Got, c.Want)
	}
	fmt.Fprintf(os.Stderr, "most memory: %s MB\n", resident("VmHWM"))
	ok := r.OK()
	if j.compare {
		world, err := engines(j.config)
		if err != nil {
			return err
		}
		all := live.Compare(world, r)
		fmt.Fprintf(os.Stdout, "\n%s", live.Table(all))
		for _, d := range all {
			ok = ok && d.OK()
		}
	}
	if err := j.keep(r); err != nil {
		return err
	}
	if !ok {
		return errExpected
	}
	return nil
}

// engines plays the same with crowd.
func engines(cfg crowd.Config) (*result.Result, error) {
	c, err := crowd.New(cfg)
	if err != nil {
		return nil, err
	}
	for c.Step() {
	}
	return c.Result(), c.Err()
}

// keep writes the folder of the run, the result last.
func (j *job) keep(r *result.Result) error {
	if j.out == "" {
		return nil
	}
	raw, err := r.JSON()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.out, result.ScenarioFile), []byte(j.scenario.Text()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(j.out, result.ResultFile), raw, 0o644)
}
