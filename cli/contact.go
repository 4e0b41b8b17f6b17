package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdContact() *cobra.Command {
	cmd := &cobra.Command{
		Use: "contact", GroupID: groupPeople, Args: cobra.ArbitraryArgs, Short: "The people you know",
		Example: "  kith contact list\n  kith contact show bob", RunE: group,
	}
	cmd.AddCommand(a.contactList(), a.contactShow(), a.contactAdd(), a.contactRename(), a.contactAccept(), a.contactIgnore(), a.contactBlock(), a.contactVerify(), a.contactProof())
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
	var proof bool
	cmd := &cobra.Command{
		Use: "show CONTACT", Args: args(1, 1), Short: "One contact, with the safety number",
		Long: `Shows a contact, with the safety number in digits and words. With --proof it prints the proof that the contact's account
key signed two device lists for one place, for others to check with kith contact proof; me stands for your own.`,
		Example: "  kith contact show bob\n  kith contact show bob --proof > bob.proof",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.reader()
			if err != nil {
				return err
			}
			if proof {
				return ask(cmd.Context(), a, c, "contact_proof", api.ContactRequest{Contact: args[0]}, func(p view.Proof) { a.out.Printf("%s", term.Block{Text: p.Text}) })
			}
			return ask(cmd.Context(), a, c, "contact", api.ContactRequest{Contact: args[0]}, a.showContact)
		},
	}
	cmd.Flags().BoolVar(&proof, "proof", false, "print the proof of two device lists that exclude each other, if there is one")
	return cmd
}

func (a *app) contactProof() *cobra.Command {
	return &cobra.Command{
		Use: "proof FILE", Args: args(1, 1), Short: "Check a proof of two device lists of one person",
		Long: `Checks a proof that kith contact show --proof printed; - reads it from stdin. It needs no network and no identity: the
proof holds two device lists for one place, both signed by the person's account key, so the key is in two hands or its
owner tells different people different things. If your node runs and knows the person, nothing is sent to them until you
accept them again. Exit code 0: it is a proof; 7: it is none.`,
		Example: "  kith contact proof bob.proof\n  kith contact show bob --proof | kith contact proof -",
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.fileOrStdin(args[0], witness.MaxProofText)
			if err != nil {
				return usage(cmd, "the proof cannot be read: "+err.Error())
			}
			c, err := a.node()
			if err == nil {
				return ask(cmd.Context(), a, c, "proof_take", api.ProofRequest{Text: raw}, a.showProof)
			}
			_, v, err := node.ReadProof(nil, raw)
			if err != nil {
				return err
			}
			return a.emitAs("proof", v, func() { a.showProof(v) })
		},
	}
}

// fileOrStdin reads a small file, or stdin for -.
func (a *app) fileOrStdin(name string, most int64) (string, error) {
	var raw []byte
	var err error
	if name == "-" {
		raw, err = readAtMost(a.in, most)
	} else {
		raw, err = readSmall(name, most)
	}
	return string(raw), err
}

func (a *app) showProof(p view.Proof) {
	rows := [][]any{{"user", p.User}}
	if p.Handle != "" {
		rows = append(rows, []any{"handle", term.In(term.Bold, p.Handle)})
	}
	for i, l := range p.Lists {
		rows = append(rows, []any{fmt.Sprintf("list %d", i+1), fmt.Sprintf("number %d of epoch %d, issued %s, %s, %s", l.Number, l.Epoch, when(l.Issued), count(len(l.Devices), "device"), short(l.Hash))})
	}
	a.out.Table(rows)
	a.out.Printf("one account key signed both, and they exclude each other\n")
	switch {
	case p.Handle == ownHandle:
		a.note("these are lists of your own devices: begin a new epoch with your recovery phrase")
		a.next("kith init --phrase-file FILE")
	case p.Held:
		a.note("nothing is sent to %s until you accept them again", p.Handle)
		a.next("kith contact accept " + p.Handle)
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
	rows = append(rows, safetyRows(c)...)
	if c.Fingerprint != "" {
		rows = append(rows, []any{"account key", c.Fingerprint})
	}
	if c.NextKey != "" {
		rows = append(rows, []any{"its new key", c.NextKey + "  not accepted yet"})
	}
	if c.Forked {
		rows = append(rows, []any{"two lists", "kith contact show " + c.Handle + " --proof"})
	}
	a.out.Table(rows)
	switch {
	case c.EpochChanged:
		a.next("kith contact verify " + c.Handle)
		a.next("kith contact accept " + c.Handle)
	case c.Request != nil && !c.Request.Mine:
		a.next("kith contact accept " + c.Handle)
	}
}

// safetyRows are the safety number in digits and in words, a half a line.
func safetyRows(c view.Contact) (rows [][]any) {
	half := func(s string) (string, string) {
		f := strings.Fields(s)
		return strings.Join(f[:len(f)/2], " "), strings.Join(f[len(f)/2:], " ")
	}
	for _, x := range [][2]string{{"safety number", c.SafetyNumber}, {"in words", c.SafetyWords}} {
		if x[1] != "" {
			first, second := half(x[1])
			rows = append(rows, []any{x[0], first}, []any{"", second})
		}
	}
	return rows
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
		Use: "verify CONTACT [NUMBER]", Args: args(1, 15), Short: "Compare the safety number, or the code, of a contact",
		Long: `Without NUMBER it shows what to compare: the safety number in digits and in words, and a QR code for the other's camera.
NUMBER is what the contact reads out, face to face or by telephone: the 60 digits, or the 14 words; or the text of the
code that its device shows, which starts with KITH-VERIFY: and also says that both of you know the same devices of both,
so that nobody has added one in secret. Exit code 2: something was left out; 4: it is not the same, and somebody else may answer for one of you.`,
		Example: "  kith contact verify bob\n  kith contact verify bob \"12345 67890 ...\"\n  kith contact verify bob KITH-VERIFY:...",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c, err := a.reader()
				if err != nil {
					return err
				}
				return ask(cmd.Context(), a, c, "contact", api.ContactRequest{Contact: args[0]}, a.showSafety)
			}
			return a.change(cmd, "contact_verify", api.VerifyRequest{Contact: args[0], Number: strings.Join(args[1:], " ")})
		},
	}
}

// showSafety is the screen that two people compare.
func (a *app) showSafety(c view.Contact) {
	a.draw(c.Code, false)
	a.out.Table(append(safetyRows(c), []any{"code", c.Code}))
	a.note("compare it with what %s's device shows, face to face or by telephone", c.Handle)
	a.next("kith contact verify " + c.Handle + " NUMBER")
}

// change makes a command that changes one contact through a method.
func (a *app) change(cmd *cobra.Command, method string, req any) error {
	c, err := a.node()
	if err != nil {
		return err
	}
	return ask(cmd.Context(), a, c, method, req, func(v view.Contact) {
		a.out.Printf("%s  %s\n", term.In(term.Bold, v.Handle), contactWords(v))
		if v.EpochChanged && method == "contact_verify" { // the number is that of the user id, which a new key does not change
			a.note("the number says nothing of the new key, and a new key is not verified: accept it, and compare codes")
			a.next("kith contact accept " + v.Handle + andThen + "kith contact verify " + v.Handle)
		}
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
