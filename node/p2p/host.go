package p2p

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kith-im/kith/dht"
)

// hostConfig is what newHost leaves open.
type hostConfig struct {
	listen   []string // nil: the node's own port on every interface
	loopback bool
	relay    bool // room for many peers
}

// newHost makes the libp2p host: TCP with Noise and yamux, and QUIC, nothing
// else. No circuits, no pings, no metrics, no name resolution of peers.
func newHost(key ed25519.PrivateKey, c hostConfig) (host.Host, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	limits, err := resources(c.relay)
	if err != nil {
		return nil, fmt.Errorf("host limits: %w", err)
	}
	low, high := personLow, personHigh
	if c.relay {
		low, high = relayLow, relayHigh
	}
	conns, err := connmgr.NewConnManager(low, high, connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, fmt.Errorf("host limits: %w", err)
	}
	filter := &addressBook{loopback: c.loopback}
	opts := []libp2p.Option{
		libp2p.Identity(priv),
		libp2p.UserAgent(agentVersion),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(conns),
		libp2p.AddrsFactory(filter.tell),
		libp2p.ConnectionGater(gate{filter}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.WithDialTimeout(dialWithin),
		libp2p.NoListenAddrs,
	}
	if c.loopback {
		opts = append(opts, libp2p.DisableIdentifyAddressDiscovery())
	} else {
		opts = append(opts, libp2p.EnableAutoNATv2())
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		limits.Close()
		conns.Close()
		return nil, fmt.Errorf("host: %w", err)
	}
	if err := listen(h, key, c); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// listen opens the addresses asked for, or the node's own port.
func listen(h host.Host, key ed25519.PrivateKey, c hostConfig) error {
	if len(c.listen) > 0 {
		return listenOn(h, c.listen)
	}
	if listenOn(h, defaultListen(homePort(key), c.loopback)) == nil {
		return nil
	}
	return listenOn(h, defaultListen(0, c.loopback))
}

func listenOn(h host.Host, addrs []string) error {
	var all []ma.Multiaddr
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return fmt.Errorf("listen on %q: %w", s, err)
		}
		all = append(all, a)
	}
	for _, a := range all {
		if err := h.Network().Listen(a); err != nil {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return nil
}

// homePort is the port that a node prefers: it follows from its key, so that
// the addresses in its records survive a restart without a setting.
func homePort(key ed25519.PrivateKey) int {
	const first, count = 20000, 12000 // below Linux's ephemeral ports (32768)
	sum := sha256.Sum256(append([]byte("kith1 port"), key.Public().(ed25519.PublicKey)...))
	return first + int(binary.BigEndian.Uint32(sum[:4])%count)
}

func defaultListen(port int, loopback bool) []string {
	if loopback {
		return []string{
			fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", port),
			fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port),
		}
	}
	return []string{
		fmt.Sprintf("/ip4/0.0.0.0/udp/%d/quic-v1", port),
		fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", port),
		fmt.Sprintf("/ip6/::/udp/%d/quic-v1", port),
		fmt.Sprintf("/ip6/::/tcp/%d", port),
	}
}

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

// addressBook turns the engine's peers (bytes that strangers may have signed)
// into what libp2p dials.
type addressBook struct {
	host     host.Host
	loopback bool // loopback addresses are dialled and told
}

var errPeer = errors.New("not a peer that can be dialled")

// addrLife is how long libp2p remembers addresses that we gave it.
const addrLife = 30 * time.Minute

// info checks p and returns its usable addresses. A peer without any may still
// be dialled if libp2p knows it.
func (b *addressBook) info(p dht.Peer) (peer.AddrInfo, error) {
	id, err := peer.IDFromBytes(p.ID)
	if err != nil || id == b.host.ID() {
		return peer.AddrInfo{}, errPeer
	}
	info := peer.AddrInfo{ID: id}
	for _, raw := range p.Addrs {
		if a, err := ma.NewMultiaddrBytes(raw); err == nil && b.usable(a) {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info, nil
}

// remember keeps a peer's addresses for dials that name only the peer.
func (b *addressBook) remember(p dht.Peer) {
	if info, err := b.info(p); err == nil {
		b.host.Peerstore().AddAddrs(info.ID, info.Addrs, addrLife)
	}
}

// usable accepts ip or dns over tcp or quic-v1, nothing that nests.
func (b *addressBook) usable(a ma.Multiaddr) bool {
	if !b.loopback && (manet.IsIPLoopback(a) || manet.IsIPUnspecified(a) || linkLocal(a)) {
		return false
	}
	var codes []int
	for _, c := range a {
		codes = append(codes, c.Protocol().Code)
	}
	if len(codes) < 2 || !slices.Contains(hostCodes, codes[0]) {
		return false
	}
	rest := codes[1:]
	return slices.Equal(rest, []int{ma.P_TCP}) || slices.Equal(rest, []int{ma.P_UDP, ma.P_QUIC_V1})
}

// linkLocal covers 169.254.0.0/16, where clouds keep their machines' secrets, and fe80::/10.
func linkLocal(a ma.Multiaddr) bool {
	ip, err := manet.ToIP(a)
	return err == nil && ip.IsLinkLocalUnicast()
}

var hostCodes = []int{ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6}

// self is this node as others dial it.
func (b *addressBook) self() dht.Peer {
	p := dht.Peer{ID: []byte(b.host.ID())}
	for _, a := range b.tell(b.host.Addrs()) {
		if len(p.Addrs) == maxSelfAddrs {
			break
		}
		p.Addrs = append(p.Addrs, a.Bytes())
	}
	return p
}

// tell is libp2p's address filter: which of our addresses others hear. Public
// ones come first, QUIC before TCP.
func (b *addressBook) tell(all []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range all {
		if b.usable(a) && len(a.Bytes()) <= dht.MaxAddr {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(x, y ma.Multiaddr) int { return addrRank(x) - addrRank(y) })
	return out
}

func addrRank(a ma.Multiaddr) int {
	rank := 0
	if !manet.IsPublicAddr(a) {
		rank += 2
	}
	if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err != nil {
		rank++
	}
	return rank
}

// lanService is our name in multicast DNS: other libp2p programs are not asked.
const lanService = "_kith._udp"

// lan finds nodes on the local network by multicast DNS. Everybody on that
// network sees the peer id of a node that does this.
type lan struct {
	service mdns.Service
	found   func(peer.AddrInfo)
}

// startLAN begins to look and to answer. A network without multicast is no
// error: it is logged.
func startLAN(h host.Host, found func(peer.AddrInfo), log *slog.Logger) *lan {
	l := &lan{found: found}
	s := mdns.NewMdnsService(h, lanService, l)
	if err := s.Start(); err != nil {
		log.Info("no discovery on the local network", "err", err)
		s.Close()
		return l
	}
	l.service = s
	return l
}

// HandlePeerFound implements mdns.Notifee.
func (l *lan) HandlePeerFound(info peer.AddrInfo) { l.found(info) }

func (l *lan) close() {
	if l.service != nil {
		l.service.Close()
	}
}

// gate is libp2p's last word before a dial. Addresses come from strangers: from set records, from the directory, from a
// peer's own word. Wherever they entered, what usable refuses (this machine itself, link-local addresses, forms that
// nest) is not dialled, so that nobody can aim a node at services near it.
type gate struct{ book *addressBook }

// InterceptAddrDial is asked for each resolved address.
func (g gate) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool {
	if bare, last := ma.SplitLast(a); last != nil && last.Protocol().Code == ma.P_P2P {
		a = bare
	}
	return g.book.usable(a)
}

// InterceptPeerDial lets every peer be dialled: addresses are what matters.
func (gate) InterceptPeerDial(peer.ID) bool { return true }

// InterceptAccept lets everybody in: the resource manager counts.
func (gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured lets every authenticated peer in.
func (gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool { return true }

// InterceptUpgraded lets every connection be used.
func (gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
