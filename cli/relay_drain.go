package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

// drainLook is how often a drain's progress is asked for.
const drainLook = 500 * time.Millisecond

func (a *app) relayDrain() *cobra.Command {
	var within time.Duration
	var yes, cancel bool
	cmd := &cobra.Command{
		Use: "drain", Args: args(0, 0), Short: "Leave as a relay: hand everything over first",
		Long: `Tells everybody that this relay leaves, takes no new mailboxes, and hands every mailbox over to the other relays of its
set. It ends when enough of them have proved that they hold everything (exit code 0: it is safe to stop), or when the time
is over (exit code 3: something is left, and says how much). Mail that is left stays on this disk, and is served while the
node runs. Ctrl-C ends only the watching: the relay goes on leaving until kith relay drain --cancel.`,
		Example: "  kith relay drain --yes\n  kith relay drain --yes --within 72h --json | tail -1\n  kith relay drain --cancel",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case cancel && yes:
				return usage(cmd, "--yes leaves, --cancel stays: say one of them")
			case cancel:
				return a.doDrainCancel(cmd.Context())
			case !yes:
				return usage(cmd, "this relay would leave; say --yes")
			case within < time.Minute || within > 30*24*time.Hour:
				return usage(cmd, "--within is 1m to 720h")
			}
			return a.doDrain(cmd.Context(), within)
		},
	}
	cmd.Flags().DurationVar(&within, "within", 24*time.Hour, "how long the others get to take over, 1m to 720h")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "stay a relay")
	return cmd
}

func (a *app) doDrainCancel(ctx context.Context) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	return ask(ctx, a, c, "relay_drain", api.DrainRequest{Cancel: true}, func(api.Relay) {
		a.out.Printf("this node stays a relay\n")
	})
}

func (a *app) doDrain(ctx context.Context, within time.Duration) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	var r api.Relay
	if err := c.Call(ctx, "relay_drain", api.DrainRequest{TimeoutMS: within.Milliseconds()}, &r); err != nil {
		return err
	}
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for boxes, done := -1, -1; ; {
		if r.Drain == nil {
			return api.Fail(api.ExitFailed, "this node does not drain any more", "kith relay status")
		}
		if d := *r.Drain; d.State != drainRunning {
			return a.drained(d)
		} else if d.Boxes != boxes || d.Done != done {
			boxes, done = d.Boxes, d.Done
			a.drainProgress(d)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			a.note("the relay goes on leaving; to see how far it is: %s", a.complete("kith relay status"))
			return ctx.Err()
		}
		var now api.Relay // a new one: what the answer leaves out is gone, not as it was
		if err := c.Call(ctx, "relay_status", api.None{}, &now); err == nil {
			r = now
		} else if ctx.Err() == nil {
			return err
		}
	}
}

// drainRunning and drainDone are states of api.Drain; every other one is an end that left something.
const (
	drainRunning = "running"
	drainDone    = "done"
)

// drainProgress is a line on stderr, or with --json an object of the stream.
func (a *app) drainProgress(d api.Drain) {
	if a.json {
		_ = a.emitAs("relay_drain", d, nil)
		return
	}
	if d.Boxes == 0 {
		a.note("it says that it leaves, and looks for what others have to take over, until %s", when(d.Until))
		return
	}
	a.note("%d of %s handed over, until %s", d.Done, countIn(d.Boxes, "mailbox", "mailboxes"), when(d.Until))
}

// drained is the end of it.
func (a *app) drained(d api.Drain) error {
	err := a.emitAs("relay_drain", d, func() {
		if d.State == drainDone {
			a.out.Printf("%s handed over: it is safe to stop\n", countIn(d.Boxes, "mailbox", "mailboxes"))
			return
		}
		a.out.Printf("%s of %d left here: %s\n", countIn(d.Boxes-d.Done, "mailbox", "mailboxes"), d.Boxes, drainWhy(d))
	})
	if err == nil && d.State != drainDone {
		a.next("kith relay drain --yes --within 72h")
		return silent{api.ExitPartial}
	}
	return err
}

func drainWhy(d api.Drain) string {
	switch {
	case d.Error != "":
		return d.Error
	case d.State == "cancelled":
		return "it was called off"
	}
	return "the other relays did not take them over in time"
}

// drainWords is a drain in a line of the status.
func drainWords(d *api.Drain) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("; %d of %s handed over, %s", d.Done, countIn(d.Boxes, "mailbox", "mailboxes"), d.State)
}
