package host

import (
	"context"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Network is one that is not the machine's: a host that has one touches no socket of the machine.
type Network interface {
	// ListenPacket opens a UDP socket at an address of the host (0.0.0.0: whichever that is, port 0: any).
	ListenPacket(at *net.UDPAddr) (net.PacketConn, error)
	// Listen listens on a TCP address of the host.
	Listen(at *net.TCPAddr) (net.Listener, error)
	// DialContext dials a TCP address.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// connectWithin is how long a TCP connection may take, as libp2p has it.
const connectWithin = 5 * time.Second

// streams is TCP over a Network, as libp2p's own transport is over the machine's.
type streams struct {
	net      Network
	upgrader transport.Upgrader
	limits   network.ResourceManager
}

var _ transport.Transport = (*streams)(nil)

// streamsOver is what libp2p calls to make the transport.
func streamsOver(n Network) func(transport.Upgrader, network.ResourceManager) (*streams, error) {
	return func(u transport.Upgrader, limits network.ResourceManager) (*streams, error) {
		return &streams{net: n, upgrader: u, limits: limits}, nil
	}
}

// Dial implements transport.Transport.
func (s *streams) Dial(ctx context.Context, to ma.Multiaddr, p peer.ID) (transport.CapableConn, error) {
	scope, err := s.limits.OpenConnection(network.DirOutbound, true, to)
	if err != nil {
		return nil, err
	}
	conn, err := s.dial(ctx, to, p, scope)
	if err != nil {
		scope.Done()
	}
	return conn, err
}

func (s *streams) dial(ctx context.Context, to ma.Multiaddr, p peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	if err := scope.SetPeer(p); err != nil {
		return nil, err
	}
	family, at, err := manet.DialArgs(to)
	if err != nil {
		return nil, err
	}
	begun, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	raw, err := s.net.DialContext(begun, family, at)
	if err != nil {
		return nil, err
	}
	conn, err := manet.WrapNetConn(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return s.upgrader.Upgrade(ctx, s, conn, network.DirOutbound, p, scope)
}

// Listen implements transport.Transport.
func (s *streams) Listen(at ma.Multiaddr) (transport.Listener, error) {
	family, addr, err := manet.DialArgs(at)
	if err != nil {
		return nil, err
	}
	tcp, err := net.ResolveTCPAddr(family, addr)
	if err != nil {
		return nil, err
	}
	raw, err := s.net.Listen(tcp)
	if err != nil {
		return nil, err
	}
	l, err := manet.WrapNetListener(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return s.upgrader.UpgradeGatedMaListener(s, s.upgrader.GateMaListener(l)), nil
}

// CanDial implements transport.Transport.
func (s *streams) CanDial(at ma.Multiaddr) bool {
	protocols := at.Protocols()
	return len(protocols) == 2 && protocols[0].Code == ma.P_IP4 && protocols[1].Code == ma.P_TCP
}

// Protocols implements transport.Transport.
func (s *streams) Protocols() []int { return []int{ma.P_TCP} }

// Proxy implements transport.Transport.
func (s *streams) Proxy() bool { return false }
