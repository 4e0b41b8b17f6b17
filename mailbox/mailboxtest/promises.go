package mailboxtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox"
)

func boxes(t *testing.T, open Open) {
	s, reopen := open(t)
	full := mailbox.Box{
		Number: 7, Core: [32]byte{1, 2}, Rank: 3, Member: true, FrontDoor: true,
		End: T0.Add(time.Hour), Reserved: T0.Add(time.Minute), Key: [32]byte{3, 4},
	}
	do(t, s, func(tx mailbox.Tx) error {
		return errors.Join(tx.PutBox(Box(1), full), tx.PutBox(Box(2), mailbox.Box{}),
			tx.PutSet(Box(1), []byte("set one")), tx.PutSet(Box(2), []byte("set two")), tx.DropBox(Box(2)))
	})
	for range 2 {
		_ = s.View(func(tx mailbox.Tx) error {
			got, known := tx.Box(Box(1))
			equal(t, "box", got, full)
			_, gone := tx.Box(Box(2))
			equal(t, "known", []bool{known, gone}, []bool{true, false})
			raw, err := tx.Set(Box(1))
			equal(t, "set", string(raw), "set one")
			raw, err2 := tx.Set(Box(2))
			equal(t, "dropped set", string(raw), "")
			return errors.Join(err, err2)
		})
		s = reopen()
	}
	add(t, s, [3]int{1, 1, 0})
	if s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.DropBox(Box(1)) }) == nil {
		t.Error("a box was dropped with its envelopes")
	}
	do(t, s, func(tx mailbox.Tx) error {
		if err := tx.PutBox(Box(3), mailbox.Box{Rank: 3}); err != nil {
			return err
		}
		var ids []mailbox.ID
		tx.EachBox(func(id mailbox.ID, _ mailbox.Box) bool { ids = append(ids, id); return true })
		if len(ids) != 2 || ids[0].String() > ids[1].String() {
			t.Errorf("boxes in the order %v", ids)
		}
		return nil
	})
}

func clock(t *testing.T, open Open) {
	s, reopen := open(t)
	want := mailbox.Clock{Trusted: T0, Held: T0.Add(time.Hour), Last: T0.Add(2 * time.Hour)}
	do(t, s, func(tx mailbox.Tx) error {
		err := tx.SetClock(want)
		equal(t, "inside", tx.Clock(), want)
		return err
	})
	for range 2 {
		_ = s.View(func(tx mailbox.Tx) error { equal(t, "clock", tx.Clock(), want); return nil })
		s = reopen()
	}
}

func undone(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0}, [3]int{1, 2, 1})
	do(t, s, func(tx mailbox.Tx) error {
		return errors.Join(tx.PutBox(Box(1), mailbox.Box{Number: 1}), tx.PutSet(Box(1), []byte("old")))
	})
	before := Look(t, s, 4, 4)
	err := s.Do(context.Background(), func(tx mailbox.Tx) error {
		e1, _ := Envelope(1, 0)
		e3, body := Envelope(3, 2)
		_, dropped := tx.DropDay(e1.Day() + 1)
		return errors.Join(tx.Bury(Box(1), e1.ID), tx.Add(Box(2), e3, body), dropped,
			tx.PutBox(Box(1), mailbox.Box{Number: 2}), tx.PutBox(Box(2), mailbox.Box{Number: 2}),
			tx.PutSet(Box(1), []byte("new")), tx.SetClock(mailbox.Clock{Trusted: T0}),
			addBy(tx, 3, 1, e3, body), tx.SetLeaving(T0), errUndo)
	})
	if !errors.Is(err, errUndo) {
		t.Errorf("Do returned %v", err)
	}
	for range 2 {
		equal(t, "state", Look(t, s, 4, 4), before)
		s = reopen()
	}
}

func readOnly(t *testing.T, open Open) {
	s, _ := open(t)
	add(t, s, [3]int{1, 1, 0})
	e, body := Envelope(1, 0)
	e2, body2 := Envelope(2, 0)
	writes := map[string]func(mailbox.Tx) error{
		"add":      func(tx mailbox.Tx) error { return tx.Add(Box(1), e2, body2) },
		"bury":     func(tx mailbox.Tx) error { return tx.Bury(Box(1), e.ID) },
		"drop day": func(tx mailbox.Tx) error { _, err := tx.DropDay(e.Day()); return err },
		"put box":  func(tx mailbox.Tx) error { return tx.PutBox(Box(1), mailbox.Box{}) },
		"drop box": func(tx mailbox.Tx) error { return tx.DropBox(Box(2)) },
		"put set":  func(tx mailbox.Tx) error { return tx.PutSet(Box(1), []byte("x")) },
		"mend":     func(tx mailbox.Tx) error { found, _ := tx.Find(Box(1), e.ID); return tx.Mend(Box(1), found, body) },
		"put pass": func(tx mailbox.Tx) error { return tx.PutPass(Box(1), certs[1][1]) },
		"leave":    func(tx mailbox.Tx) error { return tx.SetLeaving(T0) },
		"clock":    func(tx mailbox.Tx) error { return tx.SetClock(mailbox.Clock{Trusted: T0}) },
	}
	before := Look(t, s, 2, 3)
	for name, write := range writes {
		if err := s.View(write); !errors.Is(err, mailbox.ErrReadOnly) {
			t.Errorf("%s in a view: %v", name, err)
		}
	}
	equal(t, "state", Look(t, s, 2, 3), before)
}

