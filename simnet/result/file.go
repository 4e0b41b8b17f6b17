package result

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
)

// What a folder may hold. Nobody has to believe a folder that he was given.
const (
	maxFile   = 64 << 20
	maxText   = 4096 // of a name, a unit, a parameter
	maxRows   = 4096 // of a list in result.json; series of a run
	maxCDF    = 64
	maxSide   = 1024    // of a heat map
	maxPoints = 1 << 20 // of all series
	maxRuns   = 4096    // below one folder
)

// ErrFormat is a result of another version.
var ErrFormat = errors.New("not a result of this version of kith")

// JSON is result.json: one line for each thing in a list, so that two of them can be compared by eye.
func (r *Result) JSON() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	w := &lines{}
	w.field("format", r.Format)
	w.field("scenario", r.Scenario)
	w.field("kind", r.Kind)
	w.field("question", r.Question)
	w.field("crypto", r.Crypto)
	w.field("seed", r.Seed)
	w.field("partial", r.Partial)
	list(w, "parameters", r.Parameters)
	list(w, "checks", r.Checks)
	list(w, "values", r.Values)
	spreads := slices.Clone(r.Spreads)
	for i := range spreads {
		spreads[i].CDF = append([][2]float64{}, spreads[i].CDF...) // never null
	}
	list(w, "spreads", spreads)
	if len(r.Maps) > 0 {
		list(w, "maps", r.Maps)
	}
	w.out.WriteString("\n}\n")
	return w.out.Bytes(), w.err
}

// lines writes an object, field by field.
type lines struct {
	out bytes.Buffer
	err error
}

func (w *lines) value(v any) {
	enc := json.NewEncoder(&w.out)
	enc.SetEscapeHTML(false) // "<= 30 s" is for people too
	w.err = errors.Join(w.err, enc.Encode(v))
	w.out.Truncate(max(w.out.Len()-1, 0)) // the end of the line
}

func (w *lines) name(name string) {
	if w.out.Len() == 0 {
		w.out.WriteString("{\n")
	} else {
		w.out.WriteString(",\n")
	}
	fmt.Fprintf(&w.out, "%q: ", name)
}

func (w *lines) field(name string, v any) {
	w.name(name)
	w.value(v)
}

func list[T any](w *lines, name string, all []T) {
	w.name(name)
	w.out.WriteString("[")
	for i, v := range all {
		if i > 0 {
			w.out.WriteString(",")
		}
		w.out.WriteString("\n  ")
		w.value(v)
	}
	if len(all) > 0 {
		w.out.WriteString("\n")
	}
	w.out.WriteString("]")
}

// ParseJSON reads result.json: every key known, nothing after it, everything within limits.
func ParseJSON(from io.Reader) (*Result, error) {
	raw, err := all(from)
	if err != nil {
		return nil, err
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &version); err != nil {
		return nil, err
	}
	if version.Format != Format {
		return nil, ErrFormat
	}
	r := &Result{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, err
	}
	return r, r.check()
}

// all reads a file that is not too long.
func all(from io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("longer than %d MiB", maxFile>>20)
	}
	return raw, err
}

// check holds what is written and what is read to the same limits.
func (r *Result) check() error {
	if r.Format != Format {
		return ErrFormat
	}
	texts := []string{r.Scenario, r.Kind, r.Question, r.Crypto}
	for _, p := range r.Parameters {
		texts = append(texts, p.Name, p.Value)
	}
	for _, c := range r.Checks {
		texts = append(texts, c.Name, c.Want, c.Got)
	}
	if max(len(r.Parameters), len(r.Checks), len(r.Values), len(r.Spreads), len(r.Maps), len(r.Series)) > maxRows {
		return fmt.Errorf("a list with more than %d rows", maxRows)
	}
	if slices.ContainsFunc(texts, func(s string) bool { return len(s) > maxText }) {
		return fmt.Errorf("a text of more than %d bytes", maxText)
	}
	for _, s := range r.Spreads {
		if len(s.CDF) > maxCDF {
			return fmt.Errorf("%.80q: a CDF of more than %d points", s.Name, maxCDF)
		}
		for _, p := range s.CDF {
			if bad(p[0]) || !(p[1] >= 0 && p[1] <= 1) {
				return fmt.Errorf("%.80q: a CDF that is none", s.Name)
			}
		}
	}
	if err := checkFigures(r.Figures()); err != nil {
		return err
	}
	for _, m := range r.Maps {
		if err := m.check(); err != nil {
			return err
		}
	}
	return checkSeries(r.Series)
}

// maxNumber is so large that nothing is, and so small that squares of squares are numbers.
const maxNumber = 1e60

// bad finds what is no number.
func bad(v float64) bool { return !(math.Abs(v) <= maxNumber) }

func checkFigures(all []Value) error {
	seen := map[string]bool{}
	for _, v := range all {
		switch {
		case v.Name == "" || max(len(v.Name), len(v.Unit)) > maxText:
			return fmt.Errorf("%.80q: no name, or one that is too long", v.Name)
		case seen[v.Name]:
			return fmt.Errorf("%.80q: twice", v.Name)
		case v.Better != "" && v.Better != Lower && v.Better != Higher:
			return fmt.Errorf("%.80q: better %.80q, want %s, %s or nothing", v.Name, v.Better, Lower, Higher)
		case bad(v.Value):
			return fmt.Errorf("%.80q: %g", v.Name, v.Value)
		}
		seen[v.Name] = true
	}
	return nil
}

