package group

import "bytes"

// verdict is what is known of a removal while they are judged.
type verdict uint8

const (
	open verdict = iota
	effective
	void
)

// trial is how the removals of a set are judged: one that only void ones hit has effect, one that an effective one hits
// has none. Where removals hit each other in a circle that nothing outside decides, the one of the most senior author has
// effect, and those of the circle that hit it have not. A log may be made for nothing but to be dear to judge: everything
// here takes at most as many steps as there are pairs of removals.
type trial struct {
	l        *Log
	verdicts map[int32]verdict
	by       map[int32]bitset // removal -> those that hit it
	hits     map[int32]bitset // ... and those that it hits
	left     map[int32]int    // of by, those that are not void
	open     bitset
	told     []int32 // verdicts of which follow has not heard
}

// judge gives a verdict on each removal of a set.
func (l *Log) judge(set bitset) map[int32]verdict {
	t := &trial{l: l, verdicts: map[int32]verdict{}, by: map[int32]bitset{}, hits: map[int32]bitset{}, left: map[int32]int{}, open: newBitset(len(l.nodes))}
	threats := l.threatened()
	l.removals.each(func(i int32) bool {
		if !set.has(i) {
			return true
		}
		by := threats[i].and(set)
		by.unset(i)
		t.verdicts[i], t.by[i], t.left[i] = open, by, by.count()
		t.open.set(i)
		by.each(func(r int32) bool {
			hits := t.hits[r]
			hits.set(i)
			t.hits[r] = hits
			return true
		})
		return true
	})
	for i, n := range t.left {
		if n == 0 {
			t.give(i, effective)
		}
	}
	for t.follow(); !t.open.empty(); t.follow() {
		t.breakCircle()
	}
	return t.verdicts
}

// give gives a removal its verdict, unless it has one.
func (t *trial) give(i int32, v verdict) {
	if t.open.has(i) {
		t.open.unset(i)
		t.verdicts[i] = v
		t.told = append(t.told, i)
	}
}

// follow gives others the verdicts that follow from those that were given.
func (t *trial) follow() {
	for len(t.told) > 0 {
		r := t.told[len(t.told)-1]
		t.told = t.told[:len(t.told)-1]
		t.hits[r].each(func(i int32) bool {
			if t.verdicts[r] == effective {
				t.give(i, void)
			} else if t.left[i]--; t.left[i] == 0 {
				t.give(i, effective)
			}
			return true
		})
	}
}

// breakCircle decides a circle of removals that nothing outside of it can decide.
func (t *trial) breakCircle() {
	first := none
	t.circle().each(func(r int32) bool {
		if first == none || t.l.outranks(r, first) {
			first = r
		}
		return true
	})
	t.give(first, effective)
	t.by[first].each(func(r int32) bool { t.give(r, void); return true })
}

// circle is a set of open removals that hit each other, directly or not, and that no other open one hits. Of two that do
// not depend on each other it does not matter which is decided first. It is found from the last removal that a search
// along hits comes back from: whatever leads there leads back.
func (t *trial) circle() bitset {
	unseen := t.open.clone()
	last := none
	var path []int32
	for start := unseen.first(); start != none; start = unseen.first() {
		unseen.unset(start)
		for path = append(path, start); len(path) > 0; {
			next := t.hits[path[len(path)-1]].and(unseen).first()
			if next == none {
				last = path[len(path)-1]
				path = path[:len(path)-1]
				continue
			}
			unseen.unset(next)
			path = append(path, next)
		}
	}
	found := newBitset(len(t.l.nodes))
	found.set(last)
	for todo := []int32{last}; len(todo) > 0; {
		r := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		t.by[r].and(t.open).each(func(next int32) bool {
			if !found.has(next) {
				found.set(next)
				todo = append(todo, next)
			}
			return true
		})
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

// threatened lists for every entry the removals that hit it, or one of those that gave its author the right to it. A
// removal hits what its target did that was not done before it, and not in a state in which it counted (its target may
// have been added again since).
func (l *Log) threatened() []bitset {
	for i := len(l.threats); i < len(l.nodes); i++ {
		n := &l.nodes[i]
		hit := l.targets[n.author].clone()
		hit.remove(n.after)
		before := n.before.clone()
		before.remove(n.voided)
		hit.remove(before)
		hit.unset(int32(i))
		for _, b := range []int32{n.since, n.grant} {
			if b != none {
				hit = hit.join(l.threats[b])
			}
		}
		l.threats = append(l.threats, hit)
	}
	return l.threats
}
