package cli

import (
	"github.com/spf13/cobra"
)

func (a *app) cmdDemo() *cobra.Command {
	return tolerant(&cobra.Command{Use: "demo", GroupID: groupStart, Args: args(0, 0), Short: "A story of two people, three devices and five relays, on this machine",
		RunE: func(cmd *cobra.Command, _ []string) error { return group(cmd, nil) }})
}
