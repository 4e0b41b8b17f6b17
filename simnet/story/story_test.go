package story_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/simnet/story"
)

var update = flag.Bool("update", false, "rewrite the traces in the stories")

func load(t *testing.T, name string) story.Story {
	t.Helper()
	s, err := story.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func play(s story.Story, seed uint64) *story.Run {
	r := s.Start(seed)
	for r.Step() {
	}
	return r
}

// Every story holds, and its trace of one seed is the one that was kept: a change of behaviour shows in review.
func TestStoriesHold(t *testing.T) {
	for _, name := range story.Names() {
		s := load(t, name)
		r := play(s, story.GoldenSeed)
		got := strings.Join(r.Trace(), "\n") + "\n"
		if len(r.Broken()) > 0 {
			t.Errorf("%s: %s\n%s", name, strings.Join(r.Broken(), "\n"), got)
			continue
		}
		if *update {
			rewrite(t, name, got)
		} else if !agree.StandIn && got != s.Trace { // other keys elect other relays
			t.Errorf("%s: the trace has changed; if it should: go test ./simnet/story -update", name)
		}
	}
}

func rewrite(t *testing.T, name, trace string) {
	t.Helper()
	file := filepath.Join("stories", name+".txtar")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := txtar.Parse(raw)
	a.Files[len(a.Files)-1].Data = []byte(trace)
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// One seed gives one trace, another seed another.
func TestStoriesRepeat(t *testing.T) {
	s := load(t, "removed-device")
	first, again, other := play(s, 1), play(s, 1), play(s, 2)
	if !slices.Equal(first.Trace(), again.Trace()) {
		t.Error("two runs, two traces")
	}
	if slices.Equal(first.Trace(), other.Trace()) {
		t.Error("control: the seed changes nothing")
	}
}

func TestScriptsAreRead(t *testing.T) {
	for _, name := range story.Names() {
		s := load(t, name)
		again, err := story.Parse(name, s.Script.String())
		if err != nil || again.String() != s.Script.String() {
			t.Errorf("%s: read again: %v", name, err)
		}
	}
	const set = "relays r1\npeople alice bob\n"
	for script, want := range map[string]string{
		"people alice\nfly alice":                    `x:2: there is no verb "fly"`,
		"people alice\nsend alice":                   "x:2: send DEVICE WHO NEWTEXT [TIME]: WHO is missing",
		"people alice\nsend alice bob hi":            `"bob" is no who of this story`,
		set + "send alice bob hi\nsend bob alice hi": `x:4: send: "hi" was said before`,
		set + "send alice bob hi 5x":                 `"5x" is no time`,
		set + "send alice bob hi 5m now":             `what is "now"`,
		set + "start r2":                             `"r2" is no host`,
		set + `send alice bob "hi`:                   "a quote that does not end",
		set + "links 5 5% 3s":                        `"5" is no share`,
		set + "edit alice hi ho":                     `nobody said "hi"`,
		set + "people alice":                         `"alice" cannot be a name`,
		set + "expect alice flies":                   `"flies" is nothing that can be claimed; there is: agrees`,
		set + "deny r1 shows hi":                     `"r1" is no device`,
		set + "expect alice holds 1":                 `"alice" is no relay`,
		set + "expect alice told 1 2":                `told NUMBER: what is "2"`,
		set + "expect within 9 alice told 1":         `"9" is no time`,
		set + "expect alice":                         "want a host and what is claimed",
	} {
		if _, err := story.Parse("x", script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", script, err, want)
		}
	}
}

// The control: a claim that does not hold is said to be broken, with its line.
func TestAClaimCanFail(t *testing.T) {
	for script, want := range map[string]string{
		"relays r1\npeople alice bob\nknow alice bob\nexpect r1 holds 3":    "line 4: expect r1 holds 3",
		"relays r1\npeople alice bob\nknow alice bob\ndeny alice knows bob": "it holds",
		"relays r1\npeople alice bob\nstop alice\nsend alice bob hi":        "nothing to do",
	} {
		s, err := story.Parse("x", script)
		if err != nil {
			t.Fatal(err)
		}
		r := story.Story{Name: "x", Script: s}.Start(1)
		for r.Step() {
		}
		if !strings.Contains(strings.Join(r.Broken(), "\n"), want) || len(r.Result().Checks) == 0 {
			t.Errorf("%q: %q, want %s", script, r.Broken(), want)
		}
	}
}
