package faults

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kith-im/kith/node/api"
)

// The stories of package cli go through the exit codes of the commands; these are about the daemon.

func alone(t *testing.T, ctx context.Context, args ...string) *machine {
	t.Helper()
	n := newNews()
	m := newMachine(t, folder(t), "ada", n).listens(t)
	m.must(t, ctx, 0, append([]string{"init", "--name", "Ada"}, args...)...)
	t.Cleanup(func() { check(t, m.stop()); m.sound(t) })
	return m
}

// refused runs a daemon that must not start, and returns what it says.
func refused(t *testing.T, ctx context.Context, m *machine, exit int, args ...string) (e api.Error) {
	t.Helper()
	a, err := m.run(ctx, append([]string{"daemon", "--json", "--loopback", "--no-mdns"}, args...)...)
	check(t, err)
	lines := strings.Split(strings.TrimSpace(a.err), "\n")
	check(t, json.Unmarshal([]byte(lines[len(lines)-1]), &e))
	if a.exit != exit || e.Exit != exit || a.out != "" || e.Hint == "" {
		t.Errorf("exit %d, want %d\n%s%s", a.exit, exit, a.out, a.err)
	}
	return e
}

func TestADaemonRefusesWhatOthersCanRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	m := alone(t, ctx)
	for name, mode := range map[string]os.FileMode{".": 0o750, "vault.key": 0o640, "host.key": 0o604, "node.db": 0o660} {
		path := filepath.Join(m.home, name)
		check(t, os.Chmod(path, mode))
		e := refused(t, ctx, m, api.ExitFailed)
		words := strings.Fields(e.Hint)
		if len(words) != 3 || words[0] != "chmod" || filepath.Clean(words[2]) != filepath.Clean(path) {
			t.Fatalf("%s: hint %q", name, e.Hint)
		}
		check(t, exec.Command(words[0], words[1:]...).Run())
		check(t, m.start(ctx)) // what the hint says repairs it
		check(t, m.stop())
	}
}

func TestASecondDaemonLeavesTheFirstAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	m := alone(t, ctx)
	check(t, m.start(ctx))
	for range 3 {
		refused(t, ctx, m, api.ExitLocked)
		m.must(t, ctx, 0, "status")
	}
	m.kill()
	check(t, m.start(ctx)) // a socket and a lock that a dead one left are no hindrance
	m.must(t, ctx, 0, "status")
}

func TestADaemonNeedsItsPassphrase(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	dir := folder(t)
	right, wrong := filepath.Join(dir, "right"), filepath.Join(dir, "wrong")
	check(t, os.WriteFile(right, []byte("correct horse\n"), 0o600))
	check(t, os.WriteFile(wrong, []byte("correct horsf\n"), 0o600))
	m := alone(t, ctx, "--passphrase-file", right)
	refused(t, ctx, m, api.ExitPassphrase)
	refused(t, ctx, m, api.ExitPassphrase, "--passphrase-file", wrong)
	m.args = append(m.args, "--passphrase-file", right)
	check(t, m.start(ctx))
	m.must(t, ctx, 0, "status")
}

func TestADaemonNeedsAnIdentity(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	m := newMachine(t, folder(t), "nobody", newNews())
	refused(t, ctx, m, api.ExitNoIdentity)
	if _, err := os.Stat(m.home); !os.IsNotExist(err) {
		t.Errorf("it made %s: %v", m.home, err)
	}
}

// TestASpoiltHomeIsNamed: a file that was cut stops the daemon with its name, not a panic.
func TestASpoiltHomeIsNamed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	for _, name := range []string{"vault.key", "host.key", "node.db"} {
		m := alone(t, ctx)
		path := filepath.Join(m.home, name)
		raw, err := os.ReadFile(path)
		check(t, err)
		check(t, os.WriteFile(path, raw[:len(raw)/3], 0o600))
		if e := refused(t, ctx, m, api.ExitFailed); !strings.Contains(e.Message, name) {
			t.Errorf("%s: %q", name, e.Message)
		}
	}
}
