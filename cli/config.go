package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
)

func (a *app) cmdConfig() *cobra.Command {
	cmd := tolerant(&cobra.Command{
		Use: "config", GroupID: groupMachine, Args: cobra.ArbitraryArgs, Short: "The settings",
		Example: "  kith config show --origin", RunE: group,
	})
	var origin bool
	show := tolerant(&cobra.Command{
		Use: "show", Args: args(0, 0), Short: "Every setting with its value",
		Example: "  kith config show --origin\n  KITH_RELAY=true kith config show --jq '.settings[] | select(.name == \"relay\")'",
		RunE:    func(*cobra.Command, []string) error { return a.showConfig(origin) },
	})
	show.Flags().BoolVar(&origin, "origin", false, "also where each value came from")
	cmd.AddCommand(show)
	return cmd
}

// configAnswer is every setting. Problem says why the file cannot be used; the defaults are shown then.
type configAnswer struct {
	Path     string         `json:"path"`
	Home     string         `json:"home"`
	Problem  string         `json:"problem,omitempty"`
	Settings []config.Entry `json:"settings"`
}

func (a *app) showConfig(origin bool) error {
	answer := configAnswer{Path: a.folders.Config, Home: a.folders.Home, Settings: a.set.All()}
	if a.broken != nil {
		answer.Problem = a.broken.Error()
	}
	return a.emitAs("config", answer, func() {
		a.note("file %s", answer.Path)
		a.note("home %s", answer.Home)
		if answer.Problem != "" {
			a.err.Printf("%s %s\n", term.In(term.Red, "problem:"), answer.Problem)
		}
		var rows [][]any
		for _, e := range answer.Settings {
			row := []any{e.Name, config.Text(e.Value)}
			if origin {
				row = append(row, term.In(term.Dim, string(e.Origin)))
			}
			rows = append(rows, row)
		}
		a.out.Table(rows)
	})
}
