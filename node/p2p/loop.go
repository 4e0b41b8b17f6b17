package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
)

// call is one input of the engine. fn may run more than once, when the
// transaction that it shared with others failed, and must not block.
type call struct {
	fn func(e *node.Engine, t *node.Turn) error
	// look replaces fn for a caller that only reads; it also runs without an engine.
	look func(tx store.Tx, e *node.Engine, now time.Time) error
	// local calls come from the person: while the loop is stuck they are tried,
	// because one that only reads needs no disk.
	local bool
	// lazy inputs wait up to lazyWait for others to share a commit with.
	lazy bool
	// after hears the outcome once it is durable. It must not block; nil: nobody asks.
	after func(error)
}

func (c call) answer(err error) {
	if c.after != nil {
		c.after(err)
	}
}

// loop owns the engine: one goroutine that drains its queues into one store
// transaction, commits, and only then hands the effects out. It is the only
// place that gives the engine its time.
//
// A failed commit leaves the engine's memory ahead of the disk, so the loop
// treats it as a crash: it drops the effects and loads the engine again. Inputs
// that shared the transaction then run one by one, so that one damaged row
// fails only what touches it. When the store cannot write at all, the loop is
// stuck: what only reads still runs, everything else hears ErrCannotStore, and
// it tries again with a back-off.
type loop struct {
	store   store.Store
	load    func(t *node.Turn) (*node.Engine, error)
	perform func(r *result) []call // must not block; returns the answers that are known at once
	now     func() time.Time
	rand    io.Reader
	log     *slog.Logger

	calls  chan call // from local callers
	inputs chan call // from performers and peers
	stop   chan struct{}
	done   chan struct{}
	stuck  atomic.Pointer[string]

	// Owned by run.
	engine   *node.Engine
	backlog  []call
	retryAt  time.Time
	backoff  time.Duration
	lazyAt   time.Time // when the lazy inputs in the backlog have waited enough
	lastTick time.Time
	tickHold time.Duration
}

// result is what one transaction brought.
type result struct {
	errs    []error
	out     node.Effects
	watches []node.Watch
}

// errClean rolls a transaction back that wrote nothing, so that it costs no fsync.
var errClean = errors.New("nothing written")

func newLoop(store store.Store, now func() time.Time, rng io.Reader, log *slog.Logger) *loop {
	return &loop{
		store: store, now: now, rand: rng, log: log,
		calls:  make(chan call, maxCalls),
		inputs: make(chan call, maxInputs),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
}

// start loads the engine and begins to run; on failure the loop has ended.
func (l *loop) start() error {
	if err := l.reload(); err != nil {
		l.finish()
		return err
	}
	go l.run()
	return nil
}

// close ends the loop after its current turn; who still waits hears ErrClosed.
func (l *loop) close() {
	close(l.stop)
	<-l.done
}

// do hands c to the loop and waits for its commit.
func (l *loop) do(ctx context.Context, c call) error {
	answer := make(chan error, 1)
	c.local, c.after = true, func(err error) { answer <- err }
	var at claim
	c = at.guard(ctx, c)
	select {
	case l.calls <- c:
	case <-l.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		if at.leave() {
			return ctx.Err()
		}
	case err := <-answer:
		return err
	case <-l.done:
	}
	return l.outcome(answer)
}

// outcome waits for an answer. What was committed before the loop ended counts.
func (l *loop) outcome(answer chan error) error {
	select {
	case err := <-answer:
		return err
	case <-l.done:
	}
	select {
	case err := <-answer:
		return err
	default:
		return ErrClosed
	}
}

// post hands an input of a performer or a peer to the loop. It blocks while
// the queue is full and gives up only when the loop has ended.
func (l *loop) post(c call) {
	select {
	case l.inputs <- c:
	case <-l.done:
		c.answer(ErrClosed)
	}
}

// postWait is post that waits for the commit.
func (l *loop) postWait(fn func(e *node.Engine, t *node.Turn) error) error {
	answer := make(chan error, 1)
	l.post(call{fn: fn, after: func(err error) { answer <- err }})
	return l.outcome(answer)
}

func (l *loop) run() {
	defer l.finish()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(l.wait())
		select {
		case <-l.stop:
			return
		case c := <-l.calls:
			l.backlog = append(l.backlog, c)
		case c := <-l.inputs:
			l.backlog = append(l.backlog, c)
		case <-timer.C:
		}
		batch := l.gather()
		if l.backlog = nil; l.mayWait(batch) {
			l.backlog = batch
			continue
		}
		l.lazyAt = time.Time{}
		l.turn(batch)
	}
}

