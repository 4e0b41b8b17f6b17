package host

import (
	"errors"
	"net"
	"sync/atomic"

	"github.com/libp2p/go-libp2p"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// ways are the transports of a host: TCP and QUIC, over the machine's sockets or another network. end releases what they hold
// beyond the host.
func ways(over Network) (opts []libp2p.Option, end func() error) {
	opts = []libp2p.Option{libp2p.Transport(quic.NewTransport)}
	if over == nil {
		return append([]libp2p.Option{libp2p.Transport(tcp.NewTCPTransport)}, opts...), func() error { return nil }
	}
	var made []*quicreuse.ConnManager // libp2p closes none that it did not make
	packets, last := packetsOver(over)
	packets = append(packets, func(m *quicreuse.ConnManager) error { made = append(made, m); return nil })
	// Where most have nothing but UDP, dials that fail are no sign that it is blocked, and nothing else could be tried.
	opts = append(opts, libp2p.Transport(streamsOver(over)), libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.QUICReuse(quicreuse.NewConnManager, packets...))
	return opts, func() error {
		err := last()
		for _, m := range made {
			err = errors.Join(err, m.Close())
		}
		return err
	}
}

// packetsOver has QUIC take its sockets from another network, until end.
func packetsOver(over Network) (opts []quicreuse.Option, end func() error) {
	all := &sockets{open: over.ListenPacket}
	return []quicreuse.Option{
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return all, nil }),
		quicreuse.OverrideListenUDP(all.listen),
	}, func() error { all.over.Store(true); return nil }
}

// sockets are those of a host.
type sockets struct {
	open func(at *net.UDPAddr) (net.PacketConn, error)
	from net.IP // where packets come from: the address that the host listens on, set before anything is dialled
	over atomic.Bool
}

func (s *sockets) listen(_ string, at *net.UDPAddr) (net.PacketConn, error) {
	if s.over.Load() { // a dial that is late would open one that nobody closes
		return nil, net.ErrClosed
	}
	c, err := s.open(at)
	if err == nil && !at.IP.IsUnspecified() {
		s.from = at.IP
	}
	return c, err
}

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s *sockets) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return s.from, nil }