func (m *Map) check() error {
	if len(m.Y.Cells) != len(m.Cells) || max(len(m.X.Cells), len(m.Y.Cells)) > maxSide {
		return fmt.Errorf("%.80q: %d rows, %d names for them, at most %d", m.Name, len(m.Cells), len(m.Y.Cells), maxSide)
	}
	for _, row := range m.Cells {
		if len(row) != len(m.X.Cells) || slices.ContainsFunc(row, bad) {
			return fmt.Errorf("%.80q: a row of %d cells, want %d numbers", m.Name, len(row), len(m.X.Cells))
		}
	}
	for _, s := range slices.Concat([]string{m.Name, m.Unit, m.X.Name, m.X.Unit, m.Y.Name, m.Y.Unit}, m.X.Cells, m.Y.Cells) {
		if len(s) > maxText {
			return fmt.Errorf("%.80q: a text of more than %d bytes", m.Name, maxText)
		}
	}
	return nil
}

func checkSeries(all []Series) error {
	points, names := 0, map[string]bool{}
	for _, s := range all {
		if s.Name == "" || names[s.Name] || max(len(s.Name), len(s.Unit)) > maxText {
			return fmt.Errorf("series %.80q: no name, one that is too long, or twice", s.Name)
		}
		names[s.Name] = true
		if points += len(s.Points); points > maxPoints {
			return fmt.Errorf("series of more than %d points", maxPoints)
		}
		for i, p := range s.Points {
			if bad(p[0]) || bad(p[1]) || i > 0 && p[0] < s.Points[i-1][0] {
				return fmt.Errorf("series %.80q: %g at %g s", s.Name, p[1], p[0])
			}
		}
	}
	return nil
}

var seriesHead = []string{"name", "unit", "seconds", "value"}

// CSV is series.csv: a row for each point.
func (r *Result) CSV() ([]byte, error) {
	if err := checkSeries(r.Series); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	rows := [][]string{seriesHead}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, s := range r.Series {
		for _, p := range s.Points {
			rows = append(rows, []string{s.Name, s.Unit, number(p[0]), number(p[1])})
		}
	}
	err := w.WriteAll(rows)
	return out.Bytes(), err
}

// ParseCSV reads series.csv.
func ParseCSV(from io.Reader) ([]Series, error) {
	raw, err := all(from)
	if err != nil {
		return nil, err
	}
	in := csv.NewReader(bytes.NewReader(raw))
	in.FieldsPerRecord, in.ReuseRecord = len(seriesHead), true
	if head, err := in.Read(); err != nil || !slices.Equal(head, seriesHead) {
		return nil, fmt.Errorf("the first line is not %s", seriesHead)
	}
	var out []Series
	for n := 0; ; n++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, checkSeries(out)
		}
		if err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].Name != row[0] || out[len(out)-1].Unit != row[1] {
			out = append(out, Series{Name: row[0], Unit: row[1]})
		}
		at, err1 := strconv.ParseFloat(row[2], 64)
		v, err2 := strconv.ParseFloat(row[3], 64)
		if err1 != nil || err2 != nil || len(out) > maxRows || n >= maxPoints {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("line %d: no number, or too many series or points", line)
		}
		s := &out[len(out)-1]
		s.Points = append(s.Points, [2]float64{at, v})
	}
}

// Read reads the run in a folder; file is usually ResultFile.
func Read(folder fs.FS, dir, file string) (*Result, error) {
	r, err := open(folder, path.Join(dir, file), ParseJSON)
	if err != nil {
		return nil, err
	}
	r.Series, err = open(folder, path.Join(dir, SeriesFile), ParseCSV)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return r, nil
}

func open[T any](folder fs.FS, name string, parse func(io.Reader) (T, error)) (T, error) {
	var none T
	info, err := fs.Stat(folder, name)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a file")}
	}
	if err != nil {
		return none, err
	}
	f, err := folder.Open(name)
	if err != nil {
		return none, err
	}
	defer f.Close()
	out, err := parse(f)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// Fits refuses a folder, called dir, to write a run of a scenario into: one that holds something else. One that has the file
// again may be written again, unless that is a run of another scenario; without such a file only an empty one fits.
func Fits(folder fs.FS, dir, again, scenario string) error {
	entries, err := fs.ReadDir(folder, ".")
	if err != nil || len(entries) == 0 {
		return err
	}
	if again == "" {
		return fmt.Errorf("%s is not empty: nothing was written", dir)
	}
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == again }) {
		return fmt.Errorf("%s exists and is no folder of a run (it has no %s): nothing was written", dir, again)
	}
	if old, err := Read(folder, ".", again); err == nil && old.Scenario != scenario {
		return fmt.Errorf("%s holds a run of %s: nothing was written", dir, old.Scenario)
	}
	return nil
}

// ReadAll reads every run at and below a folder, in the order of their paths; dirs are where they lie.
func ReadAll(folder fs.FS) (runs []*Result, dirs []string, err error) {
	err = fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != ResultFile {
			return err
		}
		if len(runs) == maxRuns {
			return fmt.Errorf("more than %d runs", maxRuns)
		}
		r, err := Read(folder, path.Dir(name), ResultFile)
		if err == nil {
			runs, dirs = append(runs, r), append(dirs, path.Dir(name))
		}
		return err
	})
	return runs, dirs, err
}
