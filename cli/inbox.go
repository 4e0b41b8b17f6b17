package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdInbox() *cobra.Command {
	return &cobra.Command{
		Use: "inbox", GroupID: groupTalk, Args: args(0, 0), Short: "Every conversation with its newest message",
		Example: "  kith inbox\n  kith inbox --jq '.chats[] | select(.unread > 0) | .handle'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "inbox", api.None{}, a.showInbox)
		},
	}
}

func (a *app) showInbox(in api.Chats) {
	if len(in.Chats) == 0 {
		a.note("no conversations yet")
		a.next("kith invite")
		return
	}
	var rows [][]any
	for _, c := range in.Chats {
		row := []any{term.In(term.Bold, c.Handle), unreadWords(c.Unread), "", ""}
		if c.Last != nil {
			// The text of another stands last: nothing of ours is right of it.
			row[2], row[3] = when(c.Last.SentAt), from(c.Last.Mine, c.Last.From)+firstWords(c.Last.Text)
		}
		rows = append(rows, row)
	}
	a.out.Table(rows)
}

func unreadWords(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d new", n)
}

func from(mine bool, _ string) string {
	if mine {
		return "me: "
	}
	return ""
}

// firstWords shortens a text for a list.
func firstWords(s string) string {
	const most = 60
	r := []rune(term.Clean(s))
	if len(r) <= most {
		return string(r)
	}
	return string(r[:most-1]) + "…"
}
