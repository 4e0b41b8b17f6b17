package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/kith-im/kith/mailbox/relay/rate"
)

// lanes runs jobs in the background, in one lane per key (a peer, mostly): in a
// lane at most width jobs run at once and depth wait, so that a stuck peer
// holds up nobody but itself. A lane has goroutines only while it has jobs.
//
// Every job that was taken runs, also after close, then with a context that
// has ended: so each can answer.
type lanes struct {
	width, depth, limit int
	ctx                 context.Context
	cancel              context.CancelFunc
	wg                  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	m      map[string]*lane
}

type lane struct {
	jobs    []func(context.Context)
	running int
}

// newLanes makes room for limit lanes at once.
func newLanes(width, depth, limit int) *lanes {
	ctx, cancel := context.WithCancel(context.Background())
	return &lanes{width: width, depth: depth, limit: limit, ctx: ctx, cancel: cancel, m: map[string]*lane{}}
}

// submit takes job and returns true, or returns false at once when the lane,
// or the number of lanes, is at its limit or the lanes are closed.
func (l *lanes) submit(key string, job func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.m[key]
	switch {
	case l.closed:
		return false
	case ln == nil && len(l.m) >= l.limit:
		return false
	case ln == nil:
		ln = &lane{}
		l.m[key] = ln
	case len(ln.jobs) >= l.depth:
		return false
	}
	ln.jobs = append(ln.jobs, job)
	if ln.running < l.width {
		ln.running++
		l.wg.Add(1)
		go l.work(key, ln)
	}
	return true
}

func (l *lanes) work(key string, ln *lane) {
	defer l.wg.Done()
	for {
		job := l.next(key, ln)
		if job == nil {
			return
		}
		job(l.ctx)
	}
}

func (l *lanes) next(key string, ln *lane) func(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(ln.jobs) == 0 {
		ln.running--
		if ln.running == 0 {
			delete(l.m, key)
		}
		return nil
	}
	job := ln.jobs[0]
	ln.jobs[0] = nil
	ln.jobs = ln.jobs[1:]
	return job
}

// close ends the jobs' context and waits until every job has run.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}

// pace is a token bucket of one goroutine: it slows what comes too fast.
type pace struct {
	every  time.Duration // one token
	burst  time.Duration // the whole bucket
	filled time.Time     // the bucket lacks (filled - now) tokens
}

func newPace(perSecond, burst int) *pace {
	return newPaceEvery(time.Second/time.Duration(perSecond), burst)
}

func newPaceEvery(every time.Duration, burst int) *pace {
	return &pace{every: every, burst: every * time.Duration(burst)}
}

// has spends one token if there is one.
func (p *pace) has(now time.Time) bool {
	if p.filled.After(now) {
		return false
	}
	p.take(now)
	return true
}

// full reports whether nothing was spent lately.
func (p *pace) full(now time.Time) bool { return !p.filled.After(now.Add(-p.burst)) }

// take spends one token and says how long to wait for it.
func (p *pace) take(now time.Time) time.Duration {
	if p.filled.Before(now.Add(-p.burst)) {
		p.filled = now.Add(-p.burst)
	}
	p.filled = p.filled.Add(p.every)
	return max(p.filled.Sub(now), 0)
}

// wait spends one token when it is there; false means that ctx ended first.
func (p *pace) wait(ctx context.Context) bool {
	return rest(ctx, p.take(time.Now()))
}

// rest waits for d; false means that ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// linkAsker is what one peer, or one address, has of the server.
type linkAsker struct {
	pace *pace
	open int
}

// askersOf are the names under which a connection is counted: its peer, and its
// address unless that is this machine's own.
func askersOf(c network.Conn) []string {
	keys := []string{string(c.RemotePeer())}
	if g := rate.Group(c.RemoteMultiaddr()); g.IsValid() {
		keys = append(keys, g.String())
	}
	return keys
}
