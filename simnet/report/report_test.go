package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/simnet/report"
	"github.com/kith-im/kith/simnet/result"
)

var update = flag.Bool("update", false, "rewrite the pages in testdata")

// run is a small run in which everything occurs.
func run(seed uint64, devices, r int) *result.Result {
	rng := rand.New(rand.NewPCG(seed, uint64(devices+r)))
	var waits []float64
	for range 200 {
		waits = append(waits, math.Exp(rng.NormFloat64()*3+math.Log(float64(devices))/2))
	}
	course := result.Series{Name: "pending", Unit: "deliveries"}
	for h := range 48 {
		course.Points = append(course.Points, [2]float64{float64(h+1) * 3600, float64(devices) * (2 + math.Sin(float64(h)/4))})
	}
	return &result.Result{
		Format: result.Format, Scenario: "steady", Kind: "model", Question: "Does everything arrive?", Crypto: "none", Seed: seed,
		Parameters: []result.Parameter{{Name: "devices", Value: fmt.Sprint(devices)}, {Name: "r", Value: fmt.Sprint(r)}, {Name: "loss", Value: "1%"}},
		Checks: []result.Check{
			{Name: "lost.count", Want: "== 0", Got: "0", OK: true},
			{Name: "delivery.seconds.p99", Want: "<= 1 h", Got: "2 h", OK: devices < 1000},
		},
		Values: []result.Value{
			{Name: "lost.count", Better: result.Lower},
			{Name: "relay.bytes_hour", Unit: "B/h", Better: result.Lower, Value: 3 * float64(devices) * (1 + rng.Float64()/10)},
			{Name: "events.count", Value: float64(17 * devices)},
		},
		Spreads: []result.Spread{result.Of("delivery.seconds", "s", result.Lower, waits), result.Of("lookup.hops", "hops", result.Lower, []float64{1, 2, 2, 3})},
		Maps:    []result.Map{result.Daily(&course)},
		Series:  []result.Series{course},
	}
}

// sets are the pages that are kept.
func sets() map[string][]report.Set {
	var many, sweep, mine []*result.Result
	for seed := range uint64(3) {
		many = append(many, run(seed+1, 300, 3))
		mine = append(mine, run(seed+1, 300, 2))
		for _, n := range []int{100, 300, 1000} {
			sweep = append(sweep, run(seed+1, n, 3))
		}
	}
	return map[string][]report.Set{
		"one": {{Name: "one", Runs: many[:1]}}, "seeds": {{Name: "seeds", Runs: many}}, "sweep": {{Name: "sweep", Runs: sweep}},
		"both": {{Name: "base", Runs: many}, {Name: "mine", Runs: mine}},
	}
}

func page(t testing.TB, sets ...report.Set) string {
	t.Helper()
	out, err := report.HTML(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A change of what people see shows as a change of a file.
func TestPagesAreThoseThatAreKept(t *testing.T) {
	for name, s := range sets() {
		got, file := page(t, s...), filepath.Join("testdata", name+".html")
		if again := page(t, s...); again != got {
			t.Errorf("%s: the same runs, another page", name)
		}
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s: -update if this is meant:\n%s", name, diff)
		}
	}
}

// The page of one set says nothing of where it lies: one seed, one page. Of two it says which is which.
func TestAPageKnowsNoFolder(t *testing.T) {
	one := []*result.Result{run(1, 300, 3)}
	here, there := report.Set{Name: "/home/ada/out", Runs: one}, report.Set{Name: "x", Runs: one}
	if page(t, here) != page(t, there) {
		t.Error("two folders, two pages")
	}
	other := report.Set{Name: "y", Runs: []*result.Result{run(2, 300, 3)}}
	if page(t, here, other) == page(t, there, other) {
		t.Error("control: two that are held against each other have no names")
	}
}

var svg = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// faults are what a plot lacks that has to say what it shows: well-formed, a title, what it was made of, two axes.
func faults(page string) (out []string) {
	plots := svg.FindAllString(page, -1)
	if len(plots) == 0 {
		out = append(out, "no plots")
	}
	for _, p := range plots {
		title := regexp.MustCompile(`<title>(.*?)</title>`).FindString(p)
		for d := xml.NewDecoder(strings.NewReader(p)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				out = append(out, title+": "+err.Error())
				break
			}
		}
		for what, re := range map[string]string{
			"no title": `class="title"[^>]*>[^<]`, "neither seed nor n": `class="note"[^>]*>[^<]*seed[^<]*(n [0-9]|runs)`, "not two axes": `(?s)class="axis"[^>]*>[^<].*class="axis"[^>]*>[^<]`,
			"no numbers": `(?s)class="tick"[^>]*>[^<]+<.*class="tick"`,
		} {
			if !regexp.MustCompile(re).MatchString(p) {
				out = append(out, title+": "+what)
			}
		}
	}
	for _, s := range []string{"NaN", "Inf"} {
		if strings.Contains(page, s) {
			out = append(out, s)
		}
	}
	return out
}

