package cli

import (
	"encoding/hex"
	"errors"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/view"
)

func (a *app) cmdPhrase() *cobra.Command {
	cmd := &cobra.Command{
		Use: "phrase", GroupID: groupSelf, Args: cobra.ArbitraryArgs, Short: "Your twelve recovery words",
		Example: "  kith phrase check", RunE: group,
	}
	cmd.AddCommand(a.phraseCheck())
	return cmd
}

func (a *app) phraseCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "check", Args: args(0, 0), Short: "Are these the recovery words of this identity?",
		Long: `Reads twelve recovery words and says whether they are sound and belong to the identity here. They are not printed, and
kept nowhere. Exit 1: a word is mistaken; 12: sound, but of another identity.`,
		Example: "  kith phrase check                     # asks\n  kith phrase check --phrase-file words\n  kith phrase check --phrase-file - < words",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.checkPhrase(cmd, file) },
	}
	phraseFlag(cmd, &file)
	return cmd
}

func phraseFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "phrase-file", "", "file with the twelve recovery words; - reads them from stdin")
	_ = cmd.RegisterFlagCompletionFunc("phrase-file", files)
}

// maxPhrase is the size of a file with recovery words, in bytes.
const maxPhrase = 1024

// readPhrase reads recovery words from a file or stdin, or asks for them; words that are not sound end with an exit code.
func (a *app) readPhrase(cmd *cobra.Command, file string, unsound int) (identity.Phrase, error) {
	var typed string
	switch {
	case file == "":
		line, err := a.askHidden(cmd, "your twelve recovery words: ", "--phrase-file")
		if err != nil {
			return "", err
		}
		typed = string(line)
	default:
		raw, err := a.fileOrStdin(file, maxPhrase)
		if err != nil {
			return "", usage(cmd, "the recovery words cannot be read: "+err.Error())
		}
		typed = raw
	}
	words, err := identity.ParsePhrase(typed)
	if err != nil {
		return "", api.Fail(unsound, err.Error(), "kith phrase check --help")
	}
	return words, nil
}

// askHidden asks a person without showing what is typed; without a terminal it names the flag instead.
func (a *app) askHidden(cmd *cobra.Command, prompt, flag string) ([]byte, error) {
	if !a.asks() {
		return nil, usage(cmd, "there is no terminal to ask on: give "+flag)
	}
	return a.askSecret(prompt)
}

// phraseAnswer is what phrase check prints with --json.
type phraseAnswer struct {
	Sound bool   `json:"sound"`
	User  string `json:"user"` // whose words they are
	Ours  bool   `json:"ours"` // of the identity here
}

func (a *app) checkPhrase(cmd *cobra.Command, file string) error {
	words, err := a.readPhrase(cmd, file, api.ExitFailed)
	if err != nil {
		return err
	}
	of := words.Root().User()
	here, err := a.self(cmd)
	answer := phraseAnswer{Sound: true, User: hex.EncodeToString(of[:]), Ours: err == nil && here.User == hex.EncodeToString(of[:])}
	switch {
	case errors.Is(err, p2p.ErrNoHome):
		return a.emitAs("phrase", answer, func() {
			a.out.Printf("the words are sound; they belong to %s\n", of.Short())
			a.note("there is no identity in %s to compare with", a.folders.Home)
		})
	case err != nil:
		return err
	case !answer.Ours:
		return api.Fail(api.ExitPassphrase, "the words are sound, but of another identity: "+of.Short()+", not "+here.User[:8], "kith id")
	}
	return a.emitAs("phrase", answer, func() {
		a.out.Printf("the words are sound, and are those of %s\n", term.In(term.Bold, here.Name))
	})
}

// self is the identity here, of the running node or of its store.
func (a *app) self(cmd *cobra.Command) (id view.Identity, err error) {
	c, err := a.reader()
	if err != nil {
		return id, err
	}
	err = c.Call(cmd.Context(), "identity", api.None{}, &id)
	return id, err
}
