package p2p

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
)

// brittle is a store that fails when it is told to.
type brittle struct {
	store.Store
	serial  sync.Mutex // the memory store is for one goroutine at a time
	mu      sync.Mutex
	fail    error  // of every commit
	poison  string // a transaction that writes this key fails
	only    string // a transaction that writes keys without this prefix fails
	commits int
	tried   int
}

var errPoison = errors.New("damaged row")

func (s *brittle) View(fn func(store.Tx) error) error {
	s.serial.Lock()
	defer s.serial.Unlock()
	return s.Store.View(fn)
}

func (s *brittle) Update(fn func(store.Tx) error) error {
	s.serial.Lock()
	defer s.serial.Unlock()
	return s.Store.Update(func(tx store.Tx) error {
		w := &poisonTx{Tx: tx}
		if err := fn(w); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tried++
		if s.poison != "" && w.keys[s.poison] {
			return errPoison
		}
		for key := range w.keys {
			if !strings.HasPrefix(key, s.only) && key != string(probeKey) {
				return errPoison
			}
		}
		if s.fail == nil {
			s.commits++
		}
		return s.fail
	})
}

func (s *brittle) set(fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

type poisonTx struct {
	store.Tx
	keys map[string]bool
}

func (w *poisonTx) Put(b store.Bucket, key, value []byte) {
	if w.keys == nil {
		w.keys = map[string]bool{}
	}
	w.keys[string(key)] = true
	w.Tx.Put(b, key, value)
}

// rig is a loop over a memory store with a real identity in it.
type rig struct {
	*loop
	store     *brittle
	performed []*result // guarded by mu
	loads     int
	mu        sync.Mutex
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{store: &brittle{Store: store.NewMemory()}}
	rng := rand.NewChaCha8([32]byte{1})
	err := r.store.Update(func(tx store.Tx) error {
		turn := &node.Turn{Now: time.Now(), Rand: rng, Tx: tx, Out: &node.Effects{}}
		return node.Create(turn, node.CreateParams{Root: identity.NewRootFromSeed([32]byte{1}), Name: "Ada", DeviceName: "desk"})
	})
	if err != nil {
		t.Fatal(err)
	}
	r.loop = newLoop(r.store, time.Now, rng, slog.New(slog.DiscardHandler))
	r.loop.load = func(turn *node.Turn) (*node.Engine, error) {
		r.mu.Lock()
		r.loads++
		r.mu.Unlock()
		return node.Load(turn, node.Config{})
	}
	r.loop.perform = func(res *result) []call {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.performed = append(r.performed, res)
		return nil
	}
	return r
}

func (r *rig) begin(t *testing.T) {
	t.Helper()
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	r.store.mu.Lock()
	r.store.commits = 0
	r.store.mu.Unlock()
	r.mu.Lock()
	r.performed = nil
	r.mu.Unlock()
}

func (r *rig) commits() int {
	synctest.Wait()
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	return r.store.commits
}

// row makes a call that writes one row and wants one lookup.
func row(key string) call {
	return call{fn: func(_ *node.Engine, t *node.Turn) error {
		t.Tx.Put(store.BucketMeta, []byte(key), []byte("x"))
		t.Out.Lookups = append(t.Out.Lookups, key)
		return nil
	}}
}

func (r *rig) has(key string) (there bool) {
	r.store.View(func(tx store.Tx) error {
		there = tx.Get(store.BucketMeta, []byte(key)) != nil
		return nil
	})
	return there
}

// lookups are those handed to the performers.
func (r *rig) lookups() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var keys []string
	for _, p := range r.performed {
		keys = append(keys, p.out.Lookups...)
	}
	return strings.Join(keys, " ")
}

// inLoop runs fn in virtual time with a running loop.
func inLoop(t *testing.T, fn func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.begin(t)
		fn(t, r)
		r.close()
	})
}

func TestWhatIsPresentSharesOneCommit(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		gate := make(chan struct{})
		r.post(call{fn: func(*node.Engine, *node.Turn) error { <-gate; return nil }}) // holds the loop as an fsync would
		synctest.Wait()
		var heard sync.WaitGroup
		for i := range 100 {
			heard.Add(1)
			c := row(string(rune('a' + i)))
			c.after = func(error) { heard.Done() }
			r.post(c)
		}
		close(gate)
		heard.Wait()
		if n := r.commits(); n != 1 {
			t.Errorf("%d commits for 100 inputs that were present", n)
		}
		for range 5 { // the control: alone each has its own
			r.do(t.Context(), row("alone"))
		}
		if n := r.commits(); n != 6 {
			t.Errorf("%d commits, want 6", n)
		}
	})
}