func TestEveryPlotSaysWhatItShows(t *testing.T) {
	for name, s := range sets() {
		p := page(t, s...)
		for _, f := range faults(p) {
			t.Errorf("%s: %s", name, f)
		}
		for _, class := range []string{"title", "note", "axis", "tick"} {
			if len(faults(strings.ReplaceAll(p, `class="`+class+`"`, `class="x"`))) == 0 {
				t.Errorf("control: %s without any %s", name, class)
			}
		}
	}
	// What is three times the devices and noise grows with slope one.
	if !regexp.MustCompile(`>slope (0\.9|1\.0)[0-9] \((0\.[89]|1\.0)[0-9] to 1\.[0-9]+\)<`).MatchString(page(t, sets()["sweep"]...)) {
		t.Error("no slope")
	}
}

// requests are what a page would load or run.
func requests(page string) []string {
	return regexp.MustCompile(`(?i)<(script|link|img|iframe|object|embed|image|use|foreignObject|a|base)\b|\s(on[a-z]+|href|src|style)\s*=|@import|url\(|javascript:`).FindAllString(page, -1)
}

// hostile texts would be tags, attributes, or turn the line around.
var hostile = []string{`</title><script>alert(1)</script>`, `" onload="alert(1)`, `' onclick='x`, `</style><img src=x>`, "a\u202eb\x00\x1b[31m", "\xff\xfe", `&lt;b&gt;`, `]]><a href="javascript:x">`}

func TestNothingOfARunIsMarkup(t *testing.T) {
	p := page(t, sets()["both"]...)
	if r := requests(p); len(r) > 0 {
		t.Errorf("the page asks for %q", r)
	}
	for _, h := range hostile {
		a, b, c := run(1, 100, 3), run(2, 100, 3), run(1, 300, 3)
		for _, r := range []*result.Result{a, b, c} {
			r.Scenario, r.Kind, r.Question, r.Crypto = h, h, h, h
			r.Parameters = append(r.Parameters, result.Parameter{Name: h, Value: h})
			r.Checks = append(r.Checks, result.Check{Name: h, Want: h, Got: h})
			r.Values = append(r.Values, result.Value{Name: h, Unit: h, Value: float64(len(r.Parameters[0].Value))})
			r.Spreads[0].Name, r.Spreads[0].Unit = h+"s", h
			r.Series[0].Name, r.Series[0].Unit = h, h
			m := &r.Maps[0]
			m.Name, m.Unit, m.X.Name, m.X.Unit, m.Y.Name, m.Y.Unit, m.X.Cells[0], m.Y.Cells[0] = h, h, h, h, h, h, h, h
		}
		c.Parameters[3].Value += "2"
		for _, s := range [][]report.Set{{{Name: h, Runs: []*result.Result{a}}}, {{Name: h, Runs: []*result.Result{a, b}}, {Name: h + "2", Runs: []*result.Result{c}}}, {{Runs: []*result.Result{a, c}}}} {
			p := page(t, s...)
			tags := regexp.MustCompile(`</?[a-zA-Z][^>]*>`).FindAllString(p, -1)
			if r := requests(strings.Join(tags, "")); len(r) > 0 {
				t.Errorf("%q becomes %q", h, r)
			}
			if bad := regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x{202a}-\x{202e}\x{2066}-\x{2069}]`).FindString(p); bad != "" {
				t.Errorf("%q leaves %q", h, bad)
			}
			if n := strings.Count(p, "</style>"); n != 1 {
				t.Errorf("%q: %d styles end", h, n)
			}
		}
	}
	if len(requests(p+hostile[0])) == 0 || len(requests(p+`<p onload="x">`)) == 0 {
		t.Error("control: a script is not seen")
	}
}

// The policy allows the one style sheet and nothing else.
func TestPolicy(t *testing.T) {
	p := page(t, sets()["one"]...)
	if !regexp.MustCompile(`http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; style-src &#39;sha256-[A-Za-z0-9+/=]{44}&#39;; base-uri`).MatchString(p) {
		t.Error("no policy, or another one")
	}
}

