package repair

import (
	"cmp"
	"slices"
	"time"
)

// agenda are the relays that a visit is planned to: a binary heap by the time of it. A relay has hundreds of others, each of which it
// visits within the hour, so that looking at all of them for the next one would cost more than the visit.
type agenda []*peer

// book puts a relay where the times of its visits say, or takes it out.
func (a *agenda) book(x *peer) {
	at := x.next
	if at.IsZero() || !x.soon.IsZero() && x.soon.Before(at) {
		at = x.soon
	}
	if x.busy || at.IsZero() {
		a.drop(x)
		return
	}
	x.due = at
	if x.place == 0 {
		*a = append(*a, x)
		x.place = len(*a)
	}
	a.down(a.up(x))
}

// drop takes a relay out.
func (a *agenda) drop(x *peer) {
	if x.place == 0 {
		return
	}
	h := *a
	last := h[len(h)-1]
	h[len(h)-1] = nil
	*a = h[:len(h)-1]
	if last != x {
		last.place = x.place
		h[last.place-1] = last
		a.down(a.up(last))
	}
	x.place = 0
}

// due are those that are due at now, by first mention. They stay until they are booked anew.
func (a agenda) due(now time.Time) (out []*peer) {
	var collect func(i int)
	collect = func(i int) {
		if i < len(a) && !a[i].due.After(now) {
			out = append(out, a[i])
			collect(2*i + 1)
			collect(2*i + 2)
		}
	}
	collect(0)
	slices.SortFunc(out, func(x, y *peer) int { return cmp.Compare(x.number, y.number) })
	return out
}

func (a agenda) up(x *peer) *peer {
	for i := x.place - 1; i > 0 && x.due.Before(a[(i-1)/2].due); i = x.place - 1 {
		a.swap(i, (i-1)/2)
	}
	return x
}

func (a agenda) down(x *peer) {
	for {
		i := x.place - 1
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < len(a) && a[c].due.Before(a[least].due) {
				least = c
			}
		}
		if least == i {
			return
		}
		a.swap(i, least)
	}
}

func (a agenda) swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}
