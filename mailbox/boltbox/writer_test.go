package boltbox

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// controlled opens a store with switches.
func controlled(t *testing.T, ctl controls) (*Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "box.db")
	s, err := open(path, ctl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

func addOne(s *Store, box, n int) error {
	e, body := mailboxtest.Envelope(n, 1)
	return s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.Add(mailboxtest.Box(box), e, body) })
}

// queued puts calls into the queue while the writer is busy, so that they
// share its next turn, and returns what they answered.
func queued(s *Store, fns ...func(mailbox.Tx) error) []error {
	calls := make([]*call, len(fns))
	for i, fn := range fns {
		calls[i] = &call{fn: fn, done: make(chan error, 1)}
	}
	s.queue.put(&call{done: make(chan error, 1), fn: func(mailbox.Tx) error {
		for _, c := range calls {
			s.queue.put(c)
		}
		return nil
	}})
	errs := make([]error, len(calls))
	for i, c := range calls {
		errs[i] = <-c.done
	}
	return errs
}

func TestCallersWhoWaitShareACommit(t *testing.T) {
	s, _ := controlled(t, controls{})
	var fns []func(mailbox.Tx) error
	for n := range 50 {
		e, body := mailboxtest.Envelope(n, 1)
		fns = append(fns, func(tx mailbox.Tx) error { return tx.Add(mailboxtest.Box(1), e, body) })
	}
	ok(t, errors.Join(queued(s, fns...)...))
	if st := s.Stats(); st.Commits != 1 || st.Calls != 50 {
		t.Errorf("%+v", st)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestACallThatFailsDoesNotTakeOthersAlong(t *testing.T) {
	s, path := controlled(t, controls{})
	stop := errors.New("stop")
	var fns []func(mailbox.Tx) error
	for n := range 5 {
		e, body := mailboxtest.Envelope(n, 1)
		fns = append(fns, func(tx mailbox.Tx) error {
			if err := tx.Add(mailboxtest.Box(1), e, body); err != nil {
				return err
			}
			if n%2 == 1 {
				return stop
			}
			return nil
		})
	}
	for n, err := range queued(s, fns...) {
		if (n%2 == 1) != errors.Is(err, stop) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	_ = s.Close()
	again := mustOpen(t, path)
	defer func() { _ = again.Close() }()
	if got := mailboxtest.Look(t, again, 2, 5); got.Total.Count != 3 {
		t.Errorf("%+v", got)
	}
}

func TestDiskFullIsTypedAndEnds(t *testing.T) {
	full := false
	s, path := controlled(t, controls{commit: func() error {
		if full {
			return &fs.PathError{Op: "write", Path: "box.db", Err: syscall.ENOSPC}
		}
		return nil
	}})
	ok(t, addOne(s, 1, 0))
	before := mailboxtest.Look(t, s, 2, 5)
	full = true
	if err := addOne(s, 1, 1); !errors.Is(err, mailbox.ErrDiskFull) {
		t.Errorf("full disk: %v", err)
	}
	if got := mailboxtest.Look(t, s, 2, 5); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("a full disk changed %v to %v", before, got)
	}
	full = false
	ok(t, addOne(s, 1, 1))
	ok(t, s.Close())
	again := mustOpen(t, path)
	defer func() { _ = again.Close() }()
	if got := mailboxtest.Look(t, again, 2, 5); got.Total.Count != 2 || s.Stats().DiskFull != 1 {
		t.Errorf("%+v, %+v", got, s.Stats())
	}
}

func TestAcksPassWhereEnvelopesFindNoRoom(t *testing.T) {
	free := uint64(diskReserve + 1<<20)
	s, _ := controlled(t, controls{free: func() uint64 { return free }})
	ok(t, addOne(s, 1, 0))
	free = diskReserve + 5
	if err := addOne(s, 1, 1); !errors.Is(err, mailbox.ErrDiskFull) {
		t.Errorf("envelope: %v", err)
	}
	e, _ := mailboxtest.Envelope(0, 1)
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.Bury(mailboxtest.Box(1), e.ID) }))
}

