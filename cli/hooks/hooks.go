// Package hooks runs a person's own commands when something happened, with the event on their stdin.
//
// It guarantees that a command gets nothing but the event: no argument that it was not written with, an environment of a
// few harmless names, no shell but one that the person wrote, the node's home as its folder; that it ends in time, with
// whatever it started; and that at most Slots run at once. What a command prints goes to the log when it fails. It does
// not make a command safe: that is the person's, and runs with the person's rights.
package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Limits of hooks.
const (
	// Slots is how many commands run at once.
	Slots = 4
	// Within is how long one may take.
	Within = 30 * time.Second
	// endWithin is how long its output is read on after it was ended.
	endWithin = 2 * time.Second
	maxLine   = 4096 // bytes of a setting
	maxWords  = 64
	maxTail   = 1024 // bytes kept of what it prints
)

// Command is a command and its arguments, as the setting has them.
type Command []string

// Parse takes a setting apart: words between spaces, with 'quotes' or "quotes" around what belongs together. There is no
// shell: nothing is expanded, and a backslash is a backslash. The empty setting is no command.
func Parse(line string) (Command, error) {
	if len(line) > maxLine || strings.ContainsRune(line, 0) {
		return nil, fmt.Errorf("is a command of at most %d bytes", maxLine)
	}
	var out Command
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " \t\n") {
		word := ""
		for rest != "" && !strings.ContainsRune(" \t\n", rune(rest[0])) {
			if quote := rest[0]; quote == '\'' || quote == '"' {
				inner, after, closed := strings.Cut(rest[1:], string(quote))
				if !closed {
					return nil, errors.New("has a quote that does not end")
				}
				word, rest = word+inner, after
				continue
			}
			plain := strings.IndexAny(rest, "'\" \t\n")
			if plain < 0 {
				plain = len(rest)
			}
			word, rest = word+rest[:plain], rest[plain:]
		}
		if out = append(out, word); len(out) > maxWords {
			return nil, fmt.Errorf("has more than %d words", maxWords)
		}
	}
	if len(out) > 0 && out[0] == "" {
		return nil, errors.New("names no command")
	}
	return out, nil
}

// kept are the names of the environment that a command sees, beside those that begin with LC_.
var kept = []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SYSTEMROOT"}

// Environment is what of a process's environment a command sees: what a program needs to run at all, and the home of the
// node, so that `kith` in a hook talks to this one. A passphrase file, a token or a proxy's password is not among it.
func Environment(all []string, home string) []string {
	var out []string
	for _, pair := range all {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(kept, strings.ToUpper(name)) || strings.HasPrefix(name, "LC_") {
			out = append(out, pair)
		}
	}
	return append(out, "KITH_HOME="+home)
}

// Runner runs commands.
type Runner struct {
	Dir string   // where they run
	Env []string // what they see; Environment makes it
}

// Run runs a command with the event on stdin and waits for its end. A command that fails, or takes longer than Within, is
// an error with the end of what it printed. Nothing of the event is in the arguments or the environment.
func (r *Runner) Run(ctx context.Context, c Command, event []byte) error {
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.WaitDelay = r.Dir, r.Env, bytes.NewReader(event), endWithin
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	alone(cmd)
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("it was ended: %w", ctx.Err())
	}
	if len(said.last) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(said.last))
	}
	return err
}

// tail keeps the last bytes of what is written to it.
type tail struct{ last []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.last = append(t.last, p[max(0, len(p)-maxTail):]...)
	t.last = t.last[max(0, len(t.last)-maxTail):]
	return len(p), nil
}
