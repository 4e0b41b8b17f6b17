package cli

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/bench"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdBench() *cobra.Command {
	cmd := tolerant(&cobra.Command{
		Use: "bench", GroupID: groupResearch, Args: cobra.ArbitraryArgs, Short: "Measure this machine as a relay",
		Example: "  kith bench relay\n  kith bench relay --json | tail -1\n  kith bench publish", RunE: group,
	})
	cmd.AddCommand(a.benchRelay(), a.benchPublish())
	return cmd
}

func (a *app) benchRelay() *cobra.Command {
	var l bench.Load
	var seconds int
	cmd := tolerant(&cobra.Command{
		Use: "relay", Args: args(0, 0), Short: "Durable deposits a second, and how fast mail is fetched",
		Long: `Starts a relay on this machine, a process of its own with its usual store, and lets senders deposit over libp2p on loopback:
first one at a time each, then pipelined. A deposit counts when its receipt was checked, which a relay signs after the
fsync. Then everything is fetched and acknowledged, and has to be there exactly once. Compare with the fsync of the same
disk in the same run. Senders and relay share this machine's processors: with a host for each sender, most of the time is
that of the senders, who check a signature each. Nothing of it is left behind; no other relay and no home folder is touched.`,
		Example: `  kith bench relay
  kith bench relay --senders 1 --seconds 10          # what one deposit takes
  kith bench relay --folder /srv/kith --json | tail -1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l.For = time.Duration(seconds) * time.Second
			return a.doBenchRelay(cmd, l)
		},
	})
	f := cmd.Flags()
	f.IntVar(&l.Senders, "senders", 64, "how many deposit at once, each into a mailbox of its own")
	f.IntVar(&l.Hosts, "hosts", 1, "libp2p hosts that the senders share")
	f.IntVar(&l.Bytes, "bytes", 1024, "size of a message, sealed")
	f.IntVar(&seconds, "seconds", 5, "length of each of the two phases of deposits")
	f.StringVar(&l.Over, "over", bench.TCP, "tcp or quic")
	f.StringVar(&l.Folder, "folder", "", "where the relay keeps its files, on the disk to be measured (default: the temporary folder)")
	_ = cmd.MarkFlagDirname("folder")
	return cmd
}

func (a *app) doBenchRelay(cmd *cobra.Command, l bench.Load) error {
	if err := checkLoad(cmd, l); err != nil {
		return err
	}
	var err error
	if l.Exe, err = os.Executable(); err != nil {
		return err
	}
	l.Tell = a.showPhase
	a.benchHead(fmt.Sprintf("kith bench relay --senders %d --hosts %d --bytes %d --seconds %d --over %s", l.Senders, l.Hosts, l.Bytes, int(l.For.Seconds()), l.Over))
	r, err := l.Run(cmd.Context())
	if shown := a.emitAs("result", r, func() { a.showLoad(r) }); shown != nil {
		return shown
	}
	return a.benchEnded(cmd.Context(), r.OK, r.Why, err)
}

func checkLoad(cmd *cobra.Command, l bench.Load) error {
	for _, c := range []struct {
		ok  bool
		why string
	}{
		{l.Senders >= 1 && l.Senders <= bench.MaxSenders, fmt.Sprintf("--senders is 1 to %d", bench.MaxSenders)},
		{l.Hosts >= 1 && l.Hosts <= l.Senders, "--hosts is 1 to the number of senders"},
		{l.Bytes >= bench.MinBytes && l.Bytes <= bench.MaxBytes, fmt.Sprintf("--bytes is %d to %d", bench.MinBytes, bench.MaxBytes)},
		{l.For >= time.Second && l.For <= time.Hour, "--seconds is 1 to 3600"},
		{l.Over == bench.TCP || l.Over == bench.QUIC, "--over is tcp or quic"},
	} {
		if !c.ok {
			return usage(cmd, c.why)
		}
	}
	return nil
}

// benchHead repeats all parameters and names the columns.
func (a *app) benchHead(line string) {
	if a.json {
		return
	}
	a.out.Printf("%s\n", line)
	a.out.Printf("%s\n", term.In(term.Dim, fmt.Sprintf("%-10s %10s %9s %9s %9s %9s %9s %9s %9s %9s", "", "per second",
		"min ms", "avg", "P50", "P90", "P99", "P99.9", "max", "n")))
}

func (a *app) showPhase(p bench.Phase) {
	_ = a.emitAs("phase", p, func() {
		rate := "-"
		if p.PerSecond > 0 {
			rate = strconv.FormatFloat(p.PerSecond, 'f', 0, 64)
		}
		words := []string{fmt.Sprintf("%-10s %10s", p.Name, rate)}
		for _, ms := range []float64{p.Min, p.Avg, p.P50, p.P90, p.P99, p.P999, p.Max} {
			words = append(words, fmt.Sprintf("%9.3f", ms))
		}
		a.out.Printf("%s %9d\n", strings.Join(words, " "), p.N)
	})
}

func (a *app) showLoad(r bench.Result) {
	if r.Resident > 0 {
		a.out.Printf("one deposit took %.0f us of the relay's processor one at a time, %.0f us pipelined; the rest is the senders', on the same cores\n", r.CPU, r.PipeCPU)
		a.out.Printf("the relay held at most %d MiB of memory and %.2f bytes of disk for one of mail\n", r.Resident>>20, r.Disk)
	}
	a.benchVerdict(r.OK, r.Partial, fmt.Sprintf("%d deposits with a receipt, %d of them fetched, %d lost, %d doubled", r.Stored, r.Drained, r.Lost, r.Doubled))
}

func (a *app) benchVerdict(ok, partial bool, words string) {
	word := term.In(term.Green, "OK")
	switch {
	case partial:
		word = term.In(term.Red, "PARTIAL")
	case !ok:
		word = term.In(term.Red, "FAILED")
	}
	a.out.Printf("%s  %s\n", word, words)
}

// benchEnded is the exit of a benchmark; that it was interrupted is no failure of a relay.
func (a *app) benchEnded(ctx context.Context, ok bool, why string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return api.Fail(api.ExitFailed, "the benchmark failed: "+err.Error(), "kith bench --help")
	case !ok:
		return api.Fail(api.ExitFailed, "the benchmark failed: "+why, "kith bench --help")
	}
	return nil
}
