package election

import (
	"time"

	"github.com/kith-im/kith/dht"
)

// Choose is Elect without the transcript, for whoever elects by the million: members and standbys in rank order, and how
// many receipts make custody. Times count in whole milliseconds, as in a transcript.
func Choose(seed [32]byte, candidates []Candidate, incumbents []Incumbent, pins [][]byte, p Policy, now time.Time) (members, standbys []dht.Peer, w int) {
	in := newInput(seed, candidates, incumbents, pins, p, now)
	r := in.elect()
	return r.Members, r.Standbys, r.W
}

func newInput(seed [32]byte, candidates []Candidate, incumbents []Incumbent, pins [][]byte, p Policy, now time.Time) *input {
	in := &input{seed: seed, policy: p.filled(), now: now}
	in.incumbents = incumbents[:min(len(incumbents), maxIncumbents)]
	in.pins = pins[:min(len(pins), maxPins)]
	in.candidates = in.pool(normalised(candidates))
	return in
}
