//go:build unix

package hooks_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kith-im/kith/cli/hooks"
)

func TestParse(t *testing.T) {
	for in, want := range map[string][]string{
		"":                            nil,
		"  ":                          nil,
		"notify":                      {"notify"},
		" notify  --now ":             {"notify", "--now"},
		`sh -c 'read x; echo "$x"'`:   {"sh", "-c", `read x; echo "$x"`},
		`say "two words" 'it'"'"'s'`:  {"say", "two words", "it's"},
		`say ""`:                      {"say", ""},
		`C:\bin\say.exe $HOME *.txt;`: {`C:\bin\say.exe`, "$HOME", "*.txt;"},
	} {
		got, err := hooks.Parse(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{`say "no end`, `say 'no end`, `""`, `'' x`, strings.Repeat("a ", 65), strings.Repeat("a", 5000), "a\x00b"} {
		if got, err := hooks.Parse(in); err == nil {
			t.Errorf("%.40q: %q", in, got)
		}
	}
}

// A command sees the event on stdin, a scrubbed environment, and nothing of either in its arguments.
func TestRunGetsTheEventAlone(t *testing.T) {
	dir := t.TempDir()
	env := hooks.Environment([]string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "KITH_PASSPHRASE_FILE=/secret", "AWS_SECRET=x", "LD_PRELOAD=y", "KITH_HOME=/other",
	}, dir)
	r := hooks.Runner{Dir: dir, Env: env}
	c, err := hooks.Parse(`sh -c 'cat > event; env > env; pwd > pwd; tr "\0" " " < /proc/$$/cmdline > args || true'`)
	if err != nil {
		t.Fatal(err)
	}
	event := `{"type":"message","message":{"text":"$(touch pwned); '"}}`
	if err := r.Run(t.Context(), c, []byte(event)); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if read("event") != event {
		t.Errorf("stdin: %s", read("event"))
	}
	seen := read("env")
	for _, bad := range []string{"PASSPHRASE", "AWS", "LD_PRELOAD", "/other", "message"} {
		if strings.Contains(seen, bad) {
			t.Errorf("the environment holds %s:\n%s", bad, seen)
		}
	}
	for _, good := range []string{"PATH=", "LC_ALL=C", "KITH_HOME=" + dir} { // control: it is not just empty
		if !strings.Contains(seen, good) {
			t.Errorf("the environment lacks %s:\n%s", good, seen)
		}
	}
	if strings.TrimSpace(read("pwd")) != dir || strings.Contains(read("args"), "pwned") {
		t.Errorf("folder %s, arguments %s", read("pwd"), read("args"))
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("the event was run")
	}
}

func TestRunFails(t *testing.T) {
	r := hooks.Runner{Dir: t.TempDir(), Env: hooks.Environment(os.Environ(), "")}
	run := func(line string) error {
		c, err := hooks.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		return r.Run(t.Context(), c, []byte("{}"))
	}
	if err := run(`sh -c 'yes | head -c 100000; echo "no credit" >&2; exit 3'`); err == nil || !strings.HasSuffix(err.Error(), "no credit") || len(err.Error()) > 1100 {
		t.Errorf("%v", err)
	}
	if err := run("/nowhere/notify"); err == nil {
		t.Error("a command that is not there")
	}
	if err := run("true"); err != nil { // one that does not read its stdin
		t.Errorf("control: %v", err)
	}
}

// A command that is ended takes with it what it started.
func TestRunEndsWhatItStarted(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := hooks.Runner{Dir: dir, Env: hooks.Environment(os.Environ(), "")}
	// The child holds the pipe open and waits for ever; the command waits for the child.
	go func() {
		ended <- r.Run(ctx, hooks.Command{"sh", "-c", "(exec 3>pipe; echo up >&3; exec tail -f /dev/null) & wait"}, nil)
	}()
	f, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	if !lines.Scan() {
		t.Fatal("control: the child is not up")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if lines.Scan() { // the pipe ends only when the child is gone
		t.Errorf("the child said %q", lines.Text())
	}
}
