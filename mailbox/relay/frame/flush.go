package frame

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// ErrGone says that the stream has failed or was closed.
var ErrGone = errors.New("frame: stream is gone")

// deadlineWriter is a stream as the Flusher needs it.
type deadlineWriter interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// Flusher gathers frames and writes everything that gathered while the last
// write ran with one write. Its goroutine lives only while there is something
// to write, and nothing waits for a timer.
type Flusher struct {
	dst    deadlineWriter
	within time.Duration
	fail   func() // called when a write fails
	load   *Load

	writing begun

	mu      sync.Mutex
	drained sync.Cond // pending shrank or err was set
	pending []byte
	busy    bool
	err     error
}

// NewFlusher returns a flusher whose frames count in load, which may be nil;
// fail is called once a write has failed.
func NewFlusher(dst deadlineWriter, within time.Duration, fail func(), load *Load) *Flusher {
	f := &Flusher{dst: dst, within: within, fail: fail, load: load}
	f.drained.L = &f.mu
	return f
}

// Send queues the frames of ms; it never blocks on the stream.
func (f *Flusher) Send(ms ...proto.Message) error {
	n, err := f.queue(ms)
	f.load.take(n)
	return err
}

// queue appends frames and says how many bytes it appended.
func (f *Flusher) queue(ms []proto.Message) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	if f.pending == nil {
		f.pending = (*outs.Get().(*[]byte))[:0]
	}
	before := len(f.pending)
	for _, m := range ms {
		b, err := Append(f.pending, m)
		if err != nil {
			f.pending = f.pending[:before]
			return 0, err
		}
		f.pending = b
	}
	if !f.busy && len(f.pending) > 0 {
		f.busy = true
		go f.run()
	}
	return len(f.pending) - before, nil
}

// Room waits until less than FlushAt is pending: whoever reads no answers gets
// no further questions in.
func (f *Flusher) Room() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && len(f.pending) >= FlushAt {
		f.drained.Wait()
	}
	return f.err
}

// Alive says whether frames can still be sent.
func (f *Flusher) Alive() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err == nil
}

// Close lets go of everybody who waits and refuses further frames. What is
// pending may or may not be written.
func (f *Flusher) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = ErrGone
	}
	f.drained.Broadcast()
}

// Wait returns when everything is written or the stream failed, and nothing
// of the Flusher runs any more.
func (f *Flusher) Wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy {
		f.drained.Wait()
	}
}

// run writes until nothing is pending.
func (f *Flusher) run() {
	for out := f.take(nil); out != nil; out = f.take(out) {
		if f.write(out) != nil {
			f.Close()
			f.fail()
		}
	}
}

// take gives the buffer that was written back and returns the next, nil when
// the Flusher may end.
func (f *Flusher) take(done []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained.Broadcast()
	f.load.give(len(done))
	if f.err != nil || len(f.pending) == 0 {
		f.busy = false
		f.load.give(len(f.pending))
		keep(done)
		keep(f.pending)
		f.pending = nil // an idle stream holds no buffer
		return nil
	}
	out := f.pending
	if f.pending = nil; cap(done) > 0 && cap(done) <= FlushAt {
		f.pending = done[:0]
	}
	return out
}

// outs are the buffers of flushers that have nothing to write.
var outs = sync.Pool{New: func() any {
	b := make([]byte, 0, outBuffer)
	return &b
}}

func keep(b []byte) {
	if cap(b) > 0 && cap(b) <= FlushAt {
		outs.Put(&b)
	}
}

func (f *Flusher) write(b []byte) error {
	f.writing.begin()
	defer f.writing.end()
	_ = f.dst.SetWriteDeadline(time.Now().Add(f.within))
	_, err := f.dst.Write(b)
	return err
}
