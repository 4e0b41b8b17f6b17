package result_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/simnet/result"
)

// sample is a result with one thing of everything.
func sample() *result.Result {
	return &result.Result{
		Format: result.Format, Scenario: "steady", Kind: "model", Question: "Does it \"hold\"?", Crypto: "none", Seed: 1<<64 - 1, Partial: true,
		Parameters: []result.Parameter{{Name: "devices", Value: "300"}},
		Checks:     []result.Check{{Name: "lost.count", Want: "== 0", Got: "1", OK: false}},
		Values:     []result.Value{{Name: "lost.count", Better: result.Lower, Value: 1}, {Name: "custody.share", Better: result.Higher, Value: 0.1}},
		Spreads:    []result.Spread{result.Of("delivery.seconds", "s", result.Lower, []float64{3, 1, 2}), result.Of("none", "s", "", nil)},
		Maps:       []result.Map{{Name: "m", Unit: "1/h", X: result.Axis{Name: "day", Cells: []string{"1", "2"}}, Y: result.Axis{Name: "hour", Cells: []string{"0"}}, Cells: [][]float64{{1, 2}}}},
		Series:     []result.Series{{Name: "a, \"b\"\n", Unit: "s", Points: [][2]float64{{0, 1}, {3600, 1e-300}}}, {Name: "c", Points: [][2]float64{{1, 2}}}},
	}
}

func write(t testing.TB, r *result.Result) (raw, csv []byte) {
	t.Helper()
	raw, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if csv, err = r.CSV(); err != nil {
		t.Fatal(err)
	}
	return raw, csv
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := sample()
	raw, csv := write(t, want)
	folder := fstest.MapFS{"a/7/result.json": {Data: raw}, "a/7/series.csv": {Data: csv}, "a/8/result.json": {Data: raw}, "a/result.json": {Data: raw}, "b/x": {}}
	got, err := result.Read(folder, "a/7", result.ResultFile)
	if err != nil {
		t.Fatal(err)
	}
	again, againCSV := write(t, got)
	if !bytes.Equal(raw, again) || !bytes.Equal(csv, againCSV) {
		t.Errorf("read and written again:\n%s\n%s", cmp.Diff(string(raw), string(again)), cmp.Diff(string(csv), string(againCSV)))
	}
	if diff := cmp.Diff(want.Series, got.Series); diff != "" {
		t.Error(diff)
	}
	_, dirs, err := result.ReadAll(folder)
	if want := "[a/7 a/8 a]"; err != nil || fmt.Sprint(dirs) != want {
		t.Errorf("%v, %v, want %s", dirs, err, want)
	}
}

func TestFigures(t *testing.T) {
	r := sample()
	for name, want := range map[string]float64{
		"lost.count": 1, "delivery.seconds.n": 3, "delivery.seconds.min": 1, "delivery.seconds.mean": 2, "delivery.seconds.p50": 2,
		"delivery.seconds.p999": 3, "delivery.seconds.max": 3, "none.n": 0,
	} {
		if v, ok := r.Figure(name); !ok || v.Value != want {
			t.Errorf("%s: %+v, %v, want %v", name, v, ok, want)
		}
	}
	for _, name := range []string{"", "none.p50", "delivery.seconds", "lost"} {
		if v, ok := r.Figure(name); ok {
			t.Errorf("control: %q is %+v", name, v)
		}
	}
	if r.OK() {
		t.Error("control: a check failed, and all is well")
	}
}

