package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdRelay() *cobra.Command {
	cmd := &cobra.Command{
		Use: "relay", GroupID: groupNetwork, Args: cobra.ArbitraryArgs, Short: "Relays that hold your mail; being one",
		Example: "  kith relay status\n  kith relay enable", RunE: group,
	}
	cmd.AddCommand(
		a.relayStatus(),
		a.relaySet("enable", "Hold mail for others, now and after the next start"), a.relayDisable(),
		a.relayLimits(), a.relayDrain(), a.relayCheck(),
		a.relayExplain(),
	)
	return cmd
}

// relayAnswer is both sides of relaying.
type relayAnswer struct {
	Mailbox view.Mailbox `json:"mailbox"` // who holds our mail
	Relay   *api.Relay   `json:"relay"`   // what we do for others; null without a node
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
		a.showOwnRelay(*v.Relay)
	default:
		a.out.Printf("we hold no mail for others\n")
	}
	a.next(v.Mailbox.Hint)
}

// showOwnRelay is this node as a relay: what it holds, what it did since its start, what needs somebody.
func (a *app) showOwnRelay(r api.Relay) {
	a.out.Printf("we hold mail for others: %s of %s in %s\n", config.Size(r.Bytes), config.Size(r.Limits.MaxBytes), countIn(r.Boxes, "mailbox", "mailboxes"))
	rows := [][]any{
		{"  messages", fmt.Sprint(r.Envelopes)},
		{"  room", fmt.Sprintf("%s of %s taken beyond the 64 KiB that each mailbox is sure of", config.Size(r.Over), config.Size(r.MaxOver))},
		{"  since the start", fmt.Sprintf("%s, %d acknowledged, %d refused%s", count(int(r.Deposits), "deposit"), r.Acked, r.Refused, reasons(r.RefusedBy))},
		{"  open now", fmt.Sprintf("%s, %d collecting, %d waiting for room", count(int(r.Streams), "stream"), r.Collectors, r.Awaits)},
		{"  copies", fmt.Sprintf("%d of mailboxes missing or incomplete elsewhere, %d messages taken over, %d proofs of others failed", r.Deficit, r.Adopted, r.ProofsFailed)},
		{"  stored", fmt.Sprintf("%d found damaged, %d of them healed; last read through: %s", r.Damaged, r.Healed, when(r.Scrubbed))},
	}
	if b := r.Blobs; b.Chunks > 0 || b.Received > 0 || b.Sent > 0 {
		rows = append(rows, []any{"  attachments", fmt.Sprintf("%s of %s in %s; %d taken, %d given, %d refused, %d found damaged",
			size(uint64(b.Bytes)), config.Size(r.Limits.BlobBytes), count(b.Chunks, "piece"), b.Received, b.Sent, b.Refused, b.Damaged)})
	}
	if r.Bundles > 0 || r.BadBundles > 0 {
		rows = append(rows, []any{"  bundles", fmt.Sprintf("%d one-time bundles for first messages, %d found damaged", r.Bundles, r.BadBundles)})
	}
	if r.ClockBraked {
		rows = append(rows, []any{"  clock", term.In(term.Yellow, "it jumped: nothing is deleted until it is believed again")})
	}
	if !r.Leaving.IsZero() {
		rows = append(rows, []any{"  leaving", "until " + when(r.Leaving) + drainWords(r.Drain)})
	}
	a.out.Table(rows)
	if r.Detail != "" {
		a.note("%s", r.Detail)
	}
}

// countIn is count for a noun with a plural of its own.
func countIn(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// reasons are refusals by reason, the same order each time.
func reasons(by map[string]int64) string {
	var words []string
	for _, why := range slices.Sorted(maps.Keys(by)) {
		if by[why] > 0 {
			words = append(words, fmt.Sprintf("%s %d", why, by[why]))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}

// relayDisable asks twice: others would be without the mail that is held for them here.
func (a *app) relayDisable() *cobra.Command {
	cmd := a.relaySet("disable", "Serve no more mail to others, at once: leave with kith relay drain first")
	cmd.Example = "  kith relay drain --yes\n  kith relay disable --yes"
	yes := cmd.Flags().Bool("yes", false, "do it, also where somebody waits for mail that is held here")
	disable := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			return usage(cmd, "others would not get what is held for them here; say --yes")
		}
		return disable(cmd, args)
	}
	return cmd
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
					a.out.Printf("this node serves no mail to others any more\n")
					a.note("what it held, if anything, lies in %s and is served again after kith relay enable", relayFile)
				}
			})
		},
	}
}

func (a *app) relayExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain [HANDLE]", Args: args(0, 1), Short: "Why your relays were elected, or which a contact has",
		Long: `Runs the election of your relays again from what was known then, and says of each candidate why it was taken or not.
Contacts elect their own: of them it says what their records name and what this device has seen of those relays.`,
		Example: "  kith relay explain\n  kith relay explain bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			var q api.ExplainRequest
			if len(args) == 1 {
				q.Handle = args[0]
			}
			return ask(cmd.Context(), a, c, "relay_explain", q, a.showExplanation)
		},
	}
}

func (a *app) showExplanation(x api.Explanation) {
	for _, l := range x.Lines {
		a.out.Printf("%s\n", l)
	}
}
