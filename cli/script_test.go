package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kith-im/kith/cli"
	"github.com/kith-im/kith/node/namestest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kith": func() { os.Exit(cli.Main(os.Args[1:])) }})
}

// TestStories runs the real binary through what people do with it. Each story has its own folders; $WORK/NAME is the
// home of NAME.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Values[nodesKey{}] = map[string]*daemon{}
			e.Setenv("HOME", e.WorkDir+"/nobody")
			e.Setenv("TERM", "xterm")
			bots, err := filepath.Abs("../docs/bots")
			e.Setenv("BOTS", bots)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"run": cmdRun, "exits": cmdExits, "next": cmdNext, "node": cmdNode, "end": cmdEnd, "crash": cmdCrash,
			"interrupt": cmdInterrupt, "grab": cmdGrab, "write": cmdWrite, "clean": cmdClean, "flip": cmdFlip, "online": cmdOnline, "dns": cmdDNS,
			"sees": cmdSees, "until": cmdUntil, "picture": cmdPicture,
		},
	})
}

type nodesKey struct{}

// daemon is a node that a story runs.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}

	online chan struct{} // closed when it said so, or is gone
	met    bool          // it said so
}

func nodes(ts *testscript.TestScript) map[string]*daemon {
	return ts.Value(nodesKey{}).(map[string]*daemon)
}

// cmdRun runs kith, which has to succeed: run ARGS.
func cmdRun(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("say which exit code: exits N kith ARGS")
	}
	run(ts, 0, args)
}

// cmdExits runs kith, which has to end with a code: exits N kith ARGS.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 || args[1] != "kith" {
		ts.Fatalf("usage: exits N kith ARGS")
	}
	run(ts, number(ts, args[0]), args[2:])
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

func run(ts *testscript.TestScript, want int, args []string) {
	err := ts.Exec("kith", args...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("kith %s: exit %d, want %d", strings.Join(args, " "), got, want)
	}
}

var nextLine = regexp.MustCompile(`(?m)^next: (.*)$`)

// cmdNext runs the command that the last failure named: next N [PLACEHOLDER=VALUE]...
func cmdNext(ts *testscript.TestScript, _ bool, args []string) {
	found := nextLine.FindStringSubmatch(ts.ReadFile("stderr"))
	if found == nil {
		ts.Fatalf("the failure names no next command")
	}
	command := found[1]
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(a, "=")
		command = strings.ReplaceAll(command, name, value)
	}
	ts.Logf("next: %s", command)
	words := split(command)
	if words[0] == "kith" {
		run(ts, number(ts, args[0]), words[1:])
		return
	}
	ts.Check(ts.Exec(words[0], words[1:]...))
}

