package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// step is a unit that a person reads, in units of the figure.
type step struct {
	size float64
	name string
}

var (
	timeSteps = []step{{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}}
	byteSteps = []step{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}}
	siSteps   = []step{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}}
)

// stepFor is the unit in which a number of that size is read: days from two days on, and so on.
func stepFor(v float64, unit string) step {
	v = math.Abs(v)
	switch {
	case unit == "s":
		for _, s := range timeSteps {
			if v >= s.size && (v >= 2*s.size || s.size <= 1) {
				return s
			}
		}
		if v > 0 {
			return timeSteps[len(timeSteps)-1]
		}
	case bytes(unit):
		for _, s := range byteSteps {
			if v >= s.size {
				return step{s.size, s.name + unit[1:]}
			}
		}
	}
	return step{1, unit}
}

// bytes reports whether a unit is that of bytes, or of bytes in some time.
func bytes(unit string) bool { return unit == "B" || strings.HasPrefix(unit, "B/") }

// quantity is a number as a person reads it: three figures and a unit, or a whole number as it is.
func quantity(v float64, unit string) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 && unit != "s" && (!bytes(unit) || math.Abs(v) < 1024) {
		return strings.TrimSpace(grouped(v) + " " + unit)
	}
	s := stepFor(v, unit)
	if v == 0 {
		s = step{1, unit}
	}
	if a := math.Abs(v / s.size); a >= 1000 && a < 1e15 {
		return strings.TrimSpace(grouped(math.Round(v/s.size)) + " " + s.name)
	}
	return strings.TrimSpace(three(v/s.size) + " " + s.name)
}

// within is a mean with half of its interval, in the unit of the mean.
func within(mean, half float64, unit string) string {
	s := stepFor(mean, unit)
	if mean == 0 || s.size == 1 && unit != "s" {
		s = step{1, unit}
	}
	number := func(v float64) string {
		if a := math.Abs(v); a >= 1000 && a < 1e15 {
			return grouped(math.Round(v))
		}
		return three(v)
	}
	return strings.TrimSpace(number(mean/s.size) + " ± " + number(two(half/s.size)) + " " + s.name)
}

// two rounds to two figures: an interval is not known better.
func two(v float64) float64 {
	if v == 0 {
		return 0
	}
	ten := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-1)
	return math.Round(v/ten) * ten
}

// grouped is a whole number with its thousands apart.
func grouped(v float64) string {
	s := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if v < 0 {
		return "-" + s
	}
	return s
}

