package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdContact() *cobra.Command {
	cmd := &cobra.Command{
		Use: "contact", GroupID: groupPeople, Args: cobra.ArbitraryArgs, Short: "The people you know",
		Example: "  kith contact list\n  kith contact show bob", RunE: group,
	}
	cmd.AddCommand(a.contactList(), a.contactShow(), a.contactAdd(), a.contactRename(), a.contactAccept(), a.contactIgnore(), a.contactBlock(), a.contactVerify())
	return cmd
}

func (a *app) contactList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Args: args(0, 0), Short: "Everybody you know",
		Example: "  kith contact list\n  kith contact list --jq '.contacts[].handle'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "contacts", api.None{}, a.showContacts)
		},
	}
}

func (a *app) showContacts(l api.Contacts) {
	if len(l.Contacts) == 0 {
		a.note("nobody yet")
		a.next("kith invite")
		return
	}
	var rows [][]any
	for _, c := range l.Contacts {
		name := c.Name
		if r := c.Request; r != nil && !r.Mine && r.Note != "" {
			name += ": " + r.Note
		}
		rows = append(rows, []any{term.In(term.Bold, c.Handle), contactWords(c), count(c.Devices, "device"), name})
	}
	a.out.Table(rows)
}

// contactWords says how we stand to a contact.
func contactWords(c view.Contact) string {
	words := c.State
	if r := c.Request; r != nil && r.Mine {
		words = string(r.Stage) + ", request"
	}
	if c.Declined != "" {
		words = "declined: " + c.Declined
	}
	for _, w := range []struct {
		say  bool
		word string
	}{{c.State == "member" && c.Request != nil, "request"}, {c.Verified, "verified"}, {c.EpochChanged, "identity changed"}, {c.Left, "has left"}, {c.Online, "online"}} {
		if w.say {
			words += ", " + w.word
		}
	}
	return words
}

func (a *app) contactShow() *cobra.Command {
	return &cobra.Command{
		Use: "show CONTACT", Args: args(1, 1), Short: "One contact, with the safety number",
		Example: "  kith contact show bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			return ask(cmd.Context(), a, c, "contact", api.ContactRequest{Contact: args[0]}, a.showContact)
		},
	}
}

func (a *app) showContact(c view.Contact) {
	rows := [][]any{
		{"handle", term.In(term.Bold, c.Handle)},
		{"name", c.Name},
		{"state", contactWords(c)},
		{"user", c.User},
		{"devices", fmt.Sprint(c.Devices)},
		{"relays", fmt.Sprint(c.Relays)},
		{"since", when(c.Added)},
	}
	if r := c.Request; r != nil {
		rows = append(rows, []any{"asked", when(r.At)}, []any{"note", r.Note})
	}
	if p := c.Picture; p != nil {
		rows = append(rows, []any{"picture", p.State + "  kith save @" + c.Handle})
	}
	for _, n := range c.Names {
		rows = append(rows, []any{"calls itself", strings.TrimSpace(n.Name + "  " + nameWords(n))})
	}
	if c.SafetyNumber != "" {
		rows = append(rows, []any{"safety number", c.SafetyNumber})
	}
	a.out.Table(rows)
	if c.EpochChanged || c.Request != nil && !c.Request.Mine {
		a.next("kith contact accept " + c.Handle)
	}
}

// nameWords says whether the domain of a name knows its owner.
func nameWords(n view.Name) string {
	switch {
	case n.Verified && n.Error != "":
		return "verified " + when(n.Checked) + ", since then: " + n.Error
	case n.Verified:
		return "verified " + when(n.Checked)
	case n.Error != "":
		return "not verified: " + n.Error
	case strings.Contains(n.Name, "@"):
		return "not checked yet"
	}
	return ""
}

func (a *app) contactAdd() *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: "add WHO", Args: args(1, 1), Short: "Ask somebody without an invite to be a contact",
		Long: `WHO is a user id, 64 digits as kith id shows them, or a name under a domain that the DNS proves. Whoever is asked sees
your name and the note. Until they accept you learn no more than that relays hold your request.`,
		Example: "  kith contact add bob@example.org --note \"we met at the tram stop\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_add", api.AddRequest{Who: args[0], Note: note})
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "a line for whoever is asked, at most 200 bytes")
	return cmd
}

func (a *app) contactIgnore() *cobra.Command {
	return &cobra.Command{
		Use: "ignore CONTACT", Args: args(1, 1), Short: "Put a request aside; whoever asked learns nothing of it",
		Example: "  kith contact ignore request-2",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_ignore", api.ContactRequest{Contact: args[0]})
		},
	}
}

func (a *app) contactVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify CONTACT NUMBER", Args: args(2, 13), Short: "Compare the safety number that a contact reads out",
		Long:    "kith contact show shows the number on either side. Compare it face to face or by telephone; spaces do not count.",
		Example: "  kith contact verify bob \"12345 67890 ...\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_verify", api.VerifyRequest{Contact: args[0], Number: strings.Join(args[1:], " ")})
		},
	}
}

// change makes a command that changes one contact through a method.
func (a *app) change(cmd *cobra.Command, method string, req any) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	return ask(cmd.Context(), a, c, method, req, func(v view.Contact) {
		a.out.Printf("%s  %s\n", term.In(term.Bold, v.Handle), contactWords(v))
	})
}

func (a *app) contactRename() *cobra.Command {
	return &cobra.Command{
		Use: "rename CONTACT NAME", Args: args(2, 2), Short: "Give a contact another name of yours",
		Example: "  kith contact rename robert bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_rename", api.RenameRequest{Contact: args[0], Handle: args[1]})
		},
	}
}

func (a *app) contactAccept() *cobra.Command {
	return &cobra.Command{
		Use: "accept CONTACT", Args: args(1, 1), Short: "Accept a request, a blocked contact, or a changed identity",
		Example: "  kith contact accept bob",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_accept", api.ContactRequest{Contact: args[0]})
		},
	}
}

func (a *app) contactBlock() *cobra.Command {
	var undo bool
	cmd := &cobra.Command{
		Use: "block CONTACT", Args: args(1, 1), Short: "Take nothing more from a contact",
		Example: "  kith contact block mallory\n  kith contact block mallory --undo",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd, "contact_block", api.BlockRequest{Contact: args[0], Blocked: !undo})
		},
	}
	cmd.Flags().BoolVar(&undo, "undo", false, "let the contact in again")
	return cmd
}
