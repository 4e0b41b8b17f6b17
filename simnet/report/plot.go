package report

import (
	"math"
	"strconv"
	"strings"
)

// The page of a plot. Two stand side by side on a sheet of A4.
const (
	plotWidth, plotHeight = 420.0, 290.0
	left, right           = 58.0, 12.0
	top, bottom           = 46.0, 44.0
	maxCurves             = 8 // that can be told apart
)

// plot is one drawing: title, what it was made of, two axes, and what stands between.
type plot struct {
	title, note string
	x, y        scale
	xName       string
	yName       string
	curves      []curve
	lines       []mark // at places of x
	inside      string // what is read from it
	legend      bool
	cells       bool // it is full of cells: no grid
}

type curve struct {
	name   string
	points [][2]float64
	band   [][3]float64 // x, low, high
	bars   bool         // the band is drawn as a bar at each point, and each point as a dot
	dashed bool         // something drawn through the others, of the colour of the one before it
	dots   bool         // the points alone, of that colour too
}

type mark struct {
	at   float64
	name string
}

func xSpan(unit string, numbers ...float64) scale {
	return span(unit, left, plotWidth-right, numbers...)
}

func xWide(unit string, numbers ...float64) scale {
	return wide(unit, left, plotWidth-right, numbers...)
}

func ySpan(unit string, numbers ...float64) scale {
	return span(unit, plotHeight-bottom, top, numbers...)
}

// begin opens a drawing, with its title and what it was made of.
func begin(m *markup, height float64, title, note string) {
	m.title = title
	m.open("svg", "xmlns", "http://www.w3.org/2000/svg", "viewBox", "0 0 "+px(plotWidth)+" "+px(height), "role", "img", "class", "plot")
	m.el("title", title+", "+note)
	m.el("text", short(title, 52), "class", "title", "x", "4", "y", "15")
	m.el("text", short(note, 76), "class", "note", "x", "4", "y", "31")
}

func (p *plot) draw(m *markup) {
	rows := 0
	if p.legend {
		rows = (len(p.named()) + 1) / 2
	}
	begin(m, plotHeight+float64(rows)*16, p.title, p.note)
	p.axes(m)
	p.marks(m)
	if p.inside != "" {
		m.el("text", p.inside, "class", "inside", "x", px(plotWidth-right-6), "y", px(plotHeight-bottom-8), "text-anchor", "end")
	}
	colour, n := -1, len(p.named())
	for _, c := range p.curves {
		if c.named() {
			colour++
		}
		aside := 0.0
		if c.bars { // so that intervals at one place do not hide each other
			aside = (float64(colour) - float64(n-1)/2) * 3.5
		}
		p.curve(m, c, aside, "c"+strconv.Itoa(colour%maxCurves))
	}
	if p.legend {
		for i, c := range p.named() {
			x, y := 8+float64(i%2)*(plotWidth/2-4), plotHeight+float64(i/2)*16+2
			m.el("line", "", "class", "line c"+strconv.Itoa(i%maxCurves), "x1", px(x), "x2", px(x+22), "y1", px(y), "y2", px(y))
			m.el("text", short(c.name, 30), "class", "tick", "x", px(x+27), "y", px(y+4))
		}
	}
	m.end("svg")
}

// named reports whether a curve has a colour and a name of its own.
func (c *curve) named() bool { return !c.dashed && !c.dots }

// marks are lines from top to bottom; names that would lie on one another are joined.
func (p *plot) marks(m *markup) {
	for i := 0; i < len(p.lines); {
		at, name, anchor := p.x.at(p.lines[i].at), "", "middle"
		for first := at; i < len(p.lines) && p.x.at(p.lines[i].at)-first < 27; i++ {
			at = p.x.at(p.lines[i].at)
			m.el("line", "", "class", "mark", "x1", px(at), "x2", px(at), "y1", px(top), "y2", px(plotHeight-bottom))
			name = strings.TrimSpace(name + " " + p.lines[i].name)
		}
		if at > plotWidth-60 {
			anchor = "end"
		}
		m.el("text", name, "class", "tick", "x", px(at), "y", px(top-3), "text-anchor", anchor)
	}
}

