// Package story is a small language for what happens to people, devices and relays, and what must come of it; it plays
// scripts in the simulated world. A story is a file: prose, the script, and the trace of one seed, which shows a change of
// behaviour as a diff. Searches for faults write, shorten and replay the same scripts.
//
// What it guarantees: a script says all that happens, line by line; one script and one seed give one trace.
package story

import (
	"bytes"
	"embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/result"
)

// GoldenSeed is the seed whose trace a story's file keeps.
const GoldenSeed = 7

//go:embed stories/*.txtar
var files embed.FS

// Story is one file.
type Story struct {
	Name     string
	Question string // the first line of the prose
	Seed     uint64 // GoldenSeed unless the file names another
	Script   Script
	Trace    string // of Seed
}

// Names lists the built-in stories in order.
func Names() []string {
	var out []string
	entries, _ := files.ReadDir("stories") // what is embedded can be read
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".txtar"))
	}
	slices.Sort(out)
	return out
}

// Load reads a built-in story.
func Load(name string) (Story, error) {
	raw, err := files.ReadFile(path.Join("stories", name+".txtar"))
	if err != nil {
		return Story{}, fmt.Errorf("there is no story %q; there is: %s", name, strings.Join(Names(), ", "))
	}
	return Read(name+".txtar", raw)
}

// Read reads a story's file: prose, then the parts "seed", if it is not GoldenSeed, "script" and "trace".
func Read(file string, raw []byte) (Story, error) {
	if len(raw) > maxScript {
		return Story{}, fmt.Errorf("%s: longer than %d bytes", file, maxScript)
	}
	for line := range bytes.Lines(raw) {
		if string(bytes.TrimSpace(line)) == "-- --" { // txtar does not survive it
			return Story{}, fmt.Errorf("%s: a part has no name", file)
		}
	}
	s := Story{Name: strings.TrimSuffix(path.Base(file), ".txtar"), Seed: GoldenSeed}
	a := txtar.Parse(raw)
	s.Question, _, _ = strings.Cut(string(a.Comment), "\n")
	before := strings.Count(string(a.Comment), "\n") + 1 // lines of the file above the script
	found := false
	for _, f := range a.Files {
		switch f.Name {
		case "script":
			var err error
			if s.Script, err = Parse(file, strings.Repeat("\n", before)+string(f.Data)); err != nil {
				return Story{}, err
			}
			found = true
		case "seed":
			var err error
			if s.Seed, err = strconv.ParseUint(strings.TrimSpace(string(f.Data)), 10, 64); err != nil {
				return Story{}, fmt.Errorf("%s: seed: %q is no number", file, f.Data)
			}
		case "trace":
			s.Trace = string(f.Data)
		}
		before += strings.Count(string(f.Data), "\n") + 1
	}
	if !found {
		return Story{}, fmt.Errorf("%s: has no part %q", file, "-- script --")
	}
	return s, nil
}

// Write is the file of a story without its trace.
func (s Story) Write(prose string) []byte {
	a := &txtar.Archive{Comment: []byte(prose + "\n"), Files: []txtar.File{
		{Name: "seed", Data: fmt.Appendln(nil, s.Seed)}, {Name: "script", Data: []byte(s.Script.String())},
	}}
	return txtar.Format(a)
}

// Run is a story that is being played: a result.Run with its trace.
type Run struct {
	*Play
	story Story
}

// Start begins a story with the chance of a seed.
func (s Story) Start(seed uint64) *Run { return &Run{New(s.Script, seed), s} }

var _ result.Run = (*Run)(nil)

// Step plays one line.
func (r *Run) Step() bool { return r.Next() }

// Progress says how far it is.
func (r *Run) Progress() string { return fmt.Sprintf("line %d of %d", r.next, len(r.script)) }

// Trace is what happened, line by line.
func (r *Run) Trace() []string { return r.World.Trace() }

// Result is what came of the lines that were played. Every expectation that did not hold is a check that failed.
func (r *Run) Result() *result.Result {
	out := &result.Result{
		Format: result.Format, Scenario: r.story.Name, Kind: "story", Question: r.story.Question, Crypto: agree.Kind, Seed: r.seed,
	}
	for _, b := range r.Broken() {
		out.Checks = append(out.Checks, result.Check{Name: "story", Want: "every line holds", Got: b})
	}
	claimed := 0
	for _, l := range r.script[:r.next] {
		if l.Verb == "expect" || l.Verb == "deny" {
			claimed++
		}
	}
	out.Values = []result.Value{
		{Name: "broken.count", Better: result.Lower, Value: float64(len(r.Broken()))},
		{Name: "claims.count", Value: float64(claimed)},
		{Name: "messages.count", Value: float64(len(r.Messages))},
		{Name: "events.count", Value: float64(r.World.Events())},
		{Name: "virtual.seconds", Unit: "s", Value: r.World.Now().Sub(simnet.Start).Seconds()},
	}
	return out
}
