package host

import (
	"log/slog"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// lanService is our name in multicast DNS: other libp2p programs are not asked.
const lanService = "_kith._udp"

// LAN finds nodes on the local network by multicast DNS. Everybody on that
// network sees the peer id of a node that does this.
type LAN struct {
	service mdns.Service
	found   func(peer.AddrInfo)
}

// StartLAN begins to look and to answer. A network without multicast is no
// error: it is logged.
func StartLAN(h Host, found func(peer.AddrInfo), log *slog.Logger) *LAN {
	l := &LAN{found: found}
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
func (l *LAN) HandlePeerFound(info peer.AddrInfo) { l.found(info) }

// Close stops looking and answering.
func (l *LAN) Close() {
	if l.service != nil {
		l.service.Close()
	}
}
