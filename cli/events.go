package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

type eventsFlags struct {
	streamFlags
	since, consumer string
}

func (a *app) cmdEvents() *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use: "events", GroupID: groupMachine, Args: args(0, 0),
		Short: "Everything that happens, one JSON object a line",
		Long: `Prints events as they come, one JSON object a line, in order. Each has a cursor: --since CURSOR goes on after it.
With --consumer NAME the node keeps the cursor: an event counts as done when the next one was printed, so that after a
crash none is missing and the last one may come again.`,
		Example: `  kith events
  kith events --since 0 --jq 'select(.type == "message") | .message.text'
  kith events --consumer bot | ./bot`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doEvents(cmd, f) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.since, "since", "now", "cursor of the last event that you have, or now")
	cmd.Flags().StringVar(&f.consumer, "consumer", "", "let the node keep the cursor under this name")
	return cmd
}

func (a *app) doEvents(cmd *cobra.Command, f eventsFlags) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	done := uint64(0)
	stream := func(ctx context.Context, each func(view.Notice) error) error {
		if f.consumer != "" {
			return c.Consume(ctx, f.consumer, each)
		}
		if f.since == "now" {
			return c.Now(ctx, each)
		}
		since, err := strconv.ParseUint(f.since, 10, 64)
		if err != nil {
			return usage(cmd, "--since is the cursor of an event, or now")
		}
		return c.Events(ctx, since, each)
	}
	keep := func(cursor uint64) error {
		if f.consumer == "" || cursor == 0 {
			return nil
		}
		return c.Call(cmd.Context(), "consumer_set", api.ConsumerRequest{Consumer: f.consumer, Cursor: cursor}, nil)
	}
	err = a.follow(cmd.Context(), f.streamFlags, stream, func(n view.Notice) error {
		if err := keep(done); err != nil {
			return err
		}
		done = max(done, n.Cursor) // what is not kept, as typing, has none
		return a.emitAs("", n, nil)
	})
	if err != nil {
		return err
	}
	return keep(done)
}
