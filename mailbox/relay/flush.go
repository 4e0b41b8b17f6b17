package relay

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// errGone says that the stream has failed or was closed.
var errGone = errors.New("relay: stream is gone")

// deadlineWriter is a stream as the flusher needs it.
type deadlineWriter interface {
	io.Writer
	SetWriteDeadline(time.Time) error
}

// flusher gathers frames and writes everything that gathered while the last
// write ran with one write. Its goroutine lives only while there is something
// to write, and nothing waits for a timer.
type flusher struct {
	dst    deadlineWriter
	within time.Duration
	fail   func() // called once, when a write fails

	mu      sync.Mutex
	drained sync.Cond // pending shrank or err was set
	pending []byte
	spare   []byte
	busy    bool
	err     error
}

func newFlusher(dst deadlineWriter, within time.Duration, fail func()) *flusher {
	f := &flusher{dst: dst, within: within, fail: fail}
	f.drained.L = &f.mu
	return f
}

// send queues the frames of ms; it never blocks on the stream.
func (f *flusher) send(ms ...proto.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for _, m := range ms {
		b, err := appendFrame(f.pending, m)
		if err != nil {
			return err
		}
		f.pending = b
	}
	if !f.busy && len(f.pending) > 0 {
		f.busy = true
		go f.run()
	}
	return nil
}

// room waits until less than flushAt is pending: whoever reads no answers gets
// no further questions in.
func (f *flusher) room() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && len(f.pending) >= flushAt {
		f.drained.Wait()
	}
	return f.err
}

// close lets go of everybody who waits and refuses further frames. What is
// pending may or may not be written.
func (f *flusher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = errGone
	}
	f.pending = nil
	f.drained.Broadcast()
}

// run writes until nothing is pending.
func (f *flusher) run() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.err == nil && len(f.pending) > 0 {
		out := f.pending
		f.pending = f.spare[:0]
		f.spare = nil
		f.drained.Broadcast()
		f.mu.Unlock()
		err := f.write(out)
		f.mu.Lock()
		if cap(out) <= flushAt {
			f.spare = out
		}
		if err != nil && f.err == nil {
			f.err = errGone
			f.drained.Broadcast()
			f.fail()
		}
	}
	f.busy = false
	f.spare = nil // an idle stream holds no buffer
	if len(f.pending) == 0 {
		f.pending = nil
	}
}

func (f *flusher) write(b []byte) error {
	_ = f.dst.SetWriteDeadline(time.Now().Add(f.within))
	_, err := f.dst.Write(b)
	return err
}
