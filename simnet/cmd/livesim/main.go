// Command livesim plays a scenario of kind world with real nodes in virtual time; see package live.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
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
	collectMost = 1450 << 20
)

// What a process with many nodes in it remembers of what one of them has verified or read.
const (
	signatures = 1 << 17 // at most 32 bytes each
	records    = 1 << 13
)

// maxSeeds bounds what one process plays.
const maxSeeds = 100

var (
	errUsage    = errors.New("usage")
	errExpected = errors.New("not as expected")
)

func main() {
	switch err := play(os.Args[1:]); {
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
	runs    []*run // one for each seed
	compare bool
	out     string
	profile string
	memory  string // file for a profile of the memory
	dir     string // of the nodes' files

	keeping sync.Mutex // an interrupt waits for a folder that is being written
	kept    int        // so many runs have theirs
}

// run is one seed of it.
type run struct {
	scenario *scenario.Scenario
	config   crowd.Config
	result   *result.Result
}

func parse(args []string) (*job, error) {
	j, given := &job{}, sets{}
	flags := flag.NewFlagSet("livesim", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.Var(&given, "set", "KEY=VALUE of the scenario; may be given again")
	seeds := flags.Int("seeds", 1, "play so many seeds, from the scenario's on, one after the other")
	flags.BoolVar(&j.compare, "compare", false, "play it with engines, too, and show how far the two are apart")
	flags.StringVar(&j.out, "out", "", "folder for the resolved scenario and the result")
	flags.StringVar(&j.profile, "cpuprofile", "", "file for a profile of the processor")
	flags.StringVar(&j.memory, "memprofile", "", "file for a profile of the memory at the end, while the nodes run")
	if err := flags.Parse(args); err != nil {
		return nil, errors.Join(errUsage, err)
	}
	if flags.NArg() != 1 {
		return nil, errors.Join(errUsage, errors.New("one scenario, please: livesim town"))
	}
	name := flags.Arg(0)
	text, ok := scenario.Source(name)
	if !ok {
		raw, err := scenarioFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s is neither a file nor a scenario that comes along: livesim %s, or livesim FILE.toml", name, strings.Join(played(), "|"))
		}
		if err != nil {
			return nil, errors.Join(errUsage, err)
		}
		text = string(raw)
	}
	if *seeds < 1 || *seeds > maxSeeds {
		return nil, errors.Join(errUsage, fmt.Errorf("%d seeds: want 1 to %d", *seeds, maxSeeds))
	}
	for i := range *seeds {
		r, err := newRun(name, text, given, uint64(i))
		if err != nil {
			return nil, errors.Join(errUsage, err)
		}
		j.runs = append(j.runs, r)
	}
	return j, nil
}

// scenarioFile reads one byte more than a scenario may have at most: a device has no end, and whoever decodes it says that it is too long.
func scenarioFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, scenario.MaxFile+1))
}

// played are the scenarios of those that come along that can be played with real nodes.
func played() (names []string) {
	for _, name := range scenario.Library() {
		text, _ := scenario.Source(name)
		if r, err := newRun(name, text, nil, 0); err == nil && live.Playable(r.config) == nil {
			names = append(names, name)
		}
	}
	return names
}

