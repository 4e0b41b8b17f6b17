package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

// act runs a method that changes a message, and shows what it is now.
func (a *app) act(cmd *cobra.Command, method string, req any) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	return ask(cmd.Context(), a, c, method, req, func(s api.Sent) { a.showMessage(s.Message) })
}

func (a *app) cmdReact() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use: "react ID [EMOJI]", GroupID: groupTalk, Args: args(1, 2), Short: "React to a message, or take the reaction back",
		Long:    "Each person has one reaction to a message; another one takes its place.",
		Example: "  kith react 3fa9c1 👍\n  kith react 3fa9c1 --remove",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.ReactRequest{ID: args[0]}
			switch {
			case remove == (len(args) == 2):
				return usage(cmd, "either an emoji, or --remove")
			case !remove:
				q.Emoji = args[1]
			}
			return a.act(cmd, "react", q)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take it back")
	return cmd
}

func (a *app) cmdEdit() *cobra.Command {
	return &cobra.Command{
		Use: "edit ID TEXT|-", GroupID: groupTalk, Args: args(2, 2), Short: "Replace the text of a message of yours",
		Long:    "Works within 15 minutes and at most 5 times; everybody can see the earlier texts (kith read -v).",
		Example: "  kith edit 3fa9c1 \"at nine\"\n  date | kith edit 3fa9c1 -",
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.textOf(cmd, args, false)
			if err != nil {
				return err
			}
			return a.act(cmd, "edit", api.EditRequest{ID: args[0], Text: text})
		},
	}
}

// one makes a command that does one thing to one message.
func (a *app) one(use, short, long, example, method string) *cobra.Command {
	return &cobra.Command{
		Use: use, GroupID: groupTalk, Args: args(1, 1), Short: short, Long: long, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, method, api.MessageRequest{ID: args[0]})
		},
	}
}

func (a *app) cmdUnsend() *cobra.Command {
	return a.one("unsend ID", "Take a message of yours back, everywhere",
		"Works within 2 minutes. Text and files are erased on every device that hears of it; who has read it has read it.",
		"  kith unsend 3fa9c1", "unsend")
}

func (a *app) cmdDelete() *cobra.Command {
	return a.one("delete ID", "Hide a message on your own devices",
		"Hides a message on all your devices, and on nobody else's. kith undelete brings it back for 30 days, then it is erased.",
		"  kith delete 3fa9c1", "message_delete")
}

func (a *app) cmdUndelete() *cobra.Command {
	return a.one("undelete ID", "Bring back a message that you deleted",
		"Works for 30 days after kith delete. kith read CHAT --deleted shows what can come back.",
		"  kith read bob --deleted\n  kith undelete 3fa9c1", "message_undelete")
}
