// Package scenario reads what is simulated, and what must come of it: files in TOML with strict keys and units, of which a
// library comes along. What plays a scenario is named by its kind.
//
// What it guarantees: a scenario is a function of its text; its resolved form has every key and gives the same again; what
// cannot be used is one line with the file, the line and the name that was probably meant.
package scenario

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kith-im/kith/node/strict"
	"github.com/kith-im/kith/simnet/result"
)

// Scenario is what is played, and what must come of it. It is a function of its text.
type Scenario struct {
	file, source string
	config       *config
	expect       []expectation
	axes         []Axis
	sets         []Set // what a caller gave
	given        []Set // of it, what is no parameter
}

// Axis is a key that a sweep varies, with its values. The key may be "seed".
type Axis struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Set is a value that a caller gives instead of the file's.
type Set struct{ Key, Value string }

// MaxFile bounds the text of a scenario, in bytes.
const MaxFile = 64 << 10

var unknown = strict.Unknown

// Parse reads a scenario and puts the values of sets in place of its own. Of what cannot be used it names file, line and
// what was probably meant.
func Parse(file, text string, sets ...Set) (*Scenario, error) {
	s := &Scenario{file: file, source: text}
	var tree map[string]any
	if _, err := strict.Decode(file, text, MaxFile, &tree); err != nil {
		return nil, err
	}
	flat := map[string]any{}
	if err := s.flatten(flat, tree, ""); err != nil {
		return nil, err
	}
	if flat["kind"] == nil {
		return nil, s.bad("kind: is missing: one of "+strings.Join(kinds, ", "), "kind")
	}
	kind, ok := flat["kind"].(string)
	if !ok || !slices.Contains(kinds, kind) {
		return nil, s.bad("kind: "+choice(flat["kind"], kinds), "kind")
	}
	s.config = newConfig(kind)
	if s.config.name = strings.TrimSuffix(path.Base(file), ".toml"); s.config.name == "" {
		s.config.name = "scenario"
	}
	for _, k := range s.inOrder(flat) {
		if err := s.set(k, flat[k]); err != nil {
			return nil, s.bad(err.Error(), k)
		}
	}
	for i, x := range sets {
		if slices.ContainsFunc(sets[:i], func(y Set) bool { return x.Key == y.Key }) {
			return nil, x.bad(x.Key + ": is given twice")
		}
		if x.Key == "kind" {
			return nil, x.bad("kind: stands in the scenario, which has keys of its own kind")
		}
		if err := s.set(x.Key, typed(x.Value)); err != nil {
			return nil, x.bad(err.Error())
		}
		if strings.HasPrefix(x.Key, "expect.") || x.Key == "name" || x.Key == "question" {
			s.given = append(s.given, x)
		}
	}
	s.sets = sets
	return s, s.check()
}

// inOrder are the keys as they stand in the file, so that the first that is wrong is told.
func (s *Scenario) inOrder(flat map[string]any) []string {
	at := map[string]int{}
	for k := range flat {
		at[k] = strict.Line(s.source, k)
	}
	return slices.SortedFunc(maps.Keys(flat), func(a, b string) int { return cmp.Or(at[a]-at[b], cmp.Compare(a, b)) })
}

// flatten names every value by its whole key; tables of an array are counted.
func (s *Scenario) flatten(into map[string]any, tree map[string]any, prefix string) error {
	for k, v := range tree {
		key := prefix + k
		switch v := v.(type) {
		case map[string]any:
			if err := s.flatten(into, v, key+"."); err != nil {
				return err
			}
		case []map[string]any:
			for i, t := range v {
				if err := s.flatten(into, t, key+"."+strconv.Itoa(i)+"."); err != nil {
					return err
				}
			}
		case string, int64, float64, bool:
			into[key] = v
		default:
			return s.bad(key+": wants a text, a number, true or false; where several belong together, put + between them", key)
		}
	}
	return nil
}

