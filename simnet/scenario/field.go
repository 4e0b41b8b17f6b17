package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/node/strict"
	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
)

// field is a place for a value: it is set to what a file or a flag says, and gives itself back as it stands in a file.
type field interface {
	set(v any) error // what TOML makes of it: string, int64, float64, bool
	text() string    // without quotes
}

type (
	whole struct {
		at          *int
		least, most int
	}
	seedOf struct{ at *uint64 }
	number struct {
		at          *float64
		least, most float64
	}
	flag  struct{ at *bool }
	unset struct{ at *bool } // the flag says the contrary
	span  struct {
		at          *time.Duration
		least, most time.Duration
	}
	days   struct{ at *int }
	share  struct{ at *float64 }
	perDay struct{ at *float64 }
	word   struct {
		at      *string
		choices []string
	}
	shares struct{ at *[]float64 }
	wholes struct {
		at          *[]int
		least, most int
	}
	parts     struct{ at *[]model.Part }
	groups    struct{ at *[]crowd.Group }
	perSecond struct{ at *float64 } // bytes
	built     struct{}              // what crypto this build has: it can be named, not chosen
)

func (f whole) set(v any) error {
	n, ok := v.(int64)
	if !ok || n < int64(f.least) || n > int64(f.most) {
		return fmt.Errorf("wants a whole number from %d to %d, not %s", f.least, f.most, given(v))
	}
	*f.at = int(n)
	return nil
}
func (f whole) text() string { return strconv.Itoa(*f.at) }

func (f seedOf) set(v any) error {
	n, ok := v.(int64)
	if !ok || n < 0 {
		return fmt.Errorf("wants a whole number from 0 to %d, not %s", int64(math.MaxInt64), given(v))
	}
	*f.at = uint64(n)
	return nil
}
func (f seedOf) text() string { return strconv.FormatUint(*f.at, 10) }

func (f number) set(v any) error {
	x, ok := v.(float64)
	if n, is := v.(int64); is {
		x, ok = float64(n), true
	}
	if !ok || !(x >= f.least && x <= f.most) {
		return fmt.Errorf("wants a number from %g to %g, not %s", f.least, f.most, given(v))
	}
	*f.at = x
	return nil
}
func (f number) text() string { return strconv.FormatFloat(*f.at, 'f', -1, 64) }

func (f flag) set(v any) error {
	b, ok := v.(bool)
	if !ok {
		return fmt.Errorf("is true or false, not %s", given(v))
	}
	*f.at = b
	return nil
}
func (f flag) text() string { return strconv.FormatBool(*f.at) }

func (f unset) set(v any) error {
	b := !*f.at
	err := flag{&b}.set(v)
	*f.at = !b
	return err
}
func (f unset) text() string { return strconv.FormatBool(!*f.at) }

func (f span) set(v any) error {
	d, err := duration(plain(v))
	if err != nil {
		return err
	}
	if d < f.least || d > f.most {
		return fmt.Errorf("wants a time from %s to %s, not %s", spanText(f.least), spanText(f.most), given(v))
	}
	*f.at = d
	return nil
}
func (f span) text() string { return spanText(*f.at) }

func spanText(d time.Duration) string { return inUnits(d.Seconds(), "s") }

func (f days) set(v any) error {
	d, err := duration(plain(v))
	if err != nil {
		return err
	}
	if d <= 0 || d%(24*time.Hour) != 0 {
		return fmt.Errorf("wants whole days, for example \"30 d\", not %s", given(v))
	}
	*f.at = int(d / (24 * time.Hour))
	return nil
}
func (f days) text() string { return strconv.Itoa(*f.at) + " d" }

func (f share) set(v any) (err error) {
	x, err := percent(plain(v))
	if err == nil {
		*f.at = x
	}
	return err
}
func (f share) text() string { return percentText(*f.at) }

func (f perDay) set(v any) error {
	x, u, ok := quantity(plain(v))
	switch {
	case ok && u.name == "" && x != 0:
		return fmt.Errorf("has no unit: write \"%s /d\" or \"/h\"", plain(v))
	case !ok || u.name != "" && u.of != "/d" || x < 0:
		return fmt.Errorf("wants a rate, for example \"43 /d\" or \"2 /h\", not %s", given(v))
	}
	*f.at = x
	return nil
}
func (f perDay) text() string { return strconv.FormatFloat(*f.at, 'f', -1, 64) + " /d" }

// choice is the complaint about a word that is none of some, with the nearest of them.
func choice(v any, choices []string) string {
	why := fmt.Sprintf("is one of %s, not %s", strings.Join(choices, ", "), given(v))
	if s, ok := v.(string); ok {
		if near := strict.Near(s, choices); near != "" {
			why += fmt.Sprintf("; did you mean %q?", near)
		}
	}
	return why
}

func (f word) set(v any) error {
	s, ok := v.(string)
	if !ok || len(s) > maxWord || f.choices != nil && !slices.Contains(f.choices, s) {
		if f.choices != nil {
			return errors.New(choice(v, f.choices))
		}
		return fmt.Errorf("wants a text of at most %d bytes", maxWord)
	}
	*f.at = s
	return nil
}
func (f word) text() string { return *f.at }

const maxWord = 400

