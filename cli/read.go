package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdRead() *cobra.Command {
	var peek, deleted bool
	var n int
	cmd := &cobra.Command{
		Use: "read CHAT", GroupID: groupTalk, Args: args(1, 1), Short: "Read a conversation",
		Long:    "Prints the newest messages, oldest first, and tells their authors that you read them unless --peek is given.",
		Example: "  kith read bob\n  kith read bob --peek -n 5\n  kith read bob -v                      # with ids, stages and earlier texts\n  kith read bob --jq '.messages[].text'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 0 {
				return usage(cmd, "--number is how many messages: 1 or more")
			}
			return a.doRead(cmd, api.MessagesRequest{Chat: args[0], Limit: n, Deleted: deleted}, peek || deleted)
		},
	}
	cmd.Flags().BoolVar(&peek, "peek", false, "do not say that you read them")
	cmd.Flags().BoolVar(&deleted, "deleted", false, "those that you deleted and can have back with kith undelete")
	cmd.Flags().IntVarP(&n, "number", "n", 0, "how many messages (default 50)")
	return cmd
}

func (a *app) doRead(cmd *cobra.Command, q api.MessagesRequest, peek bool) error {
	c, err := a.reader()
	if err != nil {
		return err
	}
	var m api.Messages
	raw, err := c.Raw(cmd.Context(), "messages", jsonOf(q))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	err = a.emit(raw, func() {
		for _, msg := range m.Messages {
			a.showMessage(msg)
		}
	})
	if err != nil || peek {
		return err
	}
	if _, offline := c.(api.Local); offline {
		a.note("not marked as read: no node is running")
		a.next("kith daemon")
		return nil
	}
	return markRead(cmd.Context(), c, q.Chat, unread(m.Messages))
}

// unread are the messages that nobody has seen yet.
func unread(list []view.Message) (ids []string) {
	for _, m := range list {
		if !m.Mine && !m.Read {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// markRead says that a person has seen these messages, and no others that came in between.
func markRead(ctx context.Context, c caller, chat string, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return c.Call(ctx, "mark_read", api.ReadRequest{Chat: chat, IDs: ids}, nil)
}
