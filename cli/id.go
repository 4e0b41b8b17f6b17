package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdID() *cobra.Command {
	cmd := &cobra.Command{
		Use: "id", GroupID: groupSelf, Args: args(0, 0), Short: "Who this device is, and what you say of yourself",
		Example: "  kith id\n  kith id --jq .user\n  kith id set --name Ada --handle ada@example.org",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "identity", api.None{}, a.showIdentity)
		},
	}
	cmd.AddCommand(a.idShow(), a.idSet())
	return cmd
}

func (a *app) idShow() *cobra.Command {
	return &cobra.Command{
		Use: "profile", Args: args(0, 0), Short: "What your contacts see of you, and the DNS records that prove it",
		Example: "  kith id profile\n  kith id profile --jq '.records[].text'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "profile", api.None{}, a.showProfile)
		},
	}
}

func (a *app) idSet() *cobra.Command {
	var name, picture string
	var handles []string
	var none bool
	cmd := &cobra.Command{
		Use: "set", Args: args(0, 0), Short: "Change what your contacts see of you",
		Long: `Your contacts see your name, and the handles that you give yourself. They call you what they like. A handle
name@example.org is shown as verified to those whose own node finds the record that kith id profile prints in the DNS.`,
		Example: "  kith id set --name \"Ada L.\"\n  kith id set --handle ada --handle ada@example.org\n  kith id set --no-handles\n  kith id set --picture me.jpg",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var q api.ProfileRequest
			if cmd.Flags().Changed("name") {
				q.Name = &name
			}
			if cmd.Flags().Changed("handle") || none {
				q.Handles = &handles
			}
			if cmd.Flags().Changed("picture") && picture != "" {
				path, err := filepath.Abs(picture)
				if err != nil {
					return usage(cmd, err.Error())
				}
				q.Picture = &path
			} else if cmd.Flags().Changed("picture") {
				q.Picture = &picture
			}
			if q.Name == nil && q.Handles == nil && q.Picture == nil {
				return usage(cmd, "say what to change")
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "profile_set", q, a.showProfile)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what you call yourself")
	cmd.Flags().StringArrayVar(&handles, "handle", nil, "a handle of yours, all of them: each time for one")
	cmd.Flags().StringVar(&picture, "picture", "", "a picture, of which a small copy without metadata is shown; \"\": none any more")
	cmd.Flags().BoolVar(&none, "no-handles", false, "have no handles")
	cmd.MarkFlagsMutuallyExclusive("handle", "no-handles")
	return cmd
}

func (a *app) showProfile(p view.Profile) {
	rows := [][]any{{"name", term.In(term.Bold, p.Name)}}
	for _, h := range p.Handles {
		rows = append(rows, []any{"handle", h})
	}
	if p.Picture != nil {
		rows = append(rows, []any{"picture", config.Size(p.Picture.Size).String() + "  kith save @me"})
	}
	for _, r := range p.Records {
		rows = append(rows, []any{"DNS record", r.Name + " TXT \"" + r.Text + "\""})
	}
	a.out.Table(rows)
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
		{"account key", id.AccountKey},
		{role, id.DeviceName + "  " + short(id.Device)},
		{"devices", count(id.Devices, "device")},
	})
}
