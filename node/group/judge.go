package group

import (
	"bytes"
	"slices"
)

// verdict is what is known of a removal while they are judged.
type verdict uint8

const (
	open verdict = iota
	effective
	void
)

// judge decides which removals of a set have effect: one that only void ones hit has, one that an effective one hits has
// not. Where removals hit each other in a circle that nothing outside decides, the one of the most senior author has
// effect, and those of the circle that hit it have not.
func (l *Log) judge(set bitset) (verdicts map[int32]verdict) {
	verdicts = map[int32]verdict{}
	by := map[int32][]int32{}
	var waiting []int32
	for _, i := range l.order {
		if !set.has(i) || !l.nodes[i].f.removes() {
			continue
		}
		l.hitBy(i, set, func(r int32) bool {
			if !slices.Contains(by[i], r) {
				by[i] = append(by[i], r)
			}
			return true
		})
		if verdicts[i] = effective; len(by[i]) > 0 {
			verdicts[i] = open
			waiting = append(waiting, i)
		}
	}
	for len(waiting) > 0 {
		before := len(waiting)
		waiting = slices.DeleteFunc(waiting, func(i int32) bool {
			verdicts[i] = decide(by[i], verdicts)
			return verdicts[i] != open
		})
		if len(waiting) > 0 && len(waiting) == before {
			l.breakCircle(waiting[0], by, verdicts)
			waiting = slices.DeleteFunc(waiting, func(i int32) bool { return verdicts[i] != open })
		}
	}
	return verdicts
}

// decide is the verdict on a removal that the given ones hit.
func decide(by []int32, verdicts map[int32]verdict) verdict {
	v := effective
	for _, r := range by {
		switch verdicts[r] {
		case effective:
			return void
		case open:
			v = open
		}
	}
	return v
}

// breakCircle decides a circle of removals that nothing outside of it can decide, among those on which i depends.
func (l *Log) breakCircle(i int32, by map[int32][]int32, verdicts map[int32]verdict) {
	circle := behind(i, by, verdicts)
	for moved := true; moved; {
		moved = false
		for r := range circle {
			if inner := behind(r, by, verdicts); len(inner) < len(circle) {
				circle, moved = inner, true
				break
			}
		}
	}
	first := none
	for r := range circle {
		if first == none || l.outranks(r, first) {
			first = r
		}
	}
	verdicts[first] = effective
	for _, r := range by[first] {
		if verdicts[r] == open {
			verdicts[r] = void
		}
	}
}

// behind are the open removals on which the verdict on i depends, over any number of steps.
func behind(i int32, by map[int32][]int32, verdicts map[int32]verdict) map[int32]bool {
	found := map[int32]bool{}
	for todo := []int32{i}; len(todo) > 0; {
		r := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range by[r] {
			if verdicts[next] == open && !found[next] {
				found[next] = true
				todo = append(todo, next)
			}
		}
	}
	return found
}

// outranks reports whether removal a wins over b in a circle: by the seniority of its author when it was made, then by
// its hash.
func (l *Log) outranks(a, b int32) bool {
	x, y := &l.nodes[a], &l.nodes[b]
	if c := l.seniority(x.since, x.author, y.since, y.author); c != 0 {
		return c < 0
	}
	return bytes.Compare(x.hash[:], y.hash[:]) < 0
}

// hits reports whether removal r makes void what entry g did: g's author is one that it removes, g was not done before
// it, and not in a state in which it counted (its author may have been added again since).
func (l *Log) hits(r, g int32) bool {
	if r == g || l.nodes[r].before.has(g) {
		return false
	}
	return !l.nodes[g].before.has(r) || slices.Contains(l.nodes[g].voided, r)
}

// hitBy calls each with the removals of a set that hit an entry, or one of those that gave its author the right to it,
// until it returns false. It may call it with one of them several times.
func (l *Log) hitBy(i int32, set bitset, each func(r int32) bool) {
	hit := func(g int32) bool {
		for _, r := range l.targets[l.nodes[g].author] {
			if r != i && set.has(r) && l.hits(r, g) && !each(r) {
				return false
			}
		}
		return true
	}
	if hit(i) {
		l.nodes[i].basis.each(hit)
	}
}
