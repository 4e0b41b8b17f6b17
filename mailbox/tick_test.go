package mailbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func TestFetchHidesAtTheMillisecond(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.leave(1, "short", 10*time.Second)
	w.leave(1, "long", 20*time.Second)
	w.now = t0.Add(10*time.Second - time.Millisecond)
	if got := w.fetch(1); len(got) != 2 {
		t.Errorf("a millisecond before: %q", got)
	}
	w.now = t0.Add(10 * time.Second)
	if got := w.fetch(1); !slices.Equal(got, []string{"long"}) {
		t.Errorf("at the expiry: %q", got)
	}
}

func TestEnvelopeLivesToDayThirtyAndLeavesNothing(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "old", mailbox.MaxTTL)
	w.leave(1, "acked", mailbox.MaxTTL)
	wantCode(t, w.ack(1, "acked"), 0)
	w.run(29*day + 21*hour)
	if got := w.fetch(1); len(got) != 1 {
		t.Errorf("day 29.9: %q", got)
	}
	w.run(5 * hour)
	if got := w.fetch(1); len(got) != 0 {
		t.Errorf("day 30.1: %q", got)
	}
	w.run(day)
	if got := w.total(); got != (mailbox.Usage{Boxes: 1}) {
		t.Errorf("day 31.1: %+v left", got)
	}
	w.run(14 * day)
	if got := w.total(); got != (mailbox.Usage{}) { // no mail of the lease's time can live any more
		t.Errorf("day 45.1: %+v left", got)
	}
}

func TestAckForgetsAndTombstonesHoldTillExpiry(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	for _, text := range []string{"a", "b", "c"} {
		w.leave(1, text, 2*day)
	}
	wantCode(t, w.ack(1, "a", "unknown", "c", "a"), 0)
	if got := w.fetch(1); !slices.Equal(got, []string{"b"}) {
		t.Errorf("fetched %q", got)
	}
	if got := w.total(); got.Count != 1 || got.Tombs != 2 || got.Bytes != 1 {
		t.Errorf("holds %+v", got)
	}
	w.run(4 * day)
	if got := w.total(); got.Tombs != 0 || got.Count != 0 {
		t.Errorf("left %+v", got)
	}
}

func TestAckWantsTheBoxKeyForThisRelay(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.leave(1, "a", day)
	ids := []mailbox.EnvelopeID{mailbox.EnvelopeIDOf([]byte("a"))}
	content := mailbox.AckContent(ids)
	good := mailbox.SignRequest(mailboxtest.Key(1), w.relay.Peer(), mailbox.VerbAck, content)
	many := make([]mailbox.EnvelopeID, mailbox.MaxAckIDs+1)
	for name, c := range map[string]struct {
		box int
		ids []mailbox.EnvelopeID
		sig []byte
	}{
		"another box":   {2, ids, good},
		"another relay": {1, ids, mailbox.SignRequest(mailboxtest.Key(1), peer(90).ID, mailbox.VerbAck, content)},
		"another verb":  {1, ids, mailbox.SignRequest(mailboxtest.Key(1), w.relay.Peer(), mailbox.VerbCollect, content)},
		"other ids":     {1, append(ids[:1:1], mailbox.EnvelopeID{1}), good},
		"no ids":        {1, nil, mailbox.SignRequest(mailboxtest.Key(1), w.relay.Peer(), mailbox.VerbAck, nil)},
		"too many":      {1, many, mailbox.SignRequest(mailboxtest.Key(1), w.relay.Peer(), mailbox.VerbAck, mailbox.AckContent(many))},
		"no signature":  {1, ids, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.do(func(tx mailbox.Tx) error {
				return w.relay.Ack(tx, w.now, pub(mailboxtest.Key(c.box)), c.ids, c.sig)
			})
			wantCode(t, err, mailbox.Malformed)
		})
	}
	if got := w.fetch(1); len(got) != 1 {
		t.Error("a bad ack removed mail")
	}
}

// TestNothingIsDeletedUnderClockJumps is the promise; the control below shows
// that the same jump without the brake deletes.
func TestNothingIsDeletedUnderClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": 31 * day, "back": -31 * day, "two hours": 2 * hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mailbox.Limits{})
			w.lease(1, epoch)
			w.tick(0)
			w.leave(1, "keep", 5*day)
			right := w.now
			w.tick(jump)
			w.run(23 * hour)
			w.now = right.Add(23 * hour) // somebody sets the clock right
			w.run(hour)
			if got := w.fetch(1); len(got) != 1 {
				t.Errorf("lost %q", got)
			}
		})
	}
}

