package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
)

// modelAnswer holds nothing of the machine that ran it: one seed, one answer, byte for byte.
type modelAnswer struct {
	Partial bool `json:"partial"` // it was interrupted
	model.Totals
}

func (a *app) simModel() *cobra.Command {
	c := model.Default()
	cmd := tolerant(&cobra.Command{
		Use: "model", Args: args(0, 0), Short: "A population of up to ten million devices",
		Long: "Plays a population of people, devices and relays in virtual time, with the functions that decide in production,\n" +
			"but without keys and wire. docs/simulation.md says what is modelled and what is assumed. An interrupt gives what came\n" +
			"out so far, marked partial.",
		Example: "  kith sim model --devices 10000 --days 30 --seed 7\n  kith sim model --devices 100000 --s 3 --no-repair --jq .counts.destroyed",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.playModel(cmd.Context(), c, modelLine(cmd))
		},
	})
	f := cmd.Flags()
	f.IntVar(&c.Devices, "devices", c.Devices, "devices")
	f.IntVar(&c.Days, "days", c.Days, "days")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "where all chance comes from")
	f.Float64Var(&c.Messages, "messages", c.Messages, "messages that a user writes a day")
	f.IntVar(&c.PerRelay, "per-relay", c.PerRelay, "devices for each relay")
	f.IntVar(&c.R, "r", c.R, "members of a set of relays")
	f.IntVar(&c.W, "w", c.W, "receipts that make custody")
	f.IntVar(&c.S, "s", c.S, "standbys of a set")
	f.BoolVar(&c.NoRepair, "no-repair", false, "relays leave each other alone")
	f.BoolVar(&c.SendersDie, "senders-die", false, "authors' outboxes are lost once relays have custody")
	return cmd
}

// modelLine repeats every parameter, also those that were left as they are.
func modelLine(cmd *cobra.Command) string {
	line := "sim model"
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			line += " --" + f.Name + "=" + f.Value.String()
		}
	})
	return line
}

// simProgress is how often progress is told.
const simProgress = time.Second

func (a *app) playModel(ctx context.Context, c model.Config, line string) error {
	w, err := model.New(c)
	if err != nil {
		return api.Fail(api.ExitUsage, err.Error(), "kith sim model --help")
	}
	if !a.json && a.jq == "" {
		a.out.Printf("%s\n", line)
	}
	told := time.Now()
	for more := true; more && ctx.Err() == nil; {
		if more = w.Step(); time.Since(told) >= simProgress {
			told = time.Now()
			a.note("%s", w.Progress())
		}
	}
	answer := modelAnswer{Totals: w.Totals(), Partial: w.Days() < c.Days}
	err = a.emitAs("sim_model", answer, func() { a.showModel(answer) })
	if err == nil && answer.Partial {
		return silent{api.ExitInterrupted}
	}
	return err
}

func (a *app) showModel(m modelAnswer) {
	n := m.Counts
	if m.Partial {
		a.out.Printf("%s\n", term.In(term.Red, fmt.Sprintf("partial: interrupted after %s", count(m.Days, "day"))))
	}
	row := func(name, format string, args ...any) {
		a.out.Printf("%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("lost", "%d of %d in custody (%.2g)", n.Lost, n.Custody, m.LostShare)
	row("all copies gone", "%d (%.2g): lost if no author had an outbox", n.Destroyed, m.SenderGoneShare)
	row("expired", "%d, their device was away for longer than mail lives", n.Expired)
	row("orphaned", "%d, their device was replaced", n.Orphaned)
	row("no custody at once", "%d of %d that came to relays", n.Waited, n.Stored)
	row("pending", "%d", n.Pending)
	row("messages", "%d, %d deliveries: %d to who was there, %d fetched, %d from the author again", n.Messages, n.Deliveries, n.There, n.Fetched, n.Recovered)
	row("delivery, seconds", "%s", spread(m.Seconds))
	row("  who was there", "%s", spread(m.SecondsThere))
	row("  who was away", "%s", spread(m.SecondsAway))
	row("online", "%.1f %% of the time; %s, %s, %s", 100*m.OnlineShare, count(m.Config.Devices, "device"), count(m.Users, "user"), count(m.Relays, "relay"))
	row("bytes on a relay", "%s", spread(m.StoredBytes))
	row("  at most", "%s", spread(m.PeakBytes))
	row("mail, an hour", "%s a device, %s a relay", size(uint64(m.DeviceBytesHour)), size(uint64(m.RelayBytesHour)))
	row("repair", "%d copies, %.2g bytes for each byte deposited; %d relays died, %d elections", n.Copies, m.RepairPerStored, n.Deaths, n.Elections)
	row("lookup, hops", "%s", spread(m.LookupHops))
	row("events", "%d", m.Events)
}

// spread is a distribution in one line.
func spread(s result.Spread) string {
	if s.N == 0 {
		return "none"
	}
	var out []string
	for _, x := range []struct {
		name  string
		value float64
	}{{"min", s.Min}, {"avg", s.Mean}, {"P50", s.P50}, {"P90", s.P90}, {"P99", s.P99}, {"P99.9", s.P999}, {"max", s.Max}} {
		format := "%s %.0f"
		if x.value < 100 {
			format = "%s %.3g"
		}
		out = append(out, fmt.Sprintf(format, x.name, x.value))
	}
	return strings.Join(out, "  ") + fmt.Sprintf("  n %d", s.N)
}
