package mailboxtest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/pass"
)

// Open makes an empty store. reopen closes it and opens what it kept; a store
// in memory returns itself.
type Open func(t testing.TB) (store mailbox.Store, reopen func() mailbox.Store)

// T0 is the time at which the suite's stories begin; it is the start of a day.
var T0 = time.Unix(20_833*86_400, 0).UTC()

// errUndo is what a failing transaction of the suite returns.
var errUndo = errors.New("undo this")

var conformity = map[string]func(*testing.T, Open){
	"an added envelope is found, listed and read":     added,
	"arrival numbers ascend over boxes and reopening": arrival,
	"a buried envelope leaves a tombstone":            buried,
	"an envelope that comes again moves":              again,
	"dropping a day drops that day alone":             dropped,
	"usage counts what is held":                       usage,
	"boxes and sets are kept and forgotten":           boxes,
	"a certificate goes with its last entry":          passes,
	"what is above the floors is counted":             over,
	"bytes are put back":                              mended,
	"the relay's leaving is kept":                     leaving,
	"the clock is kept":                               clock,
	"a failed transaction leaves nothing":             undone,
	"a view cannot write":                             readOnly,
	"a receipt is signed when Do returns":             signed,
	"a cancelled context runs nothing":                cancelled,
}

// Conform runs the suite.
func Conform(t *testing.T, open Open) {
	for name, test := range conformity {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

// Box returns the id of a box of the suite.
func Box(n int) mailbox.ID { return mailbox.IDOf(Key(n).Public().(ed25519.PublicKey)) }

// Key returns the private key of a box, or of a relay, of the suite.
func Key(n int) ed25519.PrivateKey {
	seed := [ed25519.SeedSize]byte{byte(n), byte(n >> 8), 1}
	return signature.NewKey(seed[:])
}

// Cert is the certificate of a holder's pass into a box of the suite.
func Cert(box, holder int) pass.Cert {
	return pass.Issue(Key(box), Key(1000+holder).Public().(ed25519.PublicKey))
}

// Pass is a holder's pass into a box of the suite at a relay (its peer id).
func Pass(box, holder int, relay []byte) []byte {
	return pass.Use(Key(1000+holder), Cert(box, holder), relay, Box(box))
}

// Envelope returns the n-th envelope of the suite and its entry, which expires
// on the given day after T0, at noon.
func Envelope(n, day int) (mailbox.Entry, []byte) {
	body := fmt.Appendf(nil, "envelope %d", n)
	return mailbox.Entry{
		ID: mailbox.EnvelopeIDOf(body), Stored: T0.UnixMilli(), Size: uint32(len(body)),
		Expires: T0.Add(time.Duration(day)*24*time.Hour + 12*time.Hour).UnixMilli(),
	}, body
}

// do runs a transaction that has to succeed.
func do(t testing.TB, s mailbox.Store, fn func(tx mailbox.Tx) error) {
	t.Helper()
	if err := s.Do(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// add stores envelopes given as box, number, day.
func add(t testing.TB, s mailbox.Store, triples ...[3]int) {
	t.Helper()
	do(t, s, func(tx mailbox.Tx) error {
		for _, x := range triples {
			e, body := Envelope(x[1], x[2])
			if err := tx.Add(Box(x[0]), e, body); err != nil {
				return err
			}
		}
		return nil
	})
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func added(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 3}, [3]int{2, 1, 3}, [3]int{1, 2, 0})
	for range 2 {
		equal(t, "state", Look(t, s, 3, 3), State{
			Held: []Held{
				{Box: 1, Envelopes: []Seen{{1, 1, false}, {3, 2, false}}},
				{Box: 2, Envelopes: []Seen{{2, 1, false}}},
			},
			Days:  []mailbox.Day{mailbox.DayOf(T0.UnixMilli()), mailbox.DayOf(T0.UnixMilli()) + 3},
			Total: mailbox.Usage{Count: 3, Bytes: 3 * 10},
		})
		s = reopen()
	}
	_ = s.View(func(tx mailbox.Tx) error {
		var seqs []uint64
		tx.List(Box(1), 1, func(e mailbox.Entry) bool { seqs = append(seqs, e.Seq); return false })
		equal(t, "listed after the first", seqs, []uint64{3})
		want, _ := Envelope(2, 0)
		want.Seq = 3
		got, _ := tx.Find(Box(1), want.ID)
		equal(t, "entry", got, want)
		return nil
	})
}

func arrival(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0}, [3]int{2, 2, 0})
	do(t, s, func(tx mailbox.Tx) error { _, err := tx.DropDay(mailbox.DayOf(T0.UnixMilli())); return err })
	s = reopen()
	add(t, s, [3]int{1, 3, 0})
	e, _ := Envelope(3, 0)
	_ = s.View(func(tx mailbox.Tx) error {
		if found, _ := tx.Find(Box(1), e.ID); found.Seq <= 2 {
			t.Errorf("arrival number %d was given twice", found.Seq)
		}
		return nil
	})
}

func buried(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 3}, [3]int{1, 2, 3})
	e, _ := Envelope(1, 3)
	do(t, s, func(tx mailbox.Tx) error { return tx.Bury(Box(1), e.ID) })
	for range 2 {
		equal(t, "state", Look(t, s, 2, 3), State{
			Held:  []Held{{Box: 1, Envelopes: []Seen{{1, 1, true}, {2, 2, false}}}},
			Days:  []mailbox.Day{e.Day()},
			Total: mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10},
		})
		s = reopen()
	}
	for _, id := range []mailbox.EnvelopeID{e.ID, {9}} {
		err := s.Do(context.Background(), func(tx mailbox.Tx) error { return tx.Bury(Box(1), id) })
		if err == nil {
			t.Error("buried what was not there")
		}
	}
}

