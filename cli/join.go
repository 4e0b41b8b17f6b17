package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

type joinFlags struct {
	as      string
	timeout time.Duration
}

func (a *app) cmdJoin() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use: "join LINK", GroupID: groupPeople, Args: args(1, 1), Short: "Take up a friend's invite",
		Long:    "Takes up the link of 'kith invite'. If the friend is away, the contact is pending until they are back. - reads the link from stdin.",
		Example: "  kith join LINK --as bob\n  pbpaste | kith join -",
		RunE: func(cmd *cobra.Command, args []string) error {
			link, err := a.argOrStdin(args[0])
			if err != nil {
				return usage(cmd, "the link cannot be read: "+err.Error())
			}
			return a.doJoin(cmd.Context(), link, f)
		},
	}
	cmd.Flags().StringVar(&f.as, "as", "", "your name for the friend (default: theirs)")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the friend's node; afterwards the contact is pending")
	return cmd
}

func (a *app) doJoin(ctx context.Context, link string, f joinFlags) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	defer c.Close()
	var before api.EventsPage
	if err := c.Call(ctx, "events", api.EventsRequest{Max: 1}, &before); err != nil {
		return err
	}
	var contact view.Contact
	if err := c.Call(ctx, "join", api.JoinRequest{Link: link, Handle: f.as}, &contact); err != nil {
		return err
	}
	if contact.State == "pending" {
		contact = answered(ctx, c, before.Newest, contact, f.timeout)
	}
	if contact.Declined != "" {
		return api.Fail(api.ExitRefused, contact.Handle+" declined: "+contact.Declined, "kith contact show "+contact.Handle)
	}
	return a.emitAs("contact", contact, func() { a.showJoined(contact) })
}

// answered waits for the friend's node by events, and returns the contact as it is then. That the friend is away is no
// failure.
func answered(ctx context.Context, c *api.Client, since uint64, contact view.Contact, timeout time.Duration) view.Contact {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = c.Events(ctx, since, func(n view.Notice) error {
		if n.Type != "contact" || n.Contact == nil || !strings.HasPrefix(n.Contact.User, contact.User) {
			return nil
		}
		if contact = *n.Contact; contact.State == "pending" && contact.Declined == "" {
			return nil
		}
		return errEnough
	})
	return contact
}

func (a *app) showJoined(c view.Contact) {
	a.out.Printf("%s  %s\n", term.In(term.Bold, c.Handle), contactWords(c))
	if c.State == "pending" {
		a.note("%s is asked; the answer comes when their node is there", c.Handle)
	}
	a.next("kith contact show " + c.Handle)
}
