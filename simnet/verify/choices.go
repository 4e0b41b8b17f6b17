package verify

import (
	"crypto/ed25519"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/simnet/model"
)

// choices are checks of elections and of routing.
func choices() []Check {
	return []Check{
		{
			Name: "balance of elections", Form: "variance of seats n R/N (1-R/N), N 20, R 3", Source: "sampling without replacement", Control: "all seats at the same third of the relays",
			run: func(scale int, seed uint64) finding {
				const n = 200
				m, err := mean(10*scale, seed, func(s uint64) float64 { return variance(s, n) })
				p := 3.0 / relaysThere
				return finding{m, err, n * p * (1 - p), n * n * p * (1.0/3 - p) * 3}
			},
		},
		{
			Name: "disruption of elections", Form: "R/N of the sets change when one relay goes, N 20", Source: "Thaler and Ravishankar, IEEE/ACM ToN 6(1), 1998", Control: "hashing modulo N: all but 1/N",
			run: func(scale int, seed uint64) finding {
				m, err := mean(1500*scale, seed, disruption)
				return finding{m, err, 3.0 / relaysThere, 1 - 1.0/relaysThere}
			},
		},
		{
			Name: "Sybil capture", Form: "f^R without replacement: all of 3 seats, 8 of 20 relays hostile, all alike", Source: "hypergeometric", Control: "2 seats",
			run: func(scale int, seed uint64) finding {
				m, err := mean(3000*scale, seed, func(s uint64) float64 { return yes(captured(s)) })
				return finding{m, err, capture(3), capture(2)}
			},
		},
		{
			Name: "Sybil capture in 8 epochs", Form: "1-(1-f^R)^8 if every epoch were elected anew", Source: "independent elections", Control: "one epoch",
			run: func(scale int, seed uint64) finding {
				m, err := mean(400*scale, seed, func(s uint64) float64 {
					for e := range uint64(8) {
						if captured(s<<3 | e) {
							return 1
						}
					}
					return 0
				})
				return finding{m, err, 1 - math.Pow(1-capture(3), 8), capture(3)}
			},
		},
		{
			Name: "Kademlia hops, k 1", Form: "log2(n2/n1)/2 more hops, n 2^10 and 2^16", Source: "Cai and Devroye, A Probabilistic Analysis of Kademlia Networks, ISAAC 2013", Control: "a bit a hop",
			run: func(scale int, seed uint64) finding { return hops(scale, seed, 1) },
		},
		{
			Name: "Kademlia hops, k 20", Form: "log2(n2/n1)/(1+E[max of 20 geometric]) more hops", Source: "Cai and Devroye 2013", Control: "a bit a hop",
			run: func(scale int, seed uint64) finding { return hops(scale, seed, 20) },
		},
	}
}

// relaysThere is how many relays these elections choose from, hostile how many of them are.
const relaysThere, hostile = 20, 8

var relays = func() (out []election.Candidate) {
	for i := range relaysThere {
		var key [ed25519.PublicKeySize]byte
		binary.BigEndian.PutUint64(key[:], uint64(i))
		out = append(out, election.Candidate{
			Peer:  dht.Peer{ID: dht.PeerFromKey(key[:]), Addrs: [][]byte{{4, byte(i + 1), 1, 1, 1, 6, 0, 80}}},
			Known: at.Add(-100 * 24 * time.Hour), LastSeen: at, Good: 700, Source: election.SourceDHT,
		})
	}
	return out
}()

var at = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// seats elects three of the relays, numbered by their place among them.
func seats(seed uint64, from []election.Candidate) []int {
	p := election.LocalPolicy()
	p.R, p.W, p.S = 3, 2, 1
	var secret [32]byte
	binary.BigEndian.PutUint64(secret[:], seed)
	members, _, _ := election.Choose(secret, from, nil, nil, p, at)
	var out []int
	for _, m := range members {
		out = append(out, slices.IndexFunc(relays, func(c election.Candidate) bool { return string(c.Peer.ID) == string(m.ID) }))
	}
	return out
}

// variance of the number of seats that relays have after n elections.
func variance(seed uint64, n int) float64 {
	var counts [relaysThere]float64
	for i := range n {
		for _, r := range seats(seed*uint64(n)+uint64(i), relays) {
			counts[r]++
		}
	}
	sum, average := 0.0, float64(3*n)/relaysThere
	for _, c := range counts {
		sum += (c - average) * (c - average)
	}
	return sum / relaysThere
}

// disruption says whether a set changes without the first relay. One that it does not stand in must not.
func disruption(seed uint64) float64 {
	before, after := seats(seed, relays), seats(seed, relays[1:])
	return yes(!slices.Equal(before, after))
}

func captured(seed uint64) bool {
	return !slices.ContainsFunc(seats(seed, relays), func(r int) bool { return r >= hostile })
}

// capture is the chance that all of r seats are hostile.
func capture(r int) float64 {
	p := 1.0
	for i := range r {
		p *= float64(hostile-i) / float64(relaysThere-i)
	}
	return p
}

// hops compares how much longer walks are in a network 64 times the size: a hop gains the bit in which the known nodes
// differ from the walker and what the best of k random ones has beside it.
func hops(scale int, seed uint64, k int) finding {
	gain := 1.0
	for j := 1; j < 64; j++ {
		gain += 1 - math.Pow(1-math.Pow(2, -float64(j)), float64(k))
	}
	m, err := mean(12*scale, seed, func(s uint64) float64 {
		return model.Hops(1<<16, k, 200, s).Mean - model.Hops(1<<10, k, 200, s+1<<40).Mean
	})
	return finding{m, err, 6 / gain, 6}
}
