package p2p

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Do runs fn in a turn of the engine and returns after its commit: nil means
// durable. fn runs on the loop's goroutine, must not block, and may run again
// if the transaction failed. An error of fn is returned, but what it and others
// wrote in the same transaction stands: the engine's methods refuse before they
// write. When ctx ends first, fn may still run.
func (n *Node) Do(ctx context.Context, fn func(e *node.Engine, t *node.Turn) error) error {
	return n.loop.do(ctx, call{fn: fn})
}

// Look runs fn between turns with the engine and a transaction that it only
// reads. e is nil while the store cannot write.
func (n *Node) Look(ctx context.Context, fn func(tx store.Tx, e *node.Engine, now time.Time) error) error {
	return n.loop.do(ctx, call{look: fn})
}

// View runs fn in a read transaction beside the loop. fn must not keep tx.
func (n *Node) View(fn func(tx store.Tx) error) error { return n.home.store.View(fn) }

// Changed returns a channel that is closed after the next commit that brought
// events. Take it before reading them.
func (n *Node) Changed() <-chan struct{} { return n.performers.bell.wait() }

// Events waits until there are events after cursor since, or ctx ends, and
// returns up to most of them in order.
func (n *Node) Events(ctx context.Context, since uint64, most int) ([]view.Notice, error) {
	list, _, err := n.Follow(ctx, api.Place{Cursor: since, Signal: api.NoSignals}, most)
	return list, err
}

// Follow is Events for a stream: it waits for signals, too, and returns the
// place after what it returns.
func (n *Node) Follow(ctx context.Context, at api.Place, most int) ([]view.Notice, api.Place, error) {
	for {
		changed := n.Changed()
		var out []view.Notice
		err := n.View(func(tx store.Tx) error {
			var err error
			out, err = node.Events(tx, at.Cursor, most)
			return err
		})
		if err != nil {
			return nil, at, err
		}
		if len(out) > 0 {
			at.Cursor = out[len(out)-1].Cursor
		}
		var signals []view.Notice
		signals, at.Signal = n.performers.bell.since(at.Signal)
		for _, s := range signals {
			s.Cursor = at.Cursor // who goes on from there misses nothing that is kept
			out = append(out, s)
		}
		if len(out) > 0 {
			return out, at, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, at, ctx.Err()
		case <-n.loop.done:
			return nil, at, ErrClosed
		}
	}
}

// Online is closed when the first peer has connected.
func (n *Node) Online() <-chan struct{} { return n.online }

// PeerID is the node's libp2p peer id as text.
func (n *Node) PeerID() string { return n.host.ID().String() }

// Addrs are the node's addresses with its peer id, as text.
func (n *Node) Addrs() []string {
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.String()+"/p2p/"+n.PeerID())
	}
	return out
}

// Self is the node as others dial it.
func (n *Node) Self() dht.Peer { return n.book.Self() }

// Now is the node's clock.
func (n *Node) Now() time.Time { return n.cfg.Now() }

// Stuck says why the store cannot write, or is empty.
func (n *Node) Stuck() string {
	if why := n.loop.stuck.Load(); why != nil {
		return *why
	}
	return ""
}

// backend is the node as the local API sees it.
func (n *Node) backend() api.Backend {
	return api.Backend{
		View: n.View, Now: n.cfg.Now, Do: n.Do, Events: n.Follow, Net: n.Net, Peers: n.Peers, Ping: n.Ping, Whose: n.names.Lookup, ReadBack: n.readBack,
		Relay: n.Relay, SetRelay: n.SetRelay, LimitRelay: n.LimitRelay, DrainRelay: n.DrainRelay, ScrubRelay: n.ScrubRelay, Files: n.files, Version: n.cfg.Version, Started: n.started,
	}
}