// three is a number to three figures, without an exponent if it is of ordinary size.
func three(v float64) string {
	if v == 0 {
		return "0"
	}
	if a := math.Abs(v); a >= 1e6 || a < 1e-5 {
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
	places := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	s := strconv.FormatFloat(v, 'f', max(places, 0), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// siStep is the prefix for a number of that size.
func siStep(v float64) step {
	for _, s := range siSteps {
		if v >= s.size {
			return s
		}
	}
	return step{1, ""}
}

// scale lays numbers along a side of a plot.
type scale struct {
	low, high float64
	from, to  float64 // places
	log       bool
	unit      string
	names     []string  // of what has no number: 0, 1, 2 …
	marks     []float64 // where it is marked, if that is not for the scale to choose
}

// span is a scale over numbers; zero begins it if the numbers are not far from there.
func span(unit string, from, to float64, numbers ...float64) scale {
	s := scale{from: from, to: to, unit: unit, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range numbers {
		s.low, s.high = math.Min(s.low, v), math.Max(s.high, v)
	}
	if s.low > s.high {
		s.low, s.high = 0, 1
	}
	if s.low > 0 && s.low < s.high*0.6 || s.low == s.high && s.low > 0 {
		s.low = 0
	}
	switch {
	case s.low == s.high && s.low == 0:
		s.high = 1
	case s.low == s.high:
		s.low, s.high = s.low-math.Abs(s.low)/2, s.high+math.Abs(s.high)/2
	}
	if !(s.high-s.low > 1e-300) {
		s.high = s.low + 1
	}
	return s
}

// wide is a span, logarithmic if the numbers are of very different size.
func wide(unit string, from, to float64, numbers ...float64) scale {
	low, high := math.Inf(1), 0.0
	for _, v := range numbers {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	if low > 0 && high >= 100*low {
		return scale{low: low, high: high, from: from, to: to, log: true, unit: unit}
	}
	return span(unit, from, to, numbers...)
}

// at is the place of a number.
func (s scale) at(v float64) float64 {
	part := (v - s.low) / (s.high - s.low)
	if s.log {
		part = (math.Log(v) - math.Log(s.low)) / (math.Log(s.high) - math.Log(s.low))
	}
	if math.IsNaN(part) { // of numbers too small to be apart
		part = 0
	}
	return s.from + (s.to-s.from)*math.Max(0, math.Min(1, part))
}

type tick struct {
	at   float64
	name string
}

// ticks are where a scale is marked, at most so many, and the unit that stands at its side.
func (s scale) ticks(most int) (out []tick, unit string) {
	switch {
	case s.names != nil:
		every := (len(s.names) + most - 1) / most
		for i := 0; i < len(s.names); i += max(every, 1) {
			out = append(out, tick{float64(i), s.names[i]})
		}
		return out, ""
	case s.log && (s.marks != nil || s.high >= 8*s.low):
		out = s.logTicks(most)
		if s.unit == "s" { // each mark names its own
			return out, ""
		}
		return out, s.unit
	}
	u := stepFor(math.Max(math.Abs(s.low), math.Abs(s.high)), s.unit)
	low, high := s.low/u.size, s.high/u.size
	width := nice((high - low) / float64(most))
	prefix := step{1, ""}
	if s.unit != "s" && !bytes(s.unit) { // of 20,000 the k stays with the number
		prefix = siStep(math.Max(math.Abs(low), math.Abs(high)))
	}
	places := max(0, -int(math.Floor(math.Log10(width/prefix.size)+1e-9)))
	for i := math.Ceil(low/width - 1e-9); i*width <= high+width*1e-9 && len(out) < 3*most; i++ {
		name := strconv.FormatFloat(i*width/prefix.size+0, 'f', places, 64)
		switch {
		case i == 0:
		case places > 4: // 0.00002 is longer than there is room
			name = strconv.FormatFloat(i*width, 'e', 1, 64)
		default:
			name += prefix.name
		}
		out = append(out, tick{i * width * u.size, name})
	}
	return out, u.name
}

// nice is the next of 1, 2, 5, 10, 20 …
func nice(v float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*ten*(1+1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

// timeMarks are the lengths of time at which a logarithmic scale is marked.
var timeMarks = []float64{
	1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 10 * 86400, 100 * 86400, 1000 * 86400,
}

// fineTimeMarks are those of a scale that does not reach far.
var fineTimeMarks = func() (out []float64) {
	for _, u := range []struct {
		size  float64
		marks []float64
	}{
		{1e-6, []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}},
		{1e-3, []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}},
		{1, []float64{1, 2, 5, 10, 20, 30}},
		{60, []float64{1, 2, 5, 10, 20, 30}},
		{3600, []float64{1, 2, 3, 6, 12}},
		{86400, []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}},
	} {
		for _, m := range u.marks {
			out = append(out, m*u.size)
		}
	}
	return out
}()

func (s scale) logTicks(most int) (out []tick) {
	marks := s.marks
	switch {
	case marks != nil:
	case s.unit == "s" && s.high > 100*s.low:
		marks = timeMarks
	case s.unit == "s":
		marks = fineTimeMarks
	case bytes(s.unit):
		for _, u := range byteSteps {
			for ten := u.size; ten < 1000*u.size; ten *= 10 {
				if marks = append(marks, ten); s.high <= 100*s.low {
					marks = append(marks, 2*ten, 5*ten)
				}
			}
		}
		slices.Sort(marks)
	default:
		within := []float64{1}
		if s.high <= 100*s.low {
			within = []float64{1, 2, 5}
		}
		for e := math.Floor(math.Log10(s.low)); e <= math.Ceil(math.Log10(s.high)); e++ {
			for _, m := range within {
				marks = append(marks, m*math.Pow(10, e))
			}
		}
	}
	for _, v := range marks {
		if v >= s.low*(1-1e-9) && v <= s.high*(1+1e-9) {
			out = append(out, tick{v, markName(v, s.unit)})
		}
	}
	if n := (len(out) + most - 1) / max(most, 1); n > 1 && len(out) > most+2 {
		var thin []tick
		for i := 0; i < len(out); i += n {
			thin = append(thin, out[i])
		}
		out = thin
	}
	return out
}

// markName names a mark. The unit stands at the side, but for times, which are read in several.
func markName(v float64, unit string) string {
	v *= 1 + 1e-12
	if unit == "s" {
		for _, s := range timeSteps {
			if v >= s.size {
				return three(v/s.size) + " " + s.name
			}
		}
	}
	if bytes(unit) {
		u := stepFor(v, "B")
		return three(v/u.size) + strings.TrimSuffix(u.name, "B")
	}
	u := siStep(v)
	return three(v/u.size) + u.name
}
