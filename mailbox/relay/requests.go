package relay

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// job is one request on its way to its answer.
type job struct {
	ask    *pb.Ask
	size   int   // bytes that it holds of the server's budget
	came   int64 // unix nanoseconds of its frame
	answer *pb.Answer
	vetted mailbox.Vetted // of a deposit's pass
	result
}

// result is what a request that was not refused did.
type result struct {
	receipt *mailbox.Receipt // of a deposit; signed when Store.Do returns
	acked   int
	wakes   bool       // the box of the deposit has something new
	frees   mailbox.ID // box that may have room again; zero: none
	newSet  bool       // so may the box of the set
}

// queue holds the requests of one stream that have not been answered. Its
// worker takes all that came in while the store was busy with the last ones,
// and puts them through the store together.
type queue struct {
	h *held

	mu      sync.Mutex
	moved   sync.Cond
	waiting []*job
	flying  int // waiting and taken
	bytes   int // of their frames
	busy    bool
	most    int // that may fly: grows with what was answered, see take
	owing   int // turns of the worker in a row that left a debt
}

// requests serves a request stream that began with ask.
func (h *held) requests(ask *pb.Ask, size int) error {
	q := &queue{h: h, most: firstInFlight}
	q.moved.L = &q.mu
	defer q.wait()
	for {
		if err := q.put(ask, size); err != nil {
			return err
		}
		var err error
		if ask, size, err = h.next(0); err != nil {
			if !errors.Is(err, io.EOF) && !h.s.closing.Load() {
				h.end()
			}
			return err
		}
	}
}

// put takes a request on, or answers it at once when the peer asks too often.
// It waits while too many requests or answers of the stream are pending.
func (q *queue) put(ask *pb.Ask, size int) error {
	cost, ok := costOf(ask)
	if !ok {
		return frame.ErrInvalid
	}
	if err := q.h.out.Room(); err != nil {
		return err
	}
	q.rest()
	ok, err := q.h.afford(cost)
	if err != nil {
		return err
	}
	if !ok {
		return q.h.refuse(ask.Id, &mailbox.Refusal{Code: mailbox.RateLimited})
	}
	if w := ask.GetAwait(); w != nil {
		return q.h.await(ask.Id, mailbox.ID(w.GetBox()))
	}
	if !q.h.s.pending.take(size) {
		return frame.ErrGone
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.flying >= q.most || q.bytes >= maxStreamBytes {
		q.moved.Wait()
	}
	q.flying++
	q.bytes += size
	q.waiting = append(q.waiting, &job{ask: ask, size: size, came: q.h.last.Load()})
	if !q.busy {
		q.busy = true
		go q.work()
	}
	return nil
}

// rest keeps a stream whose last requests had to be refused at a cost from
// being read for a while, after what is in flight: each further one would cost
// the relay as much, long before the sender has spent what it may.
func (q *queue) rest() {
	q.mu.Lock()
	for q.owing > 0 && q.flying > 0 {
		q.moved.Wait()
	}
	owing := q.owing
	q.mu.Unlock()
	if owing > 0 {
		<-time.After(refusedPause * time.Duration(min(owing, maxRefusedPauses)))
	}
}

// work serves what waits until nothing does.
func (q *queue) work() {
	owes := false
	for jobs := q.take(nil, false); jobs != nil; jobs = q.take(jobs, owes) {
		owes = q.h.s.process(q.h, jobs)
	}
}

// take returns what waits and counts done requests out; nil ends the worker. A
// stream begins with few in flight, so that many new ones cannot ask for much
// at once, and has more as it keeps to the rules.
func (q *queue) take(done []*job, owes bool) []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying -= len(done)
	if owes {
		q.most, q.owing = 1, q.owing+1
	} else if len(done) > 0 {
		q.most, q.owing = min(MaxInFlight, q.most+len(done)), 0
	}
	for _, j := range done {
		q.bytes -= j.size
	}
	jobs := q.waiting
	q.waiting = nil
	q.busy = jobs != nil
	q.moved.Broadcast()
	return jobs
}

// wait returns when the worker has ended.
func (q *queue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.busy {
		q.moved.Wait()
	}
}

