package cli

import (
	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/rpc"
)

func (a *app) cmdRPC() *cobra.Command {
	return &cobra.Command{
		Use: "rpc", GroupID: groupMachine, Args: args(0, 0),
		Short: "Speak JSON-RPC 2.0 with a program, one JSON value a line",
		Long: `Reads requests from stdin and writes answers to stdout: JSON-RPC 2.0, one value a line. The methods are those of
kith api, their params an object. subscribe streams events as notifications, from {"since":CURSOR}, from where the node
keeps {"consumer":NAME}, or else from now; unsubscribe and end stop. It ends with its input. docs/bots has bots to start
from.`,
		Example: `  echo '{"jsonrpc":"2.0","id":1,"method":"status"}' | kith rpc
  mkfifo q; ./bot < q | kith rpc > q`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			defer c.Close()
			return rpc.New(c, a.line).Serve(cmd.Context(), a.in)
		},
	}
}

// line prints one JSON document of a conversation with a program. A filter of --jq that fails on one says so.
func (a *app) line(object []byte) {
	if err := a.emit(object, nil); err != nil {
		a.note("%s", err.Error())
	}
}
