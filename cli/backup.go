package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/backup"
	backuppb "github.com/kith-im/kith/node/backup/pb"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
)

func (a *app) cmdBackup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup", GroupID: groupSelf, Args: cobra.ArbitraryArgs, Short: "Everything that you would not want to lose, in one sealed file",
		Long: `A backup has your contacts and who of them you verified, conversations with all that became of their messages,
groups, settings and drafts; not the files of messages, and no key of any device. Your twelve recovery words open it.`,
		Example: `  kith backup create kith.backup
  kith backup verify kith.backup
  kith init --phrase-file words --backup kith.backup      # on a new machine`,
		RunE: group,
	}
	cmd.AddCommand(a.backupCreate(), a.backupVerify(), a.backupRestore())
	return cmd
}

// backupKeys is how a person says what locks a backup, or opens it.
type backupKeys struct {
	phrase, passphrase string   // files
	seed               [32]byte // of words that were read already
}

func (k *backupKeys) flags(cmd *cobra.Command) {
	phraseFlag(cmd, &k.phrase)
	cmd.Flags().StringVar(&k.passphrase, "backup-passphrase-file", "", "file with a passphrase of the backup's own; - reads it from stdin")
	_ = cmd.RegisterFlagCompletionFunc("backup-passphrase-file", files)
	cmd.MarkFlagsMutuallyExclusive("phrase-file", "backup-passphrase-file")
}

func (a *app) backupCreate() *cobra.Command {
	var k backupKeys
	var yes bool
	cmd := &cobra.Command{
		Use: "create FILE", Args: args(1, 1), Short: "Write a backup",
		Long: `Writes a backup that your twelve recovery words open, or, with --backup-passphrase-file, a passphrase of its own.
It works with and without a running node.`,
		Example: "  kith backup create kith.backup\n  kith backup create kith.backup --yes                         # in place of an older one\n  kith backup create kith.backup --backup-passphrase-file secret",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.createBackup(cmd, args[0], k, yes) },
	}
	k.flags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "replace the file if there is one")
	return cmd
}

func (a *app) backupVerify() *cobra.Command {
	var k backupKeys
	cmd := &cobra.Command{
		Use: "verify FILE", Args: args(1, 1), Short: "Read a backup to its end, and say what is in it",
		Long:    "Reads a backup to its end and says what is in it. Exit 1: it is damaged, and where; 12: these words do not open it.",
		Example: "  kith backup verify kith.backup --phrase-file words\n  kith backup verify kith.backup --backup-passphrase-file secret",
		RunE: func(cmd *cobra.Command, args []string) error {
			open, err := a.unlockBackup(cmd, args[0], k)
			if err != nil {
				return err
			}
			sum, err := open.through(0, nil)
			if err != nil {
				return err
			}
			return a.emitBackup("backup", args[0], sum, "")
		},
	}
	k.flags(cmd)
	return cmd
}

func (a *app) backupRestore() *cobra.Command {
	var k backupKeys
	cmd := &cobra.Command{
		Use: "restore FILE", Args: args(1, 1), Short: "Bring a backup back, beside what is here",
		Long: `Brings a backup of yours back into this home, beside what is there: what is here already stays, and nothing is there
twice. It works with and without a running node, and may be repeated; one that was cut off is finished by running it again.
On a new machine make the identity from the backup in one step: kith init --phrase-file WORDS --backup FILE.`,
		Example: "  kith backup restore kith.backup --phrase-file words",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.restoreBackup(cmd, args[0], k) },
	}
	k.flags(cmd)
	return cmd
}

// backupAnswer is what the commands print with --json.
type backupAnswer struct {
	File          string    `json:"file"`
	Size          int64     `json:"size"`
	User          string    `json:"user"`
	Name          string    `json:"name"`
	Made          time.Time `json:"made"`
	Contacts      int       `json:"contacts"`
	Groups        int       `json:"groups"`
	Conversations int       `json:"conversations"`
	Messages      int       `json:"messages"`
}

