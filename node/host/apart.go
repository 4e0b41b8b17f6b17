package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
)

// NewApart makes a host whose key nobody has seen and that nothing ties to the device: it listens nowhere, tells no
// address, speaks no protocol but what it opens itself, and is in no directory. Relays see it in the place of the
// device.
//
// It dials TCP first. An idle TCP connection lives on an empty packet now and then, a third of what QUIC takes; where
// only QUIC answers, that is dialled a moment later.
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
	opts, end := ways(over, tcp.WithDialerForAddr(attentive))
	h, err := libp2p.New(append(opts,
		libp2p.Identity(priv),
		libp2p.UserAgent(agentVersion),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, muxer(muxerRare)),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return nil }),
		libp2p.ConnectionGater(gate{book: &AddressBook{Loopback: loopback}}),
		libp2p.SwarmOpts(swarm.WithDialRanker(tcpFirst)),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.Ping(false),
		libp2p.WithDialTimeout(dialWithin),
		libp2p.NoListenAddrs,
	)...)
	if err != nil {
		limits.Close()
		return nil, fmt.Errorf("host: %w", err)
	}
	return &apart{Host: h, end: end}, nil
}

type apart struct {
	Host
	end func() error // of what the transports hold
}

// Close implements Host.
func (a *apart) Close() error { return errors.Join(a.Host.Close(), a.end()) }

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
