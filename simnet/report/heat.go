package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kith-im/kith/simnet/result"
)

// A heat map has at most so many cells a side, and so many colours.
const (
	maxColumns, maxLines = 90, 48
	shades               = 10
)

// A map of so few cells says what is in each.
const maxNamed = 8

// coarse joins cells until a map can be drawn, and gives how many became one.
func coarse(m result.Map) (result.Map, int, int) {
	nx, ny := (len(m.X.Cells)+maxColumns-1)/maxColumns, (len(m.Y.Cells)+maxLines-1)/maxLines
	if nx <= 1 && ny <= 1 {
		return m, 1, 1
	}
	out := result.Map{Name: m.Name, Unit: m.Unit, X: m.X, Y: m.Y}
	out.X.Cells, out.Y.Cells = every(m.X.Cells, nx), every(m.Y.Cells, ny)
	for y := 0; y < len(m.Cells); y += ny {
		row := make([]float64, len(out.X.Cells))
		for x := range row {
			n := 0.0
			for _, line := range m.Cells[y:min(y+ny, len(m.Cells))] {
				for _, v := range line[x*nx : min((x+1)*nx, len(line))] {
					row[x] += v
					n++
				}
			}
			row[x] /= n
		}
		out.Cells = append(out.Cells, row)
	}
	return out, nx, ny
}

func every(all []string, n int) (out []string) {
	for i := 0; i < len(all); i += n {
		out = append(out, all[i])
	}
	return out
}

// heat draws a heat map; the first row lies at the bottom.
func heat(m *markup, h result.Map, title, note string) {
	h, nx, ny := coarse(h)
	if nx*ny > 1 {
		note += fmt.Sprintf(" · means of %d x %d cells", nx, ny)
	}
	var all []float64
	for _, row := range h.Cells {
		all = append(all, row...)
	}
	colours := wide(h.Unit, 0, shades, all...)
	if !colours.log { // from the least to the most, not from zero
		colours = scale{low: math.Inf(1), high: math.Inf(-1), to: shades, unit: h.Unit}
		for _, v := range all {
			colours.low, colours.high = math.Min(colours.low, v), math.Max(colours.high, v)
		}
		if colours.low == colours.high {
			colours.high = colours.low + 1
		}
	}
	p := plot{
		cells: true,
		x:     scale{low: -0.5, high: float64(len(h.X.Cells)) - 0.5, from: left, to: plotWidth - right, names: h.X.Cells}, xName: axisName(h.X.Name, h.X.Unit),
		y: scale{low: -0.5, high: float64(len(h.Y.Cells)) - 0.5, from: plotHeight - bottom, to: top, names: h.Y.Cells}, yName: axisName(h.Y.Name, h.Y.Unit),
	}
	begin(m, plotHeight+22, title, note)
	shade := func(v float64) int { return max(0, min(shades-1, int(colours.at(v)))) }
	for y, row := range h.Cells {
		for x := 0; x < len(row); {
			from := x
			for x < len(row) && shade(row[x]) == shade(row[from]) {
				x++
			}
			a, b := p.x.at(float64(from)-0.5), p.x.at(float64(x)-0.5)
			c, d := p.y.at(float64(y)+0.5), p.y.at(float64(y)-0.5)
			m.el("rect", "", "class", "h"+strconv.Itoa(shade(row[from])), "x", px(a), "y", px(c), "width", px(b-a+0.3), "height", px(d-c+0.3))
		}
	}
	if len(h.X.Cells) <= maxNamed && len(h.Y.Cells) <= maxNamed {
		for y, row := range h.Cells {
			for x, v := range row {
				m.el("text", bare(v, h.Unit), "class", "on"+strconv.Itoa(shade(v)*2/shades), "x", px(p.x.at(float64(x))), "y", px(p.y.at(float64(y))+4), "text-anchor", "middle")
			}
		}
	}
	p.axes(m)
	legend(m, colours)
	m.end("svg")
}

// bare is a quantity beside which its unit stands.
func bare(v float64, unit string) string { return strings.TrimSuffix(quantity(v, unit), " "+unit) }

// legend says which colour is which number.
func legend(m *markup, colours scale) {
	const y, size = plotHeight - 4, 18.0
	m.el("text", colours.unit, "class", "tick", "x", px(left+shades*size+8), "y", px(y+9))
	for i := range shades {
		m.el("rect", "", "class", "h"+strconv.Itoa(i), "x", px(left+float64(i)*size), "y", px(y), "width", px(size), "height", "9")
	}
	name := func(at float64, v float64, anchor string) {
		m.el("text", bare(v, colours.unit), "class", "tick", "x", px(at), "y", px(y+20), "text-anchor", anchor)
	}
	name(left, colours.low, "start")
	name(left+shades*size, colours.high, "end")
	if colours.log {
		m.el("text", "logarithmic", "class", "tick", "x", px(left+shades*size+8), "y", px(y+20))
	}
}