// signed deposits through the rules: two in one transaction, so that one
// signature covers both.
func signed(t *testing.T, open Open) {
	s, _ := open(t)
	r := mailbox.NewRelay(Key(99), mailbox.Limits{NoWork: true})
	var receipts []*mailbox.Receipt
	do(t, s, func(tx mailbox.Tx) error {
		receipts = nil
		if err := tx.PutBox(Box(1), mailbox.Box{Member: true, Number: 4, End: T0.Add(time.Hour)}); err != nil {
			return err
		}
		for n := range 2 {
			_, body := Envelope(n, 0)
			c, err := r.Deposit(tx, T0, mailbox.Deposit{Box: Box(1), Envelope: body, Expires: T0.Add(time.Hour)})
			if err != nil {
				return err
			}
			if c.Sig != [64]byte{} {
				t.Error("a receipt was signed before the commit")
			}
			receipts = append(receipts, c)
		}
		return nil
	})
	for n, c := range receipts {
		e, _ := Envelope(n, 0)
		if err := c.Verify(r.Peer(), Box(1), e.ID); err != nil {
			t.Errorf("receipt %d: %v", n, err)
		}
	}
}

func cancelled(t *testing.T, open Open) {
	s, _ := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Do(ctx, func(tx mailbox.Tx) error { t.Error("ran"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Do returned %v", err)
	}
}

func leaving(t *testing.T, open Open) {
	s, reopen := open(t)
	at := T0.Add(time.Hour)
	for _, want := range []time.Time{at, {}} {
		do(t, s, func(tx mailbox.Tx) error { return tx.SetLeaving(want) })
		for range 2 {
			_ = s.View(func(tx mailbox.Tx) error { equal(t, "leaving", tx.Leaving(), want); return nil })
			s = reopen()
		}
	}
}

// passes checks that a certificate stays as long as an entry of its pass.
func passes(t *testing.T, open Open) {
	s, reopen := open(t)
	e1, body1 := Envelope(1, 0)
	e2, body2 := Envelope(2, 1)
	e3, body3 := Envelope(3, 0)
	do(t, s, func(tx mailbox.Tx) error {
		return errors.Join(tx.PutBox(Box(1), mailbox.Box{}), addBy(tx, 1, 1, e1, body1), addBy(tx, 1, 1, e2, body2),
			addBy(tx, 1, 2, e3, body3))
	})
	want := func(when string, shares ...Share) {
		t.Helper()
		for range 2 {
			_ = s.View(func(tx mailbox.Tx) error { equal(t, when, sharesOf(t, tx, 1), shares); return nil })
			s = reopen()
		}
	}
	one := mailbox.Usage{Count: 1, Bytes: 10}
	want("added", Share{1, true, mailbox.Usage{Count: 2, Bytes: 20}}, Share{2, true, one})
	do(t, s, func(tx mailbox.Tx) error { return errors.Join(tx.Bury(Box(1), e1.ID), tx.Bury(Box(1), e3.ID)) })
	want("buried", Share{1, true, mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10}}, Share{2, true, mailbox.Usage{Tombs: 1}})
	again, _ := Envelope(3, 1)
	do(t, s, func(tx mailbox.Tx) error { return addBy(tx, 1, 2, again, body3) })
	want("come again", Share{1, true, mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10}}, Share{2, true, one})
	do(t, s, func(tx mailbox.Tx) error { _, err := tx.DropDay(e1.Day()); return err })
	want("a day dropped", Share{1, true, one}, Share{2, true, one})
	do(t, s, func(tx mailbox.Tx) error {
		if _, err := tx.DropDay(e2.Day()); err != nil {
			return err
		}
		if left := sharesOf(t, tx, 1); left != nil {
			t.Errorf("inside: %v", left)
		}
		return errors.Join(tx.PutPass(Box(1), certs[1][2]), tx.DropBox(Box(1)))
	})
	want("all dropped")
}

// over checks what counts above the floors of boxes.
func over(t *testing.T, open Open) {
	s, reopen := open(t)
	e, body := Envelope(1, 0)
	e.Size = mailbox.BoxFloor - mailbox.EntryCost
	small, smallBody := Envelope(2, 1)
	do(t, s, func(tx mailbox.Tx) error { return errors.Join(tx.Add(Box(1), e, body), tx.Add(Box(2), e, body)) })
	want := func(when string, over uint64) {
		t.Helper()
		for range 2 {
			_ = s.View(func(tx mailbox.Tx) error { equal(t, when, tx.Total().Over, over); return nil })
			s = reopen()
		}
	}
	want("two boxes at their floors", 0)
	do(t, s, func(tx mailbox.Tx) error {
		err := tx.Add(Box(1), small, smallBody)
		equal(t, "inside", tx.Total().Over, uint64(mailbox.EntryCost+small.Size))
		return err
	})
	want("one above it", uint64(mailbox.EntryCost+small.Size))
	do(t, s, func(tx mailbox.Tx) error { return tx.Bury(Box(1), small.ID) })
	want("a tombstone above it", mailbox.EntryCost)
	do(t, s, func(tx mailbox.Tx) error { _, err := tx.DropDay(e.Day()); return err })
	want("all below", 0)
}

// mended checks that bytes put back are read, within the transaction and later.
func mended(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0})
	e, body := Envelope(1, 0)
	misuse := func(tx mailbox.Tx) error { return tx.Mend(Box(1), mailbox.Entry{ID: e.ID, Seq: 9}, body) }
	if s.Do(context.Background(), misuse) == nil {
		t.Error("mended what is not there")
	}
	do(t, s, func(tx mailbox.Tx) error {
		found, _ := tx.Find(Box(1), e.ID)
		return tx.Mend(Box(1), found, body)
	})
	for range 2 {
		Look(t, s, 2, 2)
		s = reopen()
	}
}