func TestNothingLeavesBeforeTheDiskKnowsIt(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		r.loop.perform = func(res *result) []call {
			for _, key := range res.out.Lookups {
				if !r.has(key) && !strings.HasPrefix(key, "/kith-") { // those are the engine's own
					t.Errorf("the effect of %q was performed before its commit", key)
				}
			}
			r.performed = append(r.performed, res)
			return nil
		}
		if err := r.do(t.Context(), row("good")); err != nil {
			t.Fatal(err)
		}
		r.store.set(errors.New("write error"))
		if err := r.do(t.Context(), row("lost")); !errors.Is(err, ErrCannotStore) {
			t.Errorf("the caller heard %v", err)
		}
		synctest.Wait()
		if got := r.lookups(); !strings.Contains(got, "good") || strings.Contains(got, "lost") {
			t.Errorf("performed: %q", got)
		}
		if r.has("lost") {
			t.Error("the row of a failed commit is there")
		}
	})
}

func TestAFailedCommitLoadsTheEngineAgain(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		r.store.poison = "bad"
		var before, after *node.Engine
		r.do(t.Context(), call{look: func(_ store.Tx, e *node.Engine, _ time.Time) error { before = e; return nil }})
		r.do(t.Context(), row("good")) // the control: success keeps it
		if r.loads != 1 {
			t.Errorf("%d loads after a good commit", r.loads)
		}
		r.do(t.Context(), row("bad"))
		r.do(t.Context(), call{look: func(_ store.Tx, e *node.Engine, _ time.Time) error { after = e; return nil }})
		if r.loads != 2 || before == after || after == nil {
			t.Errorf("%d loads; the engine ahead of the disk is still in use: %v", r.loads, before == after)
		}
	})
}

func TestOneBadInputFailsAlone(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		r.store.poison = "bad"
		gate := make(chan struct{})
		r.post(call{fn: func(*node.Engine, *node.Turn) error { <-gate; return nil }})
		synctest.Wait()
		heard := map[string]error{}
		var wg sync.WaitGroup
		for _, key := range []string{"one", "bad", "two"} {
			wg.Add(1)
			c := row(key)
			c.after = func(err error) { heard[key] = err; wg.Done() }
			r.post(c)
		}
		close(gate)
		wg.Wait()
		if heard["one"] != nil || heard["two"] != nil || !r.has("one") || !r.has("two") {
			t.Errorf("innocent inputs failed: %v", heard)
		}
		if !errors.Is(heard["bad"], errPoison) || r.has("bad") {
			t.Errorf("the bad one: %v", heard["bad"])
		}
	})
}

func TestAFullDiskKeepsTheNodeUpAndRecovers(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		r.store.set(boltstore.ErrFull)
		for range 3 {
			err := r.do(t.Context(), row("lost"))
			if !errors.Is(err, ErrCannotStore) || !strings.Contains(err.Error(), boltstore.ErrFull.Error()) {
				t.Errorf("the caller heard %v", err)
			}
		}
		if r.stuck.Load() == nil {
			t.Error("the node does not say that it cannot store")
		}
		look := func() error {
			return r.do(t.Context(), call{look: func(tx store.Tx, _ *node.Engine, _ time.Time) error {
				_, err := node.Identity(tx)
				return err
			}})
		}
		if err := look(); err != nil {
			t.Errorf("reading: %v", err)
		}
		if err := r.do(t.Context(), call{fn: func(e *node.Engine, _ *node.Turn) error {
			if e == nil {
				t.Error("no engine")
			}
			return nil
		}}); err != nil {
			t.Errorf("a turn that only reads: %v", err)
		}
		rest(t.Context(), time.Hour) // stays up, and does not give up
		if err := look(); err != nil {
			t.Errorf("reading after an hour: %v", err)
		}
		r.store.set(nil)
		rest(t.Context(), stuckMax+time.Second)
		if r.stuck.Load() != nil {
			t.Error("space is back and the node has not noticed")
		}
		if err := r.do(t.Context(), row("kept")); err != nil || !r.has("kept") {
			t.Errorf("after space returned: %v", err)
		}
	})
}

func TestReadingCostsNoCommit(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		for range 10 {
			r.do(t.Context(), call{look: func(store.Tx, *node.Engine, time.Time) error { return nil }})
			r.do(t.Context(), call{fn: func(*node.Engine, *node.Turn) error { return nil }})
		}
		if n := r.commits(); n != 0 {
			t.Errorf("%d commits for reads", n)
		}
		r.do(t.Context(), row("written")) // the control
		if n := r.commits(); n != 1 {
			t.Errorf("%d commits for a write", n)
		}
	})
}

