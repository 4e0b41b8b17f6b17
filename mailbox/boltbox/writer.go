package boltbox

import (
	"errors"
	"fmt"
	"runtime"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

// run is the writer: it takes everything that is queued, runs it in one
// transaction, commits, and answers all.
func (s *Store) run() {
	defer close(s.ended)
	for range s.queue.wake {
		// Let the callers that the last commit woke up queue again: they then
		// share the next commit rather than wait for the one after it.
		runtime.Gosched()
		for {
			calls, open := s.queue.take(maxGroup)
			if !open {
				for ; len(calls) > 0; calls, _ = s.queue.take(maxGroup) { // nothing comes in any more
					refuseAll(calls)
				}
				return
			}
			if len(calls) == 0 {
				break
			}
			s.group(calls)
			runtime.Gosched()
		}
	}
}

func refuseAll(calls []*call) {
	for _, c := range calls {
		c.done <- mailbox.ErrClosed
	}
}

// group runs calls in one commit.
func (s *Store) group(calls []*call) {
	t, calls := s.perform(calls)
	t.done()
	if s.ctl.answerEarly {
		t.batch.Seal()
		answer(calls)
	}
	err := s.commit(t.ops, len(calls))
	if s.ctl.answerEarly {
		return
	}
	if err == nil {
		t.batch.Seal()
	}
	for _, c := range calls {
		if err != nil && !c.failed && !c.view {
			c.err = err
		}
	}
	answer(calls)
}

func answer(calls []*call) {
	for _, c := range calls {
		c.done <- c.err
	}
}

// perform runs the calls on an overlay and returns those that it ran; the
// others go back to the queue. A call that fails after it wrote spoils the
// overlay, so all that ran before it run again without it.
func (s *Store) perform(calls []*call) (*tx, []*call) {
	t := s.begin()
	for i := 0; i < len(calls); i++ {
		if t.over.bytes > maxGroupBytes {
			s.queue.back(calls[i:])
			return t, calls[:i]
		}
		c := calls[i]
		if c.failed {
			continue
		}
		if c.view {
			s.look(c)
			continue
		}
		ops, receipts := len(t.ops), t.batch.Len()
		if c.err = c.fn(t); c.err == nil {
			continue
		}
		c.failed = true
		t.batch.Cut(receipts)
		if len(t.ops) > ops {
			t.done()
			t, i = s.begin(), -1
		}
	}
	return t, calls
}

func (s *Store) begin() *tx {
	return &tx{store: s, ix: s.index, inTurn: true, batch: &mailbox.Batch{}}
}

// look runs a view in the writer's turn, where index and file agree.
func (s *Store) look(c *call) {
	t := &tx{store: s, ix: s.index, view: true, inTurn: true, batch: &mailbox.Batch{}}
	c.err = c.fn(t)
	t.done()
}

// commit makes ops durable and then visible.
func (s *Store) commit(ops []op, calls int) error {
	if len(ops) == 0 {
		return nil
	}
	if s.broken != nil {
		return s.broken
	}
	if s.ctl.beforeWrite != nil {
		s.ctl.beforeWrite()
	}
	sums, err := s.toDisk(ops)
	if err != nil {
		return s.fail(err)
	}
	if s.ctl.afterSync != nil {
		s.ctl.afterSync()
	}
	s.state.Lock()
	defer s.state.Unlock()
	for _, o := range ops {
		o.apply(s.index)
	}
	for d, sum := range sums {
		if known := s.index.days[d]; known != nil {
			known.sum = sum
		}
	}
	s.commits.Add(1) // whoever hears of it sees it
	s.calls.Add(int64(calls))
	return nil
}

// toDisk writes ops in one transaction of bbolt, fsync included.
func (s *Store) toDisk(ops []op) (sums map[mailbox.Day]sum, err error) {
	err = guard(func() error {
		btx, err := s.db.Begin(true)
		if err != nil {
			return err
		}
		defer func() { _ = btx.Rollback() }() // nothing after a commit
		d := &disk{tx: btx, ix: s.index, sums: map[mailbox.Day]sum{}, buckets: map[bucketKey]*bolt.Bucket{}}
		for _, o := range ops {
			if err := o.disk(d); err != nil {
				return err
			}
		}
		if err := d.finish(); err != nil {
			return err
		}
		sums = d.sums
		s.touched.Add(d.touched)
		if s.ctl.commit != nil {
			if err := s.ctl.commit(); err != nil {
				return err
			}
		}
		return btx.Commit()
	})
	return sums, err
}

// fail tells a full disk from what ends the store.
func (s *Store) fail(err error) error {
	if errors.Is(err, boltfile.ErrFull) {
		s.full.Add(1)
		return fmt.Errorf("%w: %w", mailbox.ErrDiskFull, err)
	}
	s.broken = fmt.Errorf("mailbox store: commit failed, open it again: %w", err)
	return s.broken
}
