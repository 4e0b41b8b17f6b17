package kad

import (
	"bytes"
	"context"
	"slices"
	"time"

	kb "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// askFunc asks one connected peer. Closer peers continue the walk; found ends it.
type askFunc func(ctx context.Context, p peer.ID) (closer []*peer.AddrInfo, found bool, err error)

type stand byte

const (
	heard   stand = iota
	asked         // waiting for an answer, holds one of alpha places
	late          // as asked, but its place was given away
	answers       // answered
	failed
)

type candidate struct {
	id       peer.ID
	distance []byte
	stand    stand
}

type answer struct {
	from   *candidate
	closer []*peer.AddrInfo
	found  bool
	err    error
	late   bool // no answer yet: patience has run out
}

// walk is one iterative lookup: the closest known peers are asked, alpha at a
// time, for closer ones, until the K closest that can be reached have answered
// (Kademlia, Maymounkov and Mazières 2002, section 2.3). Peers that stay
// silent lose their place after patience, so that hostile ones cannot stop it.
type walk struct {
	d      *Directory
	target kb.ID
	ask    askFunc
	order  []*candidate // ascending distance
	asked  int
	events chan answer

	patient bool // wait for late answers even when K peers have answered
}

func (d *Directory) newWalk(key string, ask askFunc) *walk {
	w := &walk{d: d, target: kb.ConvertKey(key), ask: ask, events: make(chan answer, 2*maxAsked)}
	for _, p := range d.kad.RoutingTable().NearestPeers(w.target, d.k) {
		w.add(p)
	}
	for _, p := range d.connected(d.kadProtocol) {
		w.add(p)
	}
	return w
}

// run returns the K closest peers that answered, the closest first, and
// whether ask found what it was looking for.
func (w *walk) run(ctx context.Context) ([]peer.ID, bool) {
	ctx, cancel := context.WithCancel(network.WithDialPeerTimeout(ctx, dialTimeout))
	defer cancel()
	for {
		w.askMore(ctx)
		if w.done() {
			return w.closest(answers), false
		}
		select {
		case a := <-w.events:
			if w.take(a) {
				return w.closest(answers), true
			}
		case <-ctx.Done():
			return w.closest(answers), false
		}
	}
}

// done says that no answer is worth waiting for.
func (w *walk) done() bool {
	if w.count(asked) > 0 {
		return false
	}
	return w.count(late) == 0 || (!w.patient && w.count(answers) >= w.d.k)
}

// askMore fills the free places with the closest peers not yet asked that
// could still be among the K closest.
func (w *walk) askMore(ctx context.Context) {
	free := alpha - w.count(asked)
	within := 0
	for _, c := range w.order {
		if free <= 0 || within >= w.d.k || w.asked >= maxAsked {
			return
		}
		if c.stand == heard {
			c.stand = asked
			w.asked++
			free--
			w.start(ctx, c)
		}
		if c.stand == asked || c.stand == answers {
			within++
		}
	}
}

func (w *walk) start(ctx context.Context, c *candidate) {
	timer := time.AfterFunc(patience, func() { w.events <- answer{from: c, late: true} })
	go func() {
		defer timer.Stop()
		closer, found, err := w.reach(ctx, c.id)
		w.events <- answer{from: c, closer: closer, found: found, err: err}
	}()
}

// reach dials if need be and asks. A peer that cannot be dialled leaves the
// routing table.
func (w *walk) reach(ctx context.Context, p peer.ID) ([]*peer.AddrInfo, bool, error) {
	if w.d.host.Network().Connectedness(p) != network.Connected {
		if err := w.d.host.Connect(ctx, peer.AddrInfo{ID: p}); err != nil {
			if ctx.Err() == nil {
				w.d.kad.RoutingTable().RemovePeer(p)
			}
			return nil, false, err
		}
	}
	return w.ask(ctx, p)
}

// take applies one event; true ends the walk.
func (w *walk) take(a answer) bool {
	switch {
	case a.late:
		if a.from.stand == asked {
			a.from.stand = late
		}
	case a.err != nil:
		a.from.stand = failed
	default:
		a.from.stand = answers
		for _, info := range a.closer[:min(len(a.closer), w.d.k+1)] {
			w.meet(info)
		}
	}
	return a.found
}

// meet makes a peer that another one named a candidate.
func (w *walk) meet(info *peer.AddrInfo) {
	if info.ID == w.d.host.ID() || len(info.Addrs) == 0 || len(info.Addrs) > maxPeerAddrs {
		return
	}
	if w.d.host.Network().Connectedness(info.ID) != network.Connected {
		w.d.host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	}
	w.add(info.ID)
}

func (w *walk) add(p peer.ID) {
	distance := kb.ConvertPeerID(p)
	for i := range distance {
		distance[i] ^= w.target[i]
	}
	c := &candidate{id: p, distance: distance}
	at, known := slices.BinarySearchFunc(w.order, c, func(a, b *candidate) int {
		return bytes.Compare(a.distance, b.distance)
	})
	if !known {
		w.order = slices.Insert(w.order, at, c)
	}
}

func (w *walk) count(s stand) int {
	n := 0
	for _, c := range w.order {
		if c.stand == s {
			n++
		}
	}
	return n
}

func (w *walk) closest(s stand) []peer.ID {
	var ids []peer.ID
	for _, c := range w.order {
		if c.stand == s && len(ids) < w.d.k {
			ids = append(ids, c.id)
		}
	}
	return ids
}