func (a *app) emitBackup(typ, file string, s backup.Summary, next string) error {
	var size int64
	if info, err := os.Stat(file); err == nil {
		size = info.Size()
	}
	answer := backupAnswer{
		File: file, Size: size, User: hex.EncodeToString(s.User[:]), Name: s.Name, Made: s.Made,
		Contacts: s.Contacts, Groups: s.Groups, Conversations: s.Conversations, Messages: s.Messages,
	}
	return a.emitAs(typ, answer, func() {
		a.out.Table([][]any{
			{"of", term.In(term.Bold, s.Name), answer.User[:8]},
			{"made", s.Made.Local().Format("2006-01-02 15:04")},
			{"contacts", fmt.Sprint(s.Contacts)},
			{"groups", fmt.Sprint(s.Groups)},
			{"conversations", fmt.Sprint(s.Conversations)},
			{"messages", fmt.Sprint(s.Messages)},
			{"size", config.Size(size).String()},
		})
		a.next(next)
	})
}

func (a *app) createBackup(cmd *cobra.Command, file string, k backupKeys, yes bool) error {
	if _, err := os.Lstat(file); err == nil && !yes {
		return api.Fail(api.ExitUsage, file+" exists already", "kith backup create "+quote(file)+" --yes")
	}
	return a.pages(func(c caller) error {
		var first api.BackupPage
		if err := c.Call(cmd.Context(), "backup_page", api.BackupPageRequest{}, &first); err != nil {
			return err
		}
		keys, err := a.lockKeys(cmd, c, k, first.Key)
		if err != nil {
			return err
		}
		sum, err := a.writeBackup(cmd.Context(), file, keys, c, first)
		if err != nil {
			return err
		}
		return a.emitBackup("backup", file, sum, "kith backup verify "+quote(file))
	})
}

// pages calls fn with the running node, or with its store, opened once for all pages.
func (a *app) pages(fn func(caller) error) error {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err == nil {
		return fn(c)
	}
	secret, err := a.readPassphrase()
	if err != nil {
		return err
	}
	return p2p.View(a.folders.Home, secret, func(tx store.Tx) error {
		return fn(api.Local{Open: func(read func(store.Tx) error) error { return read(tx) }})
	})
}

// lockKeys finds what a new backup is sealed to.
func (a *app) lockKeys(cmd *cobra.Command, c caller, k backupKeys, public []byte) (keys backup.Keys, err error) {
	switch {
	case k.passphrase != "":
		keys.Passphrase, err = a.readBackupPassphrase(k.passphrase)
		return keys, err
	case k.phrase != "":
		words, err := a.readPhrase(cmd, k.phrase, api.ExitUsage)
		if err != nil {
			return keys, err
		}
		var id struct{ User string }
		if err := c.Call(cmd.Context(), "identity", api.None{}, &id); err != nil {
			return keys, err
		}
		root := words.Root()
		if of := root.User(); hex.EncodeToString(of[:]) != id.User {
			return keys, api.Fail(api.ExitPassphrase, "these recovery words are of another identity", "kith phrase check --help")
		}
		return backup.Keys{Public: backup.PublicKey(root.Backup())}, nil
	case len(public) == 0:
		return keys, api.Fail(api.ExitUsage, "this home was made before there were backups: say once more what shall open it, with --phrase-file or --backup-passphrase-file", "kith backup create --help")
	}
	return backup.Keys{Public: public}, nil
}

func (a *app) readBackupPassphrase(file string) ([]byte, error) {
	if file != "-" {
		return passphraseFrom(file, true)
	}
	raw, err := readAtMost(a.in, maxPassphraseFile)
	if err != nil {
		return nil, err
	}
	return firstLine(raw, "stdin")
}

// writeBackup writes the file whole or not at all: what is there under its name is replaced when all is on the disk.
func (a *app) writeBackup(ctx context.Context, file string, keys backup.Keys, c caller, page api.BackupPage) (sum backup.Summary, err error) {
	draft := file + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was cut off
		return sum, err
	}
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return sum, api.Fail(api.ExitUsage, "the backup cannot be written: "+err.Error(), "kith backup create --help")
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(draft)
		}
	}()
	w, err := backup.Create(rand.Reader, f, keys)
	for pages := 1; err == nil; pages++ {
		if err = w.Write(page.Records); err != nil || len(page.Next) == 0 {
			break
		}
		if pages%64 == 0 {
			a.note("%s written", config.Size(int64(pages)*backup.PageRoom))
		}
		next := page.Next
		page = api.BackupPage{}
		err = c.Call(ctx, "backup_page", api.BackupPageRequest{Cursor: next}, &page)
	}
	if err == nil {
		sum, err = w.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(draft, file)
	}
	if err == nil {
		err = boltfile.SyncFolder(filepath.Dir(file))
	}
	return sum, err
}

