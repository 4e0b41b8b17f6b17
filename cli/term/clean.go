// Package term is everything that kith writes for people to read: text, colours, columns and QR codes.
//
// What it guarantees: no control byte, no bidirectional control and no invisible formatting character of a message, a
// name, an error or a log reaches the terminal, because the only way to print is a format with arguments, and every
// argument is cleaned; a text of several lines cannot look like a line of ours, because its lines are indented.
//
// What it does not: it does not tell look-alike letters apart, and leaves the direction of right-to-left letters to the
// terminal; so nothing of ours stands right of a person's text.
package term

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks in a row are shown: more climb over neighbouring lines.
const maxMarks = 8

const (
	zeroWidthNonJoiner = '\u200c' // Persian needs it
	zeroWidthJoiner    = '\u200d' // emoji need it
	shown              = '\ufffd' // stands for what is not shown
)

// Clean makes s one harmless line: control characters and broken UTF-8 become U+FFFD, line breaks and tabs a space,
// formatting characters (bidirectional controls, invisible ones, tags) nothing.
func Clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	marks := 0
	for _, r := range s {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			marks++
		} else {
			marks = 0
		}
		if r = clean(r); r >= 0 && marks <= maxMarks {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// clean returns what stands for r, or a negative number for nothing.
func clean(r rune) rune {
	switch {
	case r == zeroWidthJoiner, r == zeroWidthNonJoiner:
		return r
	case r == '\n', r == '\r', r == '\t', r == '\v', r == '\f', r == '\u0085', unicode.In(r, unicode.Zl, unicode.Zp):
		return ' '
	case unicode.Is(unicode.Cc, r), r == utf8.RuneError:
		return shown
	case unicode.Is(unicode.Cf, r), r >= 0xe0000 && r <= 0xe0fff:
		return -1
	case unicode.Is(unicode.Zs, r):
		return ' '
	case !unicode.IsPrint(r) && !unicode.Is(unicode.Co, r):
		return shown
	}
	return r
}

// Lines cleans a text of several lines. All but the first begin with indent.
func Lines(s, indent string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n", "\v", "\n", "\f", "\n").Replace(s)
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = Clean(l)
	}
	return strings.Join(lines, "\n"+indent)
}

// CleanJSON escapes in a JSON document what Clean would not show, so that it means the same and is harmless to look at.
func CleanJSON(raw []byte) []byte {
	var b strings.Builder
	for _, r := range string(raw) {
		c := clean(r)
		switch {
		case c == r, r == '\n', r == '\t', r == ' ', unicode.Is(unicode.Zs, r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := surrogates(r)
			b.WriteString(escape(hi) + escape(lo))
		default:
			b.WriteString(escape(r))
		}
	}
	return []byte(b.String())
}

func surrogates(r rune) (hi, lo rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

func escape(r rune) string {
	const hex = "0123456789abcdef"
	return `\u` + string([]byte{hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15]})
}