// TestAViewThatMeetsAnAckIsNotDamage looks between an ack's commit and its
// entry into the index: the envelope is gone from the file, not yet from there.
func TestAViewThatMeetsAnAckIsNotDamage(t *testing.T) {
	var s *Store
	moved, armed := false, false
	fetch := func(tx mailbox.Tx) error {
		_, _, err := testRelay(mailbox.Limits{}).Fetch(tx, mailboxtest.T0, mailboxtest.Box(1), 0, 0, 1<<20)
		return err
	}
	s, _ = controlled(t, controls{afterSync: func() {
		if armed {
			moved, _ = s.viewBeside(fetch)
		}
	}})
	ok(t, addOne(s, 1, 0))
	armed = true
	e, _ := mailboxtest.Envelope(0, 1)
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.Bury(mailboxtest.Box(1), e.ID) }))
	if !moved || s.Stats().Damaged != 0 {
		t.Errorf("moved %v, %+v", moved, s.Stats())
	}
	ok(t, s.View(fetch))
}

func TestFailedSyncEndsTheStore(t *testing.T) {
	broken := true
	s, path := controlled(t, controls{commit: func() error {
		if broken {
			return syscall.ENOSPC // as fdatasync says it: not a write's error
		}
		return nil
	}})
	first := addOne(s, 1, 0)
	broken = false
	second := addOne(s, 1, 1)
	if first == nil || second == nil || errors.Is(first, mailbox.ErrDiskFull) {
		t.Errorf("first %v, second %v", first, second)
	}
	ok(t, s.Close())
	again := mustOpen(t, path)
	defer func() { _ = again.Close() }()
	ok(t, addOne(again, 1, 2))
}

func TestClosedStoreRefuses(t *testing.T) {
	s, _ := controlled(t, controls{})
	ok(t, s.Close())
	ok(t, s.Close())
	if err := addOne(s, 1, 0); !errors.Is(err, mailbox.ErrClosed) {
		t.Errorf("do: %v", err)
	}
	if err := s.View(func(mailbox.Tx) error { return nil }); !errors.Is(err, mailbox.ErrClosed) {
		t.Errorf("view: %v", err)
	}
}

func TestCloseAnswersAllWhoWait(t *testing.T) {
	s, _ := controlled(t, controls{})
	calls := make([]*call, 2*maxGroup+1)
	s.queue.put(&call{done: make(chan error, 1), fn: func(mailbox.Tx) error {
		for i := range calls {
			calls[i] = &call{done: make(chan error, 1), fn: func(mailbox.Tx) error { t.Error("ran"); return nil }}
			s.queue.put(calls[i])
		}
		s.queue.close()
		return nil
	}})
	<-s.ended
	for i, c := range calls {
		select {
		case err := <-c.done:
			if !errors.Is(err, mailbox.ErrClosed) {
				t.Fatal(err)
			}
		default:
			t.Fatalf("call %d is never answered", i)
		}
	}
}

