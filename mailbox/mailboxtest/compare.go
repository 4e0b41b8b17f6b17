package mailboxtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/mailbox"
)

// The universe of the comparison: small, so that things meet.
const (
	someBoxes     = 3
	someEnvelopes = 6
	someDays      = 3
)

// act is one operation of a random transaction; its result is compared too.
type act struct {
	name string
	run  func(mailbox.Tx) (any, error)
}

// Compare runs random transactions on a store and on the model.
func Compare(t *testing.T, open Open) {
	rapid.Check(t, func(r *rapid.T) {
		s, reopen := open(t)
		model := mailbox.NewMemory()
		for range rapid.IntRange(1, 12).Draw(r, "transactions") {
			if rapid.IntRange(0, 9).Draw(r, "reopen") == 0 {
				s = reopen()
			}
			step(r, s, model)
		}
		same(r, "after reopening", Look(r, reopen(), someBoxes, someEnvelopes), Look(r, model, someBoxes, someEnvelopes))
	})
}

// step runs one transaction on both.
func step(r *rapid.T, s, model mailbox.Store) {
	acts := rapid.SliceOfN(rapid.Custom(drawAct), 1, 6).Draw(r, "acts")
	fails := rapid.IntRange(0, 3).Draw(r, "fails") == 0
	got, want := perform(r, s, acts, fails), perform(r, model, acts, fails)
	same(r, "inside", got, want)
	same(r, "after", Look(r, s, someBoxes, someEnvelopes), Look(r, model, someBoxes, someEnvelopes))
}

// outcome is what a transaction saw.
type outcome struct {
	Results []string
	State   State
	Failed  bool
}

func perform(r *rapid.T, s mailbox.Store, acts []act, fails bool) outcome {
	var o outcome
	err := s.Do(context.Background(), func(tx mailbox.Tx) error {
		o = outcome{}
		for _, a := range acts {
			result, err := a.run(tx)
			o.Results = append(o.Results, fmt.Sprintf("%s: %+v %v", a.name, result, err != nil))
		}
		o.State = look(r, tx, someBoxes, someEnvelopes)
		if fails {
			return errUndo
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUndo) {
		r.Fatalf("do: %v", err)
	}
	o.Failed = err != nil
	return o
}

func same(r *rapid.T, when string, got, want any) {
	r.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("%s (-model +store):\n%s", when, diff)
	}
}

func drawAct(r *rapid.T) act {
	n := rapid.IntRange(0, someEnvelopes-1).Draw(r, "envelope")
	box := rapid.IntRange(0, someBoxes-1).Draw(r, "box")
	d := rapid.IntRange(0, someDays-1).Draw(r, "day")
	e, body := Envelope(n, d)
	id := Box(box)
	switch name := rapid.SampledFrom([]string{
		"add", "add", "by pass", "by pass", "add large", "bury", "bury", "mend", "drop day", "put box", "drop box",
		"put set", "put pass", "clock", "leave",
	}).Draw(r, "act"); name {
	case "add":
		return act{fmt.Sprint("add ", box, n, d), func(tx mailbox.Tx) (any, error) { return nil, tx.Add(id, e, body) }}
	case "by pass":
		holder := 1 + n%somePasses
		return act{fmt.Sprint("by pass ", box, n, d), func(tx mailbox.Tx) (any, error) { return nil, addBy(tx, box, holder, e, body) }}
	case "add large": // above the floor of its box
		e.Size = mailbox.BoxFloor + uint32(d)
		return act{fmt.Sprint("add large ", box, n, d), func(tx mailbox.Tx) (any, error) { return nil, tx.Add(id, e, body) }}
	case "mend":
		return act{fmt.Sprint("mend ", box, n), func(tx mailbox.Tx) (any, error) {
			found, _ := tx.Find(id, e.ID)
			return nil, tx.Mend(id, found, body)
		}}
	case "put pass":
		return act{fmt.Sprint("put pass ", box, n), func(tx mailbox.Tx) (any, error) { return nil, tx.PutPass(id, certs[box][1+n%somePasses]) }}
	case "leave":
		at := T0.Add(time.Duration(n) * time.Hour)
		return act{"leave", func(tx mailbox.Tx) (any, error) { return nil, tx.SetLeaving(at) }}
	case "bury":
		return act{fmt.Sprint("bury ", box, n), func(tx mailbox.Tx) (any, error) { return nil, tx.Bury(id, e.ID) }}
	case "drop day":
		return act{fmt.Sprint("drop day ", d), func(tx mailbox.Tx) (any, error) { return tx.DropDay(e.Day()) }}
	case "put box":
		b := mailbox.Box{Number: uint64(n), Rank: byte(d), Member: n > 2, FrontDoor: d > 0, Key: [32]byte{byte(n)}, End: T0.Add(time.Duration(n) * time.Hour)}
		return act{fmt.Sprint("put box ", box), func(tx mailbox.Tx) (any, error) { return nil, tx.PutBox(id, b) }}
	case "drop box":
		return act{fmt.Sprint("drop box ", box), func(tx mailbox.Tx) (any, error) { return nil, tx.DropBox(id) }}
	case "put set":
		return act{fmt.Sprint("put set ", box), func(tx mailbox.Tx) (any, error) { return nil, tx.PutSet(id, body) }}
	default:
		c := mailbox.Clock{Trusted: T0.Add(time.Duration(n) * time.Hour)}
		return act{"clock", func(tx mailbox.Tx) (any, error) { return nil, tx.SetClock(c) }}
	}
}

// addBy adds an envelope by a holder's pass, as the rules do.
func addBy(tx mailbox.Tx, box, holder int, e mailbox.Entry, body []byte) error {
	cert := certs[box][holder]
	e.ByPass, e.Copied, e.Admit = true, holder > 1, cert.ID()
	err := tx.Add(Box(box), e, body)
	if _, known := tx.Pass(Box(box), e.Admit); err == nil && !known {
		err = tx.PutPass(Box(box), cert)
	}
	return err
}
