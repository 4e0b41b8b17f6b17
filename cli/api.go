package cli

import (
	"encoding/json"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdAPI() *cobra.Command {
	return &cobra.Command{
		Use: "api [METHOD [REQUEST|-]]", GroupID: groupMachine, Args: args(0, 2),
		Short: "Call a method of the local API",
		Long: `Calls a method of the local API with a JSON request, and prints the JSON answer. Without a METHOD it lists them all;
docs/api.md describes them.`,
		Example: `  kith api
  kith api status
  kith api send '{"to":"bob","text":"hi"}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listMethods()
			}
			return a.callMethod(cmd, args)
		},
	}
}

// methodAnswer is one row of the table.
type methodAnswer struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"`
	Offline bool   `json:"offline"` // works without a node
	Doc     string `json:"doc"`
}

func (a *app) listMethods() error {
	var answer struct {
		Methods []methodAnswer `json:"methods"`
	}
	for _, m := range api.Methods() {
		answer.Methods = append(answer.Methods, methodAnswer{m.Name, string(m.Scope), m.Offline, m.Doc})
	}
	return a.emitAs("methods", answer, func() {
		var rows [][]any
		for _, m := range answer.Methods {
			rows = append(rows, []any{m.Name, m.Scope, m.Doc})
		}
		a.out.Table(rows)
	})
}

func (a *app) callMethod(cmd *cobra.Command, args []string) error {
	m, ok := api.Find(args[0])
	if !ok {
		return usage(cmd, "there is no method "+args[0])
	}
	body := json.RawMessage("{}")
	if len(args) == 2 {
		text, err := a.argOrStdin(args[1])
		if err != nil {
			return usage(cmd, "the request cannot be read: "+err.Error())
		}
		body = json.RawMessage(strings.TrimSpace(text))
	}
	var c caller
	var err error
	if m.Offline {
		c, err = a.reader()
	} else {
		c, err = a.node()
	}
	if err != nil {
		return err
	}
	raw, err := c.Raw(cmd.Context(), m.Name, body)
	if err != nil {
		return err
	}
	return a.emit(raw, nil)
}
