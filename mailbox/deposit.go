package mailbox

import "time"

// Deposit is what a sender leaves in a box.
type Deposit struct {
	Box       ID
	Envelope  []byte    // 1 B to 8 KiB; without a pass 4 KiB
	Expires   time.Time // at most MaxTTL ahead; more is cut
	SetNumber uint64    // newest set number that the sender knows
	Pass      []byte    // pass.Use; empty at front doors and for strangers
	Work      []byte    // without a pass WorkSize bytes, see SolveWork
}

// Deposit stores an envelope and returns its custody receipt. The receipt is
// complete once Store.Do has returned nil; before that its Sig is zero and it
// must not leave. An envelope that the box holds or has acknowledged gets a
// receipt again and is not stored again. A sender with an older set is served
// while this relay is a member; the receipt states the newest number.
// Refusals: Malformed, TooLarge, NotMine, Expired, BadPass, NeedWork, Full.
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
	e, live := entryOf(d.Envelope, now, d.Expires)
	if !live {
		return nil, refuse(Expired, "deposit")
	}
	old, known := tx.Find(d.Box, e.ID)
	if known && old.Expires > e.Stored {
		return r.receipt(tx, d.Box, b, old), nil
	}
	by, err := r.admit(tx, d, b, e)
	if err != nil {
		return nil, err
	}
	if err := r.store(tx, r.limits, d.Box, by, e, d.Envelope); err != nil {
		return nil, err
	}
	return r.receipt(tx, d.Box, b, e), nil
}

// entryOf is the entry of an envelope that comes now; live says that it has not
// expired. A later expiry is cut to MaxTTL.
func entryOf(envelope []byte, now, expires time.Time) (e Entry, live bool) {
	e = Entry{ID: EnvelopeIDOf(envelope), Stored: now.UnixMilli(), Size: uint32(len(envelope))}
	e.Expires = min(expires.UnixMilli(), now.Add(MaxTTL).UnixMilli())
	return e, e.Expires > e.Stored
}

// admit judges what a deposit shows: its pass, or else its size and work.
func (r *Relay) admit(tx Tx, d Deposit, b Box, e Entry) (admitted, error) {
	if len(d.Pass) > 0 {
		return r.pass(tx, d.Box, b, d.Pass)
	}
	if e.Size > r.limits.FrontEnvelope {
		return admitted{}, refuse(TooLarge, "deposit: without a pass")
	}
	if bits := r.workBits(tx, d.Box); !CheckWork(d.Box, e.ID, bits, d.Work) {
		return admitted{}, &Refusal{Code: NeedWork, Bits: bits}
	}
	var a admitted
	copy(a.mark[:], d.Work)
	return a, nil
}

func (r *Relay) receipt(tx Tx, box ID, b Box, e Entry) *Receipt {
	c := &Receipt{
		Relay: r.peer, Box: box, Envelope: e.ID,
		StoredAt: timeOf(e.Stored), ExpiresAt: timeOf(e.Expires), SetNumber: b.Number,
	}
	tx.Receipts().add(r.key, c)
	return c
}
