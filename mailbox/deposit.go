package mailbox

import (
	"crypto/sha256"
	"time"

	"github.com/kith-im/kith/mailbox/pass"
)

// Deposit is what a sender leaves in a box.
type Deposit struct {
	Box       ID
	Envelope  []byte    // 1 B to 8 KiB; without a pass 4 KiB
	Expires   time.Time // at most MaxTTL ahead; more is cut
	SetNumber uint64    // newest set number that the sender knows
	Pass      []byte    // pass.Use; empty at front doors and for strangers
	Work      []byte    // without a pass WorkSize bytes, see SolveWork
	Vetted    Vetted    // at the relay, what Vet found; zero: not asked
}

// Vetted is what Vet found out about a deposit's pass. It may be kept and given
// to later deposits by the same pass, see Deposit.PassKey.
type Vetted struct {
	key [32]byte
	id  pass.ID
}

// PassKey names a pass and the box that it is shown at: what a Vetted is good for.
func (d *Deposit) PassKey() [32]byte {
	return sha256.Sum256(append(d.Box[:len(d.Box):len(d.Box)], d.Pass...))
}

// Vet says what Deposit would refuse, without a write: the signatures of a pass
// can so be checked beside the writer. Deposit judges anew, by then the box may
// be full, but takes Deposit.Vetted for the signatures. Refusals: as Deposit.
func (r *Relay) Vet(tx Tx, now time.Time, d Deposit) (Vetted, error) {
	c, err := r.weigh(tx, steady(tx, now), &d, func() (pass.ID, bool) {
		return certOf(d.Pass).ID(), d.Vetted.key == d.PassKey() || r.opens(tx, &d)
	})
	if err != nil || !c.by.byPass {
		return Vetted{}, err
	}
	return Vetted{d.PassKey(), c.by.mark}, nil
}

// Deposit stores an envelope and returns its custody receipt. The receipt is
// complete once Store.Do has returned nil; before that its Sig is zero and it
// must not leave. An envelope that the box holds or has acknowledged gets a
// receipt again and is not stored again; only if it came as a copy that would
// expire before the deposit, the deposit is stored in its place. A sender with an older set is served
// while this relay is a member; the receipt states the newest number.
// Refusals: Malformed, TooLarge, NotMine, Expired, BadPass, NeedWork, Full.
func (r *Relay) Deposit(tx Tx, now time.Time, d Deposit) (*Receipt, error) {
	c, err := r.weigh(tx, steady(tx, now), &d, func() (pass.ID, bool) { return r.known(tx, &d) })
	if err != nil {
		return nil, err
	}
	if !c.held {
		if err := store(tx, d.Box, c.by, c.entry, d.Envelope); err != nil {
			return nil, err
		}
	}
	return r.receipt(tx, d.Box, c.box, c.entry), nil
}

// weighed is a deposit that is not refused.
type weighed struct {
	box   Box
	entry Entry
	held  bool // the box holds the envelope or has acknowledged it: entry says since when
	by    admitted
}

// weigh judges a deposit. check says whether the pass, of the right size, is
// good, and its id.
func (r *Relay) weigh(tx Tx, now time.Time, d *Deposit, check func() (pass.ID, bool)) (c weighed, err error) {
	if len(d.Envelope) == 0 || len(d.Pass) > MaxPass || len(d.Work) > WorkSize {
		return c, refuse(Malformed, "deposit")
	}
	if len(d.Envelope) > int(r.limits.MaxEnvelope) {
		return c, refuse(TooLarge, "deposit: envelope")
	}
	var named, live bool
	if c.box, named = tx.Box(d.Box); !named || !c.box.leased(now) {
		return c, notMine(tx, d.Box, "deposit: no lease")
	}
	if c.entry, live = entryOf(d.Envelope, now, d.Expires); !live {
		return c, refuse(Expired, "deposit")
	}
	old, known := tx.Find(d.Box, c.entry.ID)
	brief := old.Copied && !old.Buried && old.Expires < c.entry.Expires // by another relay's word
	if known && old.Expires > c.entry.Stored && !brief {
		c.entry, c.held = old, true
		return c, nil
	}
	if c.by, err = r.admit(tx, d, c, check); err != nil {
		return c, err
	}
	return c, r.quotas(tx, r.limits, d.Box, c.by, c.entry)
}

// entryOf is the entry of an envelope that comes now; live says that it has not
// expired. A later expiry is cut to MaxTTL.
func entryOf(envelope []byte, now, expires time.Time) (e Entry, live bool) {
	e = Entry{ID: EnvelopeIDOf(envelope), Stored: now.UnixMilli(), Size: uint32(len(envelope))}
	e.Expires = min(expires.UnixMilli(), now.Add(MaxTTL).UnixMilli())
	return e, e.Expires > e.Stored
}

// admit judges what a deposit shows: its pass, or else its size and work.
func (r *Relay) admit(tx Tx, d *Deposit, c weighed, check func() (pass.ID, bool)) (a admitted, err error) {
	if len(d.Pass) > 0 {
		if len(d.Pass) != pass.Size || c.box.FrontDoor {
			return a, refuse(BadPass, "deposit")
		}
		id, ok := check()
		if !ok {
			return a, refuse(BadPass, "deposit")
		}
		return admitted{byPass: true, cert: certOf(d.Pass), mark: id}, nil
	}
	if c.entry.Size > r.limits.FrontEnvelope {
		return a, refuse(TooLarge, "deposit: without a pass")
	}
	if bits := r.workBits(tx, d.Box); !CheckWork(d.Box, c.entry.ID, bits, d.Work) {
		return a, &Refusal{Code: NeedWork, Bits: bits}
	}
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
