//go:build standin

package kith_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// These tests run the two builds of `make check-standin`: bin/kith, which is a messenger, and bin/kith-standin, which only simulates.

// built runs one of the builds in a home of its own.
func built(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("bin", name))
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	c := exec.Command(path, args...)
	c.Dir, c.Stdout, c.Stderr = t.TempDir(), &out, &errs
	c.Env = append(os.Environ(), "KITH_HOME="+c.Dir)
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	if made, _ := os.ReadDir(c.Dir); len(made) > 0 {
		t.Errorf("%s %v leaves %v", name, args, made)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// A messenger has nothing of the stand-in in it; the control is the simulator, which has what is looked for.
func TestStandInIsInNoMessenger(t *testing.T) {
	for name, want := range map[string]int{"kith": 0, "kith-standin": 3} {
		binary, err := os.ReadFile(filepath.Join("bin", name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, mark := range []string{"kith stand-in for agreements: protects nothing", "kith stand-in for signatures: protects nothing", "this build is a simulator"} {
			if bytes.Contains(binary, []byte(mark)) {
				found++
			}
		}
		if found != want {
			t.Errorf("%s has %d of 3 marks, want %d", name, found, want)
		}
	}
}

// A simulator says what it is, and does nothing else, whatever follows a command.
func TestStandInIsNoMessenger(t *testing.T) {
	const says = "this build is a simulator and no messenger: its keys and signatures protect nothing"
	for _, args := range [][]string{{}, {"--help"}, {"help"}, {"help", "daemon"}, {"version"}, {"completion", "bash"}, {"sim"}, {"sim", "list"}} {
		if _, errs, code := built(t, "kith-standin", args...); code != 0 {
			t.Errorf("%v: %d, %s", args, code, errs)
		}
	}
	if out, _, _ := built(t, "kith-standin", "version"); !strings.Contains(out, "+stand-in ") || !strings.Contains(out, says) {
		t.Errorf("version: %s", out)
	}
	if out, _, _ := built(t, "kith", "version"); strings.Contains(out, "stand-in") || strings.Contains(out, says) {
		t.Errorf("control: the messenger says %s", out)
	}
	help, _, _ := built(t, "kith-standin", "--help")
	if control, _, _ := built(t, "kith", "--help"); !strings.Contains(help, says) || strings.Contains(help, "  daemon ") || !strings.Contains(control, "  daemon ") {
		t.Errorf("help: %s", help)
	}
	out, _, _ := built(t, "kith", "__complete", "")
	refused := 0
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(line, " ")
		if !unicode.IsLetter(rune(name[0])) || slices.Contains([]string{"sim", "version", "help", "completion"}, name) {
			continue
		}
		refused++
		if out, errs, code := built(t, "kith-standin", name); code != 2 || out != "" || !strings.Contains(errs, says) {
			t.Errorf("%s: %d, %s%s", name, code, out, errs)
		}
	}
	if refused < 40 {
		t.Errorf("control: only %d commands were tried", refused)
	}
	for _, args := range [][]string{
		{"init", "--name", "Ada"}, {"daemon", "--help"}, {"send", "bob", "hi"}, {"device", "link"}, {"relay", "check", "x"}, {"group", "--no-such-flag"}, {"--json", "status"},
	} {
		if out, errs, code := built(t, "kith-standin", args...); code != 2 || out != "" || !strings.Contains(errs, says) {
			t.Errorf("%v: %d, %s%s", args, code, out, errs)
		}
	}
}

// What a build has can be named and not chosen; who asks for the other is told where it is.
func TestStandInIsChosenByTheBuild(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.toml")
	for _, c := range []struct{ build, has, other, from string }{
		{"kith", "real", "stand-in", "make sim-standin"},
		{"kith-standin", "stand-in", "real", "make build"},
	} {
		write := func(crypto string) {
			if err := os.WriteFile(file, []byte("question = \"?\"\nkind = \"world\"\ncrypto = \""+crypto+"\"\nusers = 2\nspan = \"1 h\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(c.has)
		out, errs, code := built(t, c.build, "sim", "run", file)
		if first, _, _ := strings.Cut(out, "\n"); code != 0 || !strings.HasPrefix(first, c.build+" sim run ") || !strings.Contains(first, "--set crypto="+c.has+" ") {
			t.Errorf("%s: %d, %s, %s", c.build, code, first, errs)
		}
		write(c.other)
		if _, errs, code := built(t, c.build, "sim", "run", file); code != 2 || !strings.Contains(errs, "mine.toml:3: crypto: is ") || !strings.Contains(errs, c.from) {
			t.Errorf("%s: %d, %s", c.build, code, errs)
		}
		if _, errs, code := built(t, c.build, "sim", "run", "first-steps", "--set", "crypto="+c.other); code != 2 || !strings.Contains(errs, c.from) || !strings.HasSuffix(errs, "next: "+c.build+" sim list\n") {
			t.Errorf("%s: %d, %s", c.build, code, errs)
		}
	}
}

// played is what comes of a scenario, with the label of its crypto.
type played struct {
	OK     bool     `json:"ok"`
	Crypto string   `json:"crypto"`
	Trace  []string `json:"trace"`
	Values []struct {
		Name  string  `json:"name"`
		Value float64 `json:"value"`
	} `json:"values"`
}

func playedBy(t *testing.T, build string, args ...string) (p played, values map[string]float64) {
	t.Helper()
	out, errs, code := built(t, build, append([]string{"sim", "run", "--json", "--quiet"}, args...)...)
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != 0 || !p.OK {
		t.Fatalf("%s %v: %d, %v, %s", build, args, code, err, errs)
	}
	values = map[string]float64{}
	for _, v := range p.Values {
		values[v.Name] = v.Value
	}
	return p, values
}

// Three relays serve everybody: both builds play the same line for line, with every size and time. Where devices choose among five
// relays they choose others, since they have other keys, and the sizes are the same.
func TestStandInPlaysTheSame(t *testing.T) {
	for story, all := range map[string]bool{"first-steps": true, "relays-die": false} {
		var traces [2][]string
		for i, build := range []string{"kith", "kith-standin"} {
			p, _ := playedBy(t, build, story)
			if p.Crypto != []string{"real", "stand-in"}[i] {
				t.Errorf("%s says that its crypto is %s", build, p.Crypto)
			}
			traces[i] = p.Trace
			if !all {
				traces[i] = sizes.FindAllString(strings.Join(p.Trace, "\n"), -1)
				slices.Sort(traces[i])
			}
		}
		if len(traces[0]) < 9 || !slices.Equal(traces[0], traces[1]) {
			t.Errorf("%s:\n%s\n\nand with the stand-in:\n%s", story, strings.Join(traces[0], "\n"), strings.Join(traces[1], "\n"))
		}
	}
}

var sizes = regexp.MustCompile(`stores [0-9]+ bytes`)

// In a town the two builds write and deliver the same; what hangs on which relays were chosen is as near as another seed would be.
func TestStandInTownIsTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "town.toml")
	if err := os.WriteFile(file, []byte(`question = "?"
kind = "world"
span = "12 h"
users = 12
relays = 5
messages = "30 /d"
groups = "6 20 %"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, real := playedBy(t, "kith", file)
	_, standin := playedBy(t, "kith-standin", file)
	for _, name := range []string{
		"users.count", "devices.count", "relays.count", "messages.count", "deliveries.count", "lost.count", "pending.count", "expired.count", "refused.count", "doubled.count", "late.count", "clear.count", "broken.count",
	} {
		a, known := real[name]
		if b, ok := standin[name]; !known || !ok || a != b {
			t.Errorf("%s is %g (%t) and with the stand-in %g (%t)", name, a, known, b, ok)
		}
	}
	for name, apart := range map[string]float64{"custody.share": 0.1, "device.bytes_hour": 0.5} { // of five seeds the furthest were 4 and 29 %
		if real[name] == 0 || math.Abs(standin[name]/real[name]-1) > apart {
			t.Errorf("%s is %g and with the stand-in %g", name, real[name], standin[name])
		}
	}
	if real["messages.count"] < 100 || real["digest.low"] == standin["digest.low"] {
		t.Errorf("control: %g messages, fingerprints %g and %g", real["messages.count"], real["digest.low"], standin["digest.low"])
	}
}
