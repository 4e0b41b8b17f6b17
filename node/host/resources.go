package host

import (
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// resources bounds what libp2p may take for connections and streams, in all,
// per peer, per protocol and per address.
func resources(isRelay bool) (network.ResourceManager, error) {
	memory, conns, perIP := int64(personMemory), personConns, personConnsPerIP
	if isRelay {
		memory, conns, perIP = relayMemory, relayConns, relayConnsPerIP
	}
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	base := limits.Scale(memory, max(minFileDescriptor, conns))
	all := rcmgr.ResourceLimits{
		Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns),
		Streams: rcmgr.LimitVal(conns * streamsPerConn), StreamsInbound: rcmgr.LimitVal(conns * streamsPerConn), StreamsOutbound: rcmgr.LimitVal(conns * streamsPerConn),
		FD: rcmgr.LimitVal(conns), Memory: rcmgr.LimitVal64(memory),
	}
	waiting := all // not yet identified
	waiting.Conns, waiting.ConnsInbound, waiting.ConnsOutbound = all.Conns/2, all.ConnsInbound/2, all.ConnsOutbound/2
	onePeer := rcmgr.ResourceLimits{
		Conns: peerConns, ConnsInbound: peerConns, ConnsOutbound: peerConns,
		Streams: peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
	}
	partial := rcmgr.PartialLimitConfig{
		System: all, Transient: waiting, PeerDefault: onePeer,
		ProtocolDefault: rcmgr.ResourceLimits{Streams: all.Streams, StreamsInbound: all.Streams, StreamsOutbound: all.Streams, Memory: all.Memory},
		ServiceDefault:  rcmgr.ResourceLimits{Streams: all.Streams, StreamsInbound: all.Streams, StreamsOutbound: all.Streams, Memory: all.Memory},
		ProtocolPeerDefault: rcmgr.ResourceLimits{
			Streams: peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams,
		},
	}
	loop4, loop6 := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(partial.Build(base)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perIP}, {PrefixLength: 48, ConnCount: 4 * perIP}}),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: loop4, ConnCount: conns}},
			[]rcmgr.NetworkPrefixLimit{{Network: loop6, ConnCount: conns}}))
}