// split takes a command apart as a shell does, for the quotes that we write.
func split(s string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(s, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// cmdNode starts the node of a home and waits until it is ready: node NAME [FLAGS]. $NAME_addr is its
// addresses then, $NAME_listen the same without its peer id.
func cmdNode(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	exe, err := exec.LookPath("kith")
	ts.Check(err)
	d := &daemon{ended: make(chan struct{}), online: make(chan struct{})}
	d.cmd = exec.Command(exe, append([]string{"--home", ts.MkAbs(name), "daemon", "--loopback", "--no-mdns", "--json", "--log-level", "warn"}, args[1:]...)...)
	d.cmd.Env = append(os.Environ(), "HOME="+ts.MkAbs("nobody"))
	log, err := os.OpenFile(ts.MkAbs(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	d.cmd.Stderr = log
	out, err := d.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(d.cmd.Start())
	first := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		first <- line
		for err := error(nil); err == nil && !d.met; {
			line, err = r.ReadString('\n')
			d.met = strings.Contains(line, `"state":"online"`)
		}
		close(d.online)
		_, _ = io.Copy(io.Discard, r)
		_ = d.cmd.Wait()
		close(d.ended)
		log.Close()
	}()
	ts.Defer(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
	})
	var says struct{ Addrs []string }
	if err := json.Unmarshal([]byte(<-first), &says); err != nil || len(says.Addrs) == 0 {
		<-d.ended
		ts.Fatalf("node %s did not start:\n%s", name, ts.ReadFile(name+".log"))
	}
	ts.Setenv(name+"_addr", strings.Join(says.Addrs, ","))
	// With these a restarted node is where it was.
	var listen []string
	for _, a := range says.Addrs {
		addr, _, _ := strings.Cut(a, "/p2p/")
		listen = append(listen, addr)
	}
	ts.Setenv(name+"_listen", strings.Join(listen, ","))
	nodes(ts)[name] = d
}

// cmdEnd ends a node as a person would: end NAME. (stop is a command of testscript itself: it ends the story.).
func cmdEnd(ts *testscript.TestScript, _ bool, args []string) {
	d := nodes(ts)[args[0]]
	ts.Check(d.cmd.Process.Signal(syscall.SIGTERM))
	<-d.ended
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		ts.Fatalf("node %s ended with %d:\n%s", args[0], code, ts.ReadFile(args[0]+".log"))
	}
}

// cmdCrash ends a node as a power cut would: crash NAME.
func cmdCrash(ts *testscript.TestScript, _ bool, args []string) {
	d := nodes(ts)[args[0]]
	ts.Check(d.cmd.Process.Kill())
	<-d.ended
}

// cmdInterrupt runs kith until it says something, interrupts it, and expects exit code 130: interrupt FILE ARGS. All of
// its output is in FILE then.
func cmdInterrupt(ts *testscript.TestScript, _ bool, args []string) {
	exe, err := exec.LookPath("kith")
	ts.Check(err)
	cmd := exec.Command(exe, args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+ts.MkAbs("nobody"), "TMPDIR="+ts.Getenv("TMPDIR"))
	in, err := cmd.StdinPipe() // it says nothing, and does not end
	ts.Check(err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewReader(out)
	first, _ := lines.ReadString('\n')
	ts.Check(cmd.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(lines)
	ts.Check(err)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		ts.Fatalf("exit %d, want 130: %s%s", code, first, rest)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append([]byte(first), rest...), 0o600))
}

// cmdGrab puts the last output into a variable: grab VAR.
func cmdGrab(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// cmdWrite makes a file with what a script cannot hold, in Go's quotes: write FILE QUOTED.
func cmdWrite(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// cmdOnline waits until a node says that its first peer has come: online NAME.
func cmdOnline(ts *testscript.TestScript, _ bool, args []string) {
	d := nodes(ts)[args[0]]
	if <-d.online; !d.met {
		ts.Fatalf("node %s never said that it is online:\n%s", args[0], ts.ReadFile(args[0]+".log"))
	}
}

// cmdFlip flips a bit of a file: flip FILE OFFSET.
func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	raw[number(ts, args[1])] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o600))
}

// cmdSees waits until an event of a home fits, from its first one on: sees HOME CONDITION. It waits for longer than a lost
// envelope takes to be sealed anew.
func cmdSees(ts *testscript.TestScript, _ bool, args []string) {
	run(ts, 0, []string{"--home", ts.MkAbs(args[0]), "events", "--since", "0", "--timeout", "100s", "--count", "1", "--jq", "select(" + args[1] + ") | .cursor"})
}

// cmdUntil runs kith again and again, where no event tells of a change, until its output fits: until REGEXP ARGS.
func cmdUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(100 * time.Second); ; {
		run(ts, 0, args[1:])
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("%s does not come", want)
		}
	}
}

// cmdClean checks that the last output could not move a cursor or turn the direction of text.
func cmdClean(ts *testscript.TestScript, _ bool, _ []string) {
	for _, stream := range []string{"stdout", "stderr"} {
		for _, r := range ts.ReadFile(stream) {
			if r == '\n' {
				continue
			}
			if r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200f {
				ts.Fatalf("%s holds %U", stream, r)
			}
		}
	}
}

// cmdDNS starts a name server: dns FILE. $dns is its address then. Each line of the file, which may change, is a name with
// its final dot and a TXT record; a domain that no line names does not exist.
func cmdDNS(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	addr, stop, err := namestest.Serve(func(name string) (a namestest.Answer) {
		raw, err := os.ReadFile(path)
		if err != nil {
			return namestest.Answer{Broken: true}
		}
		for line := range strings.Lines(string(raw)) {
			if owner, text, _ := strings.Cut(strings.TrimSpace(line), " "); owner == name {
				a.Records = append(a.Records, []string{text})
			}
		}
		a.Unknown = len(a.Records) == 0
		return a
	})
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("dns", addr)
}

// cmdPicture draws a picture: picture FILE.
func cmdPicture(ts *testscript.TestScript, _ bool, args []string) {
	m := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range m.Pix {
		m.Pix[i] = byte(i)
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(errors.Join(png.Encode(f, m), f.Close()))
}