func (p *plot) named() (out []curve) {
	for _, c := range p.curves {
		if c.named() {
			out = append(out, c)
		}
	}
	return out
}

func (p *plot) axes(m *markup) {
	base, end := plotHeight-bottom, plotWidth-right
	ticks, unit := p.x.ticks(6)
	for _, t := range ticks {
		x := px(p.x.at(t.at))
		p.grid(m, x, x, px(top), px(base))
		m.el("text", short(t.name, 14), "class", "tick", "x", x, "y", px(base+14), "text-anchor", "middle")
	}
	m.el("text", axisName(p.xName, unit), "class", "axis", "x", px((left+end)/2), "y", px(base+32), "text-anchor", "middle")
	ticks, unit = p.y.ticks(5)
	for _, t := range ticks {
		y := p.y.at(t.at)
		p.grid(m, px(left), px(end), px(y), px(y))
		m.el("text", short(t.name, 9), "class", "tick", "x", px(left-5), "y", px(y+4), "text-anchor", "end")
	}
	middle := px((top + base) / 2)
	m.el("text", axisName(p.yName, unit), "class", "axis", "x", "12", "y", middle, "text-anchor", "middle", "transform", "rotate(-90 12 "+middle+")")
	m.el("rect", "", "class", "frame", "x", px(left), "y", px(top), "width", px(end-left), "height", px(base-top))
}

func (p *plot) grid(m *markup, x1, x2, y1, y2 string) {
	if !p.cells {
		m.el("line", "", "class", "grid", "x1", x1, "x2", x2, "y1", y1, "y2", y2)
	}
}

func axisName(name, unit string) string {
	if unit == "" {
		return short(name, 50)
	}
	return short(name, 40) + ", " + unit
}

func (p *plot) curve(m *markup, c curve, aside float64, class string) {
	at := func(x, y float64) string { return px(p.x.at(x)+aside) + "," + px(p.y.at(y)) }
	if len(c.band) > 1 && !c.bars {
		var there, back []string
		for i, b := range c.band {
			there = append(there, at(b[0], b[2]))
			back = append(back, at(c.band[len(c.band)-1-i][0], c.band[len(c.band)-1-i][1]))
		}
		m.el("polygon", "", "class", "band "+class, "points", strings.Join(append(there, back...), " "))
	}
	var points []string
	for _, q := range c.points {
		points = append(points, at(q[0], q[1]))
	}
	style := "line "
	if c.dashed {
		style = "fit "
	}
	if !c.dots {
		m.el("polyline", "", "class", style+class, "points", strings.Join(points, " "))
	}
	if !c.bars && !c.dots {
		return
	}
	for _, b := range c.band {
		x := px(p.x.at(b[0]) + aside)
		m.el("line", "", "class", "bar "+class, "x1", x, "x2", x, "y1", px(p.y.at(b[1])), "y2", px(p.y.at(b[2])))
	}
	for _, q := range c.points {
		m.el("circle", "", "class", "dot "+class, "cx", px(p.x.at(q[0])+aside), "cy", px(p.y.at(q[1])), "r", "2.6")
	}
}

// The most points of a course that a plot can show.
const maxShown = 180

// thin gives the means of so many stretches of a course that it can be drawn, with the least and the most of each.
func thin(points [][2]float64) (line [][2]float64, band [][3]float64) {
	every := (len(points) + maxShown - 1) / maxShown
	if every <= 1 {
		return points, nil
	}
	for i := 0; i < len(points); i += every {
		part := points[i:min(i+every, len(points))]
		low, high, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, p := range part {
			low, high, sum = math.Min(low, p[1]), math.Max(high, p[1]), sum+p[1]/float64(len(part))
		}
		x := part[len(part)/2][0]
		line, band = append(line, [2]float64{x, sum}), append(band, [3]float64{x, low, high})
	}
	return line, band
}
