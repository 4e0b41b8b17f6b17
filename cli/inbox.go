package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
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
		row := []any{term.In(term.Bold, c.Handle), inboxWords(c), "", ""}
		if c.Last != nil {
			// The text of another stands last: nothing of ours is right of it.
			row[2], row[3] = when(c.Last.SentAt), from(*c.Last)+lastWords(*c.Last)
		}
		rows = append(rows, row)
	}
	a.out.Table(rows)
}

// inboxWords say what is special about a conversation, the news first.
func inboxWords(c view.Chat) string {
	words := chatWords(c)
	if c.Left {
		words = append([]string{"no member any more"}, words...)
	}
	if c.Unread > 0 {
		words = append([]string{fmt.Sprintf("%d new", c.Unread)}, words...)
	}
	return strings.Join(words, ", ")
}

func from(m view.Message) string {
	switch {
	case m.Mine:
		return "me: "
	case m.Group:
		return m.From + ": "
	}
	return ""
}

// lastWords are what the newest message of a conversation says, or what became of it, or what came with it.
func lastWords(m view.Message) string {
	words := firstWords(content(m))
	switch {
	case m.Unsent || m.Deleted || m.Erased:
		words = "(" + strings.Join(marks(m), ", ") + ")"
	case words == "" && len(m.Files) > 0:
		words = "(" + count(len(m.Files), "file") + ") " + firstWords(m.Files[0].Name)
	}
	return words
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