// again adds an envelope a second time: while the first is live, and once it is
// buried; to another day, that of another envelope, and within its own.
func again(t *testing.T, open Open) {
	for _, bury := range []bool{false, true} {
		for _, day := range []int{0, 1, 5} {
			comesAgain(t, open, bury, day)
		}
	}
}

func comesAgain(t *testing.T, open Open, bury bool, day int) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0}, [3]int{1, 2, 1})
	first, body := Envelope(1, 0)
	second, _ := Envelope(1, day)
	second.Copied = true
	anew := func(tx mailbox.Tx) error { return tx.Add(Box(1), second, body) }
	if bury {
		do(t, s, func(tx mailbox.Tx) error { return tx.Bury(Box(1), first.ID) })
	}
	before := Look(t, s, 2, 3)
	_ = s.Do(context.Background(), func(tx mailbox.Tx) error { return errors.Join(anew(tx), errUndo) })
	equal(t, "undone", Look(t, s, 2, 3), before)
	do(t, s, anew)
	s = reopen()
	if day > 0 { // nothing of it is left on its first day
		do(t, s, func(tx mailbox.Tx) error { _, err := tx.DropDay(first.Day()); return err })
	}
	for range 2 {
		got := Look(t, s, 2, 3)
		equal(t, "held", got.Held, []Held{{Box: 1, Envelopes: []Seen{{2, 2, false}, {3, 1, false}}}})
		equal(t, "total", got.Total, mailbox.Usage{Count: 2, Bytes: 20})
		_ = s.View(func(tx mailbox.Tx) error {
			second.Seq = 3
			found, _ := tx.Find(Box(1), second.ID)
			equal(t, "entry", found, second)
			return nil
		})
		s = reopen()
	}
}

func dropped(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0}, [3]int{1, 2, 1}, [3]int{2, 1, 0}, [3]int{2, 3, 1})
	e, _ := Envelope(1, 0)
	do(t, s, func(tx mailbox.Tx) error {
		if err := tx.Bury(Box(2), e.ID); err != nil {
			return err
		}
		gone, err := tx.DropDay(e.Day())
		equal(t, "dropped", gone, mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10})
		return err
	})
	for range 2 {
		equal(t, "state", Look(t, s, 3, 4), State{
			Held: []Held{
				{Box: 1, Envelopes: []Seen{{2, 2, false}}}, {Box: 2, Envelopes: []Seen{{4, 3, false}}},
			},
			Days:  []mailbox.Day{e.Day() + 1},
			Total: mailbox.Usage{Count: 2, Bytes: 20},
		})
		s = reopen()
	}
}

func usage(t *testing.T, open Open) {
	s, reopen := open(t)
	add(t, s, [3]int{1, 1, 0}, [3]int{1, 2, 0}, [3]int{2, 3, 0})
	e, _ := Envelope(1, 0)
	do(t, s, func(tx mailbox.Tx) error {
		if err := tx.PutBox(Box(5), mailbox.Box{Number: 1}); err != nil {
			return err
		}
		err := tx.Bury(Box(1), e.ID)
		equal(t, "inside", tx.Usage(Box(1)), mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10})
		return err
	})
	for range 2 {
		_ = s.View(func(tx mailbox.Tx) error {
			equal(t, "box 1", tx.Usage(Box(1)), mailbox.Usage{Count: 1, Tombs: 1, Bytes: 10})
			equal(t, "box 3", tx.Usage(Box(3)), mailbox.Usage{})
			equal(t, "total", tx.Total(), mailbox.Usage{Boxes: 1, Count: 2, Tombs: 1, Bytes: 20})
			return nil
		})
		s = reopen()
	}
}