// newRun is a scenario with a seed so much above its own.
func newRun(name, text string, given sets, more uint64) (*run, error) {
	s, err := scenario.Parse(name, text, given...)
	if err == nil && more > 0 {
		seed := scenario.Set{Key: "seed", Value: strconv.FormatUint(s.Seed()+more, 10)}
		s, err = scenario.Parse(name, text, append(given[:len(given):len(given)], seed)...)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.Crowd()
	return &run{scenario: s, config: c}, err
}

func play(args []string) error {
	j, err := parse(args)
	if err != nil {
		return err
	}
	if err := j.room(); err != nil {
		return errors.Join(errUsage, fmt.Errorf("-out: %w", err))
	}
	dir, remove, err := live.Folder()
	if err != nil {
		return err
	}
	clean := func() {
		if err := remove(); err != nil { // a node may be writing: whoever is next takes the rest
			fmt.Fprintln(os.Stderr, "livesim:", err)
		}
	}
	defer clean()
	defer interrupted(func() { j.lost(os.Stderr); clean() })()
	j.dir = dir
	stop, err := startProfile(j.profile)
	if err != nil {
		return err
	}
	defer stop()
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(collectMost)
	signature.Remember(signatures)
	dht.Remember(records)
	live.Bubble(func() { err = j.all(j.play) })
	if err != nil {
		return err
	}
	return j.judge()
}

// all plays one seed after the other, and keeps each when it is done: who interrupts loses the one that is being played.
func (j *job) all(play func(*run) (*result.Result, error)) (err error) {
	for _, r := range j.runs {
		header(os.Stdout, r.scenario)
		if r.result, err = play(r); err != nil {
			return err
		}
		report(r)
		if err := j.keep(r); err != nil {
			return err
		}
	}
	return nil
}

// lost says what an interrupt leaves. Nothing is kept from here on: the process ends.
func (j *job) lost(w io.Writer) {
	j.keeping.Lock()
	if j.out == "" {
		fmt.Fprintln(w, "livesim: interrupted; without -out nothing is kept")
		return
	}
	fmt.Fprintf(w, "livesim: interrupted; %d of %d seeds are kept in %s\n", j.kept, len(j.runs), j.out)
}

// interrupted ends the process when somebody wants it to end, and cleans up before: in the bubble nobody looks up before the next
// step.
func interrupted(clean func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		s, ok := <-signals
		if !ok {
			return
		}
		code := 128 + int(syscall.SIGTERM)
		if s == os.Interrupt {
			code = 128 + int(syscall.SIGINT)
		}
		clean()
		os.Exit(code)
	}()
	return func() { signal.Stop(signals); close(signals) }
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
func (j *job) play(r *run) (*result.Result, error) {
	t, err := live.New(r.config, filepath.Join(j.dir, strconv.FormatUint(r.config.Seed, 10)))
	if err != nil {
		return nil, errors.Join(errUsage, err)
	}
	defer t.Close()
	began, real := time.Now(), wall()
	for more := true; more; {
		what := t.Progress()
		more = t.Step()
		fmt.Fprintf(os.Stderr, "%s: %v of virtual time, %.1f s real, %.1f s of processor, %s MB, %s, %d goroutines\n",
			what, time.Since(began).Round(time.Second), wall()-real, processor(), resident("VmRSS"), parts(), runtime.NumGoroutine())
	}
	return t.Result(), errors.Join(t.Err(), heap(j.memory))
}

// parts says where the process's memory is: what lived at the last collection, the pages of which that is some, and stacks.
func parts() string {
	all := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(all)
	mb := func(i int) uint64 { return all[i].Value.Uint64() / 1_000_000 }
	return fmt.Sprintf("%d MB alive in %d, %d MB of stacks", mb(0), mb(1)+mb(2), mb(3))
}

// heap writes what the nodes hold, while they run.
func heap(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

func report(r *run) {
	r.scenario.Finish(r.result)
	r.result.Kind = "live"
	for _, v := range r.result.Figures() {
		fmt.Fprintf(os.Stdout, "        %-28s %.4g %s\n", v.Name, v.Value, v.Unit)
	}
	for _, c := range r.result.Checks {
		word := "ok"
		if !c.OK {
			word = "FAILED"
		}
		fmt.Fprintf(os.Stdout, "%-7s %s is %s, want %s\n", word, c.Name, c.Got, c.Want)
	}
	fmt.Fprintf(os.Stderr, "most memory: %s MB\n", resident("VmHWM"))
}

// judge compares with engines and says whether all is as expected.
func (j *job) judge() error {
	ok := true
	var worlds, lives []*result.Result
	for _, r := range j.runs {
		lives, ok = append(lives, r.result), ok && r.result.OK()
		if j.compare {
			world, err := engines(r.config)
			if err != nil {
				return err
			}
			worlds = append(worlds, world)
		}
	}
	if j.compare {
		all := live.Compare(worlds, lives)
		fmt.Fprintf(os.Stdout, "\n%s", live.Table(all))
		for _, d := range all {
			ok = ok && d.OK()
		}
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

// folder is where a run is kept; of many seeds, each has one of its own.
func (j *job) folder(r *run) string {
	if len(j.runs) == 1 {
		return j.out
	}
	return filepath.Join(j.out, strconv.FormatUint(r.config.Seed, 10))
}

// room makes the folders of all runs, unless one holds something else: hours later is too late to say so.
func (j *job) room() error {
	if j.out == "" {
		return nil
	}
	fits := func(dir, again string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return result.Fits(os.DirFS(dir), dir, again, j.runs[0].scenario.Name())
	}
	if first := j.folder(j.runs[0]); first != j.out {
		if err := fits(j.out, filepath.Base(first)); err != nil {
			return err
		}
	}
	for _, r := range j.runs {
		if err := fits(j.folder(r), result.ResultFile); err != nil {
			return err
		}
	}
	return nil
}

// keep writes the folder of a run, the result last.
func (j *job) keep(r *run) error {
	if j.out == "" {
		return nil
	}
	j.keeping.Lock()
	defer j.keeping.Unlock()
	dir := j.folder(r)
	raw, err := r.result.JSON()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, result.ScenarioFile), []byte(r.scenario.Text()), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, result.ResultFile), raw, 0o644); err != nil {
		return err
	}
	j.kept++
	return nil
}