// What a stranger may have written is refused, in one line that says why.
func TestWhatIsNotAResultIsRefused(t *testing.T) {
	raw, csv := write(t, sample())
	for name, in := range map[string]string{
		"version":      strings.Replace(string(raw), `"format": 1`, `"format": 2`, 1),
		"unknown":      strings.Replace(string(raw), `"kind"`, `"kinds"`, 1),
		"after":        string(raw) + "{}",
		"cut":          string(raw[:len(raw)/2]),
		"twice":        strings.Replace(string(raw), "custody.share", "lost.count", 1),
		"better":       strings.Replace(string(raw), `"higher"`, `"more"`, 1),
		"huge number":  strings.Replace(string(raw), `"value":1}`, `"value":1e999}`, 1),
		"cdf share":    strings.Replace(string(raw), `[3,1]`, `[3,2]`, 1),
		"cdf points":   strings.Replace(string(raw), `[3,1]`, strings.Repeat("[3,1],", 64)+"[3,1]", 1),
		"ragged map":   strings.Replace(string(raw), `[[1,2]]`, `[[1]]`, 1),
		"missing rows": strings.Replace(string(raw), `[[1,2]]`, `[]`, 1),
		"long":         strings.Replace(string(raw), `steady`, strings.Repeat("x", 5000), 1),
		"rows":         strings.Replace(string(raw), `"checks": [`, `"checks": [`+strings.Repeat(`{},`, 5000), 1),
		"empty":        "",
	} {
		if name != "empty" && in == string(raw) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if r, err := result.ParseJSON(strings.NewReader(in)); err == nil || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for name, in := range map[string]string{
		"no head":   strings.Replace(string(csv), "seconds", "second", 1),
		"columns":   string(csv) + "a,b,c\n",
		"no number": string(csv) + "d,s,1,x\n",
		"infinite":  string(csv) + "d,s,1,Inf\n",
		"backwards": string(csv) + "c,,0,1\n",
		"again":     string(csv) + "d,,1,1\nc,,9,1\n",
		"quote":     string(csv) + "\"",
	} {
		if s, err := result.ParseCSV(strings.NewReader(in)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	r := sample()
	r.Values[0].Value = math.NaN()
	if _, err := r.JSON(); err == nil {
		t.Error("what is no number was written")
	}
}

func FuzzParse(f *testing.F) {
	raw, csv := write(f, sample())
	f.Add(raw, csv)
	f.Fuzz(func(t *testing.T, raw, csv []byte) {
		defer fuzztest.Limit(t, len(raw)+len(csv))()
		r, err := result.ParseJSON(bytes.NewReader(raw))
		if err != nil {
			return
		}
		if r.Series, err = result.ParseCSV(bytes.NewReader(csv)); err != nil {
			r.Series = nil
		}
		out, _ := write(t, r)
		if _, err := result.ParseJSON(bytes.NewReader(out)); err != nil {
			t.Error(err)
		}
	})
}

// A histogram says what the numbers themselves say, at most a sixty-fourth lower.
func TestHistogramIsClose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := result.NewHistogram()
	var samples []float64
	for range 100_000 {
		v := uint64(math.Exp(rng.NormFloat64()*2 + 8))
		h.Add(v)
		samples = append(samples, float64(v)/1000)
	}
	want, got := result.Of("x", "s", "", samples), h.Spread("x", "s", "", 1e-3)
	if got.N != want.N || got.Min != want.Min || got.Max != want.Max || math.Abs(got.Mean/want.Mean-1) > 1e-9 {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, p := range [][2]float64{{got.P50, want.P50}, {got.P90, want.P90}, {got.P99, want.P99}, {got.P999, want.P999}} {
		if p[0] > p[1]+1e-9 || p[0] < p[1]*(1-1.0/64)-1e-9 {
			t.Errorf("%v, want %v", p[0], p[1])
		}
	}
	for _, s := range []result.Spread{got, want} {
		checkCDF(t, s)
	}
	if s := got.CDF; s[30][0] > want.P999 {
		t.Errorf("control: the middle of the CDF is %v", s[30])
	}
}

func checkCDF(t *testing.T, s result.Spread) {
	t.Helper()
	if n := len(s.CDF); n < 10 || n > 64 || s.CDF[n-1] != [2]float64{s.Max, 1} || s.CDF[0][0] != s.Min {
		t.Fatalf("a CDF of %d points: %v", n, s.CDF)
	}
	for i, p := range s.CDF[1:] {
		if p[0] <= s.CDF[i][0] || p[1] < s.CDF[i][1] {
			t.Errorf("a CDF that falls: %v, %v", s.CDF[i], p)
		}
	}
}

func TestOfFewSamples(t *testing.T) {
	s := result.Of("x", "", "", []float64{5, 1, 1, 1})
	if diff := cmp.Diff([][2]float64{{1, 0.75}, {5, 1}}, s.CDF); diff != "" || s.P50 != 1 || s.P90 != 5 || s.Mean != 2 {
		t.Errorf("%+v %s", s, diff)
	}
	h := result.NewHistogram()
	h.Add(7)
	if s := h.Spread("x", "", "", 1); s.P50 != 7 || s.P999 != 7 || len(s.CDF) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDaily(t *testing.T) {
	s := result.Series{Name: "x", Unit: "1/h"}
	for h := range 30 {
		s.Points = append(s.Points, [2]float64{float64(h+1) * 3600, float64(h)})
	}
	m := result.Daily(&s)
	if len(m.X.Cells) != 2 || len(m.Cells) != 24 || m.Cells[0][0] != 0 || m.Cells[23][0] != 23 || m.Cells[5][1] != 29 || m.Cells[6][1] != 0 {
		t.Errorf("%+v", m)
	}
	if m := result.Daily(&result.Series{}); len(m.X.Cells) != 0 {
		t.Errorf("of nothing: %+v", m)
	}
}
