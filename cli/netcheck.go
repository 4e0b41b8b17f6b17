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
			var found api.Checks
			if err := c.Call(cmd.Context(), "netcheck", api.None{}, &found); err != nil {
				return err
			}
			return a.checks("netcheck", found.Checks)
		},
	}
}

// checks prints findings, and returns a failure if one of them failed.
func (a *app) checks(typ string, list []api.Check) error {
	if err := a.emitAs(typ, api.Checks{Checks: list}, func() { a.showChecks(list) }); err != nil {
		return err
	}
	return failed(list)
}

func (a *app) showChecks(list []api.Check) {
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
}

func failed(list []api.Check) error {
	for _, c := range list {
		if c.Result == "fail" {
			return silent{api.ExitFailed}
		}
	}
	return nil
}