func TestCancelledCallLeavesTheQueue(t *testing.T) {
	s, _ := controlled(t, controls{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.queue.put(&call{done: make(chan error, 1), fn: func(mailbox.Tx) error {
		go func() { done <- s.Do(ctx, func(mailbox.Tx) error { t.Error("ran"); return nil }) }()
		for s.queue.len() == 0 {
			<-time.After(time.Millisecond)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("do: %v", err)
		}
		return nil
	}})
	ok(t, addOne(s, 1, 0))
}

func TestOpenIsExclusiveAndSurvivesARest(t *testing.T) {
	s, path := controlled(t, controls{})
	if _, err := Open(path); err == nil {
		t.Error("opened twice")
	}
	ok(t, s.Close())
	ok(t, os.WriteFile(path+".new", []byte("torn at birth"), 0o600))
	ok(t, mustOpen(t, path).Close())
	ok(t, os.Remove(path))
	ok(t, mustOpen(t, path).Close()) // the rest is replaced
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rest: %v", err)
	}
	ok(t, os.WriteFile(path, []byte("not a store"), 0o600))
	if _, err := Open(path); !errors.Is(err, mailbox.ErrDamaged) {
		t.Errorf("open garbage: %v", err)
	}
	if _, err := Open(filepath.Join(path, "no", "folder")); err == nil {
		t.Error("opened in no folder")
	}
}

// TestEverybodyAtOnce deposits, fetches, acks and ticks from many goroutines:
// nothing is lost, nothing is taken for damaged.
func TestEverybodyAtOnce(t *testing.T) {
	s, _ := controlled(t, controls{})
	r := testRelay(mailbox.Limits{})
	now := mailboxtest.T0
	const boxes, each = 4, 150
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
		for b := range boxes {
			ok(t, tx.PutBox(mailboxtest.Box(b), mailbox.Box{Member: true, End: now.Add(time.Hour)}))
		}
		return nil
	}))
	var wg sync.WaitGroup
	for b := range boxes {
		for half := range 2 {
			wg.Go(func() {
				for n := half; n < each; n += 2 {
					_, body := mailboxtest.Envelope(n, 0)
					ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
						_, err := r.Deposit(tx, now, mailbox.Deposit{Box: mailboxtest.Box(b), Envelope: body, Expires: now.Add(24 * time.Hour)})
						return err
					}))
				}
			})
		}
		wg.Go(func() { drain(t, s, r, b, each) })
		wg.Go(func() {
			for range 50 {
				ok(t, s.View(func(tx mailbox.Tx) error { // the same box, beside the acks
					_, _, err := r.Fetch(tx, now, mailboxtest.Box(b), 0, 0, 1<<20)
					return err
				}))
				ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error { _, err := r.Tick(tx, now); return err }))
			}
		})
	}
	wg.Wait()
	if got := mailboxtest.Look(t, s, boxes, each).Total; got.Tombs != boxes*each || got.Count != 0 || s.Stats().Damaged != 0 {
		t.Errorf("%+v, %+v", got, s.Stats())
	}
}

// drain fetches and acks until it has n envelopes of a box.
func drain(t *testing.T, s *Store, r *mailbox.Relay, b, n int) {
	key := mailboxtest.Key(b)
	for got := 0; got < n; {
		var ids []mailbox.EnvelopeID
		ok(t, s.View(func(tx mailbox.Tx) error {
			ids = ids[:0]
			items, _, err := r.Fetch(tx, mailboxtest.T0, mailboxtest.Box(b), 0, 7, 1<<20)
			for _, i := range items {
				ids = append(ids, i.ID)
			}
			return err
		}))
		if len(ids) == 0 {
			continue
		}
		sig := mailbox.SignRequest(key, r.Peer(), mailbox.VerbAck, mailbox.AckContent(ids))
		ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
			return r.Ack(tx, mailboxtest.T0, key.Public().(ed25519.PublicKey), ids, sig)
		}))
		got += len(ids)
	}
}

// TestOpeningGivesFreeSpaceBack: more than half of the file is free, and it is
// larger than the bound.
func TestOpeningGivesFreeSpaceBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box.db")
	s := mustOpen(t, path)
	_ = populate(t, s, 600, rand.New(rand.NewPCG(5, 5)))
	ok(t, s.Do(context.Background(), func(tx mailbox.Tx) error {
		for _, day := range tx.Days()[1:] {
			if _, err := tx.DropDay(day); err != nil {
				return err
			}
		}
		return nil
	}))
	look := func(s *Store) (held mailbox.Usage) {
		ok(t, s.View(func(tx mailbox.Tx) error { held = tx.Total(); return nil }))
		return held
	}
	want := look(s)
	ok(t, s.Close())
	size := func() int64 {
		info, err := os.Stat(path)
		ok(t, err)
		return info.Size()
	}
	large := size()
	ok(t, mustOpen(t, path).Close()) // below the bound of 64 MiB: left alone
	if size() != large {
		t.Errorf("%d bytes became %d", large, size())
	}
	s, err := open(path, controls{compact: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if got := look(s); size() >= large/2 || got != want || s.Stats().Damaged != 0 {
		t.Errorf("%d bytes of %d; holds %+v, want %+v", size(), large, got, want)
	}
	ok(t, addOne(s, 1, 1))
	if damaged, err := s.Scrub(context.Background(), 0); err != nil || len(damaged) != 0 {
		t.Errorf("%+v, %v", damaged, err)
	}
	ok(t, s.Close())
	before, after, err := Compact(path)
	if err != nil || after > before || after == 0 {
		t.Errorf("%d to %d, %v", before, after, err)
	}
}
