package scenario

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// unit is what a number can be followed by: how much of which dimension it is.
type unit struct {
	name string
	of   string // "s", "B", "B/h", "/d" or "": what figures of results have as their unit
	is   float64
}

// units, those of one dimension from the largest.
var units = []unit{
	{"d", "s", 86_400},
	{"h", "s", 3600},
	{"min", "s", 60},
	{"s", "s", 1},
	{"ms", "s", 1e-3},
	{"TiB", "B", 1 << 40},
	{"GiB", "B", 1 << 30},
	{"MiB", "B", 1 << 20},
	{"KiB", "B", 1 << 10},
	{"B", "B", 1},
	{"MiB/s", "B/s", 1 << 20},
	{"KiB/s", "B/s", 1 << 10},
	{"B/s", "B/s", 1},
	{"MiB/h", "B/h", 1 << 20},
	{"KiB/h", "B/h", 1 << 10},
	{"B/h", "B/h", 1},
	{"/h", "/d", 24},
	{"/d", "/d", 1},
	{"%", "", 0.01},
	{"", "", 1},
}

// quantity takes "1.5 h" apart: the number in the base of its dimension. What a share is needs no unit of its own; it is
// told from a plain number by the sign of percent.
func quantity(text string) (v float64, u unit, ok bool) {
	text = strings.TrimSpace(text)
	end := len(text)
	for i, r := range text {
		if (r < '0' || r > '9') && r != '.' && r != '-' && r != '+' && r != 'e' {
			end = i
			break
		}
	}
	n, err := strconv.ParseFloat(text[:end], 64)
	name := strings.TrimSpace(text[end:])
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, unit{}, false
	}
	for _, u := range units {
		if u.name == name {
			return n * u.is, u, true
		}
	}
	return 0, unit{}, false
}

// inUnits writes a number in the largest unit of its dimension in which it is short, and exact.
func inUnits(v float64, dimension string) string {
	if v == 0 {
		return join("0", dimension)
	}
	for _, u := range units {
		if u.of != dimension || math.Abs(v) < u.is {
			continue
		}
		text := strconv.FormatFloat(math.Round(v/u.is*1e4)/1e4, 'f', -1, 64)
		if back, _, ok := quantity(text + u.name); ok && math.Abs(back-v) <= math.Abs(v)*1e-15 {
			return join(text, u.name)
		}
	}
	least := unit{}
	for _, u := range units {
		if u.of == dimension {
			least = u
		}
	}
	return join(strconv.FormatFloat(v/least.is, 'g', -1, 64), least.name)
}

func join(number, name string) string { return strings.TrimSpace(number + " " + name) }

// roughly is a figure as people read it.
func roughly(v float64, dimension string) string {
	if v == 0 {
		return join("0", dimension)
	}
	for _, u := range units {
		if u.of == dimension && u.name != "%" && math.Abs(v) >= u.is {
			return join(short(v/u.is), u.name)
		}
	}
	return join(short(v), dimension)
}

// short is a number with four digits that count; whole ones are whole.
func short(v float64) string {
	if math.Abs(v) >= 1000 || v == math.Trunc(v) {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Figure is a figure as people read it, with its unit.
func Figure(v float64, dimension string) string { return roughly(v, dimension) }

func duration(text string) (time.Duration, error) {
	v, u, ok := quantity(text)
	switch {
	case !ok || u.of != "s" && u.name != "":
		return 0, fmt.Errorf("wants a time with its unit, for example \"30 d\", \"12 h\", \"5 min\" or \"20 ms\", not %.40q", text)
	case u.name == "" && v != 0:
		return 0, fmt.Errorf("has no unit: write \"%s d\", h, min, s or ms", strings.TrimSpace(text))
	case v < 0 || v > 1e9:
		return 0, fmt.Errorf("wants a time from 0 to 10000 d, not %.40q", text)
	}
	return time.Duration(math.Round(v * 1e9)), nil
}

func percent(text string) (float64, error) {
	v, u, ok := quantity(text)
	switch {
	case !ok || u.name != "%" && u.name != "":
		return 0, fmt.Errorf("wants a share, for example \"30 %%\", not %.40q", text)
	case u.name == "":
		return 0, fmt.Errorf("has no unit: write \"%s %%\"", strings.TrimSpace(text))
	case v < 0 || v > 1:
		return 0, fmt.Errorf("wants a share from 0 %% to 100 %%, not %.40q", text)
	}
	return v, nil
}

func percentText(v float64) string {
	return strconv.FormatFloat(math.Round(v*1e8)/1e6, 'f', -1, 64) + " %"
}
