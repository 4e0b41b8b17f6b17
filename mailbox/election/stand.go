package election

import (
	"bytes"
	"time"

	"github.com/kith-im/kith/dht"
)

// Stand says whether Elect would choose just the incumbents, in their order, whoever else there is: as many serve as are
// wanted, each of them is fit, and nobody's term is over. Then it gives members and standbys; false says nothing. all are
// the candidates that serve, in the order of the incumbents. It holds where no pin is among the candidates.
func Stand(seed [32]byte, all []Candidate, incumbents []Incumbent, p Policy, now time.Time) (members, standbys []dht.Peer, ok bool) {
	in := &input{seed: seed, policy: p.filled(), now: now.Truncate(time.Millisecond), incumbents: incumbents}
	if n := in.policy.R + in.policy.S; len(all) != n || len(incumbents) != n || n > min(in.policy.Pool, maxIncumbents) {
		return nil, nil, false
	}
	over, settled := false, true
	peers := make([]dht.Peer, len(all))
	for i, c := range all {
		r := &row{Candidate: c, kept: i}
		for _, before := range peers[:i] {
			if bytes.Equal(before.ID, c.Peer.ID) {
				return nil, nil, false
			}
		}
		if !bytes.Equal(c.Peer.ID, incumbents[i].Peer) || !eligible(&c) || in.unfit(r) != "" || c.weak() || c.weight(in.now) == 0 {
			return nil, nil, false
		}
		served := in.now.Sub(incumbents[i].Since)
		settled = settled && served >= in.policy.SwapEvery
		over = over || served > in.policy.Term-in.policy.TermJitter && served > in.term(c.Peer.ID)
		peers[i] = c.Peer
	}
	if over && settled { // somebody else may take a place
		return nil, nil, false
	}
	return peers[:in.policy.R], peers[in.policy.R:], true
}