// readBack hands the engine the newest list of our own devices that the directory has: what it signs next has to follow
// that one, also when another copy of this device signed it. Only the admin device signs.
func (n *Node) readBack(ctx context.Context) error {
	var id view.Identity
	if err := n.View(func(tx store.Tx) (err error) { id, err = node.Identity(tx); return err }); err != nil || !id.Admin {
		return err
	}
	if n.Net().Directory == 0 {
		return &view.Problem{Class: view.ErrRefused, Message: "your newest device list cannot be read back: no peer of the directory is there", Hint: "kith netcheck"}
	}
	user, _ := node.ParseUser(id.User)
	key := dht.UserKey(user)
	value, err := n.directory.Newest(ctx, key)
	if err != nil && !errors.Is(err, dht.ErrNotFound) {
		return err
	}
	return n.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		e.Looked(t, key, value)
		return nil
	})
}

// Net is the network as this node sees it.
func (n *Node) Net() api.Net {
	peers := n.peers()
	on := n.role.on()
	v := api.Net{
		State: "offline", Peer: n.PeerID(), Addrs: n.Addrs(), Peers: len(peers),
		Directory: len(n.directory.Peers()), Relays: n.candidates.relays(peers),
		Direct: n.performers.courier.streams(), Relay: on, Stuck: n.Stuck(),
		Reachability: strings.ToLower(network.Reachability(n.reachable.Load()).String()),
	}
	if len(peers) > 0 {
		v.State = "online"
	}
	v.Hint = hint(v)
	return v
}

// hint is the next step for a person, the most urgent first.
func hint(v api.Net) string {
	switch {
	case v.Stuck != "":
		return "nothing can be stored: free some space on the disk"
	case len(v.Addrs) == 0:
		return "this machine has no usable network address: connect it to a network"
	case v.Peers == 0:
		return "no peers yet: join a friend with `kith join LINK`, or wait for one"
	case v.Relays == 0:
		return "no relay is connected: run one with `kith relay enable`, or ask a friend who does"
	}
	return ""
}

// Peers lists the connected peers in order of their id.
func (n *Node) Peers() []api.Peer {
	out := []api.Peer{}
	for _, p := range n.host.Network().Peers() {
		conns := n.host.Network().ConnsToPeer(p)
		if len(conns) == 0 {
			continue
		}
		v := api.Peer{
			Peer: p.String(), Transport: transportOf(conns[0].RemoteMultiaddr()),
			Direct: n.performers.courier.holds(p), Relay: n.candidates.isRelay(p),
			Since: conns[0].Stat().Opened.UTC().Format(time.RFC3339),
		}
		if agent, err := n.host.Peerstore().Get(p, "AgentVersion"); err == nil {
			v.Agent, _ = agent.(string)
		}
		for _, c := range conns {
			v.Addrs = append(v.Addrs, c.RemoteMultiaddr().String())
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b api.Peer) int { return strings.Compare(a.Peer, b.Peer) })
	return out
}

func transportOf(a ma.Multiaddr) string {
	if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil {
		return "quic"
	}
	return "tcp"
}

