package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/hooks"
	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
)

const (
	// maxPassphraseFile is the size of a file with a passphrase in its first line.
	maxPassphraseFile = 4096

	// commandWithin is how long passphrase_command may take: it may have to ask somebody.
	commandWithin = 2 * time.Minute

	credentialName = "kith-passphrase" // systemd's, in $CREDENTIALS_DIRECTORY
	hintPassphrase = "kith daemon --passphrase-file FILE"
)

func (a *app) cmdPassphrase() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "passphrase", GroupID: groupSelf, RunE: group,
		Short: "Protect this home with a passphrase, change it, or take it away",
		Long: `Without a passphrase the keys of your store lie beside it, as safe as your disk and your account. With one, every start
needs it: asked for on a terminal, or from --passphrase-file, KITH_PASSPHRASE_FILE, the settings passphrase_file and
passphrase_command, or systemd's credential kith-passphrase. There is no way back without it.

All three need the node stopped, for only its owner writes the key file, and no passphrase crosses the local socket. They
bring fresh keys for everything stored: an old copy of vault.key opens nothing that is in the store from then on.`,
		Example: "  kith passphrase set\n  kith passphrase change --passphrase-file old --new-passphrase-file new\n  kith passphrase remove",
	}
	fresh := func(use, short, example string, want bool) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Example: example, Args: args(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error { return a.doPassphrase(cmd, want, true, file) },
		}
		c.Flags().StringVar(&file, "new-passphrase-file", "", "file with the new passphrase")
		_ = c.RegisterFlagCompletionFunc("new-passphrase-file", files)
		return c
	}
	cmd.AddCommand(
		fresh("set", "Protect a home that has no passphrase", "  kith passphrase set\n  kith passphrase set --new-passphrase-file secret", false),
		fresh("change", "Put another passphrase in place of the present one", "  kith passphrase change", true),
		&cobra.Command{
			Use: "remove", Short: "Have no passphrase any more", Example: "  kith passphrase remove", Args: args(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error { return a.doPassphrase(cmd, true, false, "") },
		},
	)
	return cmd
}

// passphraseAnswer is what the three commands print with --json.
type passphraseAnswer struct {
	Home      string `json:"home"`
	Protected bool   `json:"protected"`
}

// doPassphrase changes what protects the home: protected says what it has to be before, protect what it is after.
func (a *app) doPassphrase(cmd *cobra.Command, protected, protect bool, file string) error {
	if err := p2p.CheckHome(a.folders.Home); err != nil {
		return err
	}
	is := p2p.Protected(a.folders.Home)
	switch {
	case is && !protected:
		return api.Fail(api.ExitFailed, "this home has a passphrase already", "kith passphrase change")
	case !is && protected:
		return api.Fail(api.ExitFailed, "this home has no passphrase", "kith passphrase set")
	}
	old, err := a.readPassphrase()
	if err != nil {
		return err
	}
	defer clear(old)
	if is && old == nil {
		return usage(cmd, "there is no terminal to ask on for the present passphrase: give --passphrase-file")
	}
	var fresh []byte
	if protect {
		if fresh, err = a.newPassphrase(cmd, file); err != nil {
			return err
		}
		defer clear(fresh)
	}
	changed, err := p2p.Relock(cmd.Context(), a.folders.Home, old, fresh, time.Now())
	if err != nil && changed {
		a.note("the passphrase is as you wanted it; the next start goes on with the rest")
	}
	if errors.Is(err, vault.ErrPassphrase) {
		return api.Fail(api.ExitPassphrase, err.Error(), cmd.CommandPath()+" --passphrase-file FILE")
	}
	if err != nil {
		return err
	}
	return a.emitAs("passphrase", passphraseAnswer{Home: a.folders.Home, Protected: protect}, func() {
		if protect {
			a.out.Printf("this home needs the new passphrase from now on; without it nothing opens it\n")
		} else {
			a.out.Printf("this home has no passphrase any more: whoever reads the disk reads it\n")
		}
	})
}

// newPassphrase is the passphrase to be: from its file, or asked for twice.
func (a *app) newPassphrase(cmd *cobra.Command, file string) ([]byte, error) {
	if file != "" {
		return passphraseFrom(file, true)
	}
	if !a.asks() {
		return nil, usage(cmd, "there is no terminal to ask on for the new passphrase: give --new-passphrase-file")
	}
	secret, err := a.askTwice(cmd, "new passphrase: ")
	if err == nil && len(secret) == 0 {
		err = usage(cmd, "an empty passphrase is none")
	}
	return secret, err
}

// askTwice asks for a passphrase that is not known yet. Empty: none is wanted.
func (a *app) askTwice(cmd *cobra.Command, prompt string) ([]byte, error) {
	first, err := a.askSecret(prompt)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	second, err := a.askSecret("once more: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		return nil, usage(cmd, "these were two different passphrases")
	}
	return first, checkLength(first)
}

