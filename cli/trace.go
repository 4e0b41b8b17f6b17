package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdTrace() *cobra.Command {
	return &cobra.Command{
		Use: "trace ID", GroupID: groupTalk, Args: args(1, 1), Short: "What was tried for a message, with timings",
		Example: "  kith trace 3fa9c1",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "trace", api.MessageRequest{ID: args[0]}, a.showTrace)
		},
	}
}

func (a *app) showTrace(t api.TraceView) {
	if len(t.Steps) == 0 {
		a.note("nothing: only what this device sent is traced")
	}
	var rows [][]any
	for i, s := range t.Steps {
		at := s.At.Local().Format("15:04:05.000")
		if i > 0 {
			at = "+" + s.At.Sub(t.Steps[0].At).Round(time.Millisecond).String()
		}
		rows = append(rows, []any{at, short(s.Device), s.What, s.Detail})
	}
	a.out.Table(rows)
}
