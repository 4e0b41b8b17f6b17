package relay

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Observer hears what a server does; calls are quick and concurrent.
type Observer interface {
	// Event reports n occurrences caused by a peer.
	Event(from peer.ID, what Event, n int)
}

// Event is something that a server counts.
type Event uint8

// Events.
const (
	Deposited   Event = iota // envelopes in custody
	Refused                  // typed refusals of any kind
	Pushed                   // envelopes sent on collect streams
	Acked                    // envelope ids acknowledged
	Malformed                // streams closed for a frame that breaks the rules
	RateLimited              // requests over a peer's rate
	TimedOut                 // streams closed by a deadline
	OverLimit                // streams refused or closed by a count
	Failed                   // requests that the store could not serve
	events
)

// Stats are the counters of a Server since its start.
type Stats struct {
	Streams, Collectors                                         int64 // open now
	Deposits, Refused, Pushed, Acked                            int64
	Malformed, RateLimited, TimedOut, OverLimits, Failed, Ticks int64
}

// counters are the server's own count of events.
type counters struct {
	each              [events]atomic.Int64
	collectors, ticks atomic.Int64
}

func (s *Server) count(from peer.ID, what Event, n int) {
	if n == 0 {
		return
	}
	s.counted.each[what].Add(int64(n))
	if s.cfg.Observer != nil {
		s.cfg.Observer.Event(from, what, n)
	}
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	of := func(e Event) int64 { return s.counted.each[e].Load() }
	s.mu.Lock()
	open := len(s.open)
	s.mu.Unlock()
	return Stats{
		Streams: int64(open), Collectors: s.counted.collectors.Load(),
		Deposits: of(Deposited), Refused: of(Refused), Pushed: of(Pushed), Acked: of(Acked),
		Malformed: of(Malformed), RateLimited: of(RateLimited), TimedOut: of(TimedOut),
		OverLimits: of(OverLimit), Failed: of(Failed), Ticks: s.counted.ticks.Load(),
	}
}
