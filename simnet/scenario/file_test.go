package scenario_test

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/scenario"
)

func parse(t *testing.T, name string, sets ...scenario.Set) *scenario.Scenario {
	t.Helper()
	text, ok := scenario.Source(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	s, err := scenario.Parse(name+".toml", text, sets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each scenario begins with its question; what it expects is counted; and its resolved form is the same scenario.
func TestTheLibraryIsRight(t *testing.T) {
	for _, name := range scenario.Library() {
		text, _ := scenario.Source(name)
		s := parse(t, name)
		first, _, _ := strings.Cut(text, "\n")
		if q := s.Question(); !strings.HasSuffix(q, "?") || !strings.Contains(first, q) {
			t.Errorf("%s begins with %q; its question is %q", name, first, q)
		}
		again, err := scenario.Parse("resolved.toml", s.Text())
		if err != nil {
			t.Fatalf("%s, resolved: %v", name, err)
		}
		if diff := cmp.Diff(s.Text(), again.Text()); diff != "" || again.Name() != name {
			t.Errorf("%s, resolved twice: %s", name, diff)
		}
		for _, a := range s.Axes() {
			if len(a.Values) < 2 {
				t.Errorf("%s: a sweep over one %s", name, a.Key)
			}
		}
		var small []scenario.Set // so that beginning is quick
		if s.Kind() == scenario.KindModel {
			small = append(small, scenario.Set{Key: "devices", Value: "200"})
		}
		if _, err := parse(t, name, small...).Start(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func play(t *testing.T, s *scenario.Scenario) (*result.Result, string) {
	t.Helper()
	run, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	for run.Step() {
	}
	r := run.Result()
	s.Finish(r)
	raw, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return r, string(raw)
}

// What no run may have fails a run whose scenario does not speak of it.
func TestPromisesAreAlwaysExpected(t *testing.T) {
	for _, name := range []string{"doubled.count", "late.count", "removed.read.count", "clear.count", "broken.count"} {
		for expected, want := range map[string]bool{"": false, "\"" + name + "\" = \"<= 1\"": true} {
			s, err := scenario.Parse("x.toml", "question = \"?\"\nkind = \"world\"\n[expect]\n"+expected)
			if err != nil {
				t.Fatal(err)
			}
			r := &result.Result{Values: []result.Value{{Name: name, Value: 1}}}
			if s.Finish(r); r.OK() != want || len(r.Checks) != 1 {
				t.Errorf("%s, %q: %v", name, expected, r.Checks)
			}
			r = &result.Result{Values: []result.Value{{Name: name}}}
			if s.Finish(r); !r.OK() {
				t.Errorf("control: %s, %q: %v", name, expected, r.Checks)
			}
		}
	}
}

// One text gives one result, also in its resolved form; another seed another.
func TestOneSeedOneResult(t *testing.T) {
	sets := []scenario.Set{{Key: "devices", Value: "200"}, {Key: "span", Value: "3d"}, {Key: "seed", Value: "7"}}
	s := parse(t, "steady", sets...)
	r, first := play(t, s)
	again, err := scenario.Parse("scenario.toml", s.Text())
	if err != nil {
		t.Fatal(err)
	}
	if _, second := play(t, again); first != second {
		t.Error("the resolved scenario gives another result")
	}
	sets[2].Value = "8"
	if _, other := play(t, parse(t, "steady", sets...)); other == first {
		t.Error("control: another seed gives the same")
	}
	if r.Seed != 7 || r.Scenario != "steady" || len(r.Checks) == 0 || !slices.Contains(r.Parameters, result.Parameter{Name: "span", Value: "3 d"}) {
		t.Errorf("%+v", r.Checks)
	}
}

// A story and lookups, too, on one core and on two.
func TestCoresChangeNothing(t *testing.T) {
	for name, sets := range map[string][]scenario.Set{
		"first-steps": nil,
		"lookup":      {{Key: "nodes", Value: "100 + 1000"}, {Key: "walks", Value: "100"}},
		"new-year":    {{Key: "devices", Value: "100"}},
	} {
		at := func(cores int) string {
			before := runtime.GOMAXPROCS(cores)
			defer runtime.GOMAXPROCS(before)
			text, _ := scenario.Source(name)
			text, _, _ = strings.Cut(text, "[expect]")
			s, err := scenario.Parse(name+".toml", text, sets...)
			if err != nil {
				t.Fatal(err)
			}
			_, raw := play(t, s)
			return raw
		}
		if at(1) != at(2) {
			t.Errorf("%s: one core gives another result than two", name)
		}
	}
}

// What is expected sets the verdict, and what failed stands first.
func TestExpectations(t *testing.T) {
	r, _ := play(t, parse(t, "steady", scenario.Set{Key: "devices", Value: "100"}, scenario.Set{Key: "span", Value: "1d"},
		scenario.Set{Key: "expect.delivery.seconds.p50", Value: "> 400 d"}, scenario.Set{Key: "expect.users.count", Value: ">= 10"}))
	if r.OK() || r.Checks[0].OK || r.Checks[0].Name != "delivery.seconds.p50" || r.Checks[0].Want != "> 400 d" {
		t.Errorf("%+v", r.Checks)
	}
	if last := r.Checks[len(r.Checks)-1]; !last.OK {
		t.Errorf("%+v", last)
	}
}

const good = `question = "What?"
kind = "model"
span = "3 d"
devices = 50
`

const town = `question = "What?"
kind = "world"
`

func TestWhatCannotBeUsedIsNamedWithItsLine(t *testing.T) {
	for bad, want := range map[string]string{
		good + "relay = 4":                                                `x.toml:5: there is no key "relay"; did you mean "relays"?`,
		good + "Weather = 4":                                              `x.toml:5: there is no key "Weather"`,
		good + "messages = 43":                                            `x.toml:5: messages: has no unit: write "43 /d" or "/h"`,
		good + "relay_life = 30":                                          `x.toml:5: relay_life: has no unit: write "30 d", h, min, s or ms`,
		good + "direct = 70":                                              `x.toml:5: direct: has no unit: write "70 %"`,
		good + `direct = "170 %"`:                                         `x.toml:5: direct: wants a share from 0 % to 100 %`,
		good + `span = "4 d"`:                                             `x.toml:5: `,
		good + "seed = 1\nseed = 2":                                       `x.toml:6: `,
		good + "seed = -1":                                                `x.toml:5: seed: wants a whole number from 0 to 9223372036854775807, not -1`,
		good + "r = 3\nw = 4":                                             `x.toml:6: w: 4 receipts of 3 members can never be had`,
		good + "r = 0":                                                    `x.toml:5: r: wants a whole number from 1 to 7, not 0`,
		good + "r = 2.5":                                                  `x.toml:5: r: wants a whole number from 1 to 7, not 2.5`,
		good + "r = [1, 2]":                                               `x.toml:5: r: wants a text, a number`,
		good + "known = 20":                                               `x.toml:5: "known" is a key of kind lookup`,
		good + `relay_classes = "hume 100 %"`:                             `x.toml:5: relay_classes: wants classes as`,
		good + `relay_classes = "home 60 %"`:                              `x.toml:5: relay_classes: wants at most 16 classes whose shares add up to 100 %, not 60 %`,
		good + "[[fault]]\nkind = \"relays-dye\"":                         `x.toml:6: fault.0.kind: is one of relays-die,`,
		good + "[[fault]]\nat = \"1 d\"":                                  `x.toml:5: fault.0.kind: is missing`,
		good + "[[fault]]\nshar = \"1 %\"":                                `x.toml:6: there is no key of a fault "shar"; did you mean "share"?`,
		good + "[expect]\n\"lost.count\" = \"0\"":                         `x.toml:6: expect.lost.count: wants a comparison`,
		good + "[expect]\n\"events\" = \"== 0\"":                          `x.toml:6: there is no figure "events" any more; it is called "events.count"`,
		good + "[expect]\n\"lost\" = \"== 0\"":                            `x.toml:6: there is no figure "lost"; there are lost.count, lost.share`,
		good + "[expect]\n\"lost.messages\" = \"== 0\"":                   `x.toml:6: there is no figure "lost.messages"; there are lost.count, lost.share`,
		good + "[expect]\n\"delivery_p99\" = \"<= 1 s\"":                  `x.toml:6: there is no figure "delivery_p99"; there are delivery.seconds.p99, delivery.there.seconds.p99, `,
		good + "[expect]\n\"lost.cunt\" = \"== 0\"":                       `x.toml:6: there is no figure "lost.cunt"; did you mean "lost.count"?`,
		good + "[expect]\n\"lost.count\" = \"< 3 s\"":                     `x.toml:6: expect.lost.count: is counted in plain numbers`,
		good + "[sweep]\nrelay = \"4, 8\"":                                `x.toml:6: there is no key "relay"`,
		good + "[sweep]\nrelays = \"4, x\"":                               `x.toml:6: sweep.relays: wants a whole number`,
		"kind = \"model\"":                                                `x.toml: question: is missing`,
		"question = \"What?\"\nkind = \"modell\"":                         `x.toml:2: kind: is one of model,`,
		"question = \"What?\"\nkind = \"worlds\"":                         `x.toml:2: kind: is one of model, world, lookup, story, not "worlds"; did you mean "world"?`,
		"question = \"What?\"":                                            `x.toml: kind: is missing: one of model,`,
		"question = ":                                                     `x.toml:1: `,
		good + "[[fault]]\nkind = \"relays-away\"\n":                      `x.toml:5: fault.0.for: is missing: for how long are relays-away?`,
		good + "closed_form = true":                                       `x.toml:5: closed_form: is known of one class`,
		good + "[[fault]]\nkind = \"relays-die\"\nat = \"99 d\"":          `x.toml:7: fault.0.at: relays-die at 99 d, in a run of 3 d`,
		good + "rush_for = \"1 h\"\nrush_at = \"99 d\"":                   `x.toml:6: rush_at: 99 d, in a run of 3 d`,
		good + "r = 7":                                                    `x.toml:5: r and s: 9 relays of a box, at most 8`,
		good + "s = 7":                                                    `x.toml:5: r and s: 10 relays of a box, at most 8`,
		good + "r = 1":                                                    `x.toml:5: w: 2 receipts of 1 members can never be had`,
		good + "s = 0":                                                    `x.toml:5: s: 0, want at least 1`,
		good + "contacts = 1":                                             `x.toml:5: contacts: 1, want 2 to 10000`,
		good + "epoch = \"2 min\"":                                        `x.toml:5: epoch: 2 min, want at least 1 h, or 0`,
		good + "hot_share = \"90 %\"\nhot_users = 3\ngroups = \"8 20 %\"": `x.toml:7: groups: they and the hot share have`,
		good + "hot_share = \"90 %\"":                                     `x.toml:5: hot_share: 0.9 of all messages, and hot_users is 0`,
		town + "span = \"6 h\"\n[[fault]]\nkind = \"partition\"\nat = \"1.5 d\"\nfor = \"1 h\"": `x.toml:6: fault.0.at: partition at 1.5 d for 1 h, in a run of 6 h`,
		town + "span = \"30 d\"\nrush_at = \"40 d\"\nrush_for = \"1 h\"":                        `x.toml:4: rush_at: 40 d, in a run of 30 d`,
		town + "contacts = 61":                        `x.toml:3: contacts: 61, want 1 to 60`,
		town + "relays = 0":                           `x.toml:3: relays: 0, want 1 to`,
		town + "loss = \"60 %\"":                      `x.toml:3: loss: 0.6, want at most 0.5`,
		town + "users = 4\ngroups = \"5 20 %\"":       `x.toml:4: groups: 5 members, want 3 to 4`,
		good + "relays = 2":                           `x.toml:5: relays: 2 cannot be 3 members`,
		good + "flat = 1":                             `x.toml:5: flat: is true or false, not 1`,
		good + "devices_per_user = \"60 % + 30 %\"":   `x.toml:5: devices_per_user: wants at most 16 shares that add up to 100 %, not 90 %`,
		strings.Repeat("# long\n", 10_000):            `x.toml: longer than`,
		good + "name = \"" + strings.Repeat("x", 500): `x.toml:5: `,
	} {
		s, err := scenario.Parse("x.toml", bad)
		if err == nil {
			_, err = s.Start()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q\n got %v\nwant %s", bad[min(len(bad), len(good)):], err, want)
		}
	}
	// What a caller gave instead is told as that; what stands in the file has its line, whoever made it impossible.
	for set, want := range map[scenario.Set]string{
		{Key: "w", Value: "7"}:         `--set w=7: w: 7 receipts of 3 members`,
		{Key: "rush_at", Value: "9 d"}: `--set rush_at=9 d: rush_at: 9 d, in a run of 3 d`,
		{Key: "span", Value: "1 d"}:    `x.toml:7: fault.0.at: relays-die at 2 d, in a run of 1 d`,
	} {
		_, err := scenario.Parse("x.toml", good+"rush_for = \"1 h\"\n[[fault]]\nat = \"2 d\"\nkind = \"relays-die\"", set)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v\n got %v\nwant %s", set, err, want)
		}
	}
	if s, err := scenario.Parse("x.toml", good); err != nil {
		t.Error(err)
	} else if _, err := s.Start(); err != nil {
		t.Error(err)
	}
}

func TestSetsAreHeldToTheSame(t *testing.T) {
	for set, want := range map[scenario.Set]string{
		{Key: "relay", Value: "4"}:         `--set relay=4: there is no key "relay"; did you mean "relays"?`,
		{Key: "span", Value: "30"}:         `--set span=30: span: has no unit`,
		{Key: "kind", Value: "lookup"}:     `--set kind=lookup: kind: stands in the scenario`,
		{Key: "fault.3.share", Value: "1"}: `--set fault.3.share=1: there is no fault "3"`,
	} {
		if _, err := scenario.Parse("x.toml", good, set); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v", set, err)
		}
	}
	twice := scenario.Set{Key: "r", Value: "3"}
	if _, err := scenario.Parse("x.toml", good, twice, twice); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("twice: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range scenario.Library() {
		text, _ := scenario.Source(name)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer fuzztest.Limit(t, len(text))()
		s, err := scenario.Parse("x.toml", text)
		if err != nil {
			return
		}
		again, err := scenario.Parse("x.toml", s.Text())
		if err != nil || again.Text() != s.Text() {
			t.Errorf("resolved: %v\n%s", err, s.Text())
		}
	})
}

// The document names every key, fault and scenario.
func TestEverythingIsWrittenDown(t *testing.T) {
	raw, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	for _, name := range scenario.Keys() {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/scenarios.md does not name %s", name)
		}
	}
	for _, name := range scenario.Library() {
		if !strings.Contains(doc, "`"+name+"`") && parse(t, name).Kind() != scenario.KindStory {
			t.Errorf("docs/scenarios.md does not name the scenario %s", name)
		}
	}
	_, example, _ := strings.Cut(doc, "```toml\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := scenario.Parse("example.toml", example); err != nil {
		t.Error(err)
	}
}
