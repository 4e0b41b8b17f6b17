package relay

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/mailbox"
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

// Stats are what is open and held now, and counters since the server's start.
type Stats struct {
	Streams, Collectors, Awaits                                 int64 // open now
	HeldBytes                                                   int64 // of frames that come and go, now
	Deposits, Refused, Pushed, Acked                            int64
	Malformed, RateLimited, TimedOut, OverLimits, Failed, Ticks int64
	RefusedBy                                                   map[mailbox.Code]int64 // requests; their sum is Refused
	Took                                                        Latency
}

// Latency is a histogram of the deposits that were taken: from the frame to
// the answer, the commit included.
type Latency struct {
	Counts [len(latencyBounds) + 1]int64 // of each bucket alone; the last has no bound
	Sum    time.Duration
}

// latencyBounds are the upper bounds of the buckets.
var latencyBounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
}

// LatencyBounds are the upper bounds of the buckets of a Latency, ascending; one
// bucket more holds what took longer.
func LatencyBounds() []time.Duration { return latencyBounds[:] }

// counters are the server's own count of events.
type counters struct {
	each      [events]atomic.Int64
	refusedBy [mailbox.Malformed + 1]atomic.Int64 // the first: any other code
	took      [len(latencyBounds) + 1]atomic.Int64
	tookSum   atomic.Int64 // nanoseconds
	ticks     atomic.Int64
}

// deposited counts a deposit in the histogram.
func (c *counters) deposited(took time.Duration) {
	i := 0
	for i < len(latencyBounds) && took > latencyBounds[i] {
		i++
	}
	c.took[i].Add(1)
	c.tookSum.Add(int64(took))
}

// refused counts a refusal by its code.
func (s *Server) refused(from peer.ID, code mailbox.Code) {
	if int(code) >= len(s.counted.refusedBy) {
		code = 0
	}
	s.counted.refusedBy[code].Add(1)
	s.count(from, Refused, 1)
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
	by := make(map[mailbox.Code]int64)
	for code := range s.counted.refusedBy {
		if n := s.counted.refusedBy[code].Load(); n > 0 {
			by[mailbox.Code(code)] = n
		}
	}
	took := Latency{Sum: time.Duration(s.counted.tookSum.Load())}
	for i := range took.Counts {
		took.Counts[i] = s.counted.took[i].Load()
	}
	return Stats{
		HeldBytes: s.load.Held(), RefusedBy: by, Took: took,
		Streams: int64(open), Collectors: int64(s.hub.count()), Awaits: int64(s.waits.count()),
		Deposits: of(Deposited), Refused: of(Refused), Pushed: of(Pushed), Acked: of(Acked),
		Malformed: of(Malformed), RateLimited: of(RateLimited), TimedOut: of(TimedOut),
		OverLimits: of(OverLimit), Failed: of(Failed), Ticks: s.counted.ticks.Load(),
	}
}

// Plus is s with the counters of a server before added; what is open and held now
// stays as it is.
func (s Stats) Plus(before Stats) Stats {
	by := maps.Clone(s.RefusedBy)
	for code, n := range before.RefusedBy {
		by[code] += n
	}
	s.RefusedBy = by
	for i := range s.Took.Counts {
		s.Took.Counts[i] += before.Took.Counts[i]
	}
	s.Took.Sum += before.Took.Sum
	s.Deposits, s.Refused, s.Pushed, s.Acked = s.Deposits+before.Deposits, s.Refused+before.Refused, s.Pushed+before.Pushed, s.Acked+before.Acked
	s.Malformed, s.RateLimited, s.TimedOut = s.Malformed+before.Malformed, s.RateLimited+before.RateLimited, s.TimedOut+before.TimedOut
	s.OverLimits, s.Failed, s.Ticks = s.OverLimits+before.OverLimits, s.Failed+before.Failed, s.Ticks+before.Ticks
	return s
}
