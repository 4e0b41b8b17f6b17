package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdRearm() *cobra.Command {
	return &cobra.Command{
		Use: "rearm MSG", GroupID: groupTalk, Args: args(1, 1), Short: "Give a message that ends soon, or has ended, another 30 days",
		Long: `A message that a device has not acknowledged is tried for 30 days. In the last five, and after the end, rearm begins
another 30. Whoever had it already does not see it twice.`,
		Example: "  kith rearm 3fa9c1\n  kith events --jq 'select(.type == \"expiring\") | .id'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "rearm", api.MessageRequest{ID: args[0]}, a.showMessageStatus)
		},
	}
}
