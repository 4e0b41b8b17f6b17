// Command livesim plays a population with real nodes in virtual time; see package live.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/kith-im/kith/simnet/live"
	"github.com/kith-im/kith/simnet/model"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "livesim:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg := live.Default()
	flags := flag.NewFlagSet("livesim", flag.ExitOnError)
	flags.IntVar(&cfg.Users, "users", cfg.Users, "people")
	flags.IntVar(&cfg.RelayCount, "relays", cfg.RelayCount, "relays")
	flags.DurationVar(&cfg.For, "for", cfg.For, "virtual time that is played")
	flags.Float64Var(&cfg.Messages, "messages", cfg.Messages, "messages of a user and day")
	flags.IntVar(&cfg.Contacts, "contacts", cfg.Contacts, "contacts of a user")
	seed := flags.Uint64("seed", 1, "of the script")
	always := flags.Bool("always", false, "nobody is ever away, and everybody has one device")
	profile := flags.String("cpuprofile", "", "file for a profile of the processor")
	_ = flags.Parse(os.Args[1:])
	cfg.Seed = *seed
	if *always {
		cfg.PerUser = []float64{1}
		cfg.People = []model.Part{{Churn: model.Presets["always"], Share: 1}}
		cfg.Relays = cfg.People
	}
	dir, err := folder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	debug.SetGCPercent(200)
	live.Bubble(func() { err = play(cfg, dir) })
	return err
}

// folder is where the nodes keep their files: in memory where the machine has such a folder.
func folder() (string, error) {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return os.MkdirTemp(shm, "livesim")
	}
	return os.MkdirTemp("", "livesim")
}

func play(cfg live.Config, dir string) error {
	real, began := wall(), time.Now()
	t := live.New(cfg, filepath.Join(dir))
	defer t.Close()
	for more := true; more; {
		what := t.Progress()
		more = t.Step()
		fmt.Fprintf(os.Stderr, "%7.1f s real, %7.1f s cpu, %10v virtual: %s, rss %s, %d goroutines\n",
			wall()-real, cpu(), time.Since(began), what, status("VmRSS"), runtime.NumGoroutine())
	}
	for _, v := range t.Result().Figures() {
		fmt.Fprintf(os.Stdout, "%-30s %12.4g %s\n", v.Name, v.Value, v.Unit)
	}
	fmt.Fprintf(os.Stdout, "peak memory %s\n", status("VmHWM"))
	return t.Err()
}

// wall is the machine's time, which the bubble hides.
func wall() float64 {
	var tv syscall.Timeval
	_ = syscall.Gettimeofday(&tv)
	return float64(tv.Sec) + float64(tv.Usec)/1e6
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func status(name string) string {
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), name+":")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}