func (f shares) set(v any) error {
	var out []float64
	sum := 0.0
	for text := range strings.SplitSeq(plain(v), "+") {
		x, err := percent(text)
		if err != nil {
			return err
		}
		out, sum = append(out, x), sum+x
	}
	if math.Abs(sum-1) > 1e-6 || len(out) > 16 {
		return fmt.Errorf("wants at most 16 shares that add up to 100 %%, not %s", percentText(sum))
	}
	*f.at = out
	return nil
}

func (f shares) text() string {
	var out []string
	for _, x := range *f.at {
		out = append(out, percentText(x))
	}
	return strings.Join(out, " + ")
}

func (f wholes) set(v any) error {
	var out []int
	for text := range strings.SplitSeq(plain(v), "+") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < f.least || n > f.most {
			return fmt.Errorf("wants whole numbers from %d to %d with + between them, not %s", f.least, f.most, given(v))
		}
		out = append(out, n)
	}
	*f.at = out
	return nil
}

func (f wholes) text() string {
	var out []string
	for _, n := range *f.at {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, " + ")
}

var errPart = errors.New(`wants classes as "CHURN SHARE LIFE + …", for example "home 60 % 100 d + vps 40 % 700 d"; a churn is one of ` +
	strings.Join(model.PresetNames(), ", ") + ` or "2h/10h", on and off on average; without a life it is for ever`)

func (f parts) set(v any) error {
	var out []model.Part
	sum := 0.0
	for text := range strings.SplitSeq(plain(v), "+") {
		p, err := part(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		out, sum = append(out, p), sum+p.Share
	}
	if math.Abs(sum-1) > 1e-6 || len(out) > 16 {
		return fmt.Errorf("wants at most 16 classes whose shares add up to 100 %%, not %s", percentText(sum))
	}
	*f.at = out
	return nil
}

// part reads "CHURN SHARE LIFE".
func part(text string) (p model.Part, err error) {
	name, rest, _ := strings.Cut(text, " ")
	known := false
	if p.Churn, known = model.Presets[name]; !known {
		on, off, two := strings.Cut(name, "/")
		a, errOn := duration(on)
		b, errOff := duration(off)
		if !two || errOn != nil || errOff != nil || a <= 0 || b <= 0 {
			return p, errPart
		}
		p.Churn = model.Churn{Name: name, On: model.Exponential(a.Minutes()), Off: model.Exponential(b.Minutes()), Source: "exponential, as the scenario says"}
	}
	part, life, ok := strings.Cut(rest, "%")
	if p.Share, err = percent(part + "%"); !ok || err != nil {
		return p, errPart
	}
	if life = strings.TrimSpace(life); life != "" {
		d, err := duration(life)
		if err != nil || d <= 0 {
			return p, errPart
		}
		p.LifeDays = d.Hours() / 24
	}
	return p, nil
}

func (f parts) text() string {
	var out []string
	for _, p := range *f.at {
		text := p.Churn.Name + " " + percentText(p.Share)
		if p.LifeDays > 0 {
			text += " " + inUnits(p.LifeDays*86_400, "s")
		}
		out = append(out, text)
	}
	return strings.Join(out, " + ")
}

func (f perSecond) set(v any) error {
	x, u, ok := quantity(plain(v))
	switch {
	case ok && u.name == "" && x != 0:
		return fmt.Errorf("has no unit: write \"%s KiB/s\"", plain(v))
	case !ok || u.name != "" && u.of != "B/s" || x < 0:
		return fmt.Errorf("wants bytes a second, for example \"64 KiB/s\", or 0 for no limit, not %s", given(v))
	}
	*f.at = x
	return nil
}
func (f perSecond) text() string { return inUnits(*f.at, "B/s") }

func (built) set(v any) error {
	switch {
	case v == agree.Kind:
		return nil
	case v == agree.Hashes:
		return fmt.Errorf("is %q in this build; bin/kith-standin, which is no messenger, has the stand-in: make sim-standin", agree.Kind)
	case v == agree.Real:
		return fmt.Errorf("is %q in this build, which has nothing else; bin/kith has the real one: make build", agree.Kind)
	}
	return fmt.Errorf("is one of %s, %s, not %s", agree.Real, agree.Hashes, given(v))
}
func (built) text() string { return agree.Kind }

func (f groups) set(v any) error {
	out := []crowd.Group{}
	for text := range strings.SplitSeq(plain(v), "+") {
		if text = strings.TrimSpace(text); text == "" && plain(v) == "" {
			continue
		}
		size, part, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(size)
		x, errShare := percent(part)
		if err != nil || errShare != nil {
			return fmt.Errorf("wants groups as \"MEMBERS SHARE + …\", for example \"8 20 %% + 64 5 %%\": the share of all messages; not %s", given(v))
		}
		out = append(out, crowd.Group{Size: n, Share: x})
	}
	*f.at = out
	return nil
}

func (f groups) text() string {
	var out []string
	for _, g := range *f.at {
		out = append(out, strconv.Itoa(g.Size)+" "+percentText(g.Share))
	}
	return strings.Join(out, " + ")
}

// plain is what was given as text: 30 and "30" alike, so that a missing unit is told as such.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func given(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%.60q", s)
	}
	return fmt.Sprintf("%.60s", fmt.Sprint(v))
}

// typed is what a flag says, as TOML would take it.
func typed(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return x
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	return text
}
