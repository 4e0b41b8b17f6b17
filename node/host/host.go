package host

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	libp2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Host is libp2p's own interface of a host.
type Host = libp2phost.Host

// Own is a device's own host.
type Own struct {
	Host
	limits    network.ResourceManager
	relay     atomic.Bool
	low, high int           // connections of a person; tests lower them
	grace     time.Duration // how old a connection is that may be closed
	trimming  atomic.Bool
	wg        sync.WaitGroup
	end       func() error // of what the transports hold
}

// Config is what New leaves open.
type Config struct {
	Listen   []string // multiaddrs; nil: the node's own port on every interface
	Loopback bool     // one machine: loopback addresses are dialled and told
	Relay    bool     // room for many peers
	Network  Network  // nil: the machine's sockets
	Hidden   bool     // nobody can dial it; where it is not known, AutoNAT finds out
}

// New makes a device's own host: TCP with Noise and yamux, and QUIC, nothing else. No circuits, no pings, no metrics,
// no name resolution of peers.
func New(key ed25519.PrivateKey, c Config) (*Own, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	o := &Own{low: personLow, high: personHigh, grace: connGrace}
	if o.limits, err = resources(c.Relay); err != nil {
		return nil, fmt.Errorf("host limits: %w", err)
	}
	// The watermarks of a relay; a person's host is trimmed earlier, by trim.
	conns, err := connmgr.NewConnManager(relayLow, relayHigh, connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, fmt.Errorf("host limits: %w", err)
	}
	o.relay.Store(c.Relay)
	filter := &AddressBook{Loopback: c.Loopback}
	opts, end := ways(c.Network)
	o.end = end
	opts = append(opts,
		libp2p.Identity(priv),
		libp2p.UserAgent(agentVersion),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, muxer(muxerPing)),
		libp2p.ResourceManager(o.limits),
		libp2p.ConnectionManager(conns),
		libp2p.AddrsFactory(filter.tell),
		libp2p.ConnectionGater(gate{book: filter, full: o.full}),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.WithDialTimeout(dialWithin),
		libp2p.NoListenAddrs,
	)
	if c.Loopback {
		opts = append(opts, libp2p.DisableIdentifyAddressDiscovery())
	} else {
		opts = append(opts, libp2p.EnableAutoNATv2())
	}
	if c.Hidden {
		opts = append(opts, libp2p.ForceReachabilityPrivate())
	}
	if o.Host, err = libp2p.New(opts...); err != nil {
		o.limits.Close()
		conns.Close()
		return nil, fmt.Errorf("host: %w", err)
	}
	o.Network().Notify(&network.NotifyBundle{ConnectedF: o.connected})
	if err := listen(o, key, c); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// full reports whether a connection from an address is one too many.
func (o *Own) full(from ma.Multiaddr) bool {
	return !o.relay.Load() && crowded(o.Network().Conns(), from)
}

// listen opens the addresses asked for, or the node's own port.
func listen(h Host, key ed25519.PrivateKey, c Config) error {
	machine := c.Network == nil
	if len(c.Listen) > 0 {
		return listenOn(h, c.Listen, machine)
	}
	if listenOn(h, defaultListen(homePort(key), c.Loopback), machine) == nil {
		return nil
	}
	return listenOn(h, defaultListen(0, c.Loopback), machine)
}

// listenOn opens addresses; machine: they are the machine's, where others may have them.
func listenOn(h Host, addrs []string, machine bool) error {
	var all []ma.Multiaddr
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return fmt.Errorf("listen on %q: %w", s, err)
		}
		all = append(all, a)
	}
	if machine {
		if err := taken(all); err != nil {
			return err
		}
	}
	for _, a := range all {
		if err := h.Network().Listen(a); err != nil {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return nil
}

// taken says whether another process listens on one of the TCP addresses. libp2p shares a port with whoever shares it
// too (SO_REUSEPORT): two nodes would each get some of the other's connections.
func taken(addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		family, at, err := manet.DialArgs(a)
		if err != nil || !strings.HasPrefix(family, "tcp") {
			continue
		}
		l, err := net.Listen(family, at)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("listen on %s: another process has this port", a)
		}
		if err == nil {
			_ = l.Close()
		}
	}
	return nil
}

// homePort is the port that a node prefers: it follows from its key, so that the addresses in its records survive a
// restart without a setting.
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
