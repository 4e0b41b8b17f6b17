package upkeep

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

// stallers are relays that answer nothing and keep whoever asks waiting. Whoever
// leases boxes at victim names them, fifteen a box: keys cost nothing.
func (w *town) stallers(victim *node, n int) {
	w.t.Helper()
	all := make([]*node, n)
	for i := range all {
		s := &node{town: w, key: mailboxtest.Key(1000 + i), store: newLocked(), hang: true}
		s.peer = dht.Peer{ID: dht.PeerFromKey(s.key.Public().(ed25519.PublicKey))}
		s.rules = mailbox.NewRelay(s.key, mailbox.Limits{NoWork: true})
		w.mu.Lock()
		w.nodes[string(s.peer.ID)] = s
		w.mu.Unlock()
		all[i] = s
	}
	box := 100
	for run := range slices.Chunk(all, 15) {
		w.open(box, 1, 0, append([]*node{victim}, run...)...)
		box++
	}
}

// Who stalls holds up its like, and no relay that answers.
func TestStalledVisitsHoldUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, all := newTown(t, 3, 0)
		elapse(2 * time.Hour)
		w.stallers(all[0], 60)
		elapse(30 * time.Minute)
		scatter(10, all[1])
		elapse(90 * time.Minute)
		if !full(10, all[0]) {
			t.Errorf("the relay holds %d of 10: others stall its repair", len(all[0].texts()))
		}
	})
}

// A relay whose others stall hands over to those who answer.
func TestStallsDoNotHoldUpADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, all := newTown(t, 3, 0)
		w.stallers(all[0], 60)
		for box := range 4 { // something to hand over that nobody takes
			all[0].must(all[0].store.Do(t.Context(), func(tx mailbox.Tx) error {
				_, err := all[0].rules.Deposit(tx, time.Now(), mailbox.Deposit{
					Box: mailboxtest.Box(100 + box), Envelope: []byte("held"), Expires: time.Now().Add(29 * 24 * time.Hour),
				})
				return err
			}))
		}
		scatter(10, all[0])
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		var last Progress
		err := all[0].drain(ctx, func(p Progress) { last = p })
		if !errors.Is(err, context.DeadlineExceeded) || last.Done != 1 || last.Left != 4 {
			t.Errorf("%+v, %v", last, err)
		}
	})
}

// An offer names boxes, and only they are looked at.
func TestOffersAreCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 2, 0)
		elapse(time.Minute)
		walks := func() int {
			all[0].store.mu.Lock()
			defer all[0].store.mu.Unlock()
			return all[0].store.walks
		}
		before := walks()
		for range 1000 {
			all[0].upkeep.Offered([]byte("somebody"), []mailbox.ID{mailboxtest.Box(77)})
			elapse(time.Millisecond)
		}
		if got := walks() - before; got > 2 {
			t.Errorf("a thousand offers: %d times through all boxes", got)
		}
	})
}

// The boxes of a store that nobody writes to are hardly ever gone through, and soon where somebody does.
func TestAStoreAtRestIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 3, 0)
		elapse(2 * time.Hour)
		n := all[0]
		during := func(d time.Duration) int {
			walks := func() int {
				n.store.mu.Lock()
				defer n.store.mu.Unlock()
				return n.store.walks
			}
			before := walks()
			elapse(d)
			return walks() - before
		}
		if got := during(time.Hour); got > 10 {
			t.Errorf("gone through %d times in an hour of rest", got)
		}
		n.deposit("news")
		if got := during(6 * time.Second); got == 0 {
			t.Error("nobody looks at what is new")
		}
		n.store.mu.Lock()
		n.store.uncounted = true
		n.store.mu.Unlock()
		if got := during(time.Hour); got < 600 {
			t.Errorf("control: %d times where nobody counts", got)
		}
	})
}

// A look that failed saw nothing of what was written: the next comes as soon as ever.
func TestALookThatFailsIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 3, 0)
		elapse(2 * time.Hour)
		n := all[0]
		breaks := func(err error) (walks int) {
			n.store.mu.Lock()
			defer n.store.mu.Unlock()
			n.store.broken = err
			return n.store.walks
		}
		breaks(errAway)
		n.deposit("news")
		elapse(20 * time.Second)
		before := breaks(nil)
		elapse(6 * time.Second)
		if breaks(nil) == before {
			t.Error("nobody looks at what is new")
		}
		after := breaks(nil)
		elapse(time.Minute)
		if breaks(nil) != after {
			t.Error("control: nor is the store left alone")
		}
	})
}