// Ping measures one round trip to a peer: its id, or an address that ends in
// it. It dials if there is no connection.
func (n *Node) Ping(ctx context.Context, to string) (time.Duration, error) {
	info, err := parsePeer(to)
	if err != nil {
		return 0, &view.Problem{Class: view.ErrNotFound, Message: fmt.Sprintf("%q is not a peer", to), Hint: "kith peers"}
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	if err := n.host.Connect(ctx, info); err != nil {
		return 0, fmt.Errorf("ping: %w", err)
	}
	r := <-ping.Ping(ctx, n.host, info.ID)
	if r.Error != nil {
		return 0, fmt.Errorf("ping: %w", r.Error)
	}
	return r.RTT, nil
}

func parsePeer(s string) (peer.AddrInfo, error) {
	if info, err := peer.AddrInfoFromString(s); err == nil {
		return *info, nil
	}
	id, err := peer.Decode(s)
	return peer.AddrInfo{ID: id}, err
}

// Relay reports this node's own relay role.
func (n *Node) Relay() api.Relay { return n.role.status() }

// SetRelay turns the relay role on or off, and keeps the choice if the
// configuration can be written.
func (n *Node) SetRelay(on bool) error {
	if err := n.role.set(on); err != nil {
		return err
	}
	if n.cfg.KeepRelay == nil {
		return nil
	}
	if err := n.cfg.KeepRelay(on); err != nil {
		return fmt.Errorf("keep the choice: %w", err)
	}
	return nil
}

// LimitRelay changes those limits of the relay role that are not zero, and
// keeps them if the configuration can be written.
func (n *Node) LimitRelay(q api.RelayLimits) error {
	if err := n.role.limit(q); err != nil {
		return err
	}
	if n.cfg.KeepLimits == nil {
		return nil
	}
	if err := n.cfg.KeepLimits(n.role.chosen()); err != nil {
		return fmt.Errorf("keep the limits: %w", err)
	}
	return nil
}

// DrainRelay has this node leave as a relay within a time; 0 calls it off.
func (n *Node) DrainRelay(ctx context.Context, within time.Duration) error {
	return n.role.drain(ctx, within)
}

// ScrubRelay reads and checks everything that this node stores as a relay.
func (n *Node) ScrubRelay(ctx context.Context) (api.Scrub, error) { return n.role.check(ctx) }

// claim says who was first: the turn that runs a call, or its caller who gave up. A call whose caller has gone is not
// run any more, and one that has begun is waited for: it writes to what its caller reads.
type claim struct{ state atomic.Int32 }

const (
	begun = 1 + iota
	left
)

func (c *claim) begin() bool { return c.state.CompareAndSwap(0, begun) || c.state.Load() == begun }
func (c *claim) leave() bool { return c.state.CompareAndSwap(0, left) || c.state.Load() == left }

func (c *claim) guard(ctx context.Context, x call) call {
	if fn := x.fn; fn != nil {
		x.fn = func(e *node.Engine, t *node.Turn) error {
			if !c.begin() {
				return ctx.Err()
			}
			return fn(e, t)
		}
	}
	if look := x.look; look != nil {
		x.look = func(tx store.Tx, e *node.Engine, now time.Time) error {
			if !c.begin() {
				return ctx.Err()
			}
			return look(tx, e, now)
		}
	}
	return x
}

// Turns runs fn in a turn of an engine, and returns after its commit.
type Turns func(fn func(e *node.Engine, t *node.Turn) error) error

// View opens the store of a home folder read-only, for commands that run
// without a daemon. ErrLocked says that a daemon owns it.
func View(dir string, passphrase []byte, fn func(tx store.Tx) error) error {
	h, err := openHome(dir, passphrase, true)
	if err != nil {
		return err
	}
	defer h.store.Close()
	return h.store.View(fn)
}

// Work opens the home folder of a node that does not run for turns of its
// engine: what they want done on the network is left for the next start.
// ErrLocked says that a daemon owns it.
func Work(dir string, passphrase []byte, fn func(Turns) error) error {
	h, err := openHome(dir, passphrase, false)
	if err != nil {
		return err
	}
	err = fn(turnsOf(h.store, time.Now, rand.Reader))
	return errors.Join(err, h.store.Close())
}

// turnsOf is the engine of a store. After a turn that failed it is read anew.
func turnsOf(s *boltstore.Store, now func() time.Time, rng io.Reader) Turns {
	var e *node.Engine
	return func(fn func(*node.Engine, *node.Turn) error) error {
		err := s.Update(func(tx store.Tx) (err error) {
			t := &node.Turn{Now: now(), Rand: rng, Tx: tx, Out: &node.Effects{}}
			if e == nil {
				if e, err = node.Load(t, node.Config{}); err != nil {
					return err
				}
			}
			return fn(e, t)
		})
		if err != nil {
			e = nil
		}
		return err
	}
}
