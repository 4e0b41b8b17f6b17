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
		End: T0.Add(time.Hour), Reserved: T0.Add(time.Minute),
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
			tx.PutSet(Box(1), []byte("new")), tx.SetClock(mailbox.Clock{Trusted: T0}), errUndo)
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
	_ = body
	writes := map[string]func(mailbox.Tx) error{
		"add":      func(tx mailbox.Tx) error { return tx.Add(Box(1), e2, body2) },
		"bury":     func(tx mailbox.Tx) error { return tx.Bury(Box(1), e.ID) },
		"drop day": func(tx mailbox.Tx) error { _, err := tx.DropDay(e.Day()); return err },
		"put box":  func(tx mailbox.Tx) error { return tx.PutBox(Box(1), mailbox.Box{}) },
		"drop box": func(tx mailbox.Tx) error { return tx.DropBox(Box(2)) },
		"put set":  func(tx mailbox.Tx) error { return tx.PutSet(Box(1), []byte("x")) },
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
	r := mailbox.NewRelay(Key(99), mailbox.Limits{})
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
