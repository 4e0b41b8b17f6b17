package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status [MSG]", GroupID: groupStart, Args: args(0, 1),
		Short: "The node at a glance, or how far a message came",
		Example: `  kith status
  kith status 3fa9c1          # a message: its id, or the beginning of it
  kith status --jq .mailbox.state`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c, err := a.reader()
				if err != nil {
					return err
				}
				return ask(cmd.Context(), a, c, "message_status", api.MessageRequest{ID: args[0]}, a.showMessageStatus)
			}
			c, err := a.node()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "status", api.None{}, a.showStatus)
		},
	}
}

func (a *app) showStatus(s api.Status) {
	rows := [][]any{
		{"node", term.In(term.Bold, s.State)},
		{"name", fmt.Sprintf("%s on %s", s.Identity.Name, s.Identity.DeviceName)},
		{"peers", fmt.Sprintf("%d, %d of them relays", s.Net.Peers, s.Net.Relays)},
		{"mailbox", mailboxWords(s.Mailbox)},
		{"contacts", fmt.Sprint(s.Contacts)},
		{"unread", fmt.Sprint(s.Unread)},
	}
	if s.Requests > 0 {
		rows = append(rows, []any{"requests", count(s.Requests, "stranger") + " would like to be a contact"})
	}
	a.out.Table(rows)
	if s.Net.Relay {
		a.out.Printf("serves as a relay\n")
	}
	if s.Identity.Leaving {
		a.out.Printf("this device asked the admin device to be taken off your list, which has not answered yet\n")
	}
	if s.Identity.Removed {
		a.out.Printf("%s\n", term.In(term.Red, "this device was removed from its account: it sends nothing and gets nothing more"))
		s.Hint = "kith device list"
	}
	if a.verbose {
		for _, addr := range s.Net.Addrs {
			a.out.Printf("  %s\n", addr)
		}
	}
	a.next(s.Hint)
}

// mailboxWords says in a line which relays hold our mail.
func mailboxWords(m view.Mailbox) string {
	members := 0
	for _, r := range m.Relays {
		if r.Member {
			members++
		}
	}
	if members == 0 {
		return m.State + ": no relay holds mail for us yet"
	}
	return fmt.Sprintf("%s: %s of %d", m.State, count(members, "relay"), m.R)
}

func (a *app) showMessageStatus(s view.Status) {
	if !s.Message.Mine {
		a.out.Printf("%s  received %s  from %s\n", short(s.Message.ID), when(s.Message.Received), s.Message.From)
		return
	}
	a.out.Printf("%s  %s  to %s\n", short(s.Message.ID), stageWords(s.Stage), handleOf(s))
	if s.Message.Fallback != "" {
		a.out.Printf("  %s\n", s.Message.Fallback)
	}
	for _, p := range persons(s.Deliveries) {
		if len(p.devices) > 1 || s.Message.Group {
			a.out.Printf("  %s  %s\n", p.name, stageWords(p.stage()))
		}
		var rows [][]any
		for _, d := range p.devices {
			rows = append(rows, []any{"  " + short(d.Device), p.name, deliveryWords(d)})
		}
		a.out.Table(rows)
	}
	if s.Rearm {
		if s.Expires.IsZero() {
			a.note("what has not arrived in 30 days has ended; another 30:")
		} else {
			a.note("what has not arrived ends %s; another 30 days:", when(s.Expires))
		}
		a.next("kith rearm " + short(s.Message.ID))
	}
}

// person is how far a message is with somebody.
type person struct {
	name    string
	devices []view.Delivery
}

func (p person) stage() view.Stage {
	var of []view.Stage
	for _, d := range p.devices {
		of = append(of, d.Stage)
	}
	return view.Together(of)
}

// persons puts the deliveries of each person together, our own devices last.
func persons(list []view.Delivery) (out []person) {
	for _, own := range []bool{false, true} {
		at := map[string]int{}
		for _, d := range list {
			if d.Own != own {
				continue
			}
			i, ok := at[d.User]
			if !ok {
				i = len(out)
				at[d.User], out = i, append(out, person{name: who(d)})
			}
			out[i].devices = append(out[i].devices, d)
		}
	}
	return out
}

func handleOf(s view.Status) string {
	if s.Message.With != "" {
		return s.Message.With
	}
	for _, d := range s.Deliveries {
		if !d.Own {
			return d.Handle
		}
	}
	return s.Message.Chat
}

func who(d view.Delivery) string {
	if d.Own {
		return "own device"
	}
	return d.Handle
}

func stageWords(s view.Stage) term.Styled {
	switch s {
	case view.StageDelivered, view.StageRead:
		return term.In(term.Green, string(s))
	case view.StageFull, view.StageExpired, view.StageDropped:
		return term.In(term.Red, string(s))
	}
	return term.In(term.Yellow, string(s))
}

// deliveryWords says how far one device is, with the evidence.
func deliveryWords(d view.Delivery) string {
	switch d.Stage {
	case view.StageQueued, view.StageWaiting:
		if !d.NextTry.IsZero() {
			return fmt.Sprintf("%s, %s, next try %s", d.Stage, count(d.Attempts, "attempt"), when(d.NextTry))
		}
	case view.StageCustody:
		words := fmt.Sprintf("custody %d/%d, until %s", d.Custody, d.Replicas, when(d.Expires))
		if d.Voided > 0 {
			words += fmt.Sprintf("; %s signed and could not show it later", count(d.Voided, "relay"))
		}
		return words
	}
	return string(d.Stage)
}
