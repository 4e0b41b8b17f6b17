package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/fuzz"
	"github.com/kith-im/kith/simnet/story"
)

func (a *app) simFuzz() *cobra.Command {
	var seeds, out string
	cmd := tolerant(&cobra.Command{
		Use: "fuzz [FILE]", Args: args(0, 1), Short: "Search for schedules that break a promise",
		Long: "Draws a schedule from each seed - who says what, which devices and relays stop, lose their disks, lie or are cut off, what\n" +
			"links do to envelopes - and looks after every line of it whether everything promised still holds. The first seed that\n" +
			"fails is shortened and written to a file, which FILE plays again. The exit code is 1 if a promise was broken.",
		Example: "  kith sim fuzz --seeds 1..1000 --out .\n  kith sim fuzz seed-17.txtar",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.replay(args[0])
			}
			from, to, err := seedRange(seeds)
			if err != nil {
				return usage(cmd, err.Error())
			}
			if stat, err := os.Stat(out); err != nil || !stat.IsDir() {
				return usage(cmd, fmt.Sprintf("--out %s is no folder", out))
			}
			return a.search(cmd.Context(), from, to, out)
		},
	})
	cmd.Flags().StringVar(&seeds, "seeds", "1..100", "which schedules, FIRST..LAST")
	cmd.Flags().StringVar(&out, "out", ".", "folder for the file of a seed that fails")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// seedRange reads FIRST..LAST, or one number.
func seedRange(text string) (from, to uint64, err error) {
	first, last, two := strings.Cut(text, "..")
	if !two {
		last = first
	}
	from, err = strconv.ParseUint(first, 10, 63)
	if err == nil {
		to, err = strconv.ParseUint(last, 10, 63)
	}
	if err != nil || from > to {
		return 0, 0, fmt.Errorf("--seeds %s: want FIRST..LAST, for example 1..1000", text)
	}
	return from, to, nil
}

// fuzzAnswer is what came of a search.
type fuzzAnswer struct {
	OK       bool     `json:"ok"`
	Partial  bool     `json:"partial"`
	Version  string   `json:"version"`
	First    uint64   `json:"first_seed"`
	Last     uint64   `json:"last_seed"`
	Played   int      `json:"played"`
	Messages int      `json:"messages"`
	Arrived  int      `json:"deliveries"`
	Days     float64  `json:"virtual_days"`
	Failed   uint64   `json:"failed_seed,omitempty"`
	Broken   []string `json:"broken"`
	Lines    int      `json:"lines,omitempty"`
	Shrunk   int      `json:"lines_left,omitempty"`
	File     string   `json:"file,omitempty"`
}

func (a *app) search(ctx context.Context, from, to uint64, out string) error {
	remember(0)
	answer := fuzzAnswer{OK: true, Version: buildVersion(), First: from, Last: to, Broken: []string{}}
	if !a.json {
		a.out.Printf("%s --seeds %d..%d --out %s (%s)\n", asBuilt("kith sim fuzz"), from, to, quote(out), answer.Version)
	}
	told := time.Now()
	for seed := from; seed <= to && answer.OK; seed++ {
		if answer.Partial = ctx.Err() != nil; answer.Partial {
			break
		}
		c := fuzz.Of(seed)
		o := c.Play(nil)
		answer.Played, answer.Messages, answer.Arrived = answer.Played+1, answer.Messages+o.Messages, answer.Arrived+o.Arrived
		answer.Days += o.Time.Hours() / 24
		if len(o.Broken) > 0 {
			answer.OK, answer.Failed, answer.Broken = false, seed, o.Broken
			if err := a.shorten(ctx, c, o.Promise, &answer, out); err != nil {
				return err
			}
		}
		if time.Since(told) >= simProgress {
			told = time.Now()
			a.progress(fmt.Sprintf("seed %d of %d..%d", seed, from, to))
		}
	}
	return a.tellSearch(answer)
}

// shorten writes the least that still breaks a promise; an interrupt keeps what has been found.
func (a *app) shorten(ctx context.Context, c fuzz.Case, promise string, answer *fuzzAnswer, out string) error {
	a.progress(fmt.Sprintf("seed %d breaks a promise; its %d lines are shortened", c.Seed, len(c.Script)))
	short := c.Shrink(func(try fuzz.Case) bool { return ctx.Err() == nil && try.Play(nil).Promise == promise })
	answer.Broken = short.Play(nil).Broken
	answer.Lines, answer.Shrunk = len(c.Script), len(short.Script)
	answer.File = filepath.Join(out, fmt.Sprintf("seed-%d.txtar", c.Seed))
	return keepFile(answer.File, short.File(answer.Broken[0], answer.Version))
}

func (a *app) tellSearch(x fuzzAnswer) error {
	failed := !x.OK
	x.OK = x.OK && !x.Partial
	err := a.emitAs("fuzz", x, func() {
		for _, b := range x.Broken {
			a.out.Printf("%s %s\n", term.In(term.Red, "broken:"), b)
		}
		if failed {
			a.out.Printf("seed %d, %s: %d of %d lines are enough, in %s\n", x.Failed, x.Version, x.Shrunk, x.Lines, x.File)
		}
		if x.Partial {
			a.out.Printf("%s\n", term.In(term.Red, "partial: interrupted"))
		}
		a.out.Printf("%s, %s, %d deliveries, %.0f virtual days\n", count(x.Played, "schedule"), count(x.Messages, "message"), x.Arrived, x.Days)
	})
	switch {
	case err != nil:
		return err
	case failed:
		return silent{api.ExitFailed}
	case x.Partial:
		return silent{api.ExitInterrupted}
	}
	return nil
}

// maxStory bounds a file that a search has written, in bytes.
const maxStory = 1 << 20

// replay plays a file that a search has written.
func (a *app) replay(file string) error {
	raw, err := readSmall(file, maxStory)
	if err != nil {
		return api.Fail(api.ExitNotFound, err.Error(), "kith sim fuzz --seeds 1..100")
	}
	s, err := story.Read(file, raw)
	if err != nil {
		return api.Fail(api.ExitUsage, err.Error(), "kith sim fuzz --help")
	}
	o := fuzz.Case{Seed: s.Seed, Script: s.Script}.Play(nil)
	answer := struct {
		OK     bool     `json:"ok"`
		Seed   uint64   `json:"seed"`
		Broken []string `json:"broken"`
		Trace  []string `json:"trace"`
	}{len(o.Broken) == 0, s.Seed, append([]string{}, o.Broken...), o.Trace}
	err = a.emitAs("fuzz", answer, func() {
		a.out.Printf("%s %s (seed %d)\n", asBuilt("kith sim fuzz"), quote(file), s.Seed)
		for _, line := range o.Trace {
			a.out.Printf("  %s\n", line)
		}
		for _, b := range o.Broken {
			a.out.Printf("%s %s\n", term.In(term.Red, "broken:"), b)
		}
	})
	if err == nil && !answer.OK {
		return silent{api.ExitFailed}
	}
	return err
}
