package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdRead() *cobra.Command {
	var peek bool
	var n int
	cmd := &cobra.Command{
		Use: "read CHAT", GroupID: groupTalk, Args: args(1, 1), Short: "Read a conversation",
		Long:    "Prints the newest messages, oldest first, and tells their authors that you read them unless --peek is given.",
		Example: "  kith read bob\n  kith read bob --peek -n 5\n  kith read bob --jq '.messages[].text'",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.doRead(cmd, args[0], n, peek) },
	}
	cmd.Flags().BoolVar(&peek, "peek", false, "do not say that you read them")
	cmd.Flags().IntVarP(&n, "number", "n", 0, "how many messages (default 50)")
	return cmd
}

func (a *app) doRead(cmd *cobra.Command, chat string, n int, peek bool) error {
	c, err := a.reader()
	if err != nil {
		return err
	}
	err = ask(cmd.Context(), a, c, "messages", api.MessagesRequest{Chat: chat, Limit: n}, func(m api.Messages) {
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
	return c.Call(cmd.Context(), "mark_read", api.ReadRequest{Chat: chat}, nil)
}

// showMessage prints one message as a line, the text last.
func (a *app) showMessage(m view.Message) {
	name := m.From
	if m.Mine {
		name = "me"
	}
	a.out.Printf("%s %s: %s\n", when(m.SentAt), term.In(term.Bold, name), term.Block{Text: m.Text, Indent: "      "})
	if a.verbose {
		a.out.Printf("      %s %s\n", short(m.ID), string(m.Stage))
	}
}
