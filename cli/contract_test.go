package cli

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/view"
)

// commands calls fn with every command of kith.
func commands(fn func(*cobra.Command)) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		fn(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// runnable reports whether a command line of ours could run: the command exists and knows its flags.
func runnable(line string) error {
	words := split(line)
	if len(words) == 0 || words[0] != "kith" {
		return fmt.Errorf("%q is no command of ours", line)
	}
	words = words[1:]
	if len(words) >= 2 && words[0] == "--home" {
		words = words[2:]
	}
	words = southAndWest(words)
	c, rest, err := (&app{}).root().Find(words)
	if err != nil {
		return err
	}
	if c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %q", c.CommandPath(), rest[0])
	}
	err = c.ParseFlags(rest)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	if err != nil || c.HasSubCommands() || c.Args == nil {
		return err
	}
	return c.Args(c, c.Flags().Args())
}

// ours are the command lines of kith in a line of shell.
func ours(line string) (out []string) {
	var words []string
	flush := func() {
		if len(words) > 0 && words[0] == "kith" {
			out = append(out, strings.Join(words, " "))
		}
		words = nil
	}
	for _, m := range shellWord.FindAllString(line, -1) {
		switch {
		case m == "#":
			flush()
			return out
		case m == "|", m == ">", m == "<", m == ";", m == "&", m == "||", m == "&&":
			flush()
		case strings.HasPrefix(m, "~") && words == nil: // where the output goes
		case strings.HasPrefix(m, "<(") || strings.HasPrefix(m, "KITH_") || m == "source":
			flush()
			if m = strings.TrimPrefix(m, "<("); m == "kith" {
				words = append(words, m)
			}
		default:
			words = append(words, strings.TrimSuffix(m, ")"))
		}
	}
	flush()
	return out
}

var shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

func split(s string) []string {
	var out []string
	for _, m := range shellWord.FindAllString(s, -1) {
		out = append(out, strings.Trim(m, `'"`))
	}
	return out
}

func TestEveryCommandSaysWhatItDoesAndItsExamplesRun(t *testing.T) {
	commands(func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" || c.Example == "" || c.Short != strings.TrimSuffix(c.Short, ".") {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		if depth := strings.Count(c.CommandPath(), " "); depth > 2 {
			t.Errorf("%s is %d deep", c.CommandPath(), depth)
		}
		if c.Parent() != nil && c.Parent().Parent() == nil && c.GroupID == "" {
			t.Errorf("%s is in no group of the help", c.CommandPath())
		}
		found := 0
		for line := range strings.Lines(c.Example) {
			for _, m := range ours(line) {
				found++
				if err := runnable(m); err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), m, err)
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: no example runs it", c.CommandPath())
		}
	})
}

func TestNoSecretIsTheValueOfAFlag(t *testing.T) {
	secret := regexp.MustCompile(`pass|secret|phrase|token|password|private`)
	commands(func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if secret.MatchString(f.Name) && !strings.HasSuffix(f.Name, "-file") {
				t.Errorf("%s --%s", c.CommandPath(), f.Name)
			}
		})
	})
}

// TestEveryHintIsACommand reads the hints in the source of the packages whose errors reach a person. Stories run them;
// this finds those that no story meets.
func TestEveryHintIsACommand(t *testing.T) {
	found := 0
	for _, dir := range []string{".", "../node", "../node/api", "../node/p2p", "../node/talk", "../node/files", "../node/transfer", "../node/people"} {
		for _, h := range hintsIn(t, dir) {
			found++
			if !strings.HasPrefix(h.text, "kith ") {
				continue
			}
			if err := runnable(h.text); err != nil && !h.open {
				t.Errorf("%s: hint %q: %v", h.where, h.text, err)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d hints found: the test does not see them", found)
	}
}

// TestAWrongHintIsSeen is the control.
func TestAWrongHintIsSeen(t *testing.T) {
	for _, h := range []string{"frobnicate", "kith frobnicate", "kith contact frobnicate", "kith status --bogus", "kith trace", "kith read a b"} {
		if runnable(h) == nil {
			t.Errorf("%q passes", h)
		}
	}
}

type foundHint struct {
	text, where string
	open        bool // something follows that is not in the source
}

// hintsIn finds the last argument of Fail, the Hint of a Problem or a view, and the Fix of a Check.
func hintsIn(t *testing.T, dir string) (out []foundHint) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	take := func(e ast.Expr) {
		if text, open, ok := leftmost(e); ok && text != "" {
			out = append(out, foundHint{text, files.Position(e.Pos()).String(), open})
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if called(n) == "Fail" && len(n.Args) == 3 {
					take(n.Args[2])
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && (k.Name == "Hint" || k.Name == "Fix") {
					take(n.Value)
				}
			}
			return true
		})
	}
	return out
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// leftmost is the text that an expression begins with.
func leftmost(e ast.Expr) (text string, open, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, false, err == nil
	case *ast.BinaryExpr:
		s, _, ok := leftmost(e.X)
		return s + "X", true, ok
	}
	return "", false, false
}

