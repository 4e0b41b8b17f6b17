package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdNetcheck() *cobra.Command {
	return &cobra.Command{
		Use: "netcheck", GroupID: groupNetwork, Args: args(0, 0), Short: "What the network allows",
		Example: "  kith netcheck\n  kith netcheck --jq '.checks[] | select(.result != \"ok\")'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			var bad error
			err = ask(cmd.Context(), a, c, "netcheck", api.None{}, func(l api.Checks) { bad = a.showChecks(l.Checks) })
			if err != nil {
				return err
			}
			return bad
		},
	}
}

// showChecks prints findings, and returns a failure if one of them failed.
func (a *app) showChecks(list []api.Check) error {
	styles := map[string]term.Style{"ok": term.Green, "warn": term.Yellow, "fail": term.Red}
	var rows [][]any
	for _, c := range list {
		words := c.Why
		if c.Fix != "" {
			words += " → " + a.complete(c.Fix)
		}
		rows = append(rows, []any{term.In(styles[c.Result], c.Result), c.What, words})
	}
	a.out.Table(rows)
	return failed(list)
}

func failed(list []api.Check) error {
	for _, c := range list {
		if c.Result == "fail" {
			return silent{api.ExitFailed}
		}
	}
	return nil
}
