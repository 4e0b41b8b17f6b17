package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdInvite() *cobra.Command {
	var ttl time.Duration
	var qr bool
	cmd := &cobra.Command{
		Use: "invite", GroupID: groupPeople, Args: args(0, 0), Short: "Make a link for a friend",
		Long: `Makes a link that works once, until it expires. Whoever opens it with 'kith join' becomes your contact, and both of
you are sure of the other: give it only to the one it is for.`,
		Example: "  kith invite\n  kith invite --ttl 1h --jq .text",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "invite_create", api.TTLRequest{TTLSeconds: seconds(ttl)}, func(v view.Invite) {
				a.showLink(v, qr, "works once, until "+until(v.Expires), "kith join")
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the link works (default 7 days, at most 30)")
	cmd.Flags().BoolVar(&qr, "qr", false, "draw the QR code also without a terminal")
	return cmd
}

// seconds rounds up: less than a second is not "the default".
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func until(t time.Time) string {
	t = t.Local()
	if time.Until(t) < 24*time.Hour {
		return t.Format("15:04")
	}
	return t.Format("Monday 2 January, 15:04")
}

// showLink prints a link: as a code for a camera if someone can see it, and as text.
func (a *app) showLink(v view.Invite, always bool, terms, command string) {
	a.draw(v.Link, always)
	link := v.Text
	if link == "" {
		link = v.Link
	}
	a.out.Printf("%s\n", link)
	a.note("%s", terms)
	a.note("the other side: %s %s", command, "LINK")
}

// draw shows a text as a QR code, on a terminal or always, if it fits.
func (a *app) draw(text string, always bool) {
	if code, err := term.QR(text); err == nil && (always || isTerminal(a.stdout)) {
		a.out.Printf("%s\n", term.Block{Text: code})
	}
}
