package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/config"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	blankhost "github.com/libp2p/go-libp2p/p2p/host/blank"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// NewApart makes a host whose key nobody has seen and that nothing ties to the device: it listens nowhere, tells no
// address, speaks no protocol but what it opens itself, and is in no directory. Relays see it in the place of the
// device.
//
// It dials TCP first. An idle TCP connection lives on an empty packet now and then, a third of what QUIC takes; where
// only QUIC answers, that is dialled a moment later.
//
// It is a swarm and little else. What libp2p's own host adds - saying who it is on each connection, looking at its addresses
// every five seconds - is for those who can be found.
func NewApart(loopback bool, over Network) (Host, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	limits, err := resources(false)
	if err != nil {
		return nil, fmt.Errorf("host limits: %w", err)
	}
	a := &apart{end: limits.Close}
	if err := a.open(priv, limits, gate{book: &AddressBook{Loopback: loopback}}, over); err != nil {
		return nil, fmt.Errorf("host: %w", errors.Join(err, a.end()))
	}
	return a, nil
}

func (a *apart) open(priv crypto.PrivKey, limits network.ResourceManager, g gate, over Network) error {
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return err
	}
	book, err := pstoremem.NewPeerstore()
	if err != nil {
		return err
	}
	a.end = func() error { return errors.Join(book.Close(), limits.Close()) }
	opts := []swarm.Option{
		swarm.WithConnectionGater(g), swarm.WithResourceManager(limits),
		swarm.WithDialTimeout(dialWithin), swarm.WithDialRanker(tcpFirst),
	}
	if over != nil {
		opts = append(opts, swarm.WithUDPBlackHoleSuccessCounter(nil)) // as in ways
	}
	if err := errors.Join(book.AddPrivKey(id, priv), book.AddPubKey(id, priv.GetPublic())); err != nil {
		return err
	}
	bus := eventbus.NewBus()
	all, err := swarm.NewSwarm(id, book, bus, opts...)
	if err != nil {
		return err
	}
	if err := a.dialBy(all, priv, limits, g, over); err != nil {
		return errors.Join(err, all.Close())
	}
	if a.BlankHost = blankhost.NewBlankHost(all, blankhost.WithEventBus(bus)); a.BlankHost == nil {
		return errors.Join(errors.New("no host on the swarm"), all.Close())
	}
	all.SetStreamHandler(func(s network.Stream) { _ = s.Reset() }) // it would wait for a protocol's name for ever, and nobody here speaks any
	all.Notify(&network.NotifyBundle{DisconnectedF: func(n network.Network, c network.Conn) {
		if p := c.RemotePeer(); n.Connectedness(p) == network.NotConnected { // nobody else forgets whom we met
			book.RemovePeer(p)
		}
	}})
	return nil
}

// dialBy gives a swarm its two ways to dial.
func (a *apart) dialBy(all *swarm.Swarm, priv crypto.PrivKey, limits network.ResourceManager, g gate, over Network) error {
	byTCP, err := byTCP(priv, limits, g, over)
	if err != nil {
		return err
	}
	byQUIC, err := a.byQUIC(priv, limits, g, over)
	if err != nil {
		return err
	}
	return errors.Join(all.AddTransport(byTCP), all.AddTransport(byQUIC))
}

func byTCP(priv crypto.PrivKey, limits network.ResourceManager, g gate, over Network) (transport.Transport, error) {
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: muxer(muxerRare)}}
	secure, err := noise.New(noise.ID, priv, muxers)
	if err != nil {
		return nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, limits, g)
	if err != nil {
		return nil, err
	}
	if over != nil {
		return &streams{net: over, upgrader: up, limits: limits}, nil
	}
	return tcp.NewTCPTransport(up, limits, nil, tcp.WithDialerForAddr(attentive))
}

