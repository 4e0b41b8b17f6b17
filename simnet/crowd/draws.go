package crowd

import (
	"math"
	"time"

	"github.com/kith-im/kith/simnet/model"
)

// Habits are where a person lives, and how much it writes.
type Habits struct {
	Region int
	Zone   int     // hours
	Rate   float64 // messages an hour, on average over the day
}

// Person draws the habits of the user of a number.
func (c *Config) Person(rng model.Dice, n int) (h Habits) {
	h.Region, h.Zone = model.Zone(float64(n) / float64(c.Users))
	h.Rate = c.Messages / 24
	if s := c.Uneven; s > 0 {
		h.Rate *= math.Exp(s*rng.Normal() - s*s/2)
	}
	return h
}

// Neighbours are the distances at which everybody knows somebody, most of them near: in the same time zone.
func (c *Config) Neighbours(rng model.Dice) (near []int) {
	most, reach := max((c.Users-1)/2, 1), max(c.Users/200, 20)
	used := map[int]bool{}
	for i := 0; len(near) < min(max((c.Contacts+1)/2, 1), most); i++ {
		limit := most
		if i%5 != 4 {
			limit = min(limit, reach+i/5)
		}
		if off := 1 + rng.Below(limit); !used[off] {
			used[off] = true
			near = append(near, off)
		}
	}
	return near
}

// Address decides whom words of a user are for: another user; or the group of that number, else -1, in which any member may write.
func (c *Config) Address(rng model.Dice, near []int, from int) (to, group int) {
	share := rng.Unit()
	for i, g := range c.Groups {
		if share -= g.Share; share < 0 {
			return -1, i
		}
	}
	if share -= c.HotShare; share < 0 && from != 0 {
		return 0, -1
	}
	// To the first most: like 1/rank.
	rank := int(math.Pow(float64(len(near))+1, rng.Unit()) - 1)
	off := near[min(rank, len(near)-1)]
	if rng.Below(2) == 0 {
		off = c.Users - off
	}
	return (from + off) % c.Users, -1
}

// NextWrite draws how long it is until somebody writes: to the next point of a Poisson process whose rate follows the hours of
// the day. ok is false if that is after the end.
func (c *Config) NextWrite(rng model.Dice, from time.Time, h Habits) (wait time.Duration, ok bool) {
	if h.Rate == 0 {
		return 0, false
	}
	left := rng.Exp()
	for at := from; at.Sub(from) < c.For+time.Hour; {
		rate := h.Rate // an hour's
		if !c.Flat {
			rate *= model.Activity((at.Hour() + 24 + h.Zone) % 24)
		}
		end := at.Truncate(time.Hour).Add(time.Hour)
		if part := end.Sub(at).Hours() * rate; left >= part {
			left, at = left-part, end
			continue
		}
		return at.Sub(from) + time.Duration(left/rate*float64(time.Hour)), true
	}
	return 0, false
}

// Texts has somebody write, who was about to: once, or in a rush as often as that has people write more. Chance says how long a text is.
func (c *Config) Texts(rng model.Dice, passed time.Duration, zone int, write func(length int)) {
	for times := c.Rush.Times(passed, zone); times > 0; times-- {
		if times < 1 && rng.Unit() >= times {
			return
		}
		write(model.TextLength(rng.Uint64()))
	}
}

// Some draws a share of all, at least one if the share is more than nothing.
func Some[T any](rng model.Dice, all []T, share float64) []T {
	n := int(share*float64(len(all)) + 0.5)
	if share > 0 && n == 0 {
		n = 1
	}
	all = append([]T(nil), all...)
	for i := range min(n, len(all)) {
		j := i + rng.Below(len(all)-i)
		all[i], all[j] = all[j], all[i]
	}
	return all[:min(n, len(all))]
}

// OneHere draws one of those that are there.
func OneHere[T any](rng model.Dice, all []T, here func(T) bool) (one T, ok bool) {
	first := rng.Below(len(all))
	for i := range all {
		if x := all[(first+i)%len(all)]; here(x) {
			return x, true
		}
	}
	return one, false
}
