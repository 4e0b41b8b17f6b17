package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"github.com/kith-im/kith/cli/config"
	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/backup"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/p2p"
)

// emit prints an answer: the object as it is, or what human writes. What has no human form (nil) is always an object.
func (a *app) emit(object []byte, human func()) error {
	if !a.json && human != nil {
		a.shown++
		human()
		return nil
	}
	if a.jq == "" {
		a.shown++
		a.out.JSON(object)
		return nil
	}
	return a.filter(object)
}

// emitAs is emit for a value of ours.
func (a *app) emitAs(typ string, v any, human func()) error {
	object, err := api.Object(typ, v)
	if err != nil {
		return err
	}
	return a.emit(object, human)
}

// filter prints the results of --jq, one a line: texts as they are, all else as JSON.
func (a *app) filter(object []byte) error {
	query, err := gojq.Parse(a.jq)
	if err != nil {
		return api.Fail(api.ExitUsage, "--jq: "+err.Error(), "kith --help")
	}
	var input any
	if err := json.Unmarshal(object, &input); err != nil {
		return err
	}
	for results := query.Run(input); ; {
		v, ok := results.Next()
		if !ok {
			return nil
		}
		a.shown++
		if err, bad := v.(error); bad {
			return api.Fail(api.ExitUsage, "--jq: "+err.Error(), "kith --help")
		}
		if s, text := v.(string); text {
			a.out.Printf("%s\n", term.Block{Text: s})
			continue
		}
		raw, err := gojq.Marshal(v)
		if err != nil {
			return err
		}
		a.out.JSON(raw)
	}
}

// note is progress or a hint on stderr.
func (a *app) note(format string, args ...any) {
	if !a.quiet && !a.json {
		a.err.Printf(format+"\n", args...)
	}
}

// next names the command that comes next.
func (a *app) next(command string) {
	if command != "" {
		a.note("next: %s", a.complete(command))
	}
}

// andThen stands between two commands of one hint.
const andThen = ", then "

// complete adds the home folder to the commands of ours, so that they can be pasted.
func (a *app) complete(command string) string {
	if first, then, two := strings.Cut(command, andThen); two {
		return a.complete(first) + andThen + a.complete(then)
	}
	rest, ours := strings.CutPrefix(command, "kith ")
	if !ours || a.home == "" || strings.HasPrefix(rest, "--home") {
		return asBuilt(command)
	}
	return asBuilt("kith --home ") + quote(a.home) + " " + rest
}

func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// silent is a failure that was told already; it only sets the exit code.
type silent struct{ exit int }

func (s silent) Error() string { return fmt.Sprintf("exit %d", s.exit) }

// fail tells a failure and returns the exit code.
func (a *app) fail(ctx context.Context, err error) int {
	if err == nil {
		return api.ExitOK
	}
	if s, ok := errors.AsType[silent](err); ok {
		return s.exit
	}
	e := a.errorOf(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		e = api.Fail(api.ExitInterrupted, "interrupted", "kith status")
	}
	e.Hint = a.complete(e.Hint)
	if a.json {
		if object, err := api.Object("error", e); err == nil {
			a.err.JSON(object)
		}
		return e.Exit
	}
	a.err.Printf("%s %s\n", term.In(term.Red, "error:"), e.Message)
	for line := range strings.SplitSeq(e.Hint, andThen) {
		if line != "" {
			a.err.Printf("next: %s\n", line)
		}
	}
	return e.Exit
}

// classes give the failures of this machine their exit code and the next command, where they name none.
var classes = []struct {
	is   error
	exit int
	hint string
}{
	{p2p.ErrNoHome, api.ExitNoIdentity, "kith init"},
	{boltstore.ErrMissing, api.ExitNoIdentity, "kith init"},
	{p2p.ErrLocked, api.ExitLocked, "kith status"},
	{vault.ErrNeedPassphrase, api.ExitPassphrase, "kith daemon --passphrase-file FILE"},
	{vault.ErrPassphrase, api.ExitPassphrase, "kith daemon --passphrase-file FILE"},
	{boltstore.ErrRestored, api.ExitFailed, "kith daemon"},
	{boltstore.ErrApart, api.ExitFailed, "kith doctor"},
	{p2p.ErrClosed, api.ExitNoNode, "kith daemon"},
	{p2p.ErrExists, api.ExitFailed, "kith id"},
	{boltstore.ErrNewer, api.ExitFailed, "kith version"},
	{backup.ErrNeedPhrase, api.ExitPassphrase, "kith backup verify FILE --phrase-file WORDS"},
	{backup.ErrNeedPassphrase, api.ExitPassphrase, "kith backup verify FILE --backup-passphrase-file FILE"},
	{backup.ErrKey, api.ExitPassphrase, "kith phrase check --help"},
	{backup.ErrNewer, api.ExitFailed, "kith version"},
	{backup.ErrForeign, api.ExitFailed, "kith backup --help"},
	{backup.ErrDamaged, api.ExitFailed, "kith backup --help"},
	{config.ErrNoFolder, api.ExitUsage, "kith --help"},
}

func (a *app) errorOf(err error) *api.Error {
	e := api.ErrorOf(err)
	for _, c := range classes {
		if !errors.Is(err, c.is) {
			continue
		}
		known := api.Fail(c.exit, e.Message, c.hint)
		if p := api.HintOf(err); p != "" {
			known.Hint = p
		}
		return known
	}
	return e
}

// when is a time as a person reads it.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.Local()
	if now := time.Now(); now.YearDay() == t.YearDay() && now.Year() == t.Year() {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// short is the beginning of an id, enough to name it.
func short(id string) string { return id[:min(len(id), 12)] }

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// milliseconds is a duration as a person reads it.
func milliseconds(ms float64) string {
	if ms < 100 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
