package repair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Asker asks another relay about boxes. relay.Client is one.
type Asker interface {
	Compare(ctx context.Context, relay dht.Peer, sums []mailbox.BoxSum) ([]mailbox.Comparison, error)
	Digest(ctx context.Context, relay dht.Peer, box mailbox.ID, after uint64) ([]mailbox.Held, bool, error)
	Copies(ctx context.Context, relay dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) ([]mailbox.Copy, error)
	Possess(ctx context.Context, relay dht.Peer, box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) ([]mailbox.Possession, error)
}

// Teller tells another relay something. relay.Client is one.
type Teller interface {
	Advert(ctx context.Context, relay dht.Peer) (*dht.Advert, error)
	Offer(ctx context.Context, relay dht.Peer, boxes []mailbox.ID) error
	GetSet(ctx context.Context, relay dht.Peer, box mailbox.ID) ([]byte, error)
	PutSet(ctx context.Context, relay dht.Peer, raw []byte) error
}

// Wire is the way to other relays.
type Wire interface {
	Asker
	Teller
}

// Local is the relay that repairs.
type Local struct {
	Store mailbox.Store
	Relay *mailbox.Relay
	Now   func() time.Time
	Rand  io.Reader
	// Adopted hears of each box that got copies, after their commit; nil: nobody does.
	Adopted func(mailbox.ID)
}

// Visit does what v says: it hears how the relay is, offers, compares, fetches
// what is missing here and tests what the other claims. The outcome holds what
// was done also where an error ended the visit.
func (l *Local) Visit(ctx context.Context, w Wire, v Visit) (Outcome, error) {
	t := &talk{Local: l, ctx: ctx, w: w, with: v.Peer}
	err := t.run(v)
	return t.out, err
}

// talk is one visit.
type talk struct {
	*Local
	ctx   context.Context
	w     Wire
	with  dht.Peer
	out   Outcome
	same  []mailbox.ID // both sides had the same sum
	offer []mailbox.ID
}

func (t *talk) run(v Visit) (err error) {
	if t.out.Advert, err = t.w.Advert(t.ctx, t.with); err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	t.offer = v.Offer
	if n := len(v.Compare) + len(v.Show); n > 0 {
		t.out.Level, t.same = make([]mailbox.ID, 0, n), make([]mailbox.ID, 0, n)
	}
	for run := range slices.Chunk(v.Compare, mailbox.MaxCompare) {
		if err := t.compare(run, t.complete); err != nil {
			return fmt.Errorf("visit: %w", err)
		}
	}
	for run := range slices.Chunk(v.Show, mailbox.MaxCompare) {
		if err := t.compare(run, func(mailbox.ID) error { return nil }); err != nil {
			return fmt.Errorf("visit: %w", err)
		}
	}
	if v.Audit != nil {
		err = t.audit(*v.Audit)
	} else {
		err = t.prove()
	}
	if err == nil {
		err = t.tell()
	}
	if err != nil {
		return fmt.Errorf("visit: %w", err)
	}
	return nil
}

// tell offers what the other should fetch: what it was seen to lack, too.
func (t *talk) tell() error {
	for run := range slices.Chunk(t.offer, mailbox.MaxCompare) {
		if err := passOver(t.w.Offer(t.ctx, t.with, run)); err != nil {
			return err
		}
	}
	return nil
}

// lacks notes that the other lacks something of a box.
func (t *talk) lacks(box mailbox.ID) {
	t.out.Behind = append(t.out.Behind, box)
	t.offer = append(t.offer, box)
}

// compare asks about boxes, lets differ see to those that differ, and to those
// that the other does not know itself.
func (t *talk) compare(boxes []mailbox.ID, differ func(mailbox.ID) error) error {
	sums, err := t.sums(boxes)
	if err != nil {
		return err
	}
	got, err := t.w.Compare(t.ctx, t.with, sums)
	if err != nil {
		return err
	}
	t.out.Compared += len(boxes)
	for i, box := range boxes[:min(len(boxes), len(got))] {
		switch got[i] {
		case mailbox.Same:
			t.out.Level = append(t.out.Level, box)
			t.same = append(t.same, box)
		case mailbox.NotHere:
			err = t.introduce(box)
		default:
			err = differ(box)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sums are what this relay holds of boxes, looked at in runs: the writer waits
// while the store is looked at.
func (t *talk) sums(boxes []mailbox.ID) ([]mailbox.BoxSum, error) {
	sums := make([]mailbox.BoxSum, 0, len(boxes))
	for len(sums) < len(boxes) {
		run := boxes[len(sums):min(len(sums)+sumRun, len(boxes))]
		done := len(sums)
		err := t.Store.View(func(tx mailbox.Tx) error {
			sums = sums[:done] // a look may happen twice
			now, seen := t.Now(), 0
			for _, box := range run {
				sums = append(sums, mailbox.BoxSum{Box: box, Sum: t.Relay.Sum(tx, now, box)})
				if seen += tx.Usage(box).Count; seen >= sumEntries { // boxes may be large
					break
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// introduce sees to a box that the other does not serve us: either it knows a
// newer set, or it knows none, as after the loss of its disk. A set that names
// it with its own lease is enough for it to begin again.
func (t *talk) introduce(box mailbox.ID) error {
	if t.out.Absent++; t.out.Absent > maxAbsent {
		return nil
	}
	theirs, err := t.w.GetSet(t.ctx, t.with, box)
	if err != nil && !errors.Is(err, dht.ErrNotFound) && !refused(err) {
		return err
	}
	var ours []byte
	err = t.Store.Do(t.ctx, func(tx mailbox.Tx) error {
		if len(theirs) > 0 {
			if err := t.Relay.PutSet(tx, t.Now(), theirs); err != nil && !refused(err) {
				return err
			}
		}
		got, err := t.Relay.GetSet(tx, t.Now(), box)
		ours = got
		if refused(err) {
			return nil
		}
		return err
	})
	if err != nil || len(ours) == 0 || string(ours) == string(theirs) {
		return err
	}
	t.lacks(box)
	return passOver(t.w.PutSet(t.ctx, t.with, ours))
}

// passOver drops a refusal: it is the other's right, and no reason to end.
func passOver(err error) error {
	if refused(err) {
		return nil
	}
	return err
}

func refused(err error) bool {
	_, ok := errors.AsType[*mailbox.Refusal](err)
	return ok
}
