package blobs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/rate"
)

// Admit says whether a box may put chunks here, and what time it is for these:
// the clock that Expire goes by. What is no *mailbox.Refusal is not told.
type Admit func(box mailbox.ID) (now time.Time, err error)

// Config of a Server; all of it may be zero.
type Config struct {
	Rate      rate.Limit // of one peer
	GroupRate rate.Limit // of one group of addresses
	Log       *slog.Logger
}

// Server answers the chunk protocol on a host, from the device's own store and,
// on a relay, from the relay's.
type Server struct {
	host   host.Host
	cfg    Config
	rates  *rate.Buckets[peer.ID]
	groups *rate.Buckets[netip.Prefix]
	slots  chan struct{} // one per transfer
	counts serverCounts
	times  deadlines
	// streams is maxStreams; tests lower it.
	streams int
	group   func(network.Stream) netip.Prefix

	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	own    *Store
	keeps  *Store // of the relay
	admit  Admit
	open   map[*session]struct{}
	of     map[peer.ID]int
	moving map[netip.Prefix]int // transfers with a group
}

// deadlines are the limits of time; tests shorten them.
type deadlines struct{ idle, room, chunk time.Duration }

// session is one stream of a peer, with the stores that it is served from.
type session struct {
	wire
	s     *Server
	from  peer.ID
	group netip.Prefix
	own   *Store
	keeps *Store
	admit Admit
	ended chan struct{}
	ctx   context.Context // ends with the stream, or when it is cut off
	stop  context.CancelFunc

	asked atomic.Int64 // unix nanoseconds of the question before; 0: one is being answered
}

// ServerStats are counters since Serve.
type ServerStats struct {
	Streams  int   // open now
	Moving   int   // chunks on their way now
	Received int64 // chunks stored for others
	Sent     int64 // chunks given
	BytesIn  int64 // of these chunks
	BytesOut int64
	Refused  int64
	Bad      int64 // streams that broke the framing or the limits, and chunks that were not what they should be
}

type serverCounts struct{ received, sent, in, out, refused, bad atomic.Int64 }

// Serve registers the protocol on a host. It has nothing to give before Share
// or Keep.
func Serve(h host.Host, cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		host: h, cfg: cfg,
		rates:  rate.New[peer.ID](cfg.Rate.Or(rate.Limit{PerSecond: ratePerSecond, Burst: rateBurst}), maxBuckets, time.Now),
		groups: rate.New[netip.Prefix](cfg.GroupRate.Or(rate.Limit{PerSecond: groupPerSecond, Burst: groupBurst}), maxBuckets, time.Now),
		slots:  make(chan struct{}, maxTransfers),
		times:  deadlines{idleWithin, roomWithin, chunkWithin}, streams: maxStreams,
		group: func(st network.Stream) netip.Prefix { return rate.Group(st.Conn().RemoteMultiaddr()) },
		open:  make(map[*session]struct{}), of: make(map[peer.ID]int), moving: make(map[netip.Prefix]int),
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	h.SetStreamHandler(Protocol, func(st network.Stream) { s.serve(st.Conn().RemotePeer(), s.group(st), st) })
	return s
}

// Share serves the chunks of the device's own store; nil ends that.
func (s *Server) Share(own *Store) {
	s.change(func() { s.own = own })
}

// Keep serves the relay's store and takes chunks for it; nil ends that. When it
// returns nothing uses the store from before: streams that did are cut off, and
// whoever needs one opens it again.
func (s *Server) Keep(store *Store, admit Admit) {
	s.change(func() { s.keeps, s.admit = store, admit })
}

// change ends all streams, which hold what they began with.
func (s *Server) change(set func()) {
	s.mu.Lock()
	set()
	open := make([]*session, 0, len(s.open))
	for x := range s.open {
		open = append(open, x)
	}
	s.mu.Unlock()
	for _, x := range open {
		x.cut()
	}
	for _, x := range open {
		<-x.ended
	}
}

// Close ends all streams and waits for them.
func (s *Server) Close() {
	s.host.RemoveStreamHandler(Protocol)
	s.stop()
	s.change(func() { s.closed, s.own, s.keeps, s.admit = true, nil, nil, nil })
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	streams := len(s.open)
	s.mu.Unlock()
	return ServerStats{
		Streams: streams, Moving: len(s.slots),
		Received: s.counts.received.Load(), Sent: s.counts.sent.Load(),
		BytesIn: s.counts.in.Load(), BytesOut: s.counts.out.Load(),
		Refused: s.counts.refused.Load(), Bad: s.counts.bad.Load(),
	}
}

