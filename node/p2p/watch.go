package p2p

import (
	"maps"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/kith-im/kith/node/host"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
)

// watcher follows libp2p's events: peers that come and go, what they speak,
// and our own addresses. It never blocks the event bus: changes gather in a
// map and at most one input of them waits in the loop's queue.
type watcher struct {
	host host.Host
	post func(call)
	// met hears each peer that was identified, with whether it is a relay.
	met func(p peer.ID, isRelay bool)
	// self is this node as others dial it.
	self func() dht.Peer
	// reach hears whether others can dial us (network.Reachability).
	reach func(int32)
	// back hears peers that connected.
	back func(peer.ID)
	// again hears peers that were connected and got, or lost, one more connection.
	again func(peer.ID)
	// elsewhere says whether another host of ours is connected to a peer.
	elsewhere func(peer.ID) bool

	sub     event.Subscription
	conns   network.NotifyBundle
	running bool
	done    chan struct{}
	mu      sync.Mutex
	changed map[peer.ID]turn
	moved   bool // our addresses changed
	posted  bool
}

// turn is what became of a peer since the engine was told last.
type turn struct {
	up bool
	// again: it is connected and was before, but one of several connections is
	// new or gone. Whoever died and came back within the minute in which his
	// old connection still looks alive, does just that.
	again bool
}

const eventBuffer = 256

// subscribe begins to gather events; run hands them on. It comes before the
// first dial, so that no peer is missed.
func (w *watcher) subscribe() (err error) {
	w.changed, w.done = map[peer.ID]turn{}, make(chan struct{})
	w.conns = network.NotifyBundle{ConnectedF: w.bounced, DisconnectedF: w.bounced}
	w.sub, err = w.host.EventBus().Subscribe([]any{
		new(event.EvtPeerConnectednessChanged),
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtLocalAddressesUpdated),
		new(event.EvtHostReachableAddrsChanged),
	}, eventbus.BufSize(eventBuffer), eventbus.Name("kith"))
	return err
}

// close ends the subscription and waits for run.
func (w *watcher) close() {
	if w.sub == nil {
		return
	}
	w.host.Network().StopNotify(&w.conns)
	w.sub.Close()
	if w.running {
		<-w.done
	}
}

func (w *watcher) run(relayProtocol string) {
	defer close(w.done)
	w.host.Network().Notify(&w.conns)
	for e := range w.sub.Out() {
		switch e := e.(type) {
		case event.EvtPeerConnectednessChanged:
			up := e.Connectedness == network.Connected
			if up {
				w.back(e.Peer)
			}
			up = up || w.elsewhere(e.Peer)
			w.note(func() { w.changed[e.Peer] = turn{up: up} })
		case event.EvtPeerIdentificationCompleted:
			w.met(e.Peer, contains(e.Protocols, relayProtocol))
		case event.EvtPeerProtocolsUpdated:
			if contains(e.Added, relayProtocol) {
				w.met(e.Peer, true)
			}
		case event.EvtLocalAddressesUpdated:
			w.note(func() { w.moved = true })
		case event.EvtHostReachableAddrsChanged:
			w.reach(int32(reachability(e)))
		}
	}
}

// told is a change of another host's connections: a peer is up while any host
// of ours is connected to it.
func (w *watcher) told(p peer.ID, up bool) {
	up = up || w.host.Network().Connectedness(p) == network.Connected
	w.note(func() { w.changed[p] = turn{up: up} })
}

// bounced hears of each connection that is made or lost. The event bus tells of
// the first and the last of a peer.
func (w *watcher) bounced(n network.Network, c network.Conn) {
	others := slices.ContainsFunc(n.ConnsToPeer(c.RemotePeer()), func(o network.Conn) bool { return o.ID() != c.ID() })
	if !others {
		return
	}
	w.again(c.RemotePeer())
	w.note(func() { w.changed[c.RemotePeer()] = turn{up: true, again: true} })
}

func contains[T ~string](list []T, want string) bool {
	for _, p := range list {
		if string(p) == want {
			return true
		}
	}
	return false
}

// reachability condenses what is known of our public addresses.
func reachability(e event.EvtHostReachableAddrsChanged) network.Reachability {
	switch {
	case len(e.Reachable) > 0:
		return network.ReachabilityPublic
	case len(e.Unreachable) > 0:
		return network.ReachabilityPrivate
	}
	return network.ReachabilityUnknown
}

// note gathers a change and makes sure that an input for it is on its way.
func (w *watcher) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	if w.posted {
		return
	}
	w.posted = true
	go w.post(call{fn: w.flush})
}

// flush tells the engine what has changed since the last time. Changes that a
// failed commit loses come again when the engine is loaded.
func (w *watcher) flush(e *node.Engine, t *node.Turn) error {
	w.mu.Lock()
	changed, moved := w.changed, w.moved
	w.changed, w.moved, w.posted = map[peer.ID]turn{}, false, false
	w.mu.Unlock()
	if moved {
		e.SetHost(t, w.self())
	}
	for _, p := range slices.Sorted(maps.Keys(changed)) {
		if !changed[p].up || changed[p].again {
			e.PeerDown(t, []byte(p)) // what was written last may not have arrived
		}
		if changed[p].up {
			e.PeerUp(t, []byte(p))
		}
	}
	return nil
}
