package host

import (
	"errors"
	"net"
	"slices"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kith-im/kith/dht"
)

// AddressBook turns the engine's peers (bytes that strangers may have signed)
// into what libp2p dials.
type AddressBook struct {
	Host     Host
	Loopback bool // loopback addresses are dialled and told
}

var errPeer = errors.New("not a peer that can be dialled")

// Info checks p and returns its usable addresses. A peer without any may still
// be dialled if libp2p knows it.
func (b *AddressBook) Info(p dht.Peer) (peer.AddrInfo, error) {
	id, err := peer.IDFromBytes(p.ID)
	if err != nil || id == b.Host.ID() {
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

// Remember keeps a peer's addresses for dials that name only the peer.
func (b *AddressBook) Remember(p dht.Peer) {
	if info, err := b.Info(p); err == nil {
		b.Host.Peerstore().AddAddrs(info.ID, info.Addrs, addrLife)
	}
}

// usable accepts ip or dns over tcp or quic-v1, nothing that nests.
func (b *AddressBook) usable(a ma.Multiaddr) bool {
	if toMany(a) || !b.Loopback && (manet.IsIPLoopback(a) || manet.IsIPUnspecified(a) || linkLocal(a)) {
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

// toMany is multicast and broadcast: what QUIC sends there a whole network would hear.
func toMany(a ma.Multiaddr) bool {
	ip, err := manet.ToIP(a)
	return err == nil && (ip.IsMulticast() || ip.Equal(net.IPv4bcast))
}

var hostCodes = []int{ma.P_IP4, ma.P_IP6, ma.P_DNS, ma.P_DNS4, ma.P_DNS6}

// Self is this node as others dial it.
func (b *AddressBook) Self() dht.Peer {
	p := dht.Peer{ID: []byte(b.Host.ID())}
	for _, a := range b.tell(b.Host.Addrs()) {
		if len(p.Addrs) == maxSelfAddrs {
			break
		}
		p.Addrs = append(p.Addrs, a.Bytes())
	}
	return p
}

// tell is libp2p's address filter: which of our addresses others hear. Public
// ones come first, QUIC before TCP.
func (b *AddressBook) tell(all []ma.Multiaddr) []ma.Multiaddr {
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

// gate is libp2p's last word before a dial. Addresses come from strangers: from set records, from the directory, from a
// peer's own word. Wherever they entered, what usable refuses (this machine itself, link-local addresses, forms that
// nest) is not dialled, so that nobody can aim a node at services near it.
type gate struct {
	book *AddressBook
	full func(from ma.Multiaddr) bool // nil: never
}

// InterceptAddrDial is asked for each resolved address.
func (g gate) InterceptAddrDial(_ peer.ID, a ma.Multiaddr) bool {
	if bare, last := ma.SplitLast(a); last != nil && last.Protocol().Code == ma.P_P2P {
		a = bare
	}
	return g.book.usable(a)
}

// InterceptPeerDial lets every peer be dialled: addresses are what matters.
func (gate) InterceptPeerDial(peer.ID) bool { return true }

// InterceptAccept lets in who is not one too many from one address; the resource manager counts all together.
func (g gate) InterceptAccept(c network.ConnMultiaddrs) bool {
	return g.full == nil || !g.full(c.RemoteMultiaddr())
}

// InterceptSecured lets every authenticated peer in.
func (gate) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool { return true }

// InterceptUpgraded lets every connection be used.
func (gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
