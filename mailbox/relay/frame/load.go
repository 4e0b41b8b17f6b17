package frame

import (
	"math"
	"sync/atomic"
	"time"
)

// Load counts the bytes that all streams of a server hold in memory: buffers
// of frames that have begun to come and frames that wait to be written. It
// refuses nothing; whoever passes the limit makes it heard, and the server ends
// whom it likes. A nil Load counts nothing.
type Load struct {
	Most int64  // bytes
	Over func() // called without locks while more than Most is held

	held atomic.Int64
}

// Held is how many bytes are held now.
func (l *Load) Held() int64 { return l.held.Load() }

func (l *Load) take(n int) {
	if l != nil && l.held.Add(int64(n)) > l.Most && n > 0 {
		l.Over()
	}
}

func (l *Load) give(n int) { l.take(-n) }

// begun is when something began that is not over; it is zero otherwise.
type begun struct{ at atomic.Int64 }

func (b *begun) begin() { b.at.Store(time.Now().UnixNano()) }
func (b *begun) end()   { b.at.Store(0) }

func (b *begun) since() int64 {
	if at := b.at.Load(); at != 0 {
		return at
	}
	return math.MaxInt64
}

// Stuck is for how long the older of a frame that comes in and a write that
// goes out has been under way; negative if there is neither.
func Stuck(r *Reader, f *Flusher, now time.Time) time.Duration {
	since := min(r.frame.since(), f.writing.since())
	if since == math.MaxInt64 {
		return -1
	}
	return time.Duration(now.UnixNano() - since)
}

// past is a deadline that is over.
var past = time.Unix(1, 0)
