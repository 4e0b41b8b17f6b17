package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

type streamFlags struct {
	count   int
	timeout time.Duration
}

func (f *streamFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.count, "count", 0, "end after so many (default: never)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "end after so long with exit code 6 (default: never)")
}

// errEnough ends a stream that has given what was asked for.
var errEnough = errors.New("enough")

// follow runs a stream until it has shown enough, or its time is up.
func (a *app) follow(ctx context.Context, f streamFlags, stream func(context.Context, func(view.Notice) error) error, each func(view.Notice) error) error {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	err := stream(ctx, func(n view.Notice) error {
		if err := each(n); err != nil {
			return err
		}
		if f.count > 0 && a.shown >= f.count {
			return errEnough
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return api.Fail(api.ExitTimeout, "nothing more came in "+f.timeout.String(), "kith inbox")
	}
	return err
}

func (a *app) cmdTail() *cobra.Command {
	var f streamFlags
	cmd := &cobra.Command{
		Use: "tail [CHAT]", GroupID: groupTalk, Args: args(0, 1), Short: "Show messages as they come",
		Long:    "Shows messages as they come, one a line, and marks none as read. It ends when the node does.",
		Example: "  kith tail\n  kith tail bob --json | while read -r m; do …; done\n  kith tail bob --count 1 --timeout 1m",
		RunE: func(cmd *cobra.Command, args []string) error {
			chat := ""
			if len(args) == 1 {
				chat = args[0]
			}
			return a.doTail(cmd.Context(), chat, f)
		},
	}
	f.add(cmd)
	return cmd
}

func (a *app) doTail(ctx context.Context, chat string, f streamFlags) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	if chat != "" {
		// Names the chat that there is not, before waiting for ever.
		var m api.Messages
		if err := c.Call(ctx, "messages", api.MessagesRequest{Chat: chat, Limit: 1}, &m); err != nil {
			return err
		}
	}
	return a.follow(ctx, f, c.Now, func(n view.Notice) error {
		if n.Type != "message" || n.Message == nil || chat != "" && n.Message.With != chat {
			return nil
		}
		return a.emitAs("message", n.Message, func() { a.showTailed(chat, *n.Message) })
	})
}

// showTailed names the conversation if there is more than one.
func (a *app) showTailed(chat string, m view.Message) {
	if chat == "" && m.Mine {
		m.From, m.Mine = "me to "+m.With, false
	}
	a.showMessage(m)
}
