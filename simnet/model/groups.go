package model

import (
	"slices"

	"github.com/kith-im/kith/simnet/result"
)

// Group is a conversation of many, with its share of the messages.
type Group struct {
	Size  int     `json:"size"` // people, whoever writes among them
	Share float64 `json:"share"`
}

// maxGroup is more than an engine takes (group.MaxMembers): what such groups would cost is what is asked.
const maxGroup = 1024

func (c *Config) checkGroups() error {
	sum := c.HotShare
	for _, g := range c.Groups {
		switch {
		case g.Size < 3 || g.Size > maxGroup:
			return Refuse("groups", "%d members, want 3 to %d", g.Size, maxGroup)
		case !(g.Share >= 0):
			return Refuse("groups", "a share of %g", g.Share)
		}
		sum += g.Share
	}
	switch {
	case sum > 1:
		return Refuse("groups", "they and the hot share have %g of the messages together, want at most 1", sum)
	case !(c.Bandwidth == 0 || c.Bandwidth >= 1000):
		return Refuse("bandwidth", "%g bytes a second, want 0 or at least 1000", c.Bandwidth)
	}
	return nil
}

// enough says whether there are as many people as a group wants.
func (w *World) enough() error {
	for _, g := range w.cfg.Groups {
		if g.Size > len(w.users) {
			return Refuse("groups", "%d members, and there are %d people", g.Size, len(w.users))
		}
	}
	return nil
}

// groupOf is the group that a user writes to, if x says so: its first member, and how many follow. Of each size everybody has
// one group, with their neighbors, who live in the same time zone but for those at its edge.
func (w *World) groupOf(user uint32, x uint64) (first, size uint32) {
	y := float64(x>>16&0xffff)/65536 - w.cfg.HotShare
	for _, g := range w.cfg.Groups {
		if y < g.Share && y >= 0 {
			n := uint32(g.Size)
			return min(user/n*n, uint32(len(w.users))-n), n
		}
		y -= g.Share
	}
	return 0, 0
}

// groupTimes is when members of a group who were there had a message: half of them, nearly all, all.
type groupTimes struct{ half, most, all result.Histogram }

// sendToGroup fans a message out: to each device of each other member, and each other one of the author. Who is first is whoever
// follows the author, so that nobody always waits for the others.
func (w *World) sendToGroup(l *letter, from uint32, size uint8) {
	times := w.times[:0]
	for k := uint32(1); k < l.group; k++ {
		u := &w.users[l.to+(l.from-l.to+k)%l.group]
		first := uint64(forever) // when the first device of somebody has it
		for to, end := u.devices(); to < end; to++ {
			first = min(first, w.sendOne(from, to, size))
		}
		if first < forever {
			times = append(times, first)
		}
	}
	for to, end := w.users[l.from].devices(); to < end; to++ {
		if to != from {
			w.sendOne(from, to, size)
		}
	}
	if w.times = times; len(times) == 0 {
		return
	}
	slices.Sort(times)
	n, g := len(times)-1, w.stats.groups
	g.half.Add(times[n*50/100])
	g.most.Add(times[n*99/100])
	g.all.Add(times[n])
}
