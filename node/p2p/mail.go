package p2p

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/mailbox/relay/prekey"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/host"
)

// mail is the connection identity under which this node does its person's
// mailbox work: a host whose key is fresh at each start and in each epoch. A
// relay that holds mail for us sees it, and never the device's own peer id.
type mail struct {
	fresh func() (host.Host, error)
	now   func() time.Time
	log   *slog.Logger
	// up and down hear of relays that the connection identity reaches and loses.
	up, down func(peer.ID)
	// told hears the advert of a relay that begins to leave or thinks better of it.
	told func(*dht.Advert)

	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
	cur    *guise
}

// guise is one connection identity.
type guise struct {
	host   host.Host
	client *relay.Client
	chunks *blobs.Client
	epoch  uint32
	over   context.Context // ends with the epoch: what is held moves to the next guise
	end    context.CancelFunc
	use    sync.WaitGroup

	// Guarded by mail.mu.
	busy map[peer.ID]int       // requests and streams that run
	last map[peer.ID]time.Time // end of the last one
}

// open makes the first guise.
func (m *mail) open() (err error) {
	m.cur, err = m.guise()
	return err
}

func (m *mail) guise() (*guise, error) {
	h, err := m.fresh()
	if err != nil {
		return nil, err
	}
	g := &guise{
		host: h, client: relay.NewClient(h, m.now), chunks: blobs.NewClient(h), epoch: dht.EpochAt(m.now()),
		busy: map[peer.ID]int{}, last: map[peer.ID]time.Time{},
	}
	g.over, g.end = context.WithCancel(context.Background())
	h.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) { m.up(c.RemotePeer()) },
		DisconnectedF: func(n network.Network, c network.Conn) {
			if n.Connectedness(c.RemotePeer()) != network.Connected {
				m.down(c.RemotePeer())
			}
		},
	})
	return g, nil
}

// renew takes a fresh identity if the epoch is another than that of the one in
// use. What runs under the old one may finish; collect streams move at once.
func (m *mail) renew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.cur.epoch == dht.EpochAt(m.now()) {
		return
	}
	g, err := m.guise()
	if err != nil {
		m.log.Warn("the old connection identity stays", "err", err)
		return
	}
	old := m.cur
	m.cur = g
	old.end()
	m.wg.Go(func() {
		old.use.Wait()
		old.close()
	})
}

func (g *guise) close() error {
	g.end()
	g.chunks.Close()
	return errors.Join(g.client.Close(), g.host.Close())
}

// close ends everything that runs and waits for it.
func (m *mail) close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	err := m.cur.close()
	m.cur.use.Wait()
	m.wg.Wait()
	return err
}

// take begins a use of the identity for one relay, give ends it.
func (m *mail) take(id peer.ID) *guise {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.cur
	g.use.Add(1)
	g.busy[id]++
	return g
}

func (m *mail) give(g *guise, id peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.busy[id]--; g.busy[id] == 0 {
		delete(g.busy, id)
		g.last[id] = m.now()
	}
	g.use.Done()
}

// asked puts one question to a relay under the connection identity.
func asked[A any](m *mail, to dht.Peer, question func(*relay.Client) (A, error)) (A, error) {
	g := m.take(peer.ID(to.ID))
	defer m.give(g, peer.ID(to.ID))
	return question(g.client)
}

// done is asked for what answers nothing.
func done(m *mail, to dht.Peer, fn func(*relay.Client) error) error {
	_, err := asked(m, to, func(c *relay.Client) (struct{}, error) { return struct{}{}, fn(c) })
	return err
}

// askedForChunks puts a question on chunks to a relay under the connection identity.
func (m *mail) askedForChunks(to dht.Peer, question func(*blobs.Client) error) error {
	g := m.take(peer.ID(to.ID))
	defer m.give(g, peer.ID(to.ID))
	return question(g.chunks)
}

// collect holds a collect stream until it or the identity ends.
func (m *mail) collect(ctx context.Context, r dht.Peer, keys []ed25519.PrivateKey, each func(mailbox.ID, []mailbox.Stored) error) error {
	return m.held(ctx, r, func(ctx context.Context, c *relay.Client) error {
		return c.Collect(ctx, r, keys, each, m.told)
	})
}

// await waits until a box may have room, or the identity ends.
func (m *mail) await(ctx context.Context, r dht.Peer, box mailbox.ID) error {
	return m.held(ctx, r, func(ctx context.Context, c *relay.Client) error { return c.Await(ctx, r, box) })
}

// held runs what may take days: it ends with the identity, at the latest.
func (m *mail) held(ctx context.Context, to dht.Peer, fn func(context.Context, *relay.Client) error) error {
	g := m.take(peer.ID(to.ID))
	defer m.give(g, peer.ID(to.ID))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.over, cancel)()
	return fn(ctx, g.client)
}

