// Package strict reads TOML in which every key counts: of settings and of scenarios. What cannot be used is one line that
// names the file, the line in it, and the name that was probably meant.
package strict

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Error is what cannot be used, and where it stands.
type Error struct {
	File string
	Line int // 0: none in particular
	Why  string
}

func (e *Error) Error() string { return e.Where() + ": " + e.Why }

// Where is the file with the line.
func (e *Error) Where() string {
	if e.Line == 0 {
		return e.File
	}
	return e.File + ":" + strconv.Itoa(e.Line)
}

// Decode reads a text of at most so many bytes into v.
func Decode(file, text string, most int, v any) (toml.MetaData, error) {
	if len(text) > most {
		return toml.MetaData{}, &Error{File: file, Why: fmt.Sprintf("longer than %d bytes", most)}
	}
	meta, err := toml.Decode(text, v)
	if bad, ok := errors.AsType[toml.ParseError](err); ok {
		why := bad.Message
		if bad.LastKey != "" && !strings.Contains(why, bad.LastKey) {
			why = bad.LastKey + ": " + why
		}
		return meta, &Error{File: file, Line: bad.Position.Line, Why: strings.ReplaceAll(why, "\n", " ")}
	}
	if err != nil {
		return meta, &Error{File: file, Why: strings.ReplaceAll(err.Error(), "\n", " ")}
	}
	return meta, nil
}

// Unknown is the complaint about a name that nobody knows, with the nearest of those that are known.
func Unknown(what, name string, known []string) string {
	why := fmt.Sprintf("there is no %s %q", what, name)
	if near := Near(name, known); near != "" {
		why += fmt.Sprintf("; did you mean %q?", near)
	}
	return why
}

// Near is the name that differs least from another one, or nothing if all differ much.
func Near(name string, known []string) string {
	best, least := "", max(2, min(len(name), maxName)/3)+1
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if _, last, _ := cutLast(k, "."); strings.EqualFold(last, name) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// distance is how many letters have to be changed, added, left out or swapped with their neighbour.
func distance(a, b string) int {
	if len(a) > maxName || len(b) > maxName {
		return 1 << 30
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// maxName bounds what is compared letter by letter.
const maxName = 64

// Line is where a key stands in a text, or 0. The key has its tables before it; the elements of an array of tables are
// counted from 0: "fault.2.share". It finds keys that have a line of their own, as all of ours do.
func Line(text, key string) int {
	table, counted := "", map[string]int{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "[["):
			name, _, _ := strings.Cut(line[2:], "]]")
			name = unquoted(name)
			table = name + "." + strconv.Itoa(counted[name]) + "."
			counted[name]++
		case strings.HasPrefix(line, "["):
			name, _, _ := strings.Cut(line[1:], "]")
			table = unquoted(name) + "."
		default:
			left, _, ok := strings.Cut(line, "=")
			if ok && table+unquoted(left) == key {
				return n
			}
			continue
		}
		if strings.TrimSuffix(table, ".") == key || strings.HasPrefix(table, key+".") {
			return n
		}
	}
	return 0
}

// unquoted is a key without the quotes of its parts.
func unquoted(key string) string {
	parts := strings.Split(strings.TrimSpace(key), ".")
	if strings.Contains(key, `"`) {
		return strings.Trim(strings.TrimSpace(key), `"`)
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ".")
}
