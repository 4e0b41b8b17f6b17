package repair

import (
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// errReply says that a relay answered with something that nobody asked for.
var errReply = errors.New("repair: the answer does not fit the question")

// complete fetches what the other has of a box and this relay has not, and notes
// whether the other lacks something.
func (t *talk) complete(box mailbox.ID) error {
	ours, err := t.held(box)
	if err != nil {
		return err
	}
	after := uint64(0)
	for range maxPages {
		page, more, err := t.w.Digest(t.ctx, t.with, box, after)
		if err != nil {
			return passOver(err)
		}
		missing, err := t.missing(box, page, ours)
		if err != nil {
			return err
		}
		full, err := t.fetch(box, missing)
		if err != nil {
			return err
		}
		if full || !more || len(page) == 0 || page[len(page)-1].Seq <= after {
			break
		}
		after = page[len(page)-1].Seq
	}
	return t.judge(box, ours)
}

// held lists the live envelopes of a box, in order of arrival.
func (t *talk) held(box mailbox.ID) (ids []mailbox.EnvelopeID, err error) {
	err = t.Store.View(func(tx mailbox.Tx) error {
		ids = nil
		now := t.Now().UnixMilli()
		tx.List(box, 0, func(e mailbox.Entry) bool {
			if e.Expires > now {
				ids = append(ids, e.ID)
			}
			return true
		})
		return nil
	})
	return ids, err
}

// missing picks from a page what this relay neither has nor has had acknowledged
// nor saw expire: of that Adopt takes nothing, and whoever deposits chooses how long
// each relay keeps it. Copies here that another's outlive are picked too. What
// both hold becomes zero in ours.
func (t *talk) missing(box mailbox.ID, page []mailbox.Held, ours []mailbox.EnvelopeID) (ids []mailbox.EnvelopeID, err error) {
	at := make(map[mailbox.EnvelopeID]int, len(ours))
	for i, id := range ours {
		at[id] = i
	}
	err = t.Store.View(func(tx mailbox.Tx) error {
		for _, h := range page {
			if i, both := at[h.ID]; both {
				ours[i] = mailbox.EnvelopeID{}
			}
			if e, known := tx.Find(box, h.ID); !known || e.Outlived(h.Expires) {
				ids = append(ids, h.ID)
			}
		}
		return nil
	})
	return ids, err
}

// fetch asks for copies in runs and adopts them, until the box is full. Copies
// come in the order of the question, as many as fit: what was passed over is not
// there any more.
func (t *talk) fetch(box mailbox.ID, ids []mailbox.EnvelopeID) (full bool, err error) {
	for nothing := 0; len(ids) > 0 && nothing < 3; {
		asked := ids[:min(len(ids), mailbox.MaxCopies)]
		copies, err := t.w.Copies(t.ctx, t.with, box, asked)
		if err != nil {
			return false, passOver(err)
		}
		if len(copies) == 0 {
			nothing++
			ids = ids[len(asked):]
			continue
		}
		last := slices.Index(asked, mailbox.EnvelopeIDOf(copies[len(copies)-1].Envelope))
		if last < 0 || len(copies) > len(asked) {
			return false, errReply
		}
		ids = ids[last+1:]
		if full, err := t.adopt(box, copies); full || err != nil {
			return full, err
		}
	}
	return false, nil
}

// adopt stores copies by this relay's own rules, in one transaction. A pass that
// is used up does not stand in the way of copies by others.
func (t *talk) adopt(box mailbox.ID, copies []mailbox.Copy) (full bool, err error) {
	var stored, refusals int
	err = t.Store.Do(t.ctx, func(tx mailbox.Tx) error {
		stored, refusals, full = 0, 0, false
		for _, c := range copies {
			ok, err := t.Relay.Adopt(tx, t.Now(), t.with.ID, box, c)
			refusal, refused := errors.AsType[*mailbox.Refusal](err)
			switch {
			case refused:
				refusals++
			case err != nil:
				return err
			case ok:
				stored++
			}
			if full = refused && refusal.Code == mailbox.Full && !t.Relay.RoomForCopies(tx, box); full {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	t.out.Adopted += stored
	t.out.Refused += refusals
	if stored > 0 && t.Adopted != nil {
		t.Adopted(box)
	}
	return full, nil
}

// judge notes whether the other lacks something, by what it says of a sample.
// What it had acknowledged it says by its tombstone.
func (t *talk) judge(box mailbox.ID, ours []mailbox.EnvelopeID) error {
	ours = slices.DeleteFunc(ours, func(id mailbox.EnvelopeID) bool { return id == mailbox.EnvelopeID{} })
	if len(ours) > 0 {
		got, err := t.w.Possess(t.ctx, t.with, box, t.nonce(), some(t.Rand, ours, mailbox.MaxPossess))
		if err != nil {
			return passOver(err)
		}
		if slices.ContainsFunc(got, func(p mailbox.Possession) bool { return p.State == mailbox.Unknown }) {
			t.lacks(box)
			return nil
		}
	}
	t.out.Level = append(t.out.Level, box)
	return nil
}

func (t *talk) nonce() (n [32]byte) {
	if _, err := io.ReadFull(t.Rand, n[:]); err != nil {
		return sha256.Sum256([]byte(t.Now().String()))
	}
	return n
}

// sample is one envelope whose possession another has to prove.
type sample struct {
	id   mailbox.EnvelopeID
	body []byte
}

// prove tests the other on a sample of one box that was the same on both sides.
func (t *talk) prove() error {
	for range 4 { // many boxes are empty
		if len(t.same) == 0 {
			return nil
		}
		box := t.same[draw(t.Rand, uint64(len(t.same)))]
		samples, err := t.samples(box, proofs)
		if err != nil {
			return err
		}
		if len(samples) > 0 {
			return t.test(t.with, box, samples, true)
		}
	}
	return nil
}

// samples draws envelopes of a box with their bytes.
func (t *talk) samples(box mailbox.ID, n int) ([]sample, error) {
	ids, err := t.held(box)
	if err != nil {
		return nil, err
	}
	return t.bodies(box, some(t.Rand, ids, n))
}

// bodies reads envelopes, without those that expire soon or are damaged: to
// the damaged ones the scrub sees.
func (t *talk) bodies(box mailbox.ID, ids []mailbox.EnvelopeID) (out []sample, err error) {
	err = t.Store.View(func(tx mailbox.Tx) error {
		out = nil
		limit := t.Now().Add(margin).UnixMilli()
		for _, id := range ids {
			e, ok := tx.Find(box, id)
			if !ok || e.Buried || e.Expires < limit {
				continue
			}
			body, err := tx.Body(box, e)
			if errors.Is(err, mailbox.ErrDamaged) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, sample{id, slices.Clone(body)})
		}
		return nil
	})
	return out, err
}

// test asks a relay to prove samples. A relay that claimed to hold them lies if
// it does not know them.
func (t *talk) test(with dht.Peer, box mailbox.ID, samples []sample, claimed bool) error {
	nonce := t.nonce()
	var ids []mailbox.EnvelopeID
	for _, s := range samples {
		ids = append(ids, s.id)
	}
	got, err := t.w.Possess(t.ctx, with, box, nonce, ids)
	if err != nil {
		return passOver(err)
	}
	if len(got) != len(ids) {
		return errReply
	}
	t.out.Proof = Proved
	for i, p := range got {
		switch {
		case p.State == mailbox.Holds && p.Proof != mailbox.ProofOf(nonce, samples[i].body),
			p.State == mailbox.Unknown && claimed:
			t.out.Proof = Lied
			return nil
		case p.State == mailbox.Unknown:
			t.out.Proof = Lacks
		}
	}
	return nil
}

// audit tests the other on a sample that a third relay holds: this relay, a
// standby, holds nothing itself.
func (t *talk) audit(a Audit) error {
	page, _, err := t.w.Digest(t.ctx, a.Other, a.Box, 0)
	if err != nil || len(page) == 0 {
		return nil // the third relay is visited for its own sake
	}
	h := page[draw(t.Rand, uint64(len(page)))]
	if h.Expires.Before(t.Now().Add(margin)) {
		return nil
	}
	copies, err := t.w.Copies(t.ctx, a.Other, a.Box, []mailbox.EnvelopeID{h.ID})
	if err != nil || len(copies) != 1 || mailbox.EnvelopeIDOf(copies[0].Envelope) != h.ID {
		return nil
	}
	return t.test(t.with, a.Box, []sample{{h.ID, copies[0].Envelope}}, false)
}