// openBackup is a backup whose keys are known.
type openBackup struct {
	file string
	keys backup.Keys
}

// unlockBackup finds what opens a backup: what flags name, or, of a person at a terminal, the words.
func (a *app) unlockBackup(cmd *cobra.Command, file string, k backupKeys) (*openBackup, error) {
	b := &openBackup{file: file}
	switch err := b.try(); {
	case errors.Is(err, backup.ErrNeedPassphrase) && k.passphrase != "":
		if b.keys.Passphrase, err = a.readBackupPassphrase(k.passphrase); err != nil {
			return nil, err
		}
	case errors.Is(err, backup.ErrNeedPassphrase):
		if b.keys.Passphrase, err = a.askHidden(cmd, "passphrase of the backup: ", "--backup-passphrase-file"); err != nil {
			return nil, err
		}
	case errors.Is(err, backup.ErrNeedPhrase) && k.seed != [32]byte{}:
		b.keys.Seed = k.seed
	case errors.Is(err, backup.ErrNeedPhrase):
		words, err := a.readPhrase(cmd, k.phrase, api.ExitUsage)
		if err != nil {
			return nil, err
		}
		b.keys.Seed = words.Root().Backup()
	default:
		return nil, err
	}
	return b, b.try()
}

// try reports why a backup does not open.
func (b *openBackup) try() error {
	f, err := os.Open(b.file)
	if err != nil {
		return api.Fail(api.ExitUsage, "the backup cannot be read: "+err.Error(), "kith backup --help")
	}
	defer f.Close()
	_, err = backup.Open(f, b.keys)
	return b.named(err)
}

func (b *openBackup) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", b.file, err)
}

// How many bytes of records are taken in at once: what a request of the API has room for, or what a transaction in this
// process is worth.
const (
	requestRoom = backup.MaxRecord + 4
	turnRoom    = 256 << 10
)

// through reads a backup to its end and gives its records to take, about room bytes at a time; nil: to nobody.
func (b *openBackup) through(room int, take func(records []byte) error) (sum backup.Summary, err error) {
	f, err := os.Open(b.file)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	r, err := backup.Open(bufio.NewReaderSize(f, 1<<20), b.keys)
	if err != nil {
		return sum, b.named(err)
	}
	var batch []byte
	for {
		_, page, err := r.Next()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return sum, b.named(err)
		}
		if take != nil && len(batch) > 0 && (ended || len(batch)+len(page) > room) {
			if err := take(batch); err != nil {
				return sum, err
			}
			batch = batch[:0]
		}
		if ended {
			return r.Summary(), nil
		}
		if take != nil {
			batch = append(batch, page...)
		}
	}
}

func (a *app) restoreBackup(cmd *cobra.Command, file string, k backupKeys) error {
	b, err := a.unlockBackup(cmd, file, k)
	if err != nil {
		return err
	}
	if _, err := b.through(0, nil); err != nil { // of a damaged one nothing is taken in
		return err
	}
	sum, err := a.takeBackup(cmd.Context(), b)
	if err != nil {
		return err
	}
	return a.emitBackup("backup_restored", file, sum, "kith inbox")
}

// takeBackup gives a backup to the running node, or to its engine in this process.
func (a *app) takeBackup(ctx context.Context, b *openBackup) (sum backup.Summary, err error) {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err == nil {
		return b.through(requestRoom, func(records []byte) error {
			return c.Call(ctx, "backup_take", api.BackupRecords{Records: records}, nil)
		})
	}
	secret, err := a.readPassphrase()
	if err != nil {
		return sum, err
	}
	err = p2p.Work(a.folders.Home, secret, func(turn p2p.Turns) (err error) {
		sum, err = b.into(ctx, turn)
		return err
	})
	return sum, err
}

// into takes a backup into an engine, a turn at a time.
func (b *openBackup) into(ctx context.Context, turn p2p.Turns) (backup.Summary, error) {
	return b.through(turnRoom, func(records []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return turn(func(e *node.Engine, t *node.Turn) error {
			return backup.Each(records, func(r *backuppb.Record) error { return e.Restore(t, r) })
		})
	})
}
