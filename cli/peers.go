package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdPeers() *cobra.Command {
	return &cobra.Command{
		Use: "peers", GroupID: groupNetwork, Args: args(0, 0), Short: "Every connection",
		Example: "  kith peers\n  kith peers --jq '.peers | length'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "peers", api.None{}, a.showPeers)
		},
	}
}

func (a *app) showPeers(l api.Peers) {
	if len(l.Peers) == 0 {
		a.note("no connections")
		a.next("kith netcheck")
		return
	}
	var rows [][]any
	for _, p := range l.Peers {
		role := ""
		if p.Relay {
			role += "relay "
		}
		if p.Direct {
			role += "direct"
		}
		addr := ""
		if len(p.Addrs) > 0 {
			addr = p.Addrs[0]
		}
		rows = append(rows, []any{p.Peer, p.Transport, role, addr})
	}
	a.out.Table(rows)
}
