package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/cli/child"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
)

const (
	readyWithin   = 60 * time.Second // a start, on a machine that does other things too
	commandWithin = 60 * time.Second
)

// machine is a home folder and the daemon that runs on it, when it runs.
type machine struct {
	name, home string
	command    []string // what is started, before its arguments
	role       string
	args       []string      // of the daemon
	patience   time.Duration // for a start; zero: readyWithin
	offset     time.Duration // of the clock, where it is ours
	news       *news

	mu    sync.Mutex
	cmd   *exec.Cmd
	leash io.WriteCloser
	ended chan struct{} // closed when the process is gone
	addrs []string      // of the first start; the port stays
	grown func()        // called after each start

	before func() // called before each start
}

// newMachine is a machine without an identity. where goes before the program, to put it into a namespace.
func newMachine(t testing.TB, dir, name string, n *news, where ...string) *machine {
	t.Helper()
	return &machine{name: name, home: filepath.Join(dir, name), command: append(where, self(t)), role: roleKith, news: n}
}

// listens sets the addresses of a machine on loopback.
func (m *machine) listens(t testing.TB) *machine {
	p := port(t)
	m.args = append(m.args, "--loopback", "--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d,/ip4/127.0.0.1/udp/%d/quic-v1", p, p))
	return m
}

// knows lets a machine begin with others.
func (m *machine) knows(others ...*machine) *machine {
	for _, o := range others {
		m.args = append(m.args, "--bootstrap", strings.Join(o.addrs, ","))
	}
	return m
}

// start runs the daemon and returns when it is ready.
func (m *machine) start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, max(readyWithin, m.patience))
	defer cancel()
	first, err := m.launch()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	select {
	case line := <-first:
		err = m.met(line)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		m.killLocked()
		tail, _ := os.ReadFile(m.log())
		return fmt.Errorf("%s: %w: %s", m.name, err, lastLines(tail))
	}
	if m.grown != nil {
		m.grown()
	}
	m.news.tell()
	return nil
}

// stillborn starts the daemon and kills it before, or just after, it is ready.
func (m *machine) stillborn(after time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.launch(); err != nil {
		return err
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.ended:
	}
	m.killLocked()
	return nil
}

// launch begins the process; its first line comes on the channel.
func (m *machine) launch() (<-chan string, error) {
	if m.before != nil {
		m.before()
	}
	log, err := os.OpenFile(m.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(m.command[0], append(m.command[1:len(m.command):len(m.command)], m.daemonArgs()...)...)
	cmd.Env, cmd.Stderr = childEnv(m.home, m.role), log
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.cmd, m.leash, m.ended = cmd, leash, make(chan struct{})
	first := make(chan string, 1)
	go child.Listen(cmd, out, first, m.ended)
	return first, nil
}

func lastLines(b []byte) string { return string(b[max(0, len(b)-1500):]) }

func (m *machine) log() string { return m.home + ".log" }

func (m *machine) daemonArgs() []string {
	switch m.role {
	case roleKith:
	case roleHours:
		return append([]string{m.home, m.offset.String()}, m.args...)
	default:
		return m.args
	}
	return append([]string{"--home", m.home, "--json", "daemon", "--leash", "--no-mdns", "--log-level", "info"}, m.args...)
}

// met reads the line in which the daemon says where it is.
func (m *machine) met(line string) error {
	var says struct {
		State string   `json:"state"`
		Addrs []string `json:"addrs"`
	}
	if err := json.Unmarshal([]byte(line), &says); err != nil || says.State != "ready" {
		return child.ErrSilent
	}
	if m.addrs == nil {
		m.addrs = says.Addrs
	}
	return nil
}

// up reports whether the process runs.
func (m *machine) up() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cmd != nil
}

// kill is SIGKILL: no handler runs, nothing is flushed.
func (m *machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killLocked()
}

func (m *machine) killLocked() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	<-m.ended
	m.cmd = nil
}

// signal sends a signal to the process.
func (m *machine) signal(s os.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cmd.Process.Signal(s)
}

// stop lets the daemon go in peace.
func (m *machine) stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return nil
	}
	_ = m.leash.Close()
	<-m.ended
	state := m.cmd.ProcessState
	m.cmd = nil
	if !state.Success() {
		return fmt.Errorf("%s: %s", m.name, state)
	}
	return nil
}

// tell gives a process that is not kith's own a line to act on.
func (m *machine) tell(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := io.WriteString(m.leash, line+"\n")
	return err
}

// last lets a fault last: faults have a length.
func last(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// answer is how a command ended.
type answer struct {
	out, err string
	exit     int
}

// run is one kith command at this home.
func (m *machine) run(ctx context.Context, args ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	all := append(m.command[1:len(m.command):len(m.command)], append([]string{"--home", m.home}, args...)...)
	cmd := exec.CommandContext(ctx, m.command[0], all...)
	cmd.Env = childEnv(m.home, roleKith)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	a := answer{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
	if _, ended := errors.AsType[*exec.ExitError](err); ended && a.exit >= 0 {
		err = nil
	}
	return a, err
}

// must is run where the exit code has to be this one.
func (m *machine) must(t testing.TB, ctx context.Context, exit int, args ...string) string {
	t.Helper()
	a, err := m.run(ctx, args...)
	if err != nil || a.exit != exit {
		t.Fatalf("%s: kith %s: exit %d, want %d (%v)\n%s%s", m.name, strings.Join(args, " "), a.exit, exit, err, a.out, a.err)
	}
	return strings.TrimSpace(a.out)
}

// call is one method of the local API.
func (m *machine) call(ctx context.Context, method string, req, resp any) error {
	c, err := api.Dial(p2p.SocketPath(m.home))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(ctx, method, req, resp)
}

// sound fails the test if a daemon of this machine panicked or left a race.
func (m *machine) sound(t testing.TB) {
	t.Helper()
	raw, _ := os.ReadFile(m.log())
	for _, word := range []string{"panic:", "DATA RACE", "fatal error:"} {
		if i := bytes.Index(raw, []byte(word)); i >= 0 {
			t.Errorf("%s: %s", m.name, raw[i:min(len(raw), i+2000)])
		}
	}
}

// news wakes who waits for something to happen anywhere in a cast.
type news struct {
	mu      sync.Mutex
	changed chan struct{}
}

func newNews() *news { return &news{changed: make(chan struct{})} }

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *news) next() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// until waits for news until ok holds. What ok looks at may change only together with news.
func (n *news) until(ctx context.Context, what string, ok func() bool) error {
	for {
		changed := n.next()
		if ok() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// asking asks again and again, where nothing tells of a change, until ok holds.
func asking(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
