package upkeep

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scatter deposits texts, one at each member in turn.
func scatter(n int, members ...*node) {
	for i, text := range texts(n) {
		members[i%len(members)].deposit(text)
	}
}

func full(n int, of *node) bool { return slices.Equal(of.texts(), texts(n)) }

func TestRoundsCompleteMembersAndRefillAWipedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 5, 2)
		scatter(100, all[:3]...)
		elapse(4 * time.Hour)
		for i, n := range all {
			if full(100, n) != (i < 3) {
				t.Errorf("relay %d holds %d", i, len(n.texts()))
			}
		}
		all[0].mu.Lock()
		if all[0].news == 0 || all[4].news > 0 {
			t.Errorf("told of copies %d times; a standby without any %d times", all[0].news, all[4].news)
		}
		all[0].mu.Unlock()
		if s := all[0].upkeep.Stats(); s.Adopted < 60 || s.Rounds < 8 || s.Deficit != 0 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		all[1].down()
		all[1].store = newLocked()
		elapse(time.Hour)
		all[1].back()
		elapse(5 * time.Minute) // a connection is enough to be looked after
		if !full(100, all[1]) {
			t.Errorf("the wiped relay holds %d", len(all[1].texts()))
		}
	})
}

func TestAStandbyTakesOverFromTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 5, 2)
		scatter(20, all[:3]...)
		elapse(2 * time.Hour)
		all[2].down()
		elapse(15 * time.Hour)
		if !full(20, all[3]) || len(all[4].texts()) > 0 {
			t.Errorf("the standbys hold %d and %d", len(all[3].texts()), len(all[4].texts()))
		}
		if s := all[3].upkeep.Stats(); s.Took != 1 || s.Lost != 1 || s.Deficit != 1 || s.Failed == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A clock that jumped is believed with three witnesses, not with two.
func TestABrakedClockIsHeldAgainstOthers(t *testing.T) {
	for relays, braked := range map[int]bool{3: true, 4: false} {
		synctest.Test(t, func(t *testing.T) {
			_, all := newTown(t, relays, 0)
			n := all[0]
			elapse(time.Second) // it has looked at its clock for now
			tick := func(at time.Time) {
				n.must(n.store.Do(t.Context(), func(tx mailbox.Tx) error { _, err := n.rules.Tick(tx, at); return err }))
			}
			tick(time.Now().Add(-20 * 24 * time.Hour)) // it slept for twenty days
			tick(time.Now())
			if !n.upkeep.Stats().Braked {
				t.Fatal("control: nothing brakes")
			}
			elapse(10 * time.Minute)
			if got := n.upkeep.Stats().Braked; got != braked {
				t.Errorf("with %d other relays: braked %t", relays-1, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // and a clock that is wrong stays braked
		_, all := newTown(t, 4, 0)
		n := all[0]
		n.must(n.store.Do(t.Context(), func(tx mailbox.Tx) error { _, err := n.rules.Tick(tx, time.Now()); return err }))
		n.down()
		n.skew = 31 * 24 * time.Hour
		n.back()
		n.must(n.store.Do(t.Context(), func(tx mailbox.Tx) error { _, err := n.rules.Tick(tx, time.Now().Add(n.skew)); return err }))
		elapse(time.Hour)
		if !n.upkeep.Stats().Braked {
			t.Error("four clocks against one, and the one is believed")
		}
	})
}

func TestScrubHealsFromCoMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 3, 0)
		scatter(9, all...)
		n := all[0]
		n.down()
		n.scrub = func(context.Context) (int, []Spoilt, error) {
			n.store.mu.Lock()
			defer n.store.mu.Unlock()
			var out []Spoilt
			for id := range n.store.rotten {
				out = append(out, Spoilt{mailboxtest.Box(1), id})
			}
			return 9, out, nil
		}
		n.back()
		elapse(40 * time.Minute)
		n.store.mu.Lock()
		for _, text := range texts(9)[2:5] {
			n.store.rotten[mailbox.EnvelopeIDOf([]byte(text))] = true
		}
		n.store.mu.Unlock()
		if len(n.texts()) != 6 {
			t.Fatal("control: nothing is spoilt")
		}
		elapse(time.Hour) // the first scrub comes by itself
		s := n.upkeep.Stats()
		if !full(9, n) || s.Damaged != 3 || s.Healed != 3 || s.Unhealed != 0 || s.ScrubbedAt.IsZero() {
			t.Errorf("holds %d; %+v", len(n.texts()), s)
		}
		if checked, damaged, healed, err := n.upkeep.Scrub(t.Context()); checked != 9 || damaged+healed != 0 || err != nil {
			t.Errorf("again: %d %d %d %v", checked, damaged, healed, err)
		}
		for _, away := range all[1:] {
			away.down()
		}
		n.store.mu.Lock()
		for _, text := range texts(9)[2:5] {
			n.store.rotten[mailbox.EnvelopeIDOf([]byte(text))] = true
		}
		n.store.mu.Unlock()
		before := n.asked(all[1], all[2])
		if _, damaged, healed, err := n.upkeep.Scrub(t.Context()); damaged != 3 || healed != 0 || err != nil {
			t.Errorf("nobody there: %d %d %v", damaged, healed, err)
		}
		if s := n.upkeep.Stats(); s.Unhealed != 3 {
			t.Errorf("nobody there: %+v", s)
		}
		if asks := n.asked(all[1], all[2]) - before; asks != 2 {
			t.Errorf("two relays that are away were asked %d times", asks)
		}
	})
}

func TestDrainHandsEverythingOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 5, 2)
		scatter(20, all[:3]...)
		elapse(4 * time.Hour)
		all[0].deposit(texts(21)[20]) // only here
		var last Progress
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
		defer cancel()
		if err := all[0].drain(ctx, func(p Progress) { last = p }); err != nil || last != (Progress{Boxes: 1, Done: 1}) {
			t.Fatalf("%+v, %v", last, err)
		}
		for i := 1; i < 4; i++ {
			if !full(21, all[i]) {
				t.Errorf("relay %d holds %d", i, len(all[i].texts()))
			}
		}
		reserve := func() error {
			return all[0].store.Do(t.Context(), func(tx mailbox.Tx) error {
				sig := mailbox.SignRequest(mailboxtest.Key(7), all[0].peer.ID, mailbox.VerbReserve, nil)
				return all[0].rules.Reserve(tx, time.Now(), mailboxtest.Key(7).Public().(ed25519.PublicKey), sig)
			})
		}
		if err := reserve(); err == nil {
			t.Error("a relay that leaves takes new boxes")
		}
		if err := errors.Join(all[0].upkeep.Stay(t.Context()), reserve()); err != nil {
			t.Errorf("it stays: %v", err)
		}
	})
}

func TestDrainSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 3, 0)
		scatter(5, all[0])
		all[1].down()
		elapse(time.Minute)
		var passes int
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := all[0].drain(ctx, func(p Progress) {
			if passes++; p.Left != 1 {
				t.Errorf("%+v", p)
			}
		})
		if !errors.Is(err, context.DeadlineExceeded) || passes < 30 {
			t.Errorf("%d passes, %v", passes, err)
		}
	})
}

// Mail that no other relay is named for is left, also when the record that would name them is
// spoilt; the control has nothing to leave.
func TestDrainOfTheOnlyRelayLeavesItsMail(t *testing.T) {
	for name, c := range map[string]struct {
		spoilt bool
		mail   int
	}{"alone": {mail: 3}, "record spoilt": {spoilt: true, mail: 3}, "control: nothing held": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, all := newTown(t, 1, 0)
				scatter(c.mail, all...)
				if c.spoilt {
					_ = all[0].store.Do(t.Context(), func(tx mailbox.Tx) error {
						return tx.PutSet(mailbox.IDOf(mailboxtest.Key(1).Public().(ed25519.PublicKey)), []byte("spoilt"))
					})
				}
				var last Progress
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				err := all[0].drain(ctx, func(p Progress) { last = p })
				if want := min(c.mail, 1); last.Left != want || (err != nil) != (want > 0) {
					t.Errorf("%+v, %v", last, err)
				}
			})
		})
	}
}

// A relay that hangs keeps a drain from no other; a store that fails ends it.
func TestDrainGoesOnPastWhoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 3, 0)
		scatter(5, all[0])
		elapse(time.Minute)
		all[1].mu.Lock()
		all[1].hang = true
		all[1].mu.Unlock()
		passes := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := all[0].drain(ctx, func(Progress) { passes++ })
		if !errors.Is(err, context.DeadlineExceeded) || passes < 3 || !full(5, all[2]) {
			t.Errorf("%d passes, %v; the other holds %d", passes, err, len(all[2].texts()))
		}
		all[0].store.mu.Lock()
		all[0].store.broken = mailbox.ErrClosed
		all[0].store.mu.Unlock()
		if err := all[0].drain(t.Context(), func(Progress) {}); !errors.Is(err, mailbox.ErrClosed) {
			t.Errorf("with a store that fails: %v", err)
		}
		all[0].store.mu.Lock()
		all[0].store.broken = nil
		all[0].store.mu.Unlock()
	})
}

// Close ends what hangs: a visit, a drain and a scrub.
func TestCloseEndsWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newTown(t, 2, 0)
		scatter(2, all...)
		elapse(time.Minute)
		all[1].mu.Lock()
		all[1].hang = true
		all[1].mu.Unlock()
		ended := make(chan error, 1)
		go func() { ended <- all[0].drain(t.Context(), func(Progress) {}) }()
		elapse(2 * time.Hour)
		begin := time.Now()
		_ = all[0].upkeep.Close()
		if err := <-ended; err == nil || time.Since(begin) > 0 {
			t.Errorf("ended after %v with %v", time.Since(begin), err)
		}
	})
}

func TestGossipIsFreshAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, all := newTown(t, 2, 0)
		u := all[0].upkeep
		if got := New(u.cfg).Gossip(); len(got) != 0 {
			t.Errorf("serves %d before it met anybody", len(got))
		}
		for i := range 100 {
			n := &node{town: w, key: mailboxtest.Key(100 + i)}
			n.peer.ID = mailbox.NewRelay(n.key, mailbox.Limits{}).Peer()
			a, err := n.advert(1, time.Time{})
			w.must(err)
			u.Met(a)
			u.Met(a)
		}
		own, err := all[0].advert(9, time.Time{})
		w.must(err)
		u.Met(own)
		if got := len(u.Gossip()); got != MaxGossip {
			t.Errorf("serves %d", got)
		}
		if got := len(u.met.any(time.Now(), 1000, u.cfg.Rand)); got != MaxMet {
			t.Errorf("remembers %d", got)
		}
		seen := map[string]bool{}
		for range 40 {
			for _, raw := range u.Gossip() {
				seen[fmt.Sprintf("%x", raw)] = true
			}
		}
		if len(seen) < 40 {
			t.Errorf("serves the same %d always", len(seen))
		}
		elapse(90 * time.Minute) // they are over; the co-member's own was met since
		if got := len(u.Gossip()); got != 1 {
			t.Errorf("serves %d when all but one are over", got)
		}
	})
}
