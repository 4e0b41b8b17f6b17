package kad

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
	"github.com/kith-im/kith/dht/kad/pb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// libp2p's identify and quic-go end these a moment after their host closes.
		goleak.IgnoreAnyFunction("github.com/quic-go/quic-go.(*Transport).listen"),
		goleak.IgnoreAnyFunction("github.com/quic-go/quic-go.(*Conn).run"),
		// A process-wide cleaner that go-libp2p never stops.
		goleak.IgnoreAnyFunction("github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem.(*memoryAddrBook).background"),
	)
}

func newHost(tb testing.TB) host.Host {
	tb.Helper()
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.Transport(quic.NewTransport),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.DisableIdentifyAddressDiscovery(),
	)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

// openOn opens a directory on a host; the zero Mode is replaced by Server.
func openOn(tb testing.TB, h host.Host, cfg Config) *Directory {
	tb.Helper()
	if cfg.Mode == Auto {
		cfg.Mode = Server
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return dhttest.Start }
	}
	d, err := Open(tb.Context(), h, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

func newNode(tb testing.TB, cfg Config) *Directory {
	tb.Helper()
	return openOn(tb, newHost(tb), cfg)
}

// connect joins two hosts and returns when each knows the other's protocols.
func connect(tb testing.TB, a, b host.Host) {
	tb.Helper()
	learnsA, learnsB := learns(tb, b, a), learns(tb, a, b)
	if err := a.Connect(tb.Context(), peer.AddrInfo{ID: b.ID(), Addrs: b.Addrs()}); err != nil {
		tb.Fatal(err)
	}
	learnsA()
	learnsB()
}

// learns returns a function that waits until h knows all protocols of other. A
// host that has just registered one may first tell of itself without it.
func learns(tb testing.TB, h, other host.Host) (wait func()) {
	tb.Helper()
	sub, err := h.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerProtocolsUpdated)})
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		defer sub.Close()
		all := other.Mux().Protocols()
		for {
			known, err := h.Peerstore().SupportsProtocols(other.ID(), all...)
			if err == nil && len(known) == len(all) {
				return
			}
			select {
			case <-sub.Out():
			case <-time.After(toldWithin):
				meetAgain(tb, h, other)
			}
		}
	}
}

// toldWithin is how long a host may take to hear of a protocol. libp2p sometimes never tells of one that was registered
// while the two were introducing themselves; then they have to meet again.
const toldWithin = 2 * time.Second

func meetAgain(tb testing.TB, h, other host.Host) {
	tb.Helper()
	if err := h.Network().ClosePeer(other.ID()); err != nil {
		tb.Fatal(err)
	}
	if err := h.Connect(tb.Context(), peer.AddrInfo{ID: other.ID(), Addrs: other.Addrs()}); err != nil {
		tb.Fatal(err)
	}
}

// newNet makes n servers of which each knows the first one and then learns the
// rest by looking itself up, as a node does that joins.
func newNet(tb testing.TB, n, k int) []*Directory {
	tb.Helper()
	var net []*Directory
	for range n {
		d := newNode(tb, Config{K: k})
		if len(net) > 0 {
			connect(tb, d.host, net[0].host)
		}
		net = append(net, d)
	}
	for _, d := range net {
		settle(tb, d, min(n-1, k))
	}
	return net
}

// settle refreshes the routing table of d until it has want peers.
func settle(tb testing.TB, d *Directory, want int) {
	tb.Helper()
	for d.kad.RoutingTable().Size() < want {
		if _, err := d.Closest(tb.Context(), string(d.host.ID())); err != nil && want > 0 {
			tb.Logf("walk: %v", err)
		}
		select {
		case <-d.kad.RefreshRoutingTable():
		case <-tb.Context().Done():
			tb.Fatal("the routing table did not fill")
		}
	}
}

// persons makes n people, each with records of its own.
func persons(tb testing.TB, n int) []dhttest.Kind {
	tb.Helper()
	var kinds []dhttest.Kind
	for i := range n {
		kinds = append(kinds, dhttest.Kinds(tb, dhttest.NewPerson(tb, string(rune('a'+i)), dhttest.Start))[i%3])
	}
	return kinds
}

func plain(d *Directory) dht.Peer {
	return PlainPeer(peer.AddrInfo{ID: d.host.ID(), Addrs: d.host.Addrs()})
}

// identified reports the peers that h gets to know from now on.
func identified(tb testing.TB, h host.Host) <-chan peer.ID {
	tb.Helper()
	sub, err := h.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		tb.Fatal(err)
	}
	ids := make(chan peer.ID)
	ctx := tb.Context()
	go func() {
		defer sub.Close()
		for {
			select {
			case e := <-sub.Out():
				select {
				case ids <- e.(event.EvtPeerIdentificationCompleted).Peer:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ids
}

// forgetValues empties the cache, so that only the store and the network know.
func forgetValues(d *Directory) {
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	d.cache.young, d.cache.elders = map[string]held{}, nil
}

func knownPeer(tb testing.TB, seen time.Time) []byte {
	tb.Helper()
	raw, err := proto.Marshal(&pb.KnownPeer{Id: []byte("id"), SeenUnixMs: seen.UnixMilli()})
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}
