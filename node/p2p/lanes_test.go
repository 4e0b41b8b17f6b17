package p2p

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stuckAnd runs a job that never ends in lane stuck and one in lane other, and
// reports whether the second ran within a minute.
func stuckAnd(t *testing.T, stuck, other string) (ran bool) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1, 8, 8)
		l.submit(stuck, func(ctx context.Context) { <-ctx.Done() })
		var done atomic.Bool
		l.submit(other, func(context.Context) { done.Store(true) })
		rest(t.Context(), time.Minute)
		ran = done.Load()
		l.close()
	})
	return ran
}

func TestAStuckPeerHoldsUpNobodyElse(t *testing.T) {
	if !stuckAnd(t, "a", "b") {
		t.Error("the other lane waited")
	}
	if stuckAnd(t, "a", "a") {
		t.Error("control: in one lane the second job should have waited")
	}
}

func TestLanesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(2, 3, 2)
		hold := func(ctx context.Context) { <-ctx.Done() }
		for i := range 5 { // two run, three wait
			if !l.submit("a", hold) {
				t.Fatalf("job %d was refused", i)
			}
			synctest.Wait()
		}
		if l.submit("a", hold) {
			t.Error("a lane took more than its depth")
		}
		if !l.submit("b", hold) {
			t.Error("a full lane kept another out")
		}
		if l.submit("c", hold) {
			t.Error("more lanes than the limit")
		}
		l.close()
		if l.submit("a", hold) {
			t.Error("closed lanes took a job")
		}
	})
}

func TestEveryJobTakenAnswersAlsoAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1, 100, 1)
		var answers, ended atomic.Int32
		for range 50 {
			l.submit("a", func(ctx context.Context) {
				rest(ctx, time.Hour)
				if ctx.Err() != nil {
					ended.Add(1)
				}
				answers.Add(1)
			})
		}
		rest(t.Context(), 90*time.Minute)
		l.close()
		if answers.Load() != 50 || ended.Load() != 49 {
			t.Errorf("%d of 50 jobs answered, %d with an ended context", answers.Load(), ended.Load())
		}
	})
}

func TestALaneKeepsItsOrderAndLeavesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes(1, 100, 1)
		var got []int
		for i := range 20 {
			l.submit("a", func(context.Context) { got = append(got, i) })
		}
		synctest.Wait()
		for i, g := range got {
			if g != i {
				t.Fatalf("order %v", got)
			}
		}
		l.mu.Lock()
		left := len(l.m)
		l.mu.Unlock()
		if len(got) != 20 || left != 0 {
			t.Errorf("%d jobs ran, %d lanes left", len(got), left)
		}
		l.close()
	})
}

func TestPaceSlowsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(100, 50)
		began := time.Now()
		for range 250 {
			p.wait(t.Context())
		}
		if d := time.Since(began); d < 1900*time.Millisecond || d > 2100*time.Millisecond {
			t.Errorf("250 tokens took %v, want about 2 s: 50 at once, 200 at 100 per second", d)
		}
		rest(t.Context(), time.Hour)
		began = time.Now()
		for range 50 {
			p.wait(t.Context())
		}
		if d := time.Since(began); d > 20*time.Millisecond {
			t.Errorf("a rested bucket waited %v", d)
		}
	})
}

func TestBackOffGrowsToItsLimit(t *testing.T) {
	longest := func(failures int) (d time.Duration) {
		for range 200 {
			d = max(d, fullJitter(time.Second, time.Minute, failures))
		}
		return d
	}
	if d := longest(0); d > 2*time.Second {
		t.Errorf("first pause %v", d)
	}
	for _, failures := range []int{6, 30, 1000} {
		if d := longest(failures); d < 30*time.Second || d > 61*time.Second {
			t.Errorf("after %d failures at most %v, want about a minute", failures, d)
		}
	}
}

// Who knows all relays that there are hardly looks for more; while there are more each time, the control, it goes on.
func TestTheSearchForRelaysComesToRest(t *testing.T) {
	looks := func(more int) (n int) {
		s, known, next := &scout{}, 3, time.Duration(0)
		for at := time.Duration(0); at < 2*time.Hour; at += advertSweep {
			if at >= next {
				n++
				known += more
				next = at + s.rarer(known, at > 0)
			}
		}
		return n
	}
	if n := looks(0); n != 2 {
		t.Errorf("%d looks in the first two hours", n)
	}
	if n := looks(1); n < 5 {
		t.Errorf("control: %d looks", n)
	}
}
