package kad

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad/pb"
)

// AddrInfo turns a plain peer into libp2p's form. Addresses that do not parse
// are left out.
func AddrInfo(p dht.Peer) (peer.AddrInfo, error) {
	id, err := peer.IDFromBytes(p.ID)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	info := peer.AddrInfo{ID: id}
	for _, raw := range p.Addrs {
		if a, err := ma.NewMultiaddrBytes(raw); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info, nil
}

// PlainPeer is the opposite of AddrInfo; it keeps the first dht.MaxAddrs
// addresses that fit.
func PlainPeer(info peer.AddrInfo) dht.Peer {
	p := dht.Peer{ID: []byte(info.ID)}
	for _, a := range info.Addrs {
		if raw := a.Bytes(); len(raw) <= dht.MaxAddr && len(p.Addrs) < dht.MaxAddrs {
			p.Addrs = append(p.Addrs, raw)
		}
	}
	return p
}

// connected lists the connected peers that speak a protocol.
func (d *Directory) connected(proto protocol.ID) []peer.ID {
	return slices.DeleteFunc(d.host.Network().Peers(), func(p peer.ID) bool {
		known, err := d.host.Peerstore().SupportsProtocols(p, proto)
		return err != nil || len(known) == 0
	})
}

// Peers lists the kith peers that this node is connected to.
func (d *Directory) Peers() []dht.Peer {
	var peers []dht.Peer
	for _, p := range d.connected(RecordProtocol) {
		peers = append(peers, PlainPeer(d.host.Peerstore().PeerInfo(p)))
	}
	return peers
}

// maintain runs until Close: it dials while nobody is connected or few are known, saves the
// peer cache and sweeps the store.
func (d *Directory) maintain() {
	sweep, remember := time.NewTicker(sweepEvery), time.NewTicker(rememberEvery)
	defer sweep.Stop()
	defer remember.Stop()
	pause := redialMin
	redial := time.NewTimer(0)
	defer redial.Stop()
	lost := make(chan struct{}, 1)
	events := &network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) {
		select {
		case lost <- struct{}{}:
		default:
		}
	}}
	d.host.Network().Notify(events)
	defer d.host.Network().StopNotify(events)
	var last refreshed
	var dialled time.Time
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-lost:
			pause = redialMin
			redial.Reset(pause)
		case <-redial.C:
			before := last
			if len(d.connected(RecordProtocol)) == 0 || d.lonely(dialled) {
				d.dialKnown()
				dialled = time.Now()
			}
			if len(d.connected(RecordProtocol)) > 0 {
				last = d.refresh(last)
			}
			if pause = min(2*pause, redialMax); last != before {
				pause = redialMin
			}
			redial.Reset(pause)
		case <-remember.C:
			d.rememberPeers()
		case <-sweep.C:
			d.store.Sweep()
		}
	}
}

// refreshed is when the routing table was last refreshed, and how many peers it had.
type refreshed struct {
	at    time.Time
	peers int
}

// lonely says that it is time to dial others than those who are connected, by the size of the table: a liar who is the first
// to connect, or the last to stay, keeps the connection, and nobody else would ever be dialled.
func (d *Directory) lonely(dialled time.Time) bool {
	return d.kad.RoutingTable().Size() < dialsAtOnce && time.Since(dialled) >= refreshEvery
}

// refresh looks for more peers when the table has doubled since the last time, or after refreshEvery: it asks every peer
// and walks to every bucket, each over a connection of its own. kad-dht's own does so every two minutes while the table is
// small, which is always in a small network.
func (d *Directory) refresh(last refreshed) refreshed {
	peers := d.kad.RoutingTable().Size()
	if peers == 0 || peers < 2*last.peers && time.Since(last.at) < refreshEvery {
		return last
	}
	select {
	case err := <-d.kad.RefreshRoutingTable():
		if err != nil {
			d.log.Debug("routing table not refreshed", "err", err)
		}
	case <-d.ctx.Done():
	}
	return refreshed{at: time.Now(), peers: d.kad.RoutingTable().Size()}
}

