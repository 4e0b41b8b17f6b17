package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/relay"
)

// candidates asks the relays that this node meets for their adverts and hands
// them to the engine, with where the relay was seen. An advert lives at most a
// day, so they are asked again, connected or not: a relay that is not needed
// costs one dial in ten hours.
type candidates struct {
	advert func(ctx context.Context, relay dht.Peer) (*dht.Advert, error)
	tell   func(advert *dht.Advert, s election.Source)
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
	good   time.Time // when it answered last
	addrs  [][]byte  // of its advert
	failed int       // in a row
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

// named is told of a relay by another relay.
func (c *candidates) named(r dht.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.getLocked(peer.ID(r.ID), election.SourceGossip); k != nil && !k.relay {
		k.relay, k.addrs = true, r.Addrs
		c.askLocked(peer.ID(r.ID), k)
	}
}

// again asks those relays whose advert is due.
func (c *candidates) again() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, k := range c.seen {
		if k.relay {
			c.askLocked(p, k)
		}
	}
}

// known counts the relays that answered within the life of an advert.
func (c *candidates) known() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.seen {
		if k.relay && c.now().Sub(k.good) < advertLife {
			n++
		}
	}
	return n
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

// heard passes on an advert that a relay sent unasked.
func (c *candidates) heard(a *dht.Advert) {
	c.mu.Lock()
	source := election.SourceGossip
	if k := c.seen[peer.ID(a.Peer.ID)]; k != nil {
		source = k.source
	}
	c.mu.Unlock()
	c.tell(a, source)
}

// near reports whether a peer was named by a person or met on the local network.
func (c *candidates) near(p peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.seen[p]
	return k != nil && k.source <= election.SourceLAN
}

func (c *candidates) isRelay(p peer.ID) bool { return c.relays([]peer.ID{p}) == 1 }

func (c *candidates) askLocked(p peer.ID, k *candidate) {
	if k.busy || c.now().Before(k.next) {
		return
	}
	addrs := k.addrs
	k.busy = c.lanes.submit("", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, depositWithin)
		defer cancel()
		a, err := c.advert(ctx, dht.Peer{ID: []byte(p), Addrs: addrs})
		c.mu.Lock()
		source := k.source
		k.busy = false
		if err != nil {
			k.next = c.now().Add(fullJitter(advertRetry, advertEvery, k.failed))
			k.failed++
		} else {
			k.next, k.good, k.addrs, k.failed = c.now().Add(advertEvery), c.now(), a.Peer.Addrs, 0
		}
		c.mu.Unlock()
		if err == nil {
			c.tell(a, source)
		}
	})
}

// scout looks for relays in the directory while this node knows too few, and
// has connected relays asked for fresh adverts. It looks soon after the first
// peers come and then ever more rarely: an idle node stays quiet.
type scout struct {
	n    *Node
	wake chan struct{} // holds one: a peer connected

	next  time.Time     // when to look again
	pause time.Duration // after that
	known int           // relays at the last look
}

// Limits of the search for relays.
const (
	wantRelays = 7 // members, standbys and two more
	gossipFrom = 3 // relays asked for gossip at a time
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
	first := time.NewTimer(firstThin)
	defer first.Stop()
	redial := time.NewTimer(0)
	defer redial.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			if !rest(ctx, scoutMin) { // more peers come at once
				return
			}
		case <-sweep.C:
			s.n.candidates.again()
			s.find(ctx, true)
			s.n.thin()
			continue
		case <-first.C:
			s.n.thin()
			continue
		case <-redial.C:
			if s.dialPins() {
				redial.Reset(fullJitter(pinMin, pinMax, failures))
				failures++
			} else if failures = 0; len(s.n.cfg.Pins) > 0 {
				redial.Reset(pinMax)
			}
			continue
		}
		s.find(ctx, false)
	}
}

// find looks for relays if it is time to. swept: it is not because somebody connected.
func (s *scout) find(ctx context.Context, swept bool) {
	known := s.n.candidates.known()
	if known >= wantRelays || time.Now().Before(s.next) || len(s.n.peers()) == 0 {
		return
	}
	s.look(ctx)
	s.next = time.Now().Add(s.rarer(known, swept))
}

// rarer is how long to rest after a look: four times as long each time, and the most after one at rest before which the last had
// found nothing. A look walks the directory, and each peer that it asks costs a handshake.
func (s *scout) rarer(known int, swept bool) time.Duration {
	pause := max(s.pause, scoutMin)
	if swept && known == s.known {
		pause = scoutMax
	}
	s.known, s.pause = known, min(4*pause, scoutMax)
	return pause
}

// dialPins dials the relays that the person chose and that are not connected.
// It reports whether there were any.
func (s *scout) dialPins() (missing bool) {
	for _, p := range s.n.cfg.Pins {
		info, err := s.n.book.Info(p)
		if err != nil || s.n.host.Network().Connectedness(info.ID) == network.Connected || s.n.mail.reaches(info.ID) {
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
	s.gossip(ctx)
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

// gossip asks some of the relays that serve us which others there are. Those
// are asked themselves, and weigh least.
func (s *scout) gossip(ctx context.Context) {
	connected := s.n.mail.connected()
	rand.Shuffle(len(connected), func(i, j int) { connected[i], connected[j] = connected[j], connected[i] })
	for _, p := range connected[:min(len(connected), gossipFrom)] {
		r := dht.Peer{ID: []byte(p)}
		list, err := asked(s.n.mail, r, func(c *relay.Client) ([]*dht.Advert, error) { return c.Gossip(ctx, r) })
		if err != nil {
			s.n.cfg.Log.Debug("no gossip", "err", err)
		}
		for _, a := range list {
			if _, err := s.n.book.Info(a.Peer); err == nil { // it may be this node itself
				s.n.candidates.named(a.Peer)
			}
		}
	}
}

// scoutKey is a place in the directory that follows from the peer and the
// epoch and stands for nothing else.
func scoutKey(id peer.ID, now time.Time) string {
	in := append([]byte("kith1 scout"), id...)
	return dht.MailboxKey(sha256.Sum256(binary.BigEndian.AppendUint32(in, dht.EpochAt(now))))
}