func TestExitCodesAreTheContract(t *testing.T) {
	a := &app{}
	for _, c := range []struct {
		err  error
		exit int
	}{
		{errors.New("anything"), 1},
		{&view.Problem{Class: view.ErrUsage}, 2},
		{&view.Problem{Class: view.ErrEpochChanged}, 4},
		{api.ErrNoNode, 5},
		{fmt.Errorf("x: %w", p2p.ErrClosed), 5},
		{context.DeadlineExceeded, 6},
		{&view.Problem{Class: view.ErrRefused}, 7},
		{&view.Problem{Class: view.ErrNotFound}, 8},
		{view.ErrNoIdentity, 10},
		{&view.Problem{Class: p2p.ErrNoHome}, 10},
		{fmt.Errorf("x: %w", boltstore.ErrLocked), 11},
		{fmt.Errorf("x: %w", vault.ErrPassphrase), 12},
		{fmt.Errorf("x: %w", vault.ErrNeedPassphrase), 12},
		{fmt.Errorf("x: %w", boltstore.ErrNewer), 1},
		{&boltstore.Damage{Place: "x"}, 1},
		{fmt.Errorf("x: %w", boltstore.ErrFull), 1},
	} {
		e := a.errorOf(c.err)
		if e.Exit != c.exit || e.Code == "" || e.Hint == "" {
			t.Errorf("%v: %+v, want exit %d and a hint", c.err, e, c.exit)
		}
		if strings.HasPrefix(e.Hint, "kith ") {
			if err := runnable(e.Hint); err != nil {
				t.Errorf("%v: hint %q: %v", c.err, e.Hint, err)
			}
		}
	}
}

// TestOnlyTermPrints: fmt.Print and writes to the streams would go around the cleaning.
func TestOnlyTermPrints(t *testing.T) {
	allowed := map[string]bool{"root.go": true, "completion.go": true, "invite.go": true}
	forbidden := regexp.MustCompile(`fmt\.Print|os\.Std(out|err)|\.std(out|err)\b`)
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "term/") || allowed[path] {
			return err
		}
		raw, err := os.ReadFile(path)
		if m := forbidden.Find(raw); m != nil {
			t.Errorf("%s: %s", path, m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestInterruptedIs130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{stdout: io.Discard, stderr: io.Discard, env: func(string) string { return "" }}
	a.writers("never")
	if code := a.fail(ctx, fmt.Errorf("events: %w", context.Canceled)); code != 130 {
		t.Errorf("exit %d", code)
	}
	if code := a.fail(t.Context(), silent{api.ExitPartial}); code != 3 {
		t.Errorf("partial: exit %d", code)
	}
}

// inText finds command lines in a document, in lines of its blocks, and mentions in code between backquotes.
func inText(text string) (out, mentions []string) {
	block := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			block = !block
		case block:
			out = append(out, ours(line)...)
		default:
			for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
				mentions = append(mentions, ours(m[1])...)
			}
		}
	}
	return out, mentions
}

var inlineCode = regexp.MustCompile("`([^`]+)`")

// TestEveryCommandInTheDocumentsRuns: what a newcomer copies from them is a command with flags that there are.
func TestEveryCommandInTheDocumentsRuns(t *testing.T) {
	for name, least := range map[string]int{"README.md": 60, "docs/bots/README.md": 5} {
		found, mentions := inText(readDoc(t, "../"+name))
		for _, c := range found {
			if err := runnable(c); err != nil {
				t.Errorf("%s: %q: %v", name, c, err)
			}
		}
		for _, c := range mentions { // of which some are only a name
			if runnable(c) != nil && runnable(c+" --help") != nil {
				t.Errorf("%s: %q: %v", name, c, runnable(c))
			}
		}
		if n := len(found) + len(mentions); n < least {
			t.Errorf("%s: only %d commands found: the test does not see them", name, n)
		}
	}
	found, mentions := inText("see `kith frobnicate bob` or\n```sh\nls | kith read a b\n```\n")
	if len(found) != 1 || runnable(found[0]) == nil || len(mentions) != 1 || runnable(mentions[0]+" --help") == nil {
		t.Errorf("the controls: %q, %q", found, mentions)
	}
}
