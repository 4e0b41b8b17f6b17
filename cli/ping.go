package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdPing() *cobra.Command {
	return &cobra.Command{
		Use: "ping TO", GroupID: groupNetwork, Args: args(1, 1), Short: "Reach the devices of a contact, or a peer, now",
		Example: "  kith ping bob\n  kith ping /ip4/192.0.2.7/tcp/4101/p2p/12D3KooW…",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			var got api.Pings
			if err := c.Call(cmd.Context(), "ping", api.PingRequest{To: args[0]}, &got); err != nil {
				return err
			}
			if err := a.emitAs("ping", got, func() { a.showPings(got) }); err != nil {
				return err
			}
			return pingResult(got)
		},
	}
}

func (a *app) showPings(l api.Pings) {
	var rows [][]any
	for _, p := range l.Pings {
		words := fmt.Sprintf("%.1f ms", p.RTTMS)
		if !p.OK {
			words = "no answer: " + p.Error
		}
		rows = append(rows, []any{p.Peer, words})
	}
	a.out.Table(rows)
}

// pingResult is partial if some answered, refused if none.
func pingResult(l api.Pings) error {
	ok := 0
	for _, p := range l.Pings {
		if p.OK {
			ok++
		}
	}
	switch {
	case ok == len(l.Pings) && ok > 0:
		return nil
	case ok > 0:
		return silent{api.ExitPartial}
	}
	return api.Fail(api.ExitRefused, "no device of "+l.To+" answered", "kith netcheck")
}
