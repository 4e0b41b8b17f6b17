package transfer

import "slices"

// Plan hands out the chunks that are missing to those who may have them, or that others lack to those who lack them. It
// gives a chunk to one source at a time, and to the next only when that one did not answer.
type Plan struct {
	waiting []int // chunks that nobody works on, in order
	flying  int
	sources []source
}

type source struct {
	lacks   map[int]bool
	strikes int
	ended   bool
}

// NewPlan plans for these chunks and so many sources.
func NewPlan(chunks []int, sources int) *Plan {
	p := &Plan{waiting: slices.Clone(chunks), sources: make([]source, sources)}
	for i := range p.sources {
		p.sources[i].lacks = map[int]bool{}
	}
	return p
}

// Next takes the next chunk that a source may have; false: there is none for it now.
func (p *Plan) Next(from int) (chunk int, ok bool) {
	s := &p.sources[from]
	if s.ended {
		return 0, false
	}
	i := slices.IndexFunc(p.waiting, func(c int) bool { return !s.lacks[c] })
	if i < 0 {
		return 0, false
	}
	chunk = p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.flying++
	return chunk, true
}

// Got says that a chunk that Next gave is there.
func (p *Plan) Got(from, _ int) {
	p.flying--
	p.sources[from].strikes = 0
}

// Lacks says that a source does not have a chunk. taken: Next gave it.
func (p *Plan) Lacks(from, chunk int, taken bool) {
	p.sources[from].lacks[chunk] = true
	if taken {
		p.giveBack(chunk)
	}
}

// Broke says that a source did not answer for a chunk, or with other bytes: after maxStrikes in a row it is asked no
// more.
func (p *Plan) Broke(from, chunk int) {
	s := &p.sources[from]
	if s.strikes++; s.strikes >= maxStrikes {
		s.ended = true
	}
	p.giveBack(chunk)
}

// End asks a source no more.
func (p *Plan) End(from int) { p.sources[from].ended = true }

func (p *Plan) giveBack(chunk int) {
	p.flying--
	i, _ := slices.BinarySearch(p.waiting, chunk)
	p.waiting = slices.Insert(p.waiting, i, chunk)
}

// Done reports whether every chunk is there.
func (p *Plan) Done() bool { return len(p.waiting) == 0 && p.flying == 0 }

// Over reports whether a source will get nothing any more: all is there, or the source has none of what is missing. What
// is under way elsewhere may still come back, so it is worth asking again after that.
func (p *Plan) Over(from int) bool {
	s := &p.sources[from]
	return s.ended || p.Done() || p.flying == 0 && !slices.ContainsFunc(p.waiting, func(c int) bool { return !s.lacks[c] })
}

// Left is how many chunks are not there.
func (p *Plan) Left() int { return len(p.waiting) + p.flying }
