package cli

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
)

func (a *app) relayCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Args: args(0, 0), Short: "Read everything that you hold for others, and check it",
		Long: `Reads every stored value and checks it. If the node runs as a relay, it does so itself, and fetches what is spoilt from
another relay of the mailbox. If not, the file is read without changing it. The exit code is 1 if something is damaged and
was not healed.`,
		Example: "  kith relay check\n  kith relay check --jq .damaged",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.doRelayCheck(cmd.Context()) },
	}
}

// checkAnswer is what a check found. Places are where, as far as they are named; a running relay counts only.
type checkAnswer struct {
	Running    bool    `json:"running"` // the relay itself has read; else its file was
	Path       string  `json:"path,omitempty"`
	Format     uint32  `json:"format,omitempty"`
	Messages   int     `json:"messages"` // whole ones
	Boxes      int     `json:"boxes,omitempty"`
	Sets       int     `json:"sets,omitempty"`
	Tombstones int     `json:"tombstones,omitempty"`
	Passes     int     `json:"passes,omitempty"`
	Bytes      uint64  `json:"bytes,omitempty"`
	Damaged    int     `json:"damaged"`
	Healed     int     `json:"healed"`
	Places     []place `json:"places,omitempty"`
}

type place struct {
	Where string `json:"where"`
	Why   string `json:"why"`
}

// placesShown is how many damaged places a person is shown.
const placesShown = 20

func (a *app) doRelayCheck(ctx context.Context) error {
	answer, err := a.scrubbed(ctx)
	if err == nil && !answer.Running {
		answer, err = a.readRelayFile()
	}
	if err != nil {
		return err
	}
	if err := a.emitAs("relay_check", answer, func() { a.showCheck(answer) }); err != nil {
		return err
	}
	if answer.Damaged > answer.Healed {
		if answer.Running {
			a.next("kith relay drain --help")
		} else {
			a.next("kith daemon --relay")
		}
		return silent{api.ExitFailed}
	}
	return nil
}

// scrubbed lets the running relay read what it has. Not running: no node, or one that is no relay.
func (a *app) scrubbed(ctx context.Context) (out checkAnswer, err error) {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err != nil {
		return out, nil
	}
	defer c.Close()
	var r api.Relay
	if err := c.Call(ctx, "relay_status", api.None{}, &r); err != nil || !r.Enabled {
		return out, err
	}
	a.note("the relay reads what it holds: %s", config.Size(r.Bytes))
	var s api.Scrub
	err = c.Call(ctx, "relay_scrub", api.None{}, &s)
	return checkAnswer{Running: true, Messages: s.Checked - s.Damaged, Damaged: s.Damaged, Healed: s.Healed}, err
}

func (a *app) readRelayFile() (checkAnswer, error) {
	path := filepath.Join(a.folders.Home, relayFile)
	r, err := boltbox.Check(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkAnswer{}, api.Fail(api.ExitNotFound, "nothing was ever held for others here: there is no "+path, "kith relay enable")
	case errors.Is(err, boltfile.ErrLocked):
		return checkAnswer{}, api.Fail(api.ExitLocked, "another process has "+path+" open", "kith relay status")
	case errors.Is(err, boltbox.ErrNotAStore):
		return checkAnswer{}, api.Fail(api.ExitFailed, path+" is not the store of a relay, or nothing of it is left: move it aside", "kith daemon --relay")
	case err != nil:
		return checkAnswer{}, api.Fail(api.ExitFailed, err.Error(), "kith version")
	}
	out := checkAnswer{
		Path: path, Format: r.Format, Messages: r.Envelopes, Boxes: r.Boxes, Sets: r.Sets, Tombstones: r.Buried,
		Passes: r.Passes, Bytes: r.Bytes, Damaged: len(r.Damaged) + r.Unnamed,
	}
	for _, d := range r.Damaged {
		out.Places = append(out.Places, place{d.Place, d.Why})
	}
	return out, nil
}

// relayFile is where a relay keeps its mail, in its home.
const relayFile = "relay.db"

func (a *app) showCheck(c checkAnswer) {
	if !c.Running {
		a.out.Printf("%s, %s, %s, %d acknowledged and not over\n", countIn(c.Boxes, "mailbox", "mailboxes"), count(c.Messages, "message"), config.Size(c.Bytes), c.Tombstones)
	}
	for _, p := range c.Places[:min(len(c.Places), placesShown)] {
		a.out.Printf("  %s  %s\n", p.Where, p.Why)
	}
	switch {
	case c.Damaged == 0:
		a.out.Printf("%s  %s, none is damaged\n", term.In(term.Green, "OK"), count(c.Messages, "message"))
	case c.Healed >= c.Damaged:
		a.out.Printf("%s  %d were damaged, and fetched again from other relays\n", term.In(term.Yellow, "HEALED"), c.Damaged)
	default:
		a.out.Printf("%s  %d damaged, %d of them fetched again\n", term.In(term.Red, "DAMAGED"), c.Damaged, c.Healed)
		a.note("a running relay fetches damaged messages again from the other relays of their mailboxes")
	}
}
