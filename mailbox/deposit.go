package mailbox

import (
	"errors"
	"time"
)

// Deposit is what a sender leaves in a box.
type Deposit struct {
	Box       ID
	Envelope  []byte    // 1 B to 8 KiB; front doors 4 KiB
	Expires   time.Time // at most MaxTTL ahead; more is cut
	SetNumber uint64    // newest set number that the sender knows
	Pass      []byte    // at most MaxPass bytes; not checked yet
	Work      []byte    // WorkSize bytes where work is asked, see SolveWork
}

// Deposit stores an envelope and returns its custody receipt. The receipt is
// complete once Store.Do has returned nil; before that its Sig is zero and it
// must not leave. An envelope that the box holds or has acknowledged gets a
// receipt again and is not stored again. A sender with an older set is served
// while this relay is a member; the receipt states the newest number.
// Refusals: Malformed, TooLarge, NotMine, Expired, NeedWork, Full.
func (r *Relay) Deposit(tx Tx, now time.Time, d Deposit) (*Receipt, error) {
	if len(d.Envelope) == 0 || len(d.Pass) > MaxPass || len(d.Work) > WorkSize {
		return nil, refuse(Malformed, "deposit")
	}
	if len(d.Envelope) > int(r.limits.MaxEnvelope) {
		return nil, refuse(TooLarge, "deposit: envelope")
	}
	now = steady(tx, now)
	b, known := tx.Box(d.Box)
	if !known || !b.leased(now) {
		return nil, notMine(tx, d.Box, "deposit: no lease")
	}
	e := Entry{ID: EnvelopeIDOf(d.Envelope), Stored: now.UnixMilli(), Size: uint32(len(d.Envelope))}
	e.Expires = min(d.Expires.UnixMilli(), now.Add(MaxTTL).UnixMilli())
	if e.Expires <= e.Stored {
		return nil, refuse(Expired, "deposit")
	}
	old, known := tx.Find(d.Box, e.ID)
	if known && old.Expires > e.Stored {
		return r.receipt(tx, d.Box, b, old), nil
	}
	if err := r.admit(tx, d, b, e); err != nil {
		return nil, err
	}
	if known && !old.Buried { // expired, and its day not yet over
		if err := tx.Bury(d.Box, e.ID); err != nil {
			return nil, err
		}
	}
	err := tx.Add(d.Box, e, d.Envelope)
	if errors.Is(err, ErrDiskFull) { // only envelopes find no room: others in this commit go on
		return nil, refuse(Full, "disk of the relay")
	}
	if err != nil {
		return nil, err
	}
	return r.receipt(tx, d.Box, b, e), nil
}

// admit applies size, work and quotas to an envelope that is new to its box.
// What counts are the entries still on disk: an expired envelope keeps its
// place until its day is dropped.
func (r *Relay) admit(tx Tx, d Deposit, b Box, e Entry) error {
	count, bits := int(r.limits.BoxCount), r.limits.BoxWork
	if b.FrontDoor {
		count, bits = int(r.limits.FrontCount), r.limits.FrontWork
		if e.Size > r.limits.FrontEnvelope {
			return refuse(TooLarge, "deposit: front door")
		}
	}
	if !CheckWork(d.Box, e.ID, bits, d.Work) {
		return &Refusal{Code: NeedWork, Bits: bits}
	}
	switch used := tx.Usage(d.Box); {
	case used.Count >= count:
		return refuse(Full, "envelopes of the box")
	case used.Bytes+uint64(e.Size) > r.limits.BoxBytes:
		return refuse(Full, "bytes of the box")
	case used.Tombs >= int(r.limits.BoxTombs):
		return refuse(Full, "tombstones of the box")
	case tx.Total().Bytes+uint64(e.Size) > r.limits.MaxBytes:
		return refuse(Full, "bytes of the relay")
	}
	return nil
}

func (r *Relay) receipt(tx Tx, box ID, b Box, e Entry) *Receipt {
	c := &Receipt{
		Relay: r.peer, Box: box, Envelope: e.ID,
		StoredAt: timeOf(e.Stored), ExpiresAt: timeOf(e.Expires), SetNumber: b.Number,
	}
	tx.Receipts().add(r.key, c)
	return c
}
