package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/backup"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/view"
)

type initFlags struct {
	link, name, device, phrase string
	backup, backupPassphrase   string
	timeout                    time.Duration
	noMDNS, loopback           bool
}

func (a *app) cmdInit() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use: "init", GroupID: groupStart, Args: args(0, 0),
		Short: "Make an identity on this device, or link it to one you have",
		Long: `Makes an identity on this device and prints twelve recovery words: write them down, they are kept nowhere.
With --link this device becomes one more device of an identity that you have; the link comes from 'kith device add'.
With --phrase-file you come back with your recovery words, on a fresh home: a new account epoch begins with this device as
the only one and as the admin device. All devices before it are out as soon as they hear of it, also a stolen one; add those
that you still have with kith device add. Contacts who verified you are asked before anything is sent to you again.`,
		Example: `  kith init --name Ada
  kith init --link LINK --device-name laptop      # after on the other device: kith device add
  kith init --link LINK --loopback                # both on this machine, to try it
  kith init --name Ada --phrase-file words        # back from the recovery words; every earlier device is out
  kith init --phrase-file words --backup FILE     # the same, with everything of a backup
  kith init --name Ada --passphrase-file secret   # every start needs the passphrase`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doInit(cmd, f) },
	}
	cmd.Flags().StringVar(&f.name, "name", "", "your name, as your contacts first see it")
	cmd.Flags().StringVar(&f.device, "device-name", "", "name of this device (default: the machine's)")
	cmd.Flags().StringVar(&f.link, "link", "", "link of 'kith device add' on another device of yours; - reads it from stdin")
	phraseFlag(cmd, &f.phrase)
	cmd.Flags().StringVar(&f.backup, "backup", "", "backup of yours to begin from (with --phrase-file)")
	cmd.Flags().StringVar(&f.backupPassphrase, "backup-passphrase-file", "", "file with the passphrase of the backup, if it has one of its own")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to look for the other device (with --link)")
	cmd.Flags().BoolVar(&f.noMDNS, "no-mdns", false, "do not look for the other device on the local network")
	cmd.Flags().BoolVar(&f.loopback, "loopback", false, "for nodes of this machine alone: loopback addresses count")
	_ = cmd.RegisterFlagCompletionFunc("backup", files)
	_ = cmd.RegisterFlagCompletionFunc("backup-passphrase-file", files)
	return cmd
}

func (a *app) doInit(cmd *cobra.Command, f initFlags) error {
	secret, err := a.readPassphrase()
	if err != nil {
		return err
	}
	if err := cmp.Or(checkName(cmd, "--name", f.name), checkName(cmd, "--device-name", f.device)); err != nil {
		return err
	}
	if f.device == "" {
		f.device, _ = os.Hostname()
	}
	if f.link != "" {
		return a.initLink(cmd, f, secret)
	}
	return a.initNew(cmd, f, secret)
}

func (a *app) initNew(cmd *cobra.Command, f initFlags, secret []byte) error {
	params := p2p.InitParams{Name: f.name, DeviceName: f.device, Passphrase: secret}
	var words identity.Phrase
	var err error
	if f.phrase != "" {
		if words, err = a.readPhrase(cmd, f.phrase, api.ExitUsage); err != nil {
			return err
		}
		params.Phrase = string(words)
	}
	var sum backup.Summary
	if f.backup != "" && !p2p.Exists(a.folders.Home) {
		if sum, params.Fill, err = a.fromBackup(cmd, f, words); err != nil {
			return err
		}
		params.Name = cmp.Or(f.name, sum.Name)
	}
	if params.Name == "" && !p2p.Exists(a.folders.Home) {
		if params.Name, err = a.askLine("your name: ", "--name"); err != nil {
			return err
		}
		if err := checkName(cmd, "your name", params.Name); err != nil {
			return err
		}
		if secret == nil {
			if params.Passphrase, err = a.askTwice(cmd, "a passphrase for this home (empty: none): "); err != nil {
				return err
			}
		}
	}
	phrase, id, err := p2p.Init(a.folders.Home, params)
	if err != nil {
		return err
	}
	if err := a.freshConfig(); err != nil {
		return err
	}
	return a.emitAs("init", initAnswer{Identity: id, Home: a.folders.Home, Phrase: phrase}, func() {
		a.out.Printf("%s is %s on device %s\n\n", term.In(term.Bold, id.Name), id.Fingerprint, id.DeviceName)
		if f.phrase != "" {
			a.note("this is your only device now: every other one is out as soon as it hears of this one")
		}
		switch {
		case f.backup != "":
			a.out.Printf("%s and %s are back\n", count(sum.Contacts, "contact"), count(sum.Messages, "message"))
		case f.phrase == "":
			a.out.Printf("Write these words down. They are the only way back if you lose your devices, and are kept nowhere:\n\n")
			a.words(phrase)
		default:
			a.note("your contacts are not here: restore a backup, or ask them: kith contact add WHO")
		}
		a.next("kith daemon")
	})
}

