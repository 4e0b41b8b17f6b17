package term

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Writer prints lines. All its methods clean what they are given; it is safe for concurrent use.
type Writer struct {
	mu    sync.Mutex
	w     io.Writer
	color bool
}

// New makes a Writer. Without color, styles are left out.
func New(w io.Writer, color bool) *Writer { return &Writer{w: w, color: color} }

// Style is how a word looks.
type Style string

// The styles, as the parameters of SGR.
const (
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Styled is a cleaned text with a style.
type Styled struct {
	text  string
	style Style
}

// In gives a text a style.
func In(s Style, text string) Styled { return Styled{Clean(text), s} }

// Block is a text of several lines; the indent is ours.
type Block struct{ Text, Indent string }

// Printf prints. The format is ours; every argument that is text in any way is cleaned first.
func (w *Writer) Printf(format string, args ...any) {
	clean := make([]any, len(args))
	for i, a := range args {
		clean[i] = w.arg(a)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// A reader who went away (a closed pipe) is no failure of the command.
	_, _ = fmt.Fprintf(w.w, format, clean...)
}

func (w *Writer) arg(a any) any {
	switch a := a.(type) {
	case Styled:
		if w.color && a.text != "" {
			return "\x1b[" + string(a.style) + "m" + a.text + "\x1b[0m"
		}
		return a.text
	case Block:
		return Lines(a.Text, a.Indent)
	case int, int64, uint64, uint32, float64, bool, rune:
		return a
	case string:
		return Clean(a)
	}
	return Clean(fmt.Sprint(a))
}

// JSON prints one JSON document and a line break.
func (w *Writer) JSON(raw []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.w.Write(append(CleanJSON(raw), '\n'))
}

// Write makes Writer an io.Writer for the logs and the help of libraries: line by line, cleaned.
func (w *Writer) Write(p []byte) (int, error) {
	lines := strings.Split(string(p), "\n")
	for i, l := range lines {
		lines[i] = Clean(l)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := io.WriteString(w.w, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Table prints rows in columns, two spaces apart; the last column is not padded. A cell is text or Styled.
func (w *Writer) Table(rows [][]any) {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], cells(c))
		}
	}
	for _, r := range rows {
		for i, c := range r {
			if i == len(r)-1 {
				w.Printf("%s\n", c)
				break
			}
			w.Printf("%s%s", c, strings.Repeat(" ", width[i]-cells(c)+2))
		}
	}
}

// cells is the width of a cell, counting runes: enough for handles and ids.
func cells(c any) int {
	if s, ok := c.(Styled); ok {
		return utf8.RuneCountInString(s.text)
	}
	return utf8.RuneCountInString(Clean(fmt.Sprint(c)))
}
