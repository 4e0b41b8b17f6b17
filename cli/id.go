package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdID() *cobra.Command {
	return &cobra.Command{
		Use: "id", GroupID: groupSelf, Args: args(0, 0), Short: "Who this device is",
		Example: "  kith id\n  kith id --jq .user",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "identity", api.None{}, a.showIdentity)
		},
	}
}

func (a *app) showIdentity(id view.Identity) {
	role := "device"
	if id.Admin {
		role = "admin device"
	}
	a.out.Table([][]any{
		{"name", term.In(term.Bold, id.Name)},
		{"user", id.User},
		{"fingerprint", id.Fingerprint},
		{role, id.DeviceName + "  " + short(id.Device)},
		{"devices", count(id.Devices, "device")},
	})
}
