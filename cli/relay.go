package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
)

func (a *app) cmdRelay() *cobra.Command {
	cmd := &cobra.Command{
		Use: "relay", GroupID: groupNetwork, Args: cobra.ArbitraryArgs, Short: "Relays that hold your mail; being one",
		Example: "  kith relay status\n  kith relay enable", RunE: group,
	}
	cmd.AddCommand(
		a.relayStatus(),
		a.relaySet("enable", "Hold mail for others, now and after the next start"),
		a.relaySet("disable", "Hold no more mail for others"),
		a.relayExplain(),
	)
	return cmd
}

// relayAnswer is both sides of relaying.
type relayAnswer struct {
	Mailbox node.MailboxView `json:"mailbox"` // who holds our mail
	Relay   *api.Relay       `json:"relay"`   // what we do for others; null without a node
}

func (a *app) relayStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Args: args(0, 0), Short: "Who holds your mail, and whose you hold",
		Example: "  kith relay status\n  kith relay status --jq '.mailbox.relays[] | select(.member) | .peer'",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doRelayStatus(cmd.Context()) },
	}
}

func (a *app) doRelayStatus(ctx context.Context) error {
	c, err := a.reader()
	if err != nil {
		return err
	}
	var answer relayAnswer
	if err := c.Call(ctx, "mailbox", api.None{}, &answer.Mailbox); err != nil {
		return err
	}
	if _, offline := c.(api.Local); !offline {
		answer.Relay = &api.Relay{}
		if err := c.Call(ctx, "relay_status", api.None{}, answer.Relay); err != nil {
			return err
		}
	}
	return a.emitAs("relay_status", answer, func() { a.showRelays(answer) })
}

func (a *app) showRelays(v relayAnswer) {
	a.out.Printf("our mail: %s\n", mailboxWords(v.Mailbox))
	var rows [][]any
	for _, r := range v.Mailbox.Relays {
		role := "candidate"
		switch {
		case r.Member:
			role = "holds our mail"
		case r.Standby:
			role = "standby"
		}
		rows = append(rows, []any{"  " + r.Peer, role, r.Source, fmt.Sprintf("%d ok, %d failed", r.OK, r.Failed)})
	}
	a.out.Table(rows)
	switch {
	case v.Relay == nil:
		a.note("no node is running")
	case v.Relay.Enabled:
		a.out.Printf("we hold mail for others: %s, %s acknowledged, %d refused\n", count(int(v.Relay.Deposits), "deposit"), fmt.Sprint(v.Relay.Acked), v.Relay.Refused)
	default:
		a.out.Printf("we hold no mail for others\n")
	}
	a.next(v.Mailbox.Hint)
}

func (a *app) relaySet(verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb, Args: args(0, 0), Short: short, Example: "  kith relay " + verb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "relay_"+verb, api.None{}, func(r api.Relay) {
				if r.Enabled {
					a.out.Printf("this node holds mail for others\n")
				} else {
					a.out.Printf("this node holds no mail for others\n")
				}
			})
		},
	}
}

func (a *app) relayExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain", Args: args(0, 0), Short: "Why your relays were elected",
		Long:    "Runs the election of your relays again from what was known then, and says of each candidate why it was taken or not.",
		Example: "  kith relay explain",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "relay_explain", api.None{}, a.showExplanation)
		},
	}
}

func (a *app) showExplanation(x api.Explanation) {
	for _, l := range x.Lines {
		a.out.Printf("%s\n", l)
	}
}