// costOf is what a request takes of its peer's rate; false: it does not belong
// on a request stream.
func costOf(ask *pb.Ask) (int, bool) {
	switch w := ask.What.(type) {
	case *pb.Ask_Reserve:
		return len(w.Reserve.GetBoxes()), true
	case *pb.Ask_Commit:
		return len(w.Commit.GetSigned()), true
	case *pb.Ask_Collect, *pb.Ask_Prove, *pb.Ask_Credit:
		return 0, false
	case *pb.Ask_Compare: // and what it looked at, see compare
		return 1 + len(w.Compare.GetSums())/sumSize/8, true
	case *pb.Ask_Digest:
		return 4, true
	case *pb.Ask_Copies:
		return 1 + len(w.Copies.GetIds())/idSize/16, true
	case *pb.Ask_Possess:
		return 2 + len(w.Possess.GetIds())/idSize/8, true
	case *pb.Ask_Gossip:
		return 2, true
	case *pb.Ask_Offer:
		return 1 + len(w.Offer.GetBoxes())/idSize/32, true
	}
	return 1, true
}

// process serves jobs of one stream: all that write in one call of Store.Do,
// which shares its commit with the calls of other streams, then those that
// read, one by one. What wrote is answered after the commit in one flush; the
// answer to a question may be large, so the next waits until it has gone out.
// It says whether the client owes for what had to be refused.
func (s *Server) process(h *held, jobs []*job) (owes bool) {
	size := 0
	for _, j := range jobs {
		size += j.size
	}
	s.doWrites(jobs)
	s.pending.give(size)
	s.wake(jobs)
	answers := make([]proto.Message, 0, len(jobs))
	for _, j := range jobs {
		if writer(j.ask) {
			answers = append(answers, j.answer)
		}
	}
	owes = s.finish(h, jobs)
	err := h.out.Send(answers...)
	for _, j := range jobs {
		if err == nil && !writer(j.ask) {
			s.doRead(h, j)
			s.finish(h, []*job{j})
			if err = h.out.Send(j.answer); err == nil {
				err = h.out.Room()
			}
		}
	}
	if err != nil {
		h.end()
	}
	return owes
}

// finish puts the last touch to answers and counts them.
func (s *Server) finish(h *held, jobs []*job) (owes bool) {
	now := s.cfg.Now().UnixNano()
	deposits, acked, owed := 0, 0, 0
	for _, j := range jobs {
		if j.answer == nil {
			continue // a question whose turn comes
		}
		if j.receipt != nil {
			j.answer.What = &pb.Answer_Receipt{Receipt: j.receipt.Bytes()}
			s.counted.deposited(time.Duration(now - j.came))
			deposits++
		}
		acked += j.acked
		if r, refused := j.answer.What.(*pb.Answer_Refusal); refused {
			code := mailbox.Code(r.Refusal.GetCode())
			s.refused(h.from, code)
			if writer(j.ask) {
				owed += refusalCost(code)
			}
		}
		j.answer.Id = j.ask.Id
	}
	s.count(h.from, Deposited, deposits)
	s.count(h.from, Acked, acked)
	if owed > 0 {
		h.owe(owed)
	}
	return owed > 0
}

// refusalCost is what a request that writes turned out to cost as it was refused: nobody who
// keeps to the rules is refused often, and looking at what others send costs
// the relay as much as storing it.
func refusalCost(c mailbox.Code) int {
	switch c {
	case mailbox.BadPass, mailbox.Malformed: // signatures were checked in vain
		return badCost
	case mailbox.NeedWork, mailbox.NotMine, mailbox.TooLarge:
		return refusedCost
	}
	return 0
}

// refuse answers one request with a typed refusal.
func (h *held) refuse(id uint64, r *mailbox.Refusal) error {
	h.s.refused(h.from, r.Code)
	return h.out.Send(&pb.Answer{Id: id, What: refusalFrame(r)})
}

// budget bounds bytes that wait in memory over all streams of a server. Those
// who wait for room are readers of streams, so the network slows down.
type budget struct {
	mu     sync.Mutex
	freed  sync.Cond
	left   int
	closed bool
}

func newBudget(n int) *budget {
	b := &budget{left: n}
	b.freed.L = &b.mu
	return b
}

// take waits for n bytes of room; false means closed.
func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed && b.left < n {
		b.freed.Wait()
	}
	b.left -= n
	return !b.closed
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	b.freed.Broadcast()
}

func (b *budget) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.freed.Broadcast()
}