func TestLazyInputsWaitForCompany(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		lazy := func(key string) call { c := row(key); c.lazy = true; return c }
		for _, key := range []string{"a", "b", "c"} {
			r.post(lazy(key))
			rest(t.Context(), time.Millisecond)
		}
		r.do(t.Context(), row("urgent"))
		if n := r.commits(); n != 1 || !r.has("a") || !r.has("c") {
			t.Errorf("%d commits, want all in one", n)
		}
		began := time.Now()
		r.postWait(row("control").fn) // what is not lazy does not wait
		if took := time.Since(began); took > lazyWait/2 {
			t.Errorf("waited %v", took)
		}
		r.post(lazy("d"))
		rest(t.Context(), 2*lazyWait)
		if !r.has("d") {
			t.Error("a lazy input without company was never run")
		}
	})
}

func TestAFloodOfInputsKeepsNoCallerOut(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		slow := call{fn: func(*node.Engine, *node.Turn) error { rest(context.Background(), time.Millisecond); return nil }}
		flood, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for flood.Err() == nil {
					r.post(slow)
				}
			})
		}
		rest(t.Context(), time.Second)
		began := time.Now()
		if err := r.do(t.Context(), row("mine")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*maxBatch*time.Millisecond {
			t.Errorf("a caller waited %v behind %d queued inputs", took, maxInputs)
		}
		stop()
		wg.Wait()
	})
}

func TestATickThatCannotBeStoredStopsNobody(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		r.store.mu.Lock()
		r.store.only = "mine"
		r.store.mu.Unlock()
		rest(t.Context(), 30*time.Hour) // the engine's timer is due and touches a damaged row
		if err := r.do(t.Context(), row("mine 1")); err != nil || !r.has("mine 1") {
			t.Errorf("an innocent call: %v", err)
		}
		r.store.mu.Lock()
		r.store.tried = 0
		r.store.mu.Unlock()
		rest(t.Context(), time.Hour)
		r.store.mu.Lock()
		tried := r.store.tried
		r.store.mu.Unlock()
		if tried == 0 || tried > 3*int(time.Hour/stuckMax) {
			t.Errorf("%d transactions in an hour", tried)
		}
		if err := r.do(t.Context(), row("other")); !errors.Is(err, errPoison) { // the control
			t.Errorf("a row that cannot be stored: %v", err)
		}
	})
}

func TestACallerThatGaveUpBlocksNobody(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r.do(ctx, row("whatever"))
		if err := r.do(t.Context(), row("next")); err != nil {
			t.Error(err)
		}
	})
}

// What a call writes is its caller's when the call has returned, and never after: a caller that goes while its call runs
// waits for it, and a call whose caller has gone is not run at all.
func TestACallEndsBeforeItsCallerGoes(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		wrote := 0
		if err := r.do(ctx, call{fn: func(*node.Engine, *node.Turn) error {
			cancel()
			synctest.Wait() // a caller that did not wait would be gone now
			wrote++
			return nil
		}}); err != nil || wrote != 1 {
			t.Errorf("%v, written %d times", err, wrote)
		}

		hold, late := make(chan struct{}), 0
		go func() {
			_ = r.do(t.Context(), call{fn: func(*node.Engine, *node.Turn) error { <-hold; return nil }})
		}()
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			gone <- r.do(ctx, call{fn: func(*node.Engine, *node.Turn) error { late++; return nil }})
		}()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(hold)
		if err := r.do(t.Context(), row("next")); err != nil || late != 0 {
			t.Errorf("%v; run %d times after its caller had gone", err, late)
		}
	})
}

func TestCloseAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.begin(t)
		gate := make(chan struct{})
		r.post(call{fn: func(*node.Engine, *node.Turn) error { <-gate; return nil }})
		synctest.Wait()
		answers := make(chan error, 64)
		for range 20 {
			go func() { answers <- r.do(t.Context(), row("late")) }()
			go func() { answers <- r.postWait(row("late").fn) }()
		}
		synctest.Wait()
		close(gate)
		r.close()
		for range 40 {
			if err := <-answers; err != nil && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
		if err := r.do(t.Context(), row("later")); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestTheEnginesTimerRuns(t *testing.T) {
	inLoop(t, func(t *testing.T, r *rig) {
		last := func() (at time.Time) {
			r.do(t.Context(), call{look: func(store.Tx, *node.Engine, time.Time) error { at = r.lastTick; return nil }})
			return at
		}
		before := last()
		rest(t.Context(), 30*24*time.Hour)
		if !last().After(before) {
			t.Error("no tick in 30 days")
		}
	})
}