// dialKnown dials the bootstrap peers and then the remembered ones until enough are connected.
func (d *Directory) dialKnown() {
	ctx, stop := context.WithTimeout(d.ctx, walkTimeout)
	defer stop()
	ctx = network.WithDialPeerTimeout(ctx, dialTimeout)
	wanted := connectionsWanted(d.kad.RoutingTable().Size())
	others := slices.DeleteFunc(slices.Concat(d.bootstrap, d.knownPeers()), func(p peer.AddrInfo) bool { return p.ID == d.host.ID() })
	dialUntil(func() bool { return len(d.connected(RecordProtocol)) >= wanted }, others, func(p peer.AddrInfo) {
		_ = d.host.Connect(ctx, p) // dialled again after the pause
	})
}

// connectionsWanted is how many are enough by the size of the routing table: one where it knows others, who are dialled when a
// walk wants them, and what a small table lacks: a peer that is the only one in it would show only its like.
func connectionsWanted(table int) int { return max(1, dialsAtOnce-table) }

// dialUntil dials one after the other without waiting long for any, until there are enough. It returns when all that it began
// has ended.
func dialUntil(enough func() bool, others []peer.AddrInfo, dial func(peer.AddrInfo)) {
	places, ended := make(chan struct{}, dialsAtOnce), make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range others {
		places <- struct{}{}
		if enough() {
			return
		}
		wg.Go(func() {
			dial(p)
			<-places
			select {
			case ended <- struct{}{}:
			default:
			}
		})
		select {
		case <-ended:
		case <-time.After(dialApart):
		}
	}
}

// knownPeers reads the peer cache, the latest seen first.
func (d *Directory) knownPeers() []peer.AddrInfo {
	if d.file == nil {
		return nil
	}
	var known []*pb.KnownPeer
	err := d.file.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketPeers).ForEach(func(_, v []byte) error {
			k := new(pb.KnownPeer)
			if proto.Unmarshal(v, k) == nil {
				known = append(known, k)
			}
			return nil
		})
	})
	if err != nil {
		d.log.Warn("read the peer cache", "error", err)
	}
	slices.SortFunc(known, func(a, b *pb.KnownPeer) int { return cmp.Compare(b.SeenUnixMs, a.SeenUnixMs) })
	var infos []peer.AddrInfo
	for _, k := range known {
		if info, err := AddrInfo(dht.Peer{ID: k.Id, Addrs: k.Addrs}); err == nil && len(info.Addrs) > 0 {
			infos = append(infos, info)
		}
	}
	return infos
}

// rememberPeers saves the connected kith peers and forgets the oldest beyond
// the limits. Nothing is forgotten merely because it is offline now.
func (d *Directory) rememberPeers() {
	if d.file == nil {
		return
	}
	now := d.now()
	err := d.file.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketPeers)
		for _, p := range d.Peers() {
			raw, err := proto.Marshal(&pb.KnownPeer{Id: p.ID, Addrs: p.Addrs, SeenUnixMs: now.UnixMilli()})
			if err != nil || len(p.Addrs) == 0 {
				continue
			}
			if err := b.Put(p.ID, raw); err != nil {
				return err
			}
		}
		return forgetOldest(b, now)
	})
	if err != nil {
		d.log.Warn("save the peer cache", "error", err)
	}
}

func forgetOldest(b *bolt.Bucket, now time.Time) error {
	type entry struct {
		id   []byte
		seen int64
	}
	var all []entry
	err := b.ForEach(func(id, v []byte) error {
		k := new(pb.KnownPeer)
		if proto.Unmarshal(v, k) != nil {
			k.SeenUnixMs = 0
		}
		all = append(all, entry{slices.Clone(id), k.SeenUnixMs})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(b.seen, a.seen) })
	oldest := now.Add(-maxKnownAge).UnixMilli()
	for i, e := range all {
		if i >= maxKnownPeers || e.seen < oldest {
			if err := b.Delete(e.id); err != nil {
				return err
			}
		}
	}
	return nil
}
