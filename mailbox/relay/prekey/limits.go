package prekey

import "time"

const (
	within     = 10 * time.Second // for a stream, from its opening
	maxStreams = 64               // served at once; further ones are reset
	maxOfPeer  = 8                // of them, of one peer
	maxBuckets = 16_384

	// A question for a bundle takes takeCost tokens, an offer one for each bundle
	// and one more: 8 bundles at once, then one every 10 s.
	takeCost    = 100
	peerBurst   = 800
	peerRefill  = 10
	groupBurst  = 3200
	groupRefill = 100
)
