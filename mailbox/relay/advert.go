package relay

import (
	"slices"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/kith-im/kith/dht"
)

// advertCache keeps the relay's own advert: it is signed on demand, and anew
// after advertEvery or when the addresses change.
type advertCache struct {
	mu    sync.Mutex
	raw   []byte
	made  time.Time
	addrs [][]byte
}

func (c *advertCache) get(s *Server) ([]byte, error) {
	now := s.cfg.Now()
	addrs := advertAddrs(s.addrs())
	c.mu.Lock()
	defer c.mu.Unlock()
	age := now.Sub(c.made)
	if c.raw != nil && age >= 0 && age < advertEvery && slices.EqualFunc(addrs, c.addrs, slices.Equal) {
		return c.raw, nil
	}
	a, err := dht.SignAdvert(s.key, s.describe(now, addrs))
	if err != nil {
		return nil, err
	}
	c.raw, c.made, c.addrs = a.Bytes(), now, addrs
	return c.raw, nil
}

// describe fills the advert in with the limits in force. Its number is the
// unix time in milliseconds, which grows over restarts.
func (s *Server) describe(now time.Time, addrs [][]byte) dht.Advert {
	l := s.cfg.Relay.Limits()
	a := dht.Advert{
		Peer:          dht.Peer{ID: s.cfg.Relay.Peer(), Addrs: addrs},
		Number:        uint64(now.UnixMilli()),
		Issued:        now.Truncate(time.Second),
		NotAfter:      now.Truncate(time.Second).Add(advertLife),
		MaxEnvelope:   l.MaxEnvelope,
		BoxBytes:      l.BoxBytes,
		BoxCount:      l.BoxCount,
		RetentionDays: retentionDays,
		WorkBits:      l.FrontWork,
		Family:        s.cfg.Family,
	}
	if s.cfg.Leaving != nil {
		a.LeavingAt = s.cfg.Leaving()
	}
	return a
}

// advertAddrs picks the addresses of an advert: public ones first, loopback
// last, else in the host's order.
func advertAddrs(all []ma.Multiaddr) [][]byte {
	rank := func(a ma.Multiaddr) int {
		switch {
		case manet.IsPublicAddr(a):
			return 0
		case manet.IsIPLoopback(a):
			return 2
		}
		return 1
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b ma.Multiaddr) int { return rank(a) - rank(b) })
	var out [][]byte
	for _, a := range all {
		if b := a.Bytes(); len(b) <= dht.MaxAddr && len(out) < dht.MaxAdvertAddrs {
			out = append(out, b)
		}
	}
	return out
}
