// Package faults breaks a running kith on purpose: it kills processes, fills disks, cuts networks, moves clocks, and
// puts liars among the relays, with the real program in processes of their own.
//
// What it shows: what `kith send` said is queued reaches every device of the recipient exactly once, whatever is killed
// on the way; what relays signed for arrives also when its sender never comes back; and each of these claims fails when
// the line of the program that carries it is taken out (controls_test.go).
//
// What it does not show: a power cut. SIGKILL takes a process, not what the kernel has promised to write; the stores'
// own tests look at cut and torn files.
//
// There are only tests here. The test binary is its own cast: started again with another role in its environment it is
// the kith command, or a relay that lies.
package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/kith-im/kith/cli"
	"github.com/kith-im/kith/cli/child"
)

// roleVar says what a child is; it is not set in the test itself.
const roleVar = "KITH_FAULTS_ROLE"

const (
	roleKith  = "kith"  // the command line, as cli/kith is
	roleLiar  = "liar"  // a relay that lies: liar HOME LIE ADDR PEER…
	roleHours = "hours" // a daemon whose clock is ours
)

// roles are what a child can be; each gets its arguments and returns its exit code.
var roles = map[string]func([]string) int{roleKith: cli.Main, roleLiar: lie}

func TestMain(m *testing.M) {
	if play := roles[os.Getenv(roleVar)]; play != nil {
		os.Exit(play(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// childEnv is the environment of a child with a role.
func childEnv(home, role string) []string {
	return append(child.Env(home), roleVar+"="+role)
}

// self is the test binary.
func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	return exe
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder is a place with a short name: the path of a Unix socket has at most 107 bytes.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kith-faults-")
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("KITH_FAULTS_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		check(t, os.RemoveAll(dir))
	})
	return dir
}

// port is one that is free for TCP and UDP and that no outgoing connection will take while a daemon is down: below
// Linux's ephemeral ports.
func port(t testing.TB) int {
	t.Helper()
	for range 200 {
		n := 20000 + rand.IntN(12000)
		if free(n) == nil {
			return n
		}
	}
	t.Fatal("no free port")
	return 0
}

func free(n int) error {
	addr := fmt.Sprintf("127.0.0.1:%d", n)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	p, err := net.ListenPacket("udp", addr)
	if err == nil {
		err = p.Close()
	}
	return errors.Join(err, l.Close())
}

// copyHome copies the files of a home folder.
func copyHome(t testing.TB, from, to string) {
	t.Helper()
	check(t, os.MkdirAll(to, 0o700))
	list, err := os.ReadDir(from)
	check(t, err)
	for _, e := range list {
		raw, err := os.ReadFile(filepath.Join(from, e.Name()))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(to, e.Name()), raw, 0o600))
	}
}