// Whatever numbers a run has, there is a page, and everything on it is a number.
func TestOddNumbers(t *testing.T) {
	odd := []float64{0, 1, -1, 1e60, -1e60, 1e-300, 5e-324, 1e9, 0.1, 1e-9, 86400 * 365}
	rng := rand.New(rand.NewPCG(5, 5))
	one := func() float64 { return odd[rng.IntN(len(odd))] }
	units := []string{"s", "B", "B/h", "", "hops"}
	for i := range 150 {
		var runs []*result.Result
		for seed := range 1 + rng.IntN(6) {
			r := &result.Result{Format: result.Format, Scenario: "odd", Seed: uint64(seed / 2), Parameters: []result.Parameter{{Name: "x", Value: fmt.Sprint(seed%2, []string{"", " s", "%"}[i%3])}}}
			unit := units[rng.IntN(len(units))]
			var samples []float64
			for range rng.IntN(5) {
				samples = append(samples, one())
			}
			r.Values = []result.Value{{Name: "v", Unit: unit, Better: result.Lower, Value: one()}}
			r.Spreads = []result.Spread{result.Of("d", unit, "", samples)}
			s := result.Series{Name: "s", Unit: unit}
			for j := range rng.IntN(400) {
				s.Points = append(s.Points, [2]float64{float64(j) * math.Abs(one()) / 1e3, one()})
				if j > 0 {
					s.Points[j][0] = math.Max(s.Points[j][0], s.Points[j-1][0])
				}
			}
			r.Series = []result.Series{s}
			m := result.Map{Name: "m", Unit: unit, X: result.Axis{Name: "x"}, Y: result.Axis{Name: "y"}}
			for y := range rng.IntN(60) {
				m.Y.Cells = append(m.Y.Cells, fmt.Sprint(y))
				m.Cells = append(m.Cells, []float64{one(), one()})
			}
			m.X.Cells = []string{"a", "b"}
			r.Maps = []result.Map{m}
			if _, err := r.JSON(); err != nil {
				t.Fatal(err)
			}
			runs = append(runs, r)
		}
		p := page(t, report.Set{Runs: runs})
		for _, f := range faults(p) {
			if f != "no plots" {
				t.Errorf("%d: %s", i, f)
			}
		}
		if len(p) > 1<<20 {
			t.Errorf("%d: a page of %d bytes", i, len(p))
		}
	}
}

// A plot that stands alone says the same, has a name that leads nowhere else, and asks for nothing.
func TestPlotsAlone(t *testing.T) {
	s := sets()["sweep"]
	for _, r := range s[0].Runs {
		r.Series[0].Name = "../../etc/passwd"
		r.Spreads[0].Name = "Distribution of ..s"
	}
	files, err := report.Plots(s...)
	if err != nil || len(files) < 5 {
		t.Fatal(len(files), err)
	}
	names := map[string]bool{}
	for _, f := range files {
		if names[f.Name] || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*\.svg$`).MatchString(f.Name) {
			t.Errorf("a file named %q", f.Name)
		}
		names[f.Name] = true
		out := string(f.SVG)
		for _, bad := range faults(out) {
			t.Error(bad)
		}
		if r := requests(out); len(r) > 0 || !strings.HasPrefix(out, `<svg xmlns="http://www.w3.org/2000/svg"`) {
			t.Errorf("%s asks for %q", f.Name, r)
		}
	}
	if !names["etc-passwd-over-virtual-time.svg"] {
		t.Errorf("names: %v", names)
	}
}

func TestNoRunsNoPage(t *testing.T) {
	if p, err := report.HTML(); err == nil {
		t.Errorf("%s", p)
	}
	same := run(1, 100, 3)
	if p, err := report.HTML(report.Set{Runs: []*result.Result{same, same}}); err == nil || bytes.Contains(p, []byte("<")) {
		t.Errorf("a seed twice: %s", p)
	}
}

// Of an interrupted run nothing was checked, which is not the same as nothing expected.
func TestAnInterruptedRunSaysSo(t *testing.T) {
	r := run(1, 100, 3)
	r.Checks = nil
	if p := page(t, report.Set{Name: "one", Runs: []*result.Result{r}}); !strings.Contains(p, "no expectations") || strings.Contains(p, "partial:") {
		t.Error("control: a whole run without expectations")
	}
	r.Partial = true
	if p := page(t, report.Set{Name: "one", Runs: []*result.Result{r}}); strings.Contains(p, "no expectations") || !strings.Contains(p, "partial: 1 run interrupted") {
		t.Error("an interrupted run looks like one that expects nothing")
	}
}
