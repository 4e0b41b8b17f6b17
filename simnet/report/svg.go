package report

import (
	"fmt"
	"strings"
)

// File is one plot that stands alone.
type File struct {
	Name string // of lower-case letters, digits and dashes, with .svg
	SVG  []byte
}

// Plots are the plots of a report, each for itself, to be put into documents.
func Plots(sets ...Set) ([]File, error) {
	p, err := newPage(sets)
	if err != nil {
		return nil, err
	}
	var out []File
	taken := map[string]int{}
	for _, s := range p.sections() {
		for _, draw := range s.plots {
			f := alone(draw)
			if taken[f.Name]++; taken[f.Name] > 1 {
				f.Name += fmt.Sprintf("-%d", taken[f.Name])
			}
			f.Name += ".svg"
			out = append(out, f)
		}
	}
	return out, nil
}

// alone gives a drawing its style and its paper.
func alone(draw drawing) File {
	m := &markup{}
	draw(m)
	first := strings.Index(m.String(), ">") + 1
	return File{slug(m.title), []byte(m.String()[:first] + "<style>" + colours + plotStyle + aloneStyle + "</style>" +
		`<rect class="paper" width="100%" height="100%"></rect>` + m.String()[first:] + "\n")}
}

// slug is a text as the name of a file, whoever wrote it.
func slug(text string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text))
	out = strings.Join(strings.FieldsFunc(out, func(r rune) bool { return r == '-' }), "-")
	if out = out[:min(len(out), 80)]; out == "" {
		return "plot"
	}
	return out
}
