package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// errTooLarge says that a caller's request does not fit a frame.
var errTooLarge = errors.New("relay: request too large")

// link is one held request stream to one relay. Its reader runs until the
// stream ends; any failure ends the stream and every call that waits on it.
type link struct {
	st    stream
	in    *frame.Reader
	out   *frame.Flusher
	slots chan struct{} // one per request in flight
	heard atomic.Uint64 // answers so far

	mu    sync.Mutex
	last  uint64 // id of the last request
	calls map[uint64]call
	waits map[mailbox.ID]*awaited
	err   error
	gone  chan struct{} // closed when err is set
}

// call is one request that has no answer yet: of one asker, who has a place in
// flight, or an await, which has none and may have many.
type call struct {
	answer chan *pb.Answer
	wait   *awaited
}

// awaited is a wait for room in a box.
type awaited struct {
	box    mailbox.ID
	done   chan struct{}
	answer *pb.Answer // once done is closed
}

func newLink(st stream, t deadlines) *link {
	l := &link{
		st: st, slots: make(chan struct{}, MaxInFlight),
		calls: make(map[uint64]call), waits: make(map[mailbox.ID]*awaited),
		gone: make(chan struct{}),
	}
	l.in = frame.NewReader(st, t.body, nil)
	l.out = frame.NewFlusher(st, t.write, func() { l.fail(frame.ErrGone) }, nil)
	return l
}

// ask sends one request and waits for its answer, ctx, or the stream's end.
func (l *link) ask(ctx context.Context, ask *pb.Ask, within time.Duration) (*pb.Answer, error) {
	if proto.Size(ask) > frame.Max-maxIDBytes {
		return nil, errTooLarge
	}
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case l.slots <- struct{}{}:
	case <-l.gone:
		return nil, l.cause()
	case <-ctx.Done():
		return nil, l.silent(ctx.Err(), 0)
	case <-late.C:
		return nil, l.late()
	}
	before := l.heard.Load()
	answer := make(chan *pb.Answer, 1)
	id, err := l.register(call{answer: answer})
	if err != nil {
		return nil, err
	}
	ask.Id = id
	if err := l.out.Send(ask); err != nil {
		l.fail(err)
		return nil, err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-l.gone:
		return nil, l.cause()
	case <-ctx.Done():
		return nil, l.silent(ctx.Err(), before)
	case <-late.C:
		return nil, l.late()
	}
}

// late ends the stream: a relay that leaves one question unanswered for so long
// would in the end hold every place in flight.
func (l *link) late() error {
	err := fmt.Errorf("relay: no answer: %w", context.DeadlineExceeded)
	l.fail(err)
	return err
}

// silent ends the stream if a call's context ran out of time and the relay has
// answered nothing since the call was sent: the next call then opens a new one.
// A call that was merely given up leaves the stream to the others.
func (l *link) silent(err error, before uint64) error {
	if errors.Is(err, context.DeadlineExceeded) && l.heard.Load() == before {
		return l.late()
	}
	return err
}

// register gives a request its number and its place among those in flight.
func (l *link) register(c call) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.last++
	l.calls[l.last] = c
	return l.last, nil
}

// await asks for room in a box, or joins those who have asked, and waits for
// the answer, ctx, or the stream's end. An await that was given up stays for
// the next one of its box: the relay could not be told.
func (l *link) await(ctx context.Context, box mailbox.ID) (*pb.Answer, error) {
	w, err := l.awaiting(box)
	if err != nil {
		return nil, err
	}
	select {
	case <-w.done:
		return w.answer, nil
	case <-l.gone:
		return nil, l.cause()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *link) awaiting(box mailbox.ID) (*awaited, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.waits[box]; w != nil || l.err != nil {
		return w, l.err
	}
	w := &awaited{box: box, done: make(chan struct{})}
	l.waits[box] = w
	l.last++
	l.calls[l.last] = call{wait: w}
	ask := &pb.Ask{Id: l.last, What: &pb.Ask_Await{Await: &pb.Await{Box: box[:]}}}
	return w, l.out.Send(ask)
}

// run hands answers to those who asked until the stream ends.
func (l *link) run() {
	defer l.in.Release()
	for {
		body, err := l.in.Next(0)
		if err == nil {
			err = l.deliver(body)
		}
		if err != nil {
			l.fail(err)
			l.out.Wait()
			return
		}
	}
}

// deliver gives an answer to its asker, who may have left. An answer to a
// question that is not in flight ends the stream.
func (l *link) deliver(body []byte) error {
	a, err := parseAnswer(body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	c, ok := l.calls[a.Id]
	delete(l.calls, a.Id)
	if c.wait != nil {
		delete(l.waits, c.wait.box)
	}
	l.mu.Unlock()
	if !ok {
		return ErrReply
	}
	l.heard.Add(1)
	if c.wait != nil {
		c.wait.answer = a
		close(c.wait.done)
		return nil
	}
	<-l.slots
	c.answer <- a
	return nil
}

// fail ends the stream once; what waits gets the first cause.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = replyError(err)
		close(l.gone)
	}
	l.mu.Unlock()
	if first {
		l.out.Close()
		_ = l.st.Reset()
	}
}

func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *link) alive() bool { return l.cause() == nil }