// fromBackup reads a backup to its end, and returns what fills a new home with it.
func (a *app) fromBackup(cmd *cobra.Command, f initFlags, words identity.Phrase) (sum backup.Summary, fill func(p2p.Turns) error, err error) {
	if words == "" {
		return sum, nil, usage(cmd, "--backup brings back what you had, --phrase-file who you are: give both")
	}
	root := words.Root()
	b, err := a.unlockBackup(cmd, f.backup, backupKeys{passphrase: f.backupPassphrase, seed: root.Backup()})
	if err == nil {
		sum, err = b.through(0, nil)
	}
	if err != nil {
		return sum, nil, err
	}
	if of := root.User(); sum.User != of {
		return sum, nil, api.Fail(api.ExitRefused, "this is the backup of another person, "+sum.Name, "kith phrase check --help")
	}
	return sum, func(turn p2p.Turns) error {
		_, err := b.into(cmd.Context(), turn)
		return err
	}, nil
}

// checkName refuses a name that others would see only a part of.
func checkName(cmd *cobra.Command, what, name string) error {
	if chat.CleanName(name) != name {
		return usage(cmd, fmt.Sprintf("%s: a name has at most %d bytes, and no control characters", what, chat.MaxName))
	}
	return nil
}

// initAnswer is what init prints with --json.
type initAnswer struct {
	view.Identity
	Home   string `json:"home"`
	Phrase string `json:"phrase,omitempty"`
}

// words prints the recovery words, numbered, in three columns.
func (a *app) words(phrase string) {
	words := strings.Fields(phrase)
	rows := (len(words) + 2) / 3
	for r := range rows {
		for i := r; i < len(words); i += rows {
			a.out.Printf("  %2d %-12s", i+1, words[i])
		}
		a.out.Printf("\n")
	}
	a.out.Printf("\n")
}

func (a *app) initLink(cmd *cobra.Command, f initFlags, secret []byte) error {
	if f.name != "" || f.phrase != "" || f.backup != "" {
		return usage(cmd, "--link brings the name and the keys: leave --name, --phrase-file and --backup out; kith backup restore comes after")
	}
	link, err := a.argOrStdin(f.link)
	if err != nil {
		return usage(cmd, "the link cannot be read: "+err.Error())
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	params := p2p.LinkParams{
		Link: link, DeviceName: f.device, Passphrase: secret, MDNS: a.set.MDNS && !f.noMDNS, Loopback: f.loopback,
		Progress: func(step string) { a.note("%s", step) },
	}
	if f.loopback {
		params.Listen = loopbackListen
	}
	id, err := p2p.Link(ctx, a.folders.Home, params)
	if errors.Is(err, view.ErrNotFound) || errors.Is(err, context.DeadlineExceeded) {
		return api.Fail(api.ExitNotFound, err.Error(), "kith init --link LINK --timeout 10m")
	}
	if err != nil {
		return err
	}
	if err := a.freshConfig(); err != nil {
		return err
	}
	return a.emitAs("init", initAnswer{Identity: id, Home: a.folders.Home}, func() {
		a.out.Printf("%s has a new device: %s (%s in all)\n", term.In(term.Bold, id.Name), id.DeviceName, count(id.Devices, "device"))
		a.next("kith daemon")
	})
}

var loopbackListen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}

func (a *app) freshConfig() error {
	if err := os.MkdirAll(filepath.Dir(a.folders.Config), 0o700); err != nil {
		return err
	}
	return config.WriteFresh(a.folders.Config)
}

// askLine asks a person; without a terminal it names the flag instead.
func (a *app) askLine(prompt, flag string) (string, error) {
	if !isTerminal(a.in) || a.json {
		return "", api.Fail(api.ExitUsage, "there is no terminal to ask on: give "+flag, "kith init --help")
	}
	a.err.Printf("%s", prompt)
	line, err := bufio.NewReader(a.in).ReadString('\n')
	line = strings.TrimSpace(line)
	if line == "" {
		return "", api.Fail(api.ExitUsage, "nothing was given for "+flag, "kith init --help")
	}
	if err != nil {
		return "", err
	}
	return line, nil
}

// argOrStdin is an argument, or stdin for -.
func (a *app) argOrStdin(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	raw, err := readAtMost(a.in, api.MaxRequest/2)
	return strings.TrimSpace(string(raw)), err
}
