package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// room is what libp2p may take in all.
type room struct {
	memory int64
	conns  int
}

func roomOf(relay bool) room {
	if relay {
		return room{relayMemory, relayConns}
	}
	return room{personMemory, personConns}
}

// limit is the room as libp2p counts it.
func (r room) limit() rcmgr.BaseLimit {
	streams := r.conns * streamsPerConn
	return rcmgr.BaseLimit{
		Conns: r.conns, ConnsInbound: r.conns, ConnsOutbound: r.conns, FD: r.conns, Memory: r.memory,
		Streams: streams, StreamsInbound: streams, StreamsOutbound: streams,
	}
}

// waiting is the room of what is not yet identified.
func (r room) waiting() rcmgr.BaseLimit {
	l := r.limit()
	l.Conns, l.ConnsInbound, l.ConnsOutbound = l.Conns/2, l.ConnsInbound/2, l.ConnsOutbound/2
	return l
}

// resources bounds what libp2p may take for connections and streams, in all, per peer, per protocol and per address.
// Every host is built with the bounds of a relay, which cost nothing while they are not reached; resize then sets those
// of a person.
func resources(relay bool) (network.ResourceManager, error) {
	most := roomOf(true)
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	base := limits.Scale(most.memory, max(minFileDescriptor, most.conns))
	all, waiting := most.limit().ToResourceLimits(), most.waiting().ToResourceLimits()
	onePeer := rcmgr.ResourceLimits{
		Conns: peerConns, ConnsInbound: peerConns, ConnsOutbound: peerConns,
		Streams: peerStreams, StreamsInbound: peerStreamsIn, StreamsOutbound: peerStreams, Memory: peerMemory,
	}
	one := rcmgr.ResourceLimits{Streams: all.Streams, StreamsInbound: all.Streams, StreamsOutbound: all.Streams, Memory: all.Memory}
	partial := rcmgr.PartialLimitConfig{
		System: all, Transient: waiting, PeerDefault: onePeer, ProtocolDefault: one, ServiceDefault: one,
		ProtocolPeerDefault: rcmgr.ResourceLimits{
			Streams: peerStreams, StreamsInbound: peerStreamsIn, StreamsOutbound: peerStreams,
		},
	}
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(partial.Build(base)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: relayConnsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: prefix6, ConnCount: relayConnsPerIP}, {PrefixLength: 48, ConnCount: 4 * relayConnsPerIP}}),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix("127.0.0.0/8"), ConnCount: most.conns}},
			[]rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix("::1/128"), ConnCount: most.conns}}))
	if err != nil {
		return nil, err
	}
	return m, resize(m, relay)
}

// resize sets what libp2p may take in all.
func resize(m network.ResourceManager, relay bool) error {
	r := roomOf(relay)
	set := func(l rcmgr.BaseLimit) func(network.ResourceScope) error {
		return func(s network.ResourceScope) error {
			scope, ok := s.(rcmgr.ResourceScopeLimiter)
			if !ok {
				return fmt.Errorf("libp2p's %T takes no limit", s)
			}
			scope.SetLimit(&l)
			return nil
		}
	}
	if err := m.ViewSystem(set(r.limit())); err != nil {
		return err
	}
	return m.ViewTransient(set(r.waiting()))
}

// crowded reports whether a person's host has as many connections from an address as one may have. The address of this
// machine may have any number.
func crowded(conns []network.Conn, from ma.Multiaddr) bool {
	group, ok := groupOf(from)
	if !ok {
		return false
	}
	n := 0
	for _, c := range conns {
		if g, ok := groupOf(c.RemoteMultiaddr()); ok && g == group {
			n++
		}
	}
	return n >= personConnsPerIP
}

// groupOf is the address, or what one IPv6 customer has of them.
func groupOf(a ma.Multiaddr) (netip.Prefix, bool) {
	ip, err := manet.ToIP(a)
	if err != nil || ip.IsLoopback() {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := prefix6
	if addr = addr.Unmap(); addr.Is4() {
		bits = 32
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}

// connected hears of each connection, and begins to close some of a person's host that has too many.
func (o *Own) connected(n network.Network, _ network.Conn) {
	if !o.relay.Load() && len(n.Conns()) > o.high && o.trimming.CompareAndSwap(false, true) {
		o.wg.Go(func() {
			defer o.trimming.Store(false)
			o.trim(n)
		})
	}
}

// trim closes the least useful connections, and none that is young or protected.
func (o *Own) trim(n network.Network) {
	value := map[peer.ID]int{}
	var peers []peer.ID
	for _, p := range n.Peers() {
		if o.ConnManager().IsProtected(p, "") {
			continue
		}
		if info := o.ConnManager().GetTagInfo(p); info != nil {
			value[p] = info.Value
		}
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b peer.ID) int { return value[a] - value[b] })
	spare := len(n.Conns()) - o.low
	for _, p := range peers {
		for _, c := range n.ConnsToPeer(p) {
			if spare > 0 && time.Since(c.Stat().Opened) >= o.grace {
				c.Close()
				spare--
			}
		}
	}
}

// Close implements Host.
func (o *Own) Close() error {
	err := errors.Join(o.Host.Close(), o.end())
	o.wg.Wait()
	return err
}

// Serve gives the host the room of a relay, or that of a person. It takes effect at once.
func (o *Own) Serve(relay bool) error {
	if err := resize(o.limits, relay); err != nil {
		return fmt.Errorf("host limits: %w", err)
	}
	o.relay.Store(relay)
	return nil
}
