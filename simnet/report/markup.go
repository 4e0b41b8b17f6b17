package report

import (
	"fmt"
	"html"
	"strings"
	"unicode"
)

// markup writes HTML and SVG. Text and attributes are escaped here and nowhere else; names of tags and attributes are ours.
type markup struct {
	strings.Builder
	title string // of the drawing that was begun last
}

// open writes a tag with attributes: name, value, name, value …
func (m *markup) open(tag string, attributes ...string) {
	m.WriteString("<" + tag)
	for i := 0; i < len(attributes); i += 2 {
		m.WriteString(" " + attributes[i] + `="` + html.EscapeString(clean(attributes[i+1])) + `"`)
	}
	m.WriteString(">")
}

func (m *markup) end(tag string) { m.WriteString("</" + tag + ">") }

// el is an element with a text in it.
func (m *markup) el(tag, text string, attributes ...string) {
	m.open(tag, attributes...)
	m.text(text)
	m.end(tag)
}

func (m *markup) text(s string) { m.WriteString(html.EscapeString(clean(s))) }

// clean shows what a browser would obey or not show: controls, and marks that turn the direction of what follows.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// short keeps the beginning of a text that would not fit.
func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// px is a place in a drawing.
func px(v float64) string {
	s := strings.TrimRight(fmt.Sprintf("%.1f", v), "0")
	return strings.TrimSuffix(s, ".")
}