// byQUIC has the host end what the transport does not close.
func (a *apart) byQUIC(priv crypto.PrivKey, limits network.ResourceManager, g gate, over Network) (transport.Transport, error) {
	reset, err := config.PrivKeyToStatelessResetKey(priv)
	if err != nil {
		return nil, err
	}
	token, err := config.PrivKeyToTokenGeneratorKey(priv)
	if err != nil {
		return nil, err
	}
	var packets []quicreuse.Option
	last := func() error { return nil }
	if over != nil {
		packets, last = packetsOver(over)
	}
	ports, err := quicreuse.NewConnManager(reset, token, packets...)
	if err != nil {
		return nil, err
	}
	rest := a.end
	a.end = func() error { return errors.Join(last(), ports.Close(), rest()) }
	return quic.NewTransport(priv, ports, nil, g, limits)
}

type apart struct {
	*blankhost.BlankHost
	end func() error // of what the swarm stands on
}

// NewStream implements Host. The first stream to a peer asks whether it speaks the protocol; for later ones nobody waits.
func (a *apart) NewStream(ctx context.Context, p peer.ID, all ...protocol.ID) (network.Stream, error) {
	known, err := a.Peerstore().SupportsProtocols(p, all...)
	if err != nil || len(known) == 0 {
		return a.negotiated(ctx, p, all)
	}
	s, err := a.Network().NewStream(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := s.SetProtocol(known[0]); err != nil {
		_ = s.Reset()
		return nil, err
	}
	return &assumed{Stream: s, said: multistream.NewMSSelect(s, known[0])}, nil
}

// negotiated waits for what a peer says to a protocol, no longer than ctx.
func (a *apart) negotiated(ctx context.Context, p peer.ID, all []protocol.ID) (network.Stream, error) {
	s, err := a.Network().NewStream(ctx, p)
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	one, err := multistream.SelectOneOf(all, s)
	if err == nil {
		err = s.SetProtocol(one)
	}
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("protocol: %w", err)
	}
	return s, a.Peerstore().AddProtocols(p, one)
}

// Close implements Host.
func (a *apart) Close() error { return errors.Join(a.BlankHost.Close(), a.end()) }

// assumed is a stream whose protocol goes with what is written first.
type assumed struct {
	network.Stream
	said multistream.LazyConn
}

// Read implements network.Stream.
func (s *assumed) Read(b []byte) (int, error) { return s.said.Read(b) }

// Write implements network.Stream.
func (s *assumed) Write(b []byte) (int, error) { return s.said.Write(b) }

// CloseWrite implements network.Stream: the protocol is said before.
func (s *assumed) CloseWrite() error {
	_ = s.said.Flush()
	return s.Stream.CloseWrite()
}

// Close implements network.Stream. It waits for what the other side says to the protocol, if nobody read that yet.
func (s *assumed) Close() error {
	_ = s.SetReadDeadline(time.Now().Add(dialWithin))
	return s.said.Close()
}

// muxer is yamux that pings so often. What libp2p sets costs more than QUIC's keep-alive.
func muxer(every time.Duration) *yamux.Transport {
	t := *yamux.DefaultTransport
	t.KeepAliveInterval, t.MeasureRTTInterval = every, muxerRare
	return &t
}

// attentive dials so that a path that died is noticed soon, for mail comes only to a living stream.
func attentive(ma.Multiaddr) (tcp.ContextDialer, error) { return dialer{}, nil }

type dialer struct{}

// DialContext implements tcp.ContextDialer.
func (dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeIdle, Interval: probeEvery, Count: probes},
		Control:         impatient,
	}
	return d.DialContext(ctx, network, address)
}

// tcpFirst dials TCP at once and QUIC a moment later.
func tcpFirst(all []ma.Multiaddr) []network.AddrDelay {
	out := make([]network.AddrDelay, 0, len(all))
	wait := time.Duration(0)
	for _, a := range all {
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			out = append(out, network.AddrDelay{Addr: a})
			wait = quicLater
		}
	}
	for _, a := range all {
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			out = append(out, network.AddrDelay{Addr: a, Delay: wait})
		}
	}
	return out
}
