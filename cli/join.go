package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdJoin() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use: "join LINK", GroupID: groupPeople, Args: args(1, 1), Short: "Take up a friend's invite",
		Long:    "Takes up the link of 'kith invite'. If the friend is away, the contact is pending until they are back. - reads the link from stdin.",
		Example: "  kith join LINK --as bob\n  pbpaste | kith join -",
		RunE: func(cmd *cobra.Command, args []string) error {
			link, err := a.argOrStdin(args[0])
			if err != nil {
				return usage(cmd, "the link cannot be read: "+err.Error())
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "join", api.JoinRequest{Link: link, Handle: as}, a.showJoined)
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "your name for the friend (default: theirs)")
	return cmd
}

func (a *app) showJoined(c node.ContactView) {
	a.out.Printf("%s  %s\n", term.In(term.Bold, c.Handle), c.State)
	if c.State == "pending" {
		a.note("%s is asked; the answer comes when their node is there", c.Handle)
	}
	a.next("kith contact show " + c.Handle)
}
