// Command brokers measures a kith relay beside durable brokers: Redis streams with appendfsync always, and NATS JetStream
// with SyncAlways. All run on the same disk in the same run, one after the other and again, with the same payloads, the
// same number of clients and the same number of connections; what counts are the medians of the ratios.
//
// Each broker is set up as its documents say for "on disk before the answer", and otherwise in its favour: Redis rewrites
// no log meanwhile, NATS stores without replicas. Neither encrypts, authenticates or signs; kith does all three.
//
// It is a module of its own, so that neither the weight nor the licences of the brokers reach the product.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"
)

// config is what all contestants share.
type config struct {
	kith, folder           string
	rounds, senders, conns int
	bytes, seconds, inAll  int
	json                   bool
	only                   []string
}

// figures are what one contestant did in one round.
type figures struct {
	Name      string  `json:"name"`
	Deposits  float64 `json:"deposits_per_s"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Pipelined float64 `json:"pipelined_per_s"`
	Drain     float64 `json:"drain_per_s"`
	FsyncP50  float64 `json:"fsync_p50_ms,omitempty"` // by kith, before and after its own load
	FsyncP99  float64 `json:"fsync_p99_ms,omitempty"`
}

func main() {
	var c config
	only := flag.String("only", "kith,redis,nats", "who takes part")
	flag.StringVar(&c.kith, "kith", "bin/kith", "the kith binary")
	flag.StringVar(&c.folder, "folder", "", "on the disk to be measured (default: the temporary folder)")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each runs")
	flag.IntVar(&c.senders, "senders", 64, "clients that put one message at a time")
	flag.IntVar(&c.conns, "conns", 1, "connections (kith: hosts) that they share")
	flag.IntVar(&c.bytes, "bytes", 1024, "payload")
	flag.IntVar(&c.seconds, "seconds", 5, "length of a phase")
	flag.IntVar(&c.inAll, "window", 1024, "messages under way when pipelined")
	flag.BoolVar(&c.json, "json", false, "one JSON object a round, and one for the result")
	flag.Parse()
	c.only = strings.Split(*only, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) error {
	if c.senders < 1 || c.conns < 1 || c.conns > c.senders || c.rounds < 1 || c.seconds < 1 || c.bytes < 64 {
		return errors.New("nothing to measure: see -help")
	}
	if slices.Contains(c.only, "redis") {
		if _, err := exec.LookPath("redis-server"); err != nil {
			return errors.New("redis-server is missing: install it first (Debian: apt-get install redis-server), or leave it out with -only kith,nats")
		}
	}
	c.say("brokers -senders %d -conns %d -bytes %d -seconds %d -window %d -rounds %d", c.senders, c.conns, c.bytes, c.seconds, c.inAll, c.rounds)
	c.say("machine: %s/%s, %d cores, %s; %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format("2006-01-02T15:04Z"))
	c.say("%-6s %10s %9s %9s %10s %10s %10s %10s", "", "one by one", "p50 ms", "p99 ms", "pipelined", "drain", "fsync p50", "fsync p99")
	all := map[string][]figures{}
	for range c.rounds {
		for _, one := range []struct {
			name string
			run  func(context.Context, config) (figures, error)
		}{{"kith", runKith}, {"redis", measured(startRedis)}, {"nats", measured(startNATS)}} {
			if !slices.Contains(c.only, one.name) {
				continue
			}
			f, err := one.run(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", one.name, err)
			}
			f.Name = one.name
			all[one.name] = append(all[one.name], f)
			c.show(f)
		}
	}
	return c.result(all)
}

func (c config) say(format string, args ...any) {
	if !c.json {
		fmt.Printf(format+"\n", args...)
	}
}

func (c config) show(f figures) {
	if c.json {
		_ = json.NewEncoder(os.Stdout).Encode(f)
		return
	}
	c.say("%-6s %10.0f %9.3f %9.3f %10.0f %10.0f %10.3f %10.3f", f.Name, f.Deposits, f.P50, f.P99, f.Pipelined, f.Drain, f.FsyncP50, f.FsyncP99)
}

// result prints the medians of kith's figures over the others' of the same round.
func (c config) result(all map[string][]figures) error {
	out := map[string]any{"v": 1, "type": "result", "senders": c.senders, "conns": c.conns, "payload_bytes": c.bytes, "rounds": c.rounds}
	for _, other := range []string{"redis", "nats"} {
		if len(all["kith"]) == 0 || len(all[other]) == 0 {
			continue
		}
		ratio := func(of func(figures) float64) float64 {
			var rs []float64
			for i, k := range all["kith"] {
				rs = append(rs, of(k)/of(all[other][i]))
			}
			return median(rs)
		}
		one := ratio(func(f figures) float64 { return f.Deposits })
		pipe := ratio(func(f figures) float64 { return f.Pipelined })
		drain := ratio(func(f figures) float64 { return f.Drain })
		out["kith_to_"+other] = map[string]float64{"deposits": one, "pipelined": pipe, "drain": drain}
		c.say("kith / %-5s  one by one %.2f, pipelined %.2f, drain %.2f  (medians of %d ratios)", other, one, pipe, drain, c.rounds)
	}
	if c.json {
		return json.NewEncoder(os.Stdout).Encode(out)
	}
	return nil
}

func median(v []float64) float64 {
	slices.SortFunc(v, cmp.Compare[float64])
	return float64(int(100*(v[len(v)/2]+v[(len(v)-1)/2])/2)) / 100
}

// runKith runs kith bench relay and takes the last object that it prints.
func runKith(ctx context.Context, c config) (figures, error) {
	cmd := exec.CommandContext(ctx, c.kith, "bench", "relay", "--json", "--over", "tcp", "--folder", c.folder,
		"--senders", fmt.Sprint(c.senders), "--hosts", fmt.Sprint(c.conns), "--bytes", fmt.Sprint(c.bytes), "--seconds", fmt.Sprint(c.seconds))
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.Output()
	if err != nil {
		return figures{}, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var f figures
	return f, json.Unmarshal([]byte(lines[len(lines)-1]), &f)
}
