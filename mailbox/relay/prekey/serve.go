package prekey

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/rate"
	"github.com/kith-im/kith/mailbox/stock"
)

// Protocol is the libp2p protocol; a stream carries one question and its answer.
const Protocol = "/kith/prekey/1"

// Own makes a one-time bundle of this device, if id is that of the device.
type Own func(ctx context.Context, id [32]byte) []byte

// Server answers on a host: for the device, and while it has one for a relay.
type Server struct {
	host   host.Host
	own    Own
	log    *slog.Logger
	peers  *rate.Buckets[peer.ID]
	groups *rate.Buckets[netip.Prefix]
	slots  chan struct{}
	ctx    context.Context
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.RWMutex // held for reading while the relay's part is used
	relay *relay
	ended bool
	open  map[peer.ID]int // streams
}

// Serve registers the protocol on a host.
func Serve(h host.Host, own Own, log *slog.Logger) *Server {
	s := &Server{
		host: h, own: own, log: log, slots: make(chan struct{}, maxStreams), open: map[peer.ID]int{},
		peers:  rate.New[peer.ID](rate.Limit{PerSecond: peerRefill, Burst: peerBurst}, maxBuckets, time.Now),
		groups: rate.New[netip.Prefix](rate.Limit{PerSecond: groupRefill, Burst: groupBurst}, maxBuckets, time.Now),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	h.SetStreamHandler(Protocol, s.accept)
	return s
}

// keep has the server answer for a relay too; nil ends that, and returns when
// nothing uses the relay's stores any more.
func (s *Server) keep(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = r
}

// Close ends serving and waits for what is under way.
func (s *Server) Close() {
	s.host.RemoveStreamHandler(Protocol)
	s.stop()
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.wg.Wait()
}

// admit bounds the streams of a peer; release ends one.
func (s *Server) admit(from peer.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.open[from] >= maxOfPeer {
		return false
	}
	s.open[from]++
	s.wg.Add(1)
	return true
}

func (s *Server) release(from peer.ID) {
	s.mu.Lock()
	if s.open[from]--; s.open[from] == 0 {
		delete(s.open, from)
	}
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) accept(st network.Stream) {
	from := st.Conn().RemotePeer()
	if !s.admit(from) {
		_ = st.Reset()
		return
	}
	defer s.release(from)
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		_ = st.Reset()
		return
	}
	if err := s.serve(st); err != nil {
		s.log.Debug("prekey: stream ended", "err", err)
		_ = st.Reset()
		return
	}
	_ = st.Close()
}

func (s *Server) serve(st network.Stream) error {
	if err := st.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	q, err := stock.ReadQuestion(st)
	if err != nil {
		return err
	}
	cost := takeCost
	if q.Offer != nil {
		cost = 1 + len(q.Offer.Bundles)/stock.BundleSize
	}
	pays := s.peers.Take(st.Conn().RemotePeer(), cost)
	if g := rate.Group(st.Conn().RemoteMultiaddr()); g.IsValid() {
		pays = pays && s.groups.Take(g, cost)
	}
	if q.Offer != nil {
		n, err := 0, stock.ErrRefused
		if pays {
			n, err = s.offer(*q.Offer)
		}
		_, err = st.Write(stock.Held(n, err))
		return err
	}
	var bundle []byte
	if pays {
		bundle = s.take(q.ID)
	}
	_, err = st.Write(stock.Given(bundle))
	return err
}

func (s *Server) take(id [32]byte) []byte {
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	if own := s.own(ctx, id); own != nil {
		return own
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.relay == nil {
		return nil
	}
	bundle, err := s.relay.stock.Take(id, s.relay.now())
	if err != nil {
		s.log.Warn("relay: one-time bundles", "err", err)
	}
	return bundle
}

func (s *Server) offer(o stock.Offer) (held int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.relay
	if r == nil {
		return 0, stock.ErrRefused
	}
	var items []stock.Item
	err = r.mail.View(func(tx mailbox.Tx) (err error) {
		items, err = stock.Admit(tx, r.rules, o, r.now())
		return err
	})
	if err != nil {
		return 0, err
	}
	return r.stock.Put(o.Box(), items, r.now())
}

// Take asks a relay for a bundle of a box, or a device for one of its own; nil:
// there is none. What it is worth says the caller.
func Take(ctx context.Context, h host.Host, from dht.Peer, id [32]byte) ([]byte, error) {
	var bundle []byte
	err := ask(ctx, h, from, stock.Question{ID: id}, func(st network.Stream) (err error) {
		bundle, err = stock.ReadGiven(st)
		return err
	})
	return bundle, err
}

// Offer leaves bundles of a box at a relay, or none to hear how many it has, and
// returns how many it has then.
func Offer(ctx context.Context, h host.Host, to dht.Peer, box ed25519.PrivateKey, bundles [][]byte) (held int, err error) {
	o := stock.Sign(box, to.ID, bundles)
	err = ask(ctx, h, to, stock.Question{Offer: &o}, func(st network.Stream) (err error) {
		held, err = stock.ReadHeld(st)
		return err
	})
	return held, err
}

func ask(ctx context.Context, h host.Host, to dht.Peer, q stock.Question, read func(network.Stream) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	st, err := frame.Open(ctx, h, to, Protocol)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = st.Reset() })()
	if _, err = st.Write(q.Marshal()); err == nil {
		err = st.CloseWrite()
	}
	if err == nil {
		err = read(st)
	}
	if err != nil {
		_ = st.Reset()
		return err
	}
	return st.Close()
}
