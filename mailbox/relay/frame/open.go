package frame

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
)

// Open dials where needed and opens a stream.
func Open(ctx context.Context, h host.Host, to dht.Peer, p protocol.ID) (network.Stream, error) {
	id, err := peer.IDFromBytes(to.ID)
	if err != nil {
		return nil, fmt.Errorf("frame: peer id: %w", err)
	}
	var addrs []ma.Multiaddr
	for _, raw := range to.Addrs {
		if a, err := ma.NewMultiaddrBytes(raw); err == nil {
			addrs = append(addrs, a)
		}
	}
	h.Peerstore().AddAddrs(id, addrs, peerstore.TempAddrTTL)
	st, err := h.NewStream(ctx, id, p)
	if err != nil {
		return nil, fmt.Errorf("frame: open: %w", err)
	}
	return st, nil
}
