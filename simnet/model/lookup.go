package model

import (
	"math/bits"
	"slices"

	"github.com/kith-im/kith/simnet/result"
)

// Hops walks to random targets through n nodes with random ids, each of which knows k random nodes of every distance, and
// counts the steps until nobody known is closer. That is the walk of Kademlia (Maymounkov and Mazières 2002) with full
// buckets, one question at a time, everybody alive.
func Hops(n, k, walks int, seed uint64) result.Spread {
	h := result.NewHistogram()
	for _, hops := range Walks(n, k, walks, seed) {
		h.Add(uint64(hops))
	}
	return h.Spread("lookup.hops", "hops", result.Lower, 1)
}

// Walks are the hops of each walk of Hops.
func Walks(n, k, walks int, seed uint64) (all []int) {
	d := NewDice(seed ^ 0x686f7073)
	ids := make([]uint64, min(n, 1<<22)) // beyond, hops grow by a constant that is known
	for i := range ids {
		ids[i] = d.Uint64()
	}
	slices.Sort(ids)
	for range walks {
		target, at := d.Uint64(), ids[d.Below(len(ids))]
		hops := 0
		for next, closer := step(ids, at, target, k, d); closer; next, closer = step(ids, at, target, k, d) {
			at = next
			hops++
		}
		all = append(all, hops)
	}
	return all
}

// step is the node nearest to the target among k that at knows of those that share one bit more with the target than it
// does; if there are none, of those that it knows at smaller distances.
func step(ids []uint64, at, target uint64, k int, d Dice) (uint64, bool) {
	best, closer := at, false
	for dist := at ^ target; dist != 0; {
		bit := bits.Len64(dist) - 1
		low := (at ^ 1<<bit) >> bit << bit
		from, _ := slices.BinarySearch(ids, low)
		to := len(ids)
		if high := low + 1<<bit; high > low {
			to, _ = slices.BinarySearch(ids, high)
		}
		for range min(k, to-from) {
			if id := ids[from+d.Below(to-from)]; id^target < best^target {
				best, closer = id, true
			}
		}
		if closer {
			return best, true
		}
		dist &^= 1 << bit // nobody there: the next bit in which they differ
	}
	return best, closer
}
