package relay

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/rate"
)

// Protocol is the libp2p protocol of both kinds of held stream; the first
// frame says which kind a stream is.
const Protocol = "/kith/relay/1"

// Rate is a token bucket, of one peer or of one group of addresses.
type Rate = rate.Limit

// Config of a Server. Store and Relay must be set; zero Now is time.Now, zero
// Rand is the system's, zero Rate and GroupRate are the constants of this
// package; Log, Observer, Gossip and Offered may be nil.
type Config struct {
	Store    mailbox.Store // View and Do must allow concurrent callers
	Relay    *mailbox.Relay
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	Observer Observer
	Rate     Rate // of one peer
	// GroupRate is for all peers of one group of addresses together; addresses
	// of loopback have no such limit.
	GroupRate Rate
	Family    [8]byte // of the advert: relays of one operator
	// Gossip returns adverts of other relays, as received; the first MaxGossip
	// are passed on to whoever asks.
	Gossip func() [][]byte
	// Offered hears that another relay wants boxes compared soon. It is quick.
	Offered func(from []byte, boxes []mailbox.ID)
}

// Server answers the relay protocol on a host.
type Server struct {
	key     ed25519.PrivateKey
	addrs   func() []ma.Multiaddr
	group   func(ma.Multiaddr) netip.Prefix // rate.Group
	leave   func()                          // takes the protocol off the host
	cfg     Config
	rates   *rate.Buckets[peer.ID]
	groups  *rate.Buckets[netip.Prefix]
	looks   chan struct{} // one per long look at the store
	signs   chan struct{} // one per request whose signatures are checked in the store's turn
	proofs  chan struct{} // one per check of a proof, or of a pass
	passes  passCache
	pending *budget
	load    frame.Load // of frames that come and go
	hub     hub
	waits   waits
	counted counters
	advert  advertCache
	times   deadlines

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	streaming sync.WaitGroup // of open streams

	streams int // MaxStreams; tests lower it

	closing atomic.Bool
	mu      sync.Mutex
	open    map[*held]struct{}
	of      map[peer.ID]int
}

// deadlines are the limits of time; tests shorten them.
type deadlines struct{ first, body, write time.Duration }

// Serve registers the protocol on h, whose Ed25519 key must be the key that
// cfg.Relay signs with.
func Serve(h host.Host, cfg Config) (*Server, error) {
	key, err := hostKey(h)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(cfg.Relay.Peer(), []byte(h.ID())) {
		return nil, errors.New("relay: the rules sign with another key than the host's")
	}
	s := newServer(key, cfg)
	s.addrs = h.Addrs
	s.leave = func() { h.RemoveStreamHandler(Protocol) }
	s.wg.Add(1)
	go s.tick()
	h.SetStreamHandler(Protocol, func(st network.Stream) {
		s.serve(st.Conn().RemotePeer(), s.group(st.Conn().RemoteMultiaddr()), st)
	})
	return s, nil
}

// newServer makes a server that no host knows of yet.
func newServer(key ed25519.PrivateKey, cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		key: key, cfg: cfg,
		addrs:   func() []ma.Multiaddr { return nil },
		leave:   func() {},
		rates:   rate.New[peer.ID](cfg.Rate.Or(Rate{PerSecond: RatePerSecond, Burst: RateBurst}), maxBuckets, cfg.Now),
		groups:  rate.New[netip.Prefix](cfg.GroupRate.Or(Rate{PerSecond: GroupPerSecond, Burst: GroupBurst}), maxBuckets, cfg.Now),
		looks:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		signs:   make(chan struct{}, 1),
		proofs:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		group:   rate.Group,
		pending: newBudget(maxPendingBytes),
		times:   deadlines{firstFrameWithin, bodyWithin, writeWithin},
		streams: MaxStreams,
		open:    make(map[*held]struct{}),
		of:      make(map[peer.ID]int),
	}
	s.load.Most, s.load.Over = maxHeldBytes, s.relieve
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// hostKey is the Ed25519 private key of a host.
func hostKey(h host.Host) (ed25519.PrivateKey, error) {
	k, ok := h.Peerstore().PrivKey(h.ID()).(*crypto.Ed25519PrivateKey)
	if !ok {
		return nil, errors.New("relay: the host has no Ed25519 key")
	}
	raw, err := k.Raw()
	if err != nil {
		return nil, fmt.Errorf("relay: host key: %w", err)
	}
	return ed25519.PrivateKey(raw), nil
}

// Close stops reading, answers what it has read, and waits until every stream
// of the server has ended; a client that does not take its answers is cut off
// after a while.
func (s *Server) Close() error {
	s.leave()
	s.mu.Lock()
	s.closing.Store(true)
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, h := range open {
		h.in.Stop()
	}
	late := time.AfterFunc(closeWithin, func() {
		for _, h := range open {
			h.end()
		}
	})
	s.streaming.Wait()
	late.Stop()
	s.stop()
	s.pending.close()
	s.wg.Wait()
	return nil
}

// tick drops what is over: once at the start and then every mailbox.TickEvery.
func (s *Server) tick() {
	defer s.wg.Done()
	t := time.NewTicker(mailbox.TickEvery)
	defer t.Stop()
	for {
		err := s.cfg.Store.Do(s.ctx, func(tx mailbox.Tx) error {
			_, err := s.cfg.Relay.Tick(tx, s.cfg.Now())
			return err
		})
		if err != nil && s.ctx.Err() == nil {
			s.cfg.Log.Warn("relay: expire", "err", err)
		}
		s.counted.ticks.Add(1)
		s.freed(s.waits.boxes()) // a day may have been dropped
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
	}
}