func (s *Scenario) set(key string, v any) error {
	if name, ok := strings.CutPrefix(key, "expect."); ok {
		return s.setExpect(name, v)
	}
	if name, ok := strings.CutPrefix(key, "sweep."); ok {
		return s.setAxis(name, v)
	}
	f, why := s.config.find(key)
	if f == nil {
		return fmt.Errorf("%s", why)
	}
	if err := f.set(v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// setAxis takes "4, 8, 16" apart; each value has to be one that its key may have.
func (s *Scenario) setAxis(key string, v any) error {
	a := Axis{Key: key}
	for x := range strings.SplitSeq(plain(v), ",") {
		x = strings.TrimSpace(x)
		trial := *s.config
		trial.faults = slices.Clone(trial.faults)
		f, why := trial.find(key)
		if f == nil {
			return fmt.Errorf("%s", why)
		}
		if err := f.set(typed(x)); err != nil {
			return fmt.Errorf("sweep.%s: %w", key, err)
		}
		a.Values = append(a.Values, x)
	}
	s.axes = append(s.axes, a)
	return nil
}

// bad is a complaint with the line of a key: of the first of several that was said, in the file or by a caller in its
// place, or of the table in which it is missing.
func (s *Scenario) bad(why string, keys ...string) error {
	for at := 0; at < len(keys); at++ {
		key := keys[at]
		if i := slices.IndexFunc(s.sets, func(x Set) bool { return x.Key == key }); i >= 0 {
			return s.sets[i].bad(why)
		}
		if line := strict.Line(s.source, key); line > 0 {
			return &strict.Error{File: s.file, Line: line, Why: why}
		}
		if table := strings.LastIndex(key, "."); table > 0 {
			keys = append(keys, key[:table])
		}
	}
	return &strict.Error{File: s.file, Why: why}
}

func (x Set) bad(why string) error {
	return &strict.Error{File: "--set " + x.Key + "=" + x.Value, Why: why}
}

// check looks at what several keys say together.
func (s *Scenario) check() error {
	c := s.config
	if strings.ContainsFunc(c.question, func(r rune) bool { return !unicode.IsPrint(r) }) { // Text has it in a line of its own
		return s.bad("question: is one line of text", "question")
	}
	if c.question == "" {
		return s.bad("question: is missing: which one does the scenario answer?", "question")
	}
	if c.kind == KindStory && c.story == "" {
		return s.bad("story: is missing: which one?", "story")
	}
	if c.kind == KindLookup || c.kind == KindStory {
		return nil
	}
	m := &c.model
	switch {
	case m.W > m.R:
		return s.bad(fmt.Sprintf("w: %d receipts of %d members can never be had", m.W, m.R), "w", "r")
	case m.R+m.S > 8:
		return s.bad(fmt.Sprintf("r and s: %d relays of a box, at most 8", m.R+m.S), "r", "s")
	case m.RelayCount > 0 && m.RelayCount < m.R:
		return s.bad(fmt.Sprintf("relays: %d cannot be %d members", m.RelayCount, m.R), "relays", "r")
	}
	if rs := c.relays(); c.closedForm && (len(rs) != 1 || rs[0].LifeDays == 0 || !m.NoRepair && m.R != 2) {
		return s.bad("closed_form: is known of one class of relays that die, without repair or with r = 2", "closed_form")
	}
	for i, f := range c.faults {
		if f.kind == "" {
			return s.bad(fmt.Sprintf("fault.%d.kind: is missing", i), fmt.Sprintf("fault.%d", i))
		}
	}
	if c.kind == KindWorld {
		d := c.town()
		return s.impossible(d.Check())
	}
	_, err := c.population()
	return s.impossible(err)
}

// Name is how a scenario is called.
func (s *Scenario) Name() string { return s.config.name }

// Question is what it answers.
func (s *Scenario) Question() string { return s.config.question }

// Kind is what plays it.
func (s *Scenario) Kind() string { return s.config.kind }

// Seed is where all chance of it comes from.
func (s *Scenario) Seed() uint64 { return s.config.seed }

// Axes are what the scenario itself varies in a sweep.
func (s *Scenario) Axes() []Axis { return s.axes }

// Parameters are all values, resolved.
func (s *Scenario) Parameters() []result.Parameter {
	var out []result.Parameter
	for _, x := range settings {
		if slices.Contains(x.kinds, s.config.kind) && !slices.Contains([]string{"name", "question", "kind", "seed"}, x.name) {
			out = append(out, result.Parameter{Name: x.name, Value: x.at(s.config).text()})
		}
	}
	for i := range s.config.faults {
		for _, k := range faultKeys {
			out = append(out, result.Parameter{Name: fmt.Sprintf("fault.%d.%s", i, k.name), Value: k.at(s.config, &s.config.faults[i]).text()})
		}
	}
	return out
}

// Given are the expectations, the name and the question that a caller put in place of the scenario's own.
func (s *Scenario) Given() []Set { return s.given }

// Text is the resolved scenario: every key, also those that were left as they are. Played again it gives the same.
func (s *Scenario) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", s.config.question)
	for _, x := range settings {
		if slices.Contains(x.kinds, s.config.kind) {
			fmt.Fprintf(&b, "%s = %s\n", x.name, literal(x.at(s.config)))
		}
	}
	for i := range s.config.faults {
		b.WriteString("\n[[fault]]\n")
		for _, k := range faultKeys {
			fmt.Fprintf(&b, "%s = %s\n", k.name, literal(k.at(s.config, &s.config.faults[i])))
		}
	}
	if len(s.expect) > 0 {
		b.WriteString("\n[expect]\n")
	}
	for _, e := range s.expect {
		fmt.Fprintf(&b, "%s = %s\n", strconv.Quote(e.figure), strconv.Quote(e.want))
	}
	return b.String()
}

// literal is a value as TOML takes it.
func literal(f field) string {
	switch f.(type) {
	case whole, seedOf, number, flag, unset:
		return f.text()
	}
	return strconv.Quote(f.text())
}