// mayWait reports whether nothing in a batch is urgent yet.
func (l *loop) mayWait(batch []call) bool {
	if len(batch) == 0 || urgent(batch) || !l.retryAt.IsZero() || l.tickDue() {
		return false
	}
	if l.lazyAt.IsZero() {
		l.lazyAt = l.now().Add(lazyWait)
	}
	return l.now().Before(l.lazyAt)
}

func urgent(batch []call) bool {
	return slices.ContainsFunc(batch, func(c call) bool { return !c.lazy })
}

// gather adds everything that is present to the backlog, local calls first.
func (l *loop) gather() []call {
	batch := l.backlog
	for _, queue := range []chan call{l.calls, l.inputs} {
	drain:
		for len(batch) < maxBatch {
			select {
			case c := <-queue:
				batch = append(batch, c)
			default:
				break drain
			}
		}
	}
	return batch
}

// wait is how long nothing has to happen by itself.
func (l *loop) wait() time.Duration {
	if urgent(l.backlog) {
		return 0
	}
	next := l.retryAt
	if next.IsZero() {
		next = l.nextTick()
	}
	if len(l.backlog) > 0 && (next.IsZero() || l.lazyAt.Before(next)) {
		next = l.lazyAt
	}
	if next.IsZero() {
		return maxWait
	}
	return min(max(next.Sub(l.now()), 0), maxWait)
}

// turn runs a batch, and the tick if it is due, and hands out the effects.
func (l *loop) turn(batch []call) {
	if !l.ready() {
		l.refuse(batch)
		return
	}
	tick := l.tickDue()
	err := l.part(batch, tick)
	alone := len(batch) == 0 || len(batch) == 1 && !tick
	switch {
	case err == nil:
	case !l.retryAt.IsZero():
		l.refuse(batch)
	case alone && tick:
		l.holdTick()
	case alone:
		l.answerAll(batch, []error{fmt.Errorf("%w: %w", ErrCannotStore, err)})
	default:
		l.oneByOne(batch, tick)
	}
}

// oneByOne runs inputs that failed together, so that only the culprit fails.
func (l *loop) oneByOne(batch []call, tick bool) {
	for i, c := range batch {
		err := l.part(batch[i:i+1], false)
		if !l.retryAt.IsZero() {
			l.refuse(batch[i:])
			return
		}
		if err != nil {
			c.answer(fmt.Errorf("%w: %w", ErrCannotStore, err))
		}
	}
	if tick && l.part(nil, true) != nil {
		l.holdTick()
	}
}

// part commits one transaction. On success it answers the batch and performs;
// on failure it loads the engine again, or makes the loop stuck.
func (l *loop) part(batch []call, tick bool) error {
	r, err := l.commit(batch, tick)
	if err == nil {
		l.tickHold = 0
		l.answerAll(batch, r.errs)
		l.backlog = append(l.backlog, l.perform(r)...)
		return nil
	}
	l.log.Warn("commit failed", "inputs", len(batch), "tick", tick, "err", err)
	if e := l.reload(); e != nil {
		l.giveUp(e)
	} else if e := l.probe(); e != nil {
		l.giveUp(e)
	}
	return err
}

func (l *loop) answerAll(batch []call, errs []error) {
	for i, c := range batch {
		c.answer(errs[i])
	}
}

// tickDue reports whether the engine wants a tick now.
func (l *loop) tickDue() bool {
	d := l.nextTick()
	return !d.IsZero() && !d.After(l.now())
}

// nextTick is the engine's deadline, not before the pause after a tick that failed.
func (l *loop) nextTick() time.Time {
	d := l.engine.Deadline()
	if floor := l.lastTick.Add(max(minTick, l.tickHold)); !d.IsZero() && d.Before(floor) {
		return floor
	}
	return d
}

// holdTick pauses the engine's timer after a tick that cannot be committed.
func (l *loop) holdTick() {
	l.tickHold = min(max(2*l.tickHold, stuckMin), stuckMax)
}