// connected are the relays that the identity has a connection to.
func (m *mail) connected() []peer.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cur.host.Network().Peers()
}

func (m *mail) reaches(p peer.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cur.host.Network().Connectedness(p) == network.Connected
}

// sweep closes connections that nothing has used for a while: each costs the
// relay and us a packet twice a minute.
func (m *mail) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, g := m.now(), m.cur
	maps.DeleteFunc(g.last, func(_ peer.ID, at time.Time) bool { return now.Sub(at) >= mailIdle })
	for _, p := range g.host.Network().Peers() {
		if _, lately := g.last[p]; !lately && g.busy[p] == 0 {
			m.wg.Go(func() { _ = g.host.Network().ClosePeer(p) })
		}
	}
}

// thin lets go of connections that nothing needs. The device's own host needs
// none to relays that serve under the connection identity, and few to peers of
// the directory; people's devices it keeps.
func (n *Node) thin() {
	n.mail.sweep()
	if n.role.on() {
		return // a relay's connections are its work
	}
	net := n.host.Network()
	for _, p := range n.spare(net.Peers()) {
		_ = net.ClosePeer(p)
	}
}

// spare are those of some peers that the device's own host lets go of.
func (n *Node) spare(peers []peer.ID) (out []peer.ID) {
	type idle struct {
		id    peer.ID
		rank  int
		since time.Time
	}
	var all []idle
	net := n.host.Network()
	for _, p := range peers {
		since, connected := connectedSince(net, p)
		isRelay, serves := n.candidates.isRelay(p), n.mail.reaches(p)
		if connected && (isRelay && serves || !n.candidates.near(p)) && !talks(net, p) {
			all = append(all, idle{p, steadiness(isRelay, serves), since})
		}
	}
	// Relays stay, and let go of nobody: who keeps another person's node is let go by it, and dials anew.
	slices.SortFunc(all, func(a, b idle) int { return cmp.Or(cmp.Compare(a.rank, b.rank), a.since.Compare(b.since)) })
	for _, x := range all[min(len(all), keepPeers):] {
		out = append(out, x.id)
	}
	return out
}

// steadiness is in which order peers are kept: a relay that does not serve us first, for one that does should see our
// peer id only if there is no other.
func steadiness(isRelay, serves bool) int {
	switch {
	case isRelay && !serves:
		return 0
	case isRelay:
		return 1
	}
	return 2
}

// connectedSince is when the oldest connection to a peer was opened.
func connectedSince(net network.Network, p peer.ID) (oldest time.Time, connected bool) {
	for _, c := range net.ConnsToPeer(p) {
		if at := c.Stat().Opened; !connected || at.Before(oldest) {
			oldest, connected = at, true
		}
	}
	return oldest, connected
}

// prekey asks for a one-time bundle: a relay under the connection identity, a
// device under our own.
func (p *performers) prekey(q node.PrekeyAsk) bool {
	return p.relays.submit(string(q.From.ID), func(ctx context.Context) {
		var bundle []byte
		var err error
		if q.Live {
			bundle, err = prekey.Take(ctx, p.host, q.From, q.ID)
		} else {
			g := p.mail.take(peer.ID(q.From.ID))
			defer p.mail.give(g, peer.ID(q.From.ID))
			bundle, err = prekey.Take(ctx, g.host, q.From, q.ID)
		}
		if err != nil {
			p.log.Debug("no one-time bundle", "err", err)
		}
		p.tell(func(e *node.Engine, t *node.Turn) { e.Prekey(t, q.Device, bundle) })
	})
}

// stock leaves one-time bundles at a relay, under the connection identity.
func (p *performers) stock(q node.Stock) {
	p.relays.submit(string(q.Relay.ID), func(ctx context.Context) {
		g := p.mail.take(peer.ID(q.Relay.ID))
		defer p.mail.give(g, peer.ID(q.Relay.ID))
		held, err := prekey.Offer(ctx, g.host, q.Relay, q.Key, q.Bundles)
		if err != nil {
			p.log.Debug("no one-time bundles left at a relay", "err", err)
			return
		}
		p.tell(func(e *node.Engine, t *node.Turn) { e.Stocked(t, q.Relay.ID, held) })
	})
}

// oneTime makes a bundle for whoever asks this device, if it is asked for.
func (n *Node) oneTime(ctx context.Context, id [32]byte) (bundle []byte) {
	own := n.device.Load()
	if own == nil || id != *own {
		return nil
	}
	if err := n.Do(ctx, func(e *node.Engine, t *node.Turn) error { bundle = e.OneTime(t); return t.Tx.Err() }); err != nil {
		return nil
	}
	return bundle
}