// serve runs a stream until it ends.
func (s *Server) serve(from peer.ID, group netip.Prefix, st stream) {
	x := &session{wire: newWire(st), s: s, from: from, group: group, ended: make(chan struct{})}
	x.ctx, x.stop = context.WithCancel(s.ctx)
	defer x.stop()
	ok, idle := s.admitStream(x)
	if idle != nil {
		idle.cut()
	}
	if !ok {
		s.counts.bad.Add(1)
		_ = st.Reset()
		return
	}
	defer s.forget(x)
	err := x.run()
	x.in.Release()
	if errors.Is(err, io.EOF) {
		_ = st.Close()
		return
	}
	if errors.Is(err, frame.ErrInvalid) {
		s.counts.bad.Add(1)
	}
	_ = st.Reset()
	s.cfg.Log.Debug("blobs: stream ended", "err", err)
}

// cut ends a stream from outside; its session ends soon after.
func (x *session) cut() {
	x.stop()
	_ = x.st.Reset()
}

// admitStream counts a stream in. At the limit of the server another one, which
// idles, has to make room and is returned to be cut off.
func (s *Server) admitStream(x *session) (ok bool, idle *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.of[x.from] >= maxStreamsPerPeer {
		return false, nil
	}
	if len(s.open) >= s.streams {
		if idle = s.idlest(); idle == nil {
			return false, nil
		}
	}
	x.asked.Store(time.Now().UnixNano())
	s.open[x] = struct{}{}
	s.of[x.from]++
	x.own, x.keeps, x.admit = s.own, s.keeps, s.admit
	return true, idle
}

// idlest is the stream that has been silent for longest, nil if none is. One
// that was chosen before and has not ended yet is chosen again, which bounds
// how many there are.
func (s *Server) idlest() *session {
	var idle *session
	since := int64(math.MaxInt64)
	for x := range s.open {
		if at := x.asked.Load(); at != 0 && at < since {
			idle, since = x, at
		}
	}
	if len(s.open) >= s.streams+maxEnding {
		return nil
	}
	return idle
}

func (s *Server) forget(x *session) {
	s.mu.Lock()
	delete(s.open, x)
	if s.of[x.from]--; s.of[x.from] == 0 {
		delete(s.of, x.from)
	}
	s.mu.Unlock()
	close(x.ended)
}

// run answers one question after the other.
func (x *session) run() error {
	for {
		body, err := x.in.Next(x.s.times.idle)
		if err != nil {
			return err
		}
		ask := &pb.Ask{}
		if err := frame.Parse(body, ask); err != nil {
			return err
		}
		cost, err := checkAsk(ask)
		if err != nil {
			return err
		}
		x.asked.Store(0)
		if !x.afford(cost) {
			err = x.refuse(&mailbox.Refusal{Code: mailbox.RateLimited})
		} else {
			err = x.answer(ask)
		}
		if err != nil {
			return err
		}
		x.asked.Store(time.Now().UnixNano())
	}
}

// afford pays for a question, and waits a while for what is missing: a stream
// that is not read slows its peer down, and costs it nothing else.
func (x *session) afford(cost int) bool {
	by := time.Now().Add(x.s.times.room)
	for {
		if x.s.rates.Take(x.from, cost) {
			if x.group == (netip.Prefix{}) || x.s.groups.Take(x.group, cost) {
				return true
			}
		}
		if !x.pause(by) {
			return false
		}
	}
}

// pauseFor is how long a question waits before it looks for room again.
const pauseFor = 50 * time.Millisecond

// pause waits a moment; false: it is too late, or the server ends.
func (x *session) pause(by time.Time) bool {
	if !time.Now().Add(pauseFor).Before(by) {
		return false
	}
	t := time.NewTimer(pauseFor)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.ctx.Done():
		return false
	}
}

func (x *session) owe(cost int) {
	x.s.rates.Owe(x.from, cost)
	if x.group != (netip.Prefix{}) {
		x.s.groups.Owe(x.group, cost)
	}
}

// start takes a place for a transfer, which finish gives back.
func (x *session) start() bool {
	by := time.Now().Add(x.s.times.room)
	for !x.s.countIn(x.group) {
		if !x.pause(by) {
			return false
		}
	}
	select {
	case x.s.slots <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(time.Until(by))
	defer late.Stop()
	select {
	case x.s.slots <- struct{}{}:
		return true
	case <-late.C:
	case <-x.ctx.Done():
	}
	x.s.countOut(x.group)
	return false
}

func (x *session) finish() {
	<-x.s.slots
	x.s.countOut(x.group)
}

func (s *Server) countIn(group netip.Prefix) bool {
	if group == (netip.Prefix{}) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moving[group] >= maxTransfersOfGroup {
		return false
	}
	s.moving[group]++
	return true
}

func (s *Server) countOut(group netip.Prefix) {
	if group == (netip.Prefix{}) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moving[group]--; s.moving[group] == 0 {
		delete(s.moving, group)
	}
}

func (x *session) refuse(r *mailbox.Refusal) error {
	x.s.counts.refused.Add(1)
	return x.send(refusalFrame(r))
}