// commit runs batch, and with tick the engine's timer, in one transaction.
func (l *loop) commit(batch []call, tick bool) (*result, error) {
	now := l.now()
	if tick {
		l.lastTick = now
	}
	var r *result
	err := l.store.Update(func(tx store.Tx) error {
		r = &result{errs: make([]error, len(batch))}
		w := &writeTx{Tx: tx}
		t := &node.Turn{Now: now, Rand: l.rand, Tx: w, Out: &r.out}
		for i, c := range batch {
			if c.look != nil {
				r.errs[i] = c.look(w, l.engine, now)
			} else {
				r.errs[i] = c.fn(l.engine, t)
			}
		}
		if tick {
			l.engine.Tick(t)
		}
		if r.out.Watches {
			r.watches = l.engine.Watches(t)
		}
		return w.outcome()
	})
	if errors.Is(err, errClean) {
		err = nil
	}
	return r, err
}

// reload reads the engine from the store, and has the performers agree with
// what it wants.
func (l *loop) reload() error {
	l.engine = nil
	var (
		e *node.Engine
		r *result
	)
	err := l.store.Update(func(tx store.Tx) error {
		r = &result{}
		w := &writeTx{Tx: tx}
		t := &node.Turn{Now: l.now(), Rand: l.rand, Tx: w, Out: &r.out}
		var err error
		if e, err = l.load(t); err != nil {
			return err
		}
		r.watches, r.out.Watches = e.Watches(t), true
		return w.outcome()
	})
	if err != nil && !errors.Is(err, errClean) {
		return err
	}
	l.engine = e
	l.backlog = append(l.backlog, l.perform(r)...)
	return nil
}

// probe shows whether the store can write, by one small row.
func (l *loop) probe() error {
	return l.store.Update(func(tx store.Tx) error {
		tx.Put(store.BucketMeta, probeKey, []byte(l.now().UTC().Format(time.RFC3339)))
		return tx.Err()
	})
}

var probeKey = []byte("store probe")

// ready reports whether turns can run, and tries to recover when it is time.
func (l *loop) ready() bool {
	if l.retryAt.IsZero() {
		return true
	}
	if l.now().Before(l.retryAt) {
		return false
	}
	err := l.probe()
	if err == nil {
		err = l.reload()
	}
	if err != nil {
		l.giveUp(err)
		return false
	}
	l.retryAt, l.backoff = time.Time{}, 0
	l.stuck.Store(nil)
	l.log.Info("the store works again")
	return true
}

// giveUp makes the loop stuck for a while.
func (l *loop) giveUp(err error) {
	l.backoff = min(max(2*l.backoff, stuckMin), stuckMax)
	l.retryAt = l.now().Add(l.backoff)
	why := err.Error()
	l.stuck.Store(&why)
}

// refuse answers a batch while the loop is stuck; what only reads still works.
func (l *loop) refuse(batch []call) {
	for _, c := range batch {
		switch {
		case c.look != nil:
			c.answer(l.store.View(func(tx store.Tx) error { return c.look(tx, l.engine, l.now()) }))
		case c.local && l.engine != nil:
			l.attempt(c)
		default:
			c.answer(fmt.Errorf("%w: %s", ErrCannotStore, *l.stuck.Load()))
		}
	}
}

// attempt runs one call while the loop is stuck.
func (l *loop) attempt(c call) {
	r, err := l.commit([]call{c}, false)
	if err == nil {
		c.answer(r.errs[0])
		l.backlog = append(l.backlog, l.perform(r)...)
		return
	}
	c.answer(fmt.Errorf("%w: %w", ErrCannotStore, err))
	if err := l.reload(); err != nil {
		l.log.Warn("engine not loaded", "err", err)
	}
}

// finish answers what the loop did not get to.
func (l *loop) finish() {
	close(l.done)
	for {
		select {
		case c := <-l.calls:
			c.answer(ErrClosed)
		case c := <-l.inputs:
			c.answer(ErrClosed)
		default:
			for _, c := range l.backlog {
				c.answer(ErrClosed)
			}
			return
		}
	}
}

// writeTx notices whether anything was written.
type writeTx struct {
	store.Tx
	wrote bool
}

func (w *writeTx) Put(b store.Bucket, key, value []byte) {
	w.wrote = true
	w.Tx.Put(b, key, value)
}

func (w *writeTx) Delete(b store.Bucket, key []byte) {
	w.wrote = true
	w.Tx.Delete(b, key)
}

func (w *writeTx) outcome() error {
	if err := w.Err(); err != nil {
		return err
	}
	if !w.wrote {
		return errClean
	}
	return nil
}