func TestControlWithoutTheBrakeAJumpDeletes(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "keep", 5*day)
	wrong := w.now.Add(31 * day)
	err := w.do(func(tx mailbox.Tx) error { return tx.SetClock(mailbox.Clock{Trusted: wrong}) })
	if err != nil {
		t.Fatal(err)
	}
	w.tick(0)
	if got := w.total(); got.Count != 0 {
		t.Error("the jump was believed and nothing was deleted: the test above shows nothing")
	}
}

func TestJumpIsBelievedAfterADayOfEvenRunning(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "expires while the relay sleeps", day)
	if s := w.tick(10 * day); !s.Braked || s.Envelopes != 0 {
		t.Errorf("at the start: %+v", s)
	}
	if got := w.fetch(1); len(got) != 0 {
		t.Errorf("fetch shows an expired envelope: %q", got)
	}
	if s := w.run(23 * hour); s.Envelopes != 0 {
		t.Errorf("within the day: %+v", s)
	}
	if s := w.run(2 * hour); s.Envelopes != 1 {
		t.Errorf("after the day: %+v", s)
	}
}

func TestAnotherJumpStartsTheDayAnew(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "keep", 5*day)
	for range 10 {
		w.tick(31 * day)
		if s := w.run(20 * hour); s.Envelopes != 0 {
			t.Fatalf("deleted: %+v", s)
		}
	}
}

func TestOtherClocksLiftTheBrake(t *testing.T) {
	confirm := func(w *world, others ...time.Time) (ok bool) {
		_ = w.do(func(tx mailbox.Tx) (err error) { ok, err = w.relay.ConfirmClock(tx, w.now, others); return err })
		return ok
	}
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "expires", day)
	w.tick(10 * day)
	now := w.now
	if confirm(w, now, now) || confirm(w, now, t0, t0) || confirm(w) {
		t.Error("too few clocks, or wrong ones, were believed")
	}
	if !confirm(w, now.Add(hour/2), now, t0) {
		t.Error("three clocks, two of them right, were not believed")
	}
	if s := w.tick(time.Minute); s.Envelopes != 1 || s.Braked {
		t.Errorf("then %+v", s)
	}
}

// A wrong clock that runs evenly is believed after a day, unless others say every
// now and then that it is wrong: that is the difference between the two runs.
func TestOtherClocksHoldTheBrake(t *testing.T) {
	for name, asked := range map[string]bool{"asked": true, "control: nobody asked": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, mailbox.Limits{})
			w.lease(1, epoch)
			w.tick(0)
			w.leave(1, "keep", 5*day)
			w.tick(31 * day)
			for range 10 {
				right := w.now.Add(-31 * day)
				if asked {
					err := w.do(func(tx mailbox.Tx) error {
						ok, err := w.relay.ConfirmClock(tx, w.now, []time.Time{right, right, w.now})
						if ok {
							t.Error("believed")
						}
						return err
					})
					wantCode(t, err, 0)
				}
				w.run(6 * hour)
			}
			if kept := w.total().Count == 1; kept != asked {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

func TestClockGoingBackShowsNothingExpired(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	w.tick(0)
	w.leave(1, "gone", hour)
	w.run(2 * hour)
	w.now = t0
	if got := w.fetch(1); len(got) != 0 {
		t.Errorf("fetched %q", got)
	}
}

func TestFetchPages(t *testing.T) {
	w := newWorld(t, mailbox.Limits{})
	w.lease(1, epoch)
	for _, text := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
		w.leave(1, text, day)
	}
	for name, c := range map[string]struct {
		after       uint64
		count, size int
		want        int
		more        bool
	}{
		"all":            {0, 10, 100, 4, false},
		"exactly":        {0, 4, 16, 4, false},
		"by count":       {0, 3, 100, 3, true},
		"by size":        {0, 10, 11, 2, true},
		"at least one":   {0, 10, 1, 1, true},
		"from a cursor":  {3, 10, 100, 1, false},
		"past the end":   {4, 10, 100, 0, false},
		"count zero":     {0, 0, 100, 4, false},
		"count too high": {0, 1 << 30, 100, 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			_ = w.store.View(func(tx mailbox.Tx) error {
				items, more, err := w.relay.Fetch(tx, w.now, mailboxtest.Box(1), c.after, c.count, c.size)
				if len(items) != c.want || more != c.more || err != nil {
					t.Errorf("%d items, more %v, %v", len(items), more, err)
				}
				return nil
			})
		})
	}
}
