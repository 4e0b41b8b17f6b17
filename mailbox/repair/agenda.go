package repair

import (
	"cmp"
	"slices"
	"time"
)

// agenda are the relays that a visit is planned to: a binary heap by the time of it. A relay has hundreds of others, each of which it
// visits within the hour, so that looking at all of them for the next one would cost more than the visit.
type agenda []planned

// planned has the time beside the relay: who looks for a place in the heap reads the heap alone.
type planned struct {
	at time.Time // the earlier of next and soon
	*peer
}

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
	if x.place == 0 {
		*a = append(*a, planned{})
		x.place = len(*a)
	}
	(*a)[x.place-1] = planned{at, x}
	a.down(a.up(x))
}

// drop takes a relay out.
func (a *agenda) drop(x *peer) {
	if x.place == 0 {
		return
	}
	h := *a
	last := h[len(h)-1]
	h[len(h)-1] = planned{}
	*a = h[:len(h)-1]
	if last.peer != x {
		last.place = x.place
		h[last.place-1] = last
		a.down(a.up(last.peer))
	}
	x.place = 0
}

// due are those that are due at now, by first mention. They stay until they are booked anew.
func (a agenda) due(now time.Time) (out []*peer) {
	var collect func(i int)
	collect = func(i int) {
		if i < len(a) && !a[i].at.After(now) {
			out = append(out, a[i].peer)
			collect(2*i + 1)
			collect(2*i + 2)
		}
	}
	collect(0)
	slices.SortFunc(out, func(x, y *peer) int { return cmp.Compare(x.number, y.number) })
	return out
}

func (a agenda) up(x *peer) *peer {
	for i := x.place - 1; i > 0 && a[i].at.Before(a[(i-1)/2].at); i = x.place - 1 {
		a.swap(i, (i-1)/2)
	}
	return x
}

func (a agenda) down(x *peer) {
	for {
		i := x.place - 1
		least := i
		for _, c := range []int{2*i + 1, 2*i + 2} {
			if c < len(a) && a[c].at.Before(a[least].at) {
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
