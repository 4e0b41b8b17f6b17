package relay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// stream is what a held stream needs of libp2p's; a test brings its own.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Reset() error
}

// held is one stream of one client at the server.
type held struct {
	s    *Server
	from peer.ID
	// group of the peer's address; zero: none
	group netip.Prefix
	st    stream
	in    *frame.Reader
	out   *frame.Flusher

	collects atomic.Bool  // a collect stream is never evicted
	last     atomic.Int64 // unix nanoseconds of the last frame
	limited  int          // rate-limited requests in a row; the reader's own
	once     sync.Once
}

// serve runs a new stream until it ends. It returns when nothing of the stream
// runs any more.
func (s *Server) serve(from peer.ID, group netip.Prefix, st stream) {
	h, idle := s.admit(from, group, st)
	if idle != nil {
		idle.end()
	}
	if h == nil {
		s.count(from, OverLimit, 1)
		_ = st.Reset()
		return
	}
	err := h.run()
	switch {
	case errors.Is(err, frame.ErrInvalid):
		s.count(from, Malformed, 1)
	case errors.Is(err, errOver):
		s.count(from, OverLimit, 1)
	case timedOut(err) && !s.closing.Load():
		s.count(from, TimedOut, 1)
	}
	s.cfg.Log.Debug("relay: stream ended", "err", err)
	s.release(h, errors.Is(err, io.EOF) || s.closing.Load())
}

// timedOut says whether a deadline ended a read; libp2p's transports have
// errors of their own for it.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// admit counts a new stream in. At the limit of the relay another stream,
// idle, has to make room and is returned to be ended.
func (s *Server) admit(from peer.ID, group netip.Prefix, st stream) (h, idle *held) {
	h = &held{s: s, from: from, group: group, st: st}
	h.in = frame.NewReader(st, s.times.body, &s.load)
	h.out = frame.NewFlusher(st, s.times.write, h.end, &s.load)
	h.touch()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() || s.of[from] >= MaxStreamsPerPeer {
		return nil, nil
	}
	if len(s.open) >= s.streams {
		if idle = s.idlest(); idle == nil {
			return nil, nil
		}
		s.forget(idle)
	}
	s.open[h] = struct{}{}
	s.of[from]++
	s.streaming.Add(1)
	return h, idle
}

// idlest is the longest idle request stream of a sample, or nil; its client
// opens a new one with its next question. s.mu is held.
func (s *Server) idlest() *held {
	var idle *held
	n := 0
	for h := range s.open {
		if n++; n > evictSample {
			break
		}
		if !h.collects.Load() && (idle == nil || h.last.Load() < idle.last.Load()) {
			idle = h
		}
	}
	return idle
}

// forget takes a stream off the count; s.mu is held.
func (s *Server) forget(h *held) {
	if _, ok := s.open[h]; !ok {
		return
	}
	delete(s.open, h)
	if s.of[h.from]--; s.of[h.from] == 0 {
		delete(s.of, h.from)
	}
}

// release ends a stream, after a clean end of the client's side only when its
// last answers are written.
func (s *Server) release(h *held, clean bool) {
	if clean {
		h.out.Wait()
		_ = h.st.Close()
	}
	h.end()
	h.out.Wait()
	h.in.Release()
	s.waits.drop(h)
	s.mu.Lock()
	s.forget(h)
	s.mu.Unlock()
	s.streaming.Done()
}

// relieve ends the stream of a sample whose client has been in the middle of a
// frame, or has not taken what was written, for the longest: when the frames of
// all streams hold too much memory, it is the slow ones that do.
func (s *Server) relieve() {
	var slowest *held
	most := slowAfter
	now := time.Now()
	s.mu.Lock()
	n := 0
	for h := range s.open {
		if n++; n > evictSample {
			break
		}
		if d := frame.Stuck(h.in, h.out, now); d > most {
			slowest, most = h, d
		}
	}
	s.mu.Unlock()
	if slowest != nil {
		s.count(slowest.from, OverLimit, 1)
		go slowest.end() // a reset may wait for a connection that is stuck
	}
}

// end resets the stream: its reader and its writer return at once.
func (h *held) end() {
	h.once.Do(func() {
		h.out.Close()
		_ = h.st.Reset()
	})
}

func (h *held) touch() { h.last.Store(h.s.cfg.Now().UnixNano()) }

// run reads the first frame and goes on as the kind of stream that it opens.
func (h *held) run() error {
	ask, size, err := h.next(h.s.times.first)
	if err != nil {
		return err
	}
	if _, ok := ask.What.(*pb.Ask_Collect); ok {
		return h.collect()
	}
	return h.requests(ask, size)
}

// next reads one well-formed ask; size is what its frame took.
func (h *held) next(first time.Duration) (ask *pb.Ask, size int, err error) {
	body, err := h.in.Next(first)
	if err != nil {
		return nil, 0, err
	}
	h.touch()
	ask, err = parseAsk(body)
	return ask, len(body), err
}

// errOver ends the stream of a client that goes on past its limits.
var errOver = errors.New("relay: past the limits")

// afford takes n tokens of the peer's group of addresses and of the peer; a
// client that does not care is read ever slower, and then cut off. The group
// comes first: new peer ids of an address that asks too much must not fill the
// table of peers.
func (h *held) afford(n int) (bool, error) {
	if (!h.group.IsValid() || h.s.groups.Take(h.group, n)) && h.s.rates.Take(h.from, n) {
		h.limited = 0
		return true, nil
	}
	h.s.count(h.from, RateLimited, 1)
	if h.limited++; h.limited >= maxRefusedRow {
		return false, errOver
	}
	<-time.After(refusedPause * time.Duration(min(h.limited, maxRefusedPauses)))
	return false, nil
}

// owe charges for what turned out to cost more than it seemed.
func (h *held) owe(n int) {
	h.s.rates.Owe(h.from, n)
	if h.group.IsValid() {
		h.s.groups.Owe(h.group, n)
	}
}

// inDebt says whether the peer, or its group of addresses, still owes.
func (h *held) inDebt() bool {
	return !h.s.rates.Take(h.from, 0) || h.group.IsValid() && !h.s.groups.Take(h.group, 0)
}
