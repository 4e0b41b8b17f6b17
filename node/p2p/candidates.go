package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
)

// candidates asks the relays that this node meets for their adverts and hands
// them to the engine, with where the relay was seen. An advert lives at most a
// day, so connected relays are asked again.
type candidates struct {
	advert func(ctx context.Context, relay dht.Peer) ([]byte, error)
	tell   func(advert []byte, s election.Source)
	now    func() time.Time
	lanes  *lanes

	mu   sync.Mutex
	seen map[peer.ID]*candidate
}

type candidate struct {
	source election.Source
	relay  bool // speaks the relay protocol
	busy   bool
	next   time.Time // when its advert is wanted again
}

func newCandidates(now func() time.Time) *candidates {
	return &candidates{now: now, lanes: newLanes(advertWidth, advertDepth, 1), seen: map[peer.ID]*candidate{}}
}

func (c *candidates) close() { c.lanes.close() }

// seenAs remembers where a peer was seen, the most trusted place first.
func (c *candidates) seenAs(p peer.ID, s election.Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.getLocked(p, s); k != nil && s < k.source {
		k.source = s
	}
}

// getLocked returns the entry of p, and makes room for it.
func (c *candidates) getLocked(p peer.ID, s election.Source) *candidate {
	if k := c.seen[p]; k != nil {
		return k
	}
	if len(c.seen) >= maxCandidates {
		c.forgetLocked()
	}
	if len(c.seen) >= maxCandidates {
		return nil
	}
	k := &candidate{source: s}
	c.seen[p] = k
	return k
}

// forgetLocked forgets one entry that a stranger named, or else one that
// nobody met: a contact may name as many peers as it likes that do not exist.
func (c *candidates) forgetLocked() {
	var unmet peer.ID
	for id, k := range c.seen {
		switch {
		case k.busy:
		case k.source >= election.SourceDHT:
			delete(c.seen, id)
			return
		case !k.relay:
			unmet = id
		}
	}
	delete(c.seen, unmet)
}

// met is told of each peer that was identified.
func (c *candidates) met(p peer.ID, isRelay bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !isRelay {
		return
	}
	if k := c.getLocked(p, election.SourceGossip); k != nil {
		k.relay = true
		c.askLocked(p, k)
	}
}

// again asks those relays among the connected peers whose advert is due.
func (c *candidates) again(connected []peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range connected {
		if k := c.seen[p]; k != nil && k.relay {
			c.askLocked(p, k)
		}
	}
}

// relays counts those of the connected peers that are relays.
func (c *candidates) relays(connected []peer.ID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range connected {
		if k := c.seen[p]; k != nil && k.relay {
			n++
		}
	}
	return n
}

func (c *candidates) isRelay(p peer.ID) bool { return c.relays([]peer.ID{p}) == 1 }

func (c *candidates) askLocked(p peer.ID, k *candidate) {
	if k.busy || c.now().Before(k.next) {
		return
	}
	k.busy = c.lanes.submit("", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, depositWithin)
		defer cancel()
		raw, err := c.advert(ctx, dht.Peer{ID: []byte(p)})
		pause := advertEvery
		if err != nil {
			pause = advertRetry
		}
		c.mu.Lock()
		k.busy, k.next = false, c.now().Add(pause)
		source := k.source
		c.mu.Unlock()
		if err == nil {
			c.tell(raw, source)
		}
	})
}

// scout looks for relays in the directory while this node knows too few, and
// has connected relays asked for fresh adverts. It looks soon after the first
// peers come and then ever more rarely: an idle node stays quiet.
type scout struct {
	n    *Node
	wake chan struct{} // holds one: a peer connected
}

// Limits of the search for relays.
const (
	wantRelays = 7 // members, standbys and two more
	scoutMin   = 2 * time.Second
	scoutMax   = 2 * time.Hour
	scoutWait  = 20 * time.Second
	pinMin     = 2 * time.Second // between two dials of a pin that is away
	pinMax     = 10 * time.Minute
)

func newScout(n *Node) *scout { return &scout{n: n, wake: make(chan struct{}, 1)} }

// kick says that a peer connected. It never blocks.
func (s *scout) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *scout) run(ctx context.Context) {
	sweep := time.NewTicker(advertSweep)
	defer sweep.Stop()
	redial := time.NewTimer(0)
	defer redial.Stop()
	var next time.Time
	pause, failures := scoutMin, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			if !rest(ctx, scoutMin) { // more peers come at once
				return
			}
		case <-sweep.C:
			s.n.candidates.again(s.n.peers())
			s.n.thin()
		case <-redial.C:
			if s.dialPins() {
				redial.Reset(fullJitter(pinMin, pinMax, failures))
				failures++
			} else if failures = 0; len(s.n.cfg.Pins) > 0 {
				redial.Reset(pinMax)
			}
			continue
		}
		peers := s.n.peers()
		if len(peers) == 0 || time.Now().Before(next) || s.n.candidates.relays(peers) >= wantRelays {
			continue
		}
		s.look(ctx)
		next = time.Now().Add(pause)
		pause = min(2*pause, scoutMax)
	}
}

// dialPins dials the relays that the person chose and that are not connected.
// It reports whether there were any.
func (s *scout) dialPins() (missing bool) {
	for _, p := range s.n.cfg.Pins {
		info, err := s.n.book.Info(p)
		if err != nil || s.n.host.Network().Connectedness(info.ID) == network.Connected {
			continue
		}
		missing = true
		s.n.book.Remember(p)
		s.n.performers.dial(p)
	}
	return missing
}

// look connects to the peers close to a key that changes with the epoch; those
// that are relays turn out to be when they are identified.
func (s *scout) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, scoutWait)
	defer cancel()
	peers, err := s.n.directory.Closest(ctx, scoutKey(s.n.host.ID(), s.n.cfg.Now()))
	if err != nil {
		s.n.cfg.Log.Debug("no relays found in the directory", "err", err)
		return
	}
	for _, p := range peers {
		s.n.seen(p, election.SourceDHT)
		s.n.performers.dial(p)
	}
}

// scoutKey is a place in the directory that follows from the peer and the
// epoch and stands for nothing else.
func scoutKey(id peer.ID, now time.Time) string {
	in := append([]byte("kith1 scout"), id...)
	return dht.MailboxKey(sha256.Sum256(binary.BigEndian.AppendUint32(in, dht.EpochAt(now))))
}
