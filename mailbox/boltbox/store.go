package boltbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/mailbox"
)

// Store is a mailbox.Store on one bbolt file. All methods may be called from
// any goroutine; one goroutine writes.
type Store struct {
	db   *bolt.DB
	path string

	state sync.RWMutex // guards index against apply; the writer reads without
	index *index

	queue  queue
	ended  chan struct{} // closed when the writer has ended
	broken error         // the writer's: why it takes no more writes
	ctl    controls

	commits, calls, damaged, full atomic.Int64
	touched                       atomic.Int64 // bytes of the file read since release gave memory back
}

// controls are switches for tests. A store with any of them set breaks its
// promises; the tests show that this is noticed.
type controls struct {
	answerEarly bool          // answer before the commit
	beforeWrite func()        // called before a commit writes
	afterSync   func()        // called after a commit, before its answers
	free        func() uint64 // stands for the room on the disk
	compact     int64         // stands for compactAbove
	commit      func() error  // stands for a commit that fails, if it returns an error
}

// ErrNewer says that a later version of the program wrote the store.
var ErrNewer = errors.New("a store of a later format")

// Stats are counters since Open.
type Stats struct {
	Commits  int64 // transactions of bbolt
	Calls    int64 // transactions of callers that they carried
	Damaged  int64 // values that failed their check
	DiskFull int64 // commits, or turns with envelopes, refused for want of room
}

var _ mailbox.Store = (*Store)(nil)

// Open opens the store at path, or creates it there. The folder must exist.
// It fails within seconds if another process has the file open. Damaged index
// entries do not fail it; they are counted and not served.
func Open(path string) (*Store, error) { return open(path, controls{}) }

func open(path string, ctl controls) (*Store, error) {
	if err := boltfile.Create(path, fileOptions, lay); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("mailbox store: create: %w", err)
	}
	s := &Store{path: path, ctl: ctl, ended: make(chan struct{}), queue: newQueue()}
	err := guard(func() (err error) { return s.attach() })
	if err != nil {
		if s.db != nil {
			_ = s.db.Close()
		}
		return nil, fmt.Errorf("mailbox store: open: %w", err)
	}
	go s.run()
	return s, nil
}

// attach opens the file, makes it smaller and newer where it has to be, and
// reads the index.
func (s *Store) attach() error {
	db, err := boltfile.Open(s.path, fileOptions)
	if err != nil {
		return err
	}
	if s.db, err = compacted(db, cmp.Or(s.ctl.compact, compactAbove)); err != nil {
		return err
	}
	if err := upgrade(s.db); err != nil {
		if errors.Is(err, boltfile.ErrFull) {
			err = fmt.Errorf("%w: %w", mailbox.ErrDiskFull, err)
		}
		return err
	}
	s.index, err = s.load()
	return err
}

// Compact makes the file of a store that nobody has open as small as it can
// be, and returns its size before and after, in bytes.
func Compact(path string) (before, after int64, err error) {
	err = guard(func() error {
		db, err := boltfile.Open(path, fileOptions)
		if err != nil {
			return err
		}
		before, _, err = boltfile.Sparse(db)
		if err == nil {
			db, err = boltfile.Compact(db, fileOptions)
		}
		if db == nil {
			return err
		}
		after, _, _ = boltfile.Sparse(db)
		return errors.Join(err, db.Close())
	})
	if err != nil {
		return before, after, fmt.Errorf("mailbox store: compact: %w", err)
	}
	return before, after, nil
}

// Close answers what is queued with ErrClosed, waits for a commit under way
// and closes the file.
func (s *Store) Close() error {
	s.queue.close()
	<-s.ended
	return s.db.Close()
}

// roomLeft is how many bytes of envelopes the disk takes, reserve apart: what
// the file system has, and the pages that are free within the file.
func (s *Store) roomLeft() uint64 {
	free := boltfile.FreeBytes(s.path) + uint64(s.db.Stats().FreePageN)*pageSize
	if s.ctl.free != nil {
		free = s.ctl.free()
	}
	if free <= diskReserve {
		return 0
	}
	return free - diskReserve
}

// release gives the memory of the mapped file back after every residentStep.
func (s *Store) release(r *bolt.Tx) {
	if n := s.touched.Load(); n >= residentStep && s.touched.CompareAndSwap(n, 0) {
		forget(s.db, r)
	}
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Commits: s.commits.Load(), Calls: s.calls.Load(), Damaged: s.damaged.Load(), DiskFull: s.full.Load(),
	}
}

// Do queues fn for the next commit and waits for its fsync.
func (s *Store) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	return s.wait(ctx, &call{fn: fn, done: make(chan error, 1)})
}

func (s *Store) wait(ctx context.Context, c *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.queue.put(c) {
		return mailbox.ErrClosed
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		if s.queue.remove(c) {
			return ctx.Err()
		}
		return <-c.done // its turn has begun: only the commit knows the answer
	}
}

// View runs fn on the last committed state, beside the writer. A view whose
// envelopes are acknowledged meanwhile runs a second time, in the writer's
// turn.
func (s *Store) View(fn func(mailbox.Tx) error) error {
	moved, err := s.viewBeside(fn)
	if moved {
		return s.wait(context.Background(), &call{fn: fn, view: true, done: make(chan error, 1)})
	}
	return err
}

func (s *Store) viewBeside(fn func(mailbox.Tx) error) (moved bool, err error) {
	s.state.RLock()
	defer s.state.RUnlock()
	if s.queue.isClosed() {
		return false, mailbox.ErrClosed
	}
	t := &tx{store: s, ix: s.index, view: true, batch: &mailbox.Batch{}}
	defer t.done()
	err = fn(t)
	return t.moved, err
}