func checkLength(secret []byte) error {
	if len(secret) > vault.MaxPassphrase {
		return api.Fail(api.ExitUsage, vault.ErrTooLong.Error(), "kith passphrase --help")
	}
	return nil
}

// readPassphrase finds the passphrase: the flag, the environment, the settings, systemd's credential, or a person who is
// asked. Nil if there is none: then the home may have none either.
func (a *app) readPassphrase() ([]byte, error) {
	if a.passphrase != "" {
		return passphraseFrom(a.passphrase, true)
	}
	asked := p2p.Protected(a.folders.Home) || !p2p.Exists(a.folders.Home) // a new home gets what the settings say
	for _, o := range []config.Origin{config.FromEnv, config.FromFile} {
		if path := a.set.PassphraseFile; path != "" && a.set.Origin("passphrase_file") == o {
			return passphraseFrom(path, true)
		}
		if line := a.set.PassphraseCmd; line != "" && a.set.Origin("passphrase_command") == o && asked {
			return a.passphraseBy(line)
		}
	}
	if dir := a.env("CREDENTIALS_DIRECTORY"); dir != "" {
		path := filepath.Join(dir, credentialName)
		if _, err := os.Stat(path); err == nil {
			return passphraseFrom(path, false) // systemd sees to who may read it, with more than mode bits
		}
	}
	if !a.asks() || !p2p.Protected(a.folders.Home) {
		return nil, nil
	}
	secret, err := a.askSecret("passphrase of " + a.folders.Home + ": ")
	if err == nil && len(secret) == 0 {
		err = api.Fail(api.ExitPassphrase, "no passphrase was given", hintPassphrase)
	}
	return secret, err
}

// passphraseFrom is the first line of a file, which has to be the person's alone.
func passphraseFrom(path string, private bool) ([]byte, error) {
	cannot := func(why string) error {
		return api.Fail(api.ExitPassphrase, "the passphrase cannot be read: "+why, hintPassphrase)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cannot(err.Error())
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, cannot(err.Error())
	}
	if mode := info.Mode(); private && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return nil, api.Fail(api.ExitFailed, fmt.Sprintf("%s has mode %04o: others could read the passphrase", path, mode.Perm()), "chmod 600 "+quote(path))
	}
	raw, err := readAtMost(f, maxPassphraseFile)
	if err != nil {
		return nil, cannot(path + ": " + err.Error())
	}
	return firstLine(raw, path)
}

// firstLine is the passphrase in what a file or a command said; the rest is wiped.
func firstLine(raw []byte, of string) ([]byte, error) {
	defer clear(raw)
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, api.Fail(api.ExitPassphrase, "the passphrase in "+of+" is empty", hintPassphrase)
	}
	return bytes.Clone(line), checkLength(line)
}

// passphraseBy asks the person's own command, for example `pass show kith`. It has the terminal, and all of our environment.
func (a *app) passphraseBy(line string) ([]byte, error) {
	words, err := hooks.Parse(line)
	if err != nil || len(words) == 0 {
		return nil, api.Fail(api.ExitUsage, "passphrase_command is no command", "kith config show --origin")
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	said := &limited{most: maxPassphraseFile}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = a.in, said, a.err, time.Second
	if err := cmd.Run(); err != nil {
		clear(said.raw)
		return nil, api.Fail(api.ExitPassphrase, "passphrase_command failed: "+err.Error(), "kith config show --origin")
	}
	return firstLine(said.raw, "what passphrase_command says")
}

// limited keeps what is written to it, up to a limit; its room never moves, so that it can be wiped.
type limited struct {
	raw  []byte
	most int
}

var errTooMuch = errors.New("too long")

func (l *limited) Write(p []byte) (int, error) {
	if l.raw == nil {
		l.raw = make([]byte, 0, l.most)
	}
	if len(l.raw)+len(p) > l.most {
		return 0, errTooMuch
	}
	l.raw = append(l.raw, p...)
	return len(p), nil
}

// asks reports whether a person can be asked.
func (a *app) asks() bool { return isTerminal(a.in) && !a.json }

// askSecret asks on the terminal, without showing what is typed.
func (a *app) askSecret(prompt string) ([]byte, error) {
	in, ok := a.in.(*os.File)
	if !ok {
		return nil, fs.ErrInvalid // asks was not asked
	}
	fd := int(in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	a.err.Printf("%s", prompt)
	defer a.err.Printf("\n")
	// Our own signals are caught elsewhere; here one has to give the terminal its echo back.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	type answer struct {
		secret []byte
		err    error
	}
	said := make(chan answer, 1)
	go func() {
		secret, err := term.ReadPassword(fd)
		said <- answer{secret, err}
	}()
	select {
	case got := <-said:
		if errors.Is(got.err, io.EOF) {
			got.err = nil // nothing was typed
		}
		return got.secret, got.err
	case <-stop:
		_ = term.Restore(fd, before)
		return nil, api.Fail(api.ExitInterrupted, "interrupted", "kith status")
	}
}
