package live

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marcopolo/simnet"
)

// Network carries packets between the hosts of one process. It is made, used and closed in one bubble.
type Network struct {
	router simnet.VariableLatencyRouter
	wg     sync.WaitGroup

	leg   func(from, to *place) time.Duration // one way
	punch func(from, to *place) bool          // of two behind translators: they can reach each other
	loss  float64                             // share of the packets

	mu     sync.Mutex
	open   bool // translators let everybody in
	places map[netip.Addr]*place
	rng    *rand.Rand // what is lost, and late
	lost   int64
}

// place is where a host is.
type place struct {
	name   string
	number int
	at     netip.Addr
	region int
	mile   time.Duration // one way to the region's exchange
	nat    bool          // behind a translator
	relay  bool

	// What goes over the host's link, headers of UDP and IP included.
	sent, got, packets atomic.Int64

	// Guarded by Network.mu.
	away   bool
	parts  uint64 // cuts: bits in which two places differ part them
	blind  uint64 // a device and a relay that share a bit do not reach each other
	beside *place // on the same desk: no translator is between them
	port   uint16
	last   map[*place]time.Time         // when the last packet to a host comes there
	flows  map[netip.AddrPort]time.Time // whom a host behind a translator sent to last
	doors  map[uint16]*door             // where it listens for TCP
}

const (
	headers = 28              // of UDP and IPv4, in bytes
	flowFor = 2 * time.Minute // RFC 4787, 4.3: what a translator remembers at least
)

func newNetwork(seed uint64, loss float64, leg func(from, to *place) time.Duration, punch func(from, to *place) bool) *Network {
	n := &Network{
		leg: leg, punch: punch, loss: loss, places: map[netip.Addr]*place{}, rng: rand.New(rand.NewPCG(seed, 0x6c697665)),
	}
	n.router.CloseSignal = make(chan struct{})
	n.router.LatencyFunc = n.latency
	n.router.Start(&n.wg)
	return n
}

// close ends what carries packets. Every socket is closed before.
func (n *Network) close() {
	close(n.router.CloseSignal)
	n.wg.Wait()
}

// add puts a host on the network. Addresses are public, and no two hosts share a /16.
func (n *Network) add(p *place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.number = len(n.places) + 1
	p.at = netip.AddrFrom4([4]byte{byte(24 + p.number>>8), byte(p.number), 10, 1})
	p.last = map[*place]time.Time{}
	p.flows = map[netip.AddrPort]time.Time{}
	p.doors = map[uint16]*door{}
	n.places[p.at] = p
}

// of is the network as a host sees it.
func (n *Network) of(p *place) *plug { return &plug{Network: n, place: p} }

// plug is host.Network of a node.
type plug struct {
	*Network
	place *place
}

var errFamily = errors.New("only IPv4 here")

// ListenPacket implements host.Network.
func (p *plug) ListenPacket(at *net.UDPAddr) (net.PacketConn, error) {
	if at.IP.To4() == nil {
		return nil, errFamily
	}
	addr := &net.UDPAddr{IP: p.place.at.AsSlice(), Port: at.Port}
	if at.Port == 0 {
		p.set(func() { addr.Port = p.place.anyPort() })
	}
	s := &socket{SimConn: simnet.NewBlockingSimConn(addr), net: p.Network, at: addr}
	s.SetUpPacketReceiver(p.Network)
	if at.IP.IsUnspecified() {
		s.SetLocalAddr(&net.UDPAddr{IP: net.IPv4zero, Port: addr.Port})
	}
	p.router.AddNode(addr, s)
	return s, nil
}

// anyPort is one that was not in use lately. The network's lock is held.
func (p *place) anyPort() int {
	p.port++
	return 32768 + int(p.port)%28000
}

// socket is one UDP socket of a host.
type socket struct {
	*simnet.SimConn
	net *Network
	at  *net.UDPAddr
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	far, ok := to.(*net.UDPAddr)
	if !ok || !s.net.carries(addrPort(s.at), addrPort(far), len(b)) {
		return len(b), nil
	}
	// The router knows an address by its bytes, and there are two ways to write one.
	return s.SimConn.WriteTo(b, &net.UDPAddr{IP: far.IP.To4(), Port: far.Port})
}

// Close implements net.PacketConn.
func (s *socket) Close() error {
	s.net.router.RemoveNode(s.at)
	return s.SimConn.Close()
}

// RecvPacket implements simnet.PacketReceiver: it gets what a socket sends.
func (n *Network) RecvPacket(p *simnet.Packet) { n.router.RecvPacket(p) }

func addrPort(a *net.UDPAddr) netip.AddrPort {
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// carries decides what becomes of a packet, and counts it.
func (n *Network) carries(from, to netip.AddrPort, size int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := n.places[from.Addr()], n.places[to.Addr()]
	if a == nil || a.away {
		return false
	}
	a.sent.Add(int64(size + headers))
	a.packets.Add(1)
	if a.nat {
		a.flows[to] = time.Now()
	}
	if b == nil || !together(a, b) || !n.let(a, b, from) || n.loses() {
		return false
	}
	b.got.Add(int64(size + headers))
	return true
}

// together says whether anything passes between two hosts, translators aside.
func together(a, b *place) bool {
	return !a.away && !b.away && a.parts == b.parts && (a.relay == b.relay || a.blind&b.blind == 0)
}

// loses draws whether a packet is lost.
func (n *Network) loses() bool {
	if n.loss <= 0 || n.rng.Float64() >= n.loss {
		return false
	}
	n.lost++
	return true
}

// let is the translator before a host: it lets in what answers. Of two behind translators some can never answer each other.
func (n *Network) let(a, b *place, from netip.AddrPort) bool {
	if !b.nat || n.open || a.beside == b || b.beside == a {
		return true
	}
	at, ok := b.flows[from]
	return ok && time.Since(at) < flowFor && (!a.nat || n.punch(a, b))
}

// latency is the time of one way, as for engines up to a tenth more than at best. What goes the same way stays in order.
func (n *Network) latency(p *simnet.Packet) time.Duration {
	from, to := addrPort(p.From.(*net.UDPAddr)), addrPort(p.To.(*net.UDPAddr))
	n.mu.Lock()
	defer n.mu.Unlock()
	a, b := n.places[from.Addr()], n.places[to.Addr()]
	now := time.Now()
	at := now.Add(n.late(a, b))
	if last := a.last[b]; at.Before(last) {
		at = last
	}
	a.last[b] = at
	return at.Sub(now)
}

// late is how long a packet takes.
func (n *Network) late(a, b *place) time.Duration {
	leg := n.leg(a, b)
	return leg + time.Duration(n.rng.Float64()*float64(leg)/10)
}

// set changes places while packets are on their way.
func (n *Network) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}
