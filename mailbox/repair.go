package mailbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
)

// Repair is pull: a relay stores only what it asked a co-member for, judges each
// copy as it would a deposit, and believes nobody's tombstones but its own. What
// others are told is told to relays of the newest set known: `from` is the
// authenticated peer id of the asker.

// BoxSum is what a relay holds of a box in one hash, see Relay.Sum.
type BoxSum struct {
	Box ID
	Sum [32]byte
}

// Comparison is the answer to one BoxSum. Its number is what travels.
type Comparison byte

// The answers of Compare.
const (
	Same    Comparison = 1 + iota // both hold the same envelopes
	Differs                       // see Digest
	NotHere                       // not a box that this relay shares with the asker
)

// Held is one envelope in a digest.
type Held struct {
	Seq     uint64 // arrival number at the relay that answers
	ID      EnvelopeID
	Expires time.Time
	Size    uint32
}

// Copy is an envelope with all that another relay needs to judge it.
type Copy struct {
	Envelope []byte
	Expires  time.Time
	Admit    [8]byte // id of the pass, or a stranger's work nonce
	Cert     []byte  // the pass's certificate, pass.CertSize bytes; empty without a pass
}

// Possession is what a relay says of an envelope. Its State is what travels.
type Possession struct {
	State byte
	Proof [32]byte // with Holds: ProofOf
}

// The states of a Possession.
const (
	Unknown byte = iota // neither held nor acknowledged, or expired
	Holds
	Buried // acknowledged by the owner
)

const sumLabel = "kith1 box sum"

// nothing is the sum of a box without live envelopes, as most are.
var nothing = sha256.Sum256([]byte(sumLabel))

// Sum is SHA-256("kith1 box sum" | ids of the live envelopes in ascending
// order), 32 bytes each.
func (r *Relay) Sum(tx Tx, now time.Time, box ID) [32]byte {
	used := tx.Usage(box).Count
	if used == 0 {
		return nothing
	}
	ids := make([]EnvelopeID, 0, used)
	live(tx, steady(tx, now), box, 0, func(e Entry) bool { ids = append(ids, e.ID); return true })
	slices.SortFunc(ids, func(a, b EnvelopeID) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	h.Write([]byte(sumLabel))
	for i := range ids {
		h.Write(ids[i][:])
	}
	return [32]byte(h.Sum(nil))
}

// live goes through the envelopes of a box that are neither acknowledged nor
// expired, in order of arrival, until fn returns false.
func live(tx Tx, now time.Time, box ID, after uint64, fn func(Entry) bool) {
	millis := now.UnixMilli()
	tx.List(box, after, func(e Entry) bool { return e.Expires <= millis || fn(e) })
}

// Compare compares a co-member's sums with what is here, at most MaxCompare of
// them; answers are in the order of the sums.
func (r *Relay) Compare(tx Tx, now time.Time, from []byte, sums []BoxSum) []Comparison {
	sums = sums[:min(len(sums), MaxCompare)]
	answers := make([]Comparison, len(sums))
	for i, s := range sums {
		switch {
		case !shared(tx, s.Box, from):
			answers[i] = NotHere
		case r.Sum(tx, now, s.Box) == s.Sum:
			answers[i] = Same
		default:
			answers[i] = Differs
		}
	}
	return answers
}

// shared says whether the newest set known of a box names a relay.
func shared(tx Tx, box ID, with []byte) bool {
	set, err := tx.Set(box)
	return err == nil && dht.SetNames(set, with)
}

// coMember refuses whoever the newest set known of a box does not name.
func coMember(tx Tx, box ID, from []byte) error {
	if shared(tx, box, from) {
		return nil
	}
	return notMine(tx, box, "repair: not a member")
}

// Digest lists what is held of a box, with Seq > after and in order of arrival,
// at most MaxDigest envelopes. more says that others follow. Refusal: NotMine.
func (r *Relay) Digest(tx Tx, now time.Time, from []byte, box ID, after uint64) (page []Held, more bool, err error) {
	if err := coMember(tx, box, from); err != nil {
		return nil, false, err
	}
	live(tx, steady(tx, now), box, after, func(e Entry) bool {
		if more = len(page) == MaxDigest; !more {
			page = append(page, Held{Seq: e.Seq, ID: e.ID, Expires: timeOf(e.Expires), Size: e.Size})
		}
		return !more
	})
	return page, more, nil
}

// Copies returns the envelopes asked for, at most MaxCopies, in the order of the
// ids and in memory of their own: as many as fit in MaxCopyBytes, but at least
// one. What is not here, or damaged, is left out. Refusals: Malformed, NotMine.
func (r *Relay) Copies(tx Tx, now time.Time, from []byte, box ID, ids []EnvelopeID) ([]Copy, error) {
	if len(ids) > MaxCopies {
		return nil, refuse(Malformed, "copies: too many")
	}
	if err := coMember(tx, box, from); err != nil {
		return nil, err
	}
	now = steady(tx, now)
	var copies []Copy
	size := 0
	for _, id := range ids {
		e, body, err := bodyOf(tx, box, id)
		if err != nil {
			return nil, err
		}
		if body == nil || e.Expires <= now.UnixMilli() {
			continue
		}
		if size += len(body); size > MaxCopyBytes && len(copies) > 0 {
			break
		}
		c := Copy{Envelope: bytes.Clone(body), Expires: timeOf(e.Expires), Admit: e.Admit}
		if e.ByPass {
			cert, known := tx.Pass(box, e.Admit)
			if !known {
				continue // a lost certificate: nobody could judge the copy
			}
			c.Cert = cert[:]
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// bodyOf reads an envelope that is neither buried nor damaged; nil if it is.
func bodyOf(tx Tx, box ID, id EnvelopeID) (Entry, []byte, error) {
	e, known := tx.Find(box, id)
	if !known || e.Buried {
		return e, nil, nil
	}
	body, err := tx.Body(box, e)
	if errors.Is(err, ErrDamaged) {
		return e, nil, nil
	}
	return e, body, err
}

// Adopt stores a copy that this relay asked another for, if it would have been
// let in as a deposit: by the certificate of its pass or by a stranger's work,
// and under the quotas, by a pass three quarters of them. There is no receipt.
// It stores nothing, and says so, if it holds the envelope, has its tombstone or saw it
// expire, unless all that it has is a copy too, which this one outlives by a day
// (Entry.Outlived). It never keeps copies for longer than MaxTTL from the first. A lease may be over, as
// long as mail of its time can live. Who gave the copy does not matter: at a
// handover it is a relay that the newest set does not name.
// Refusals: Malformed, TooLarge, NotMine, Expired, BadPass, NeedWork, Full.
func (r *Relay) Adopt(tx Tx, now time.Time, _ []byte, box ID, c Copy) (stored bool, err error) {
	if len(c.Envelope) == 0 {
		return false, refuse(Malformed, "adopt")
	}
	if len(c.Envelope) > int(r.limits.MaxEnvelope) {
		return false, refuse(TooLarge, "adopt: envelope")
	}
	now = steady(tx, now)
	b, known := tx.Box(box)
	if !known || !b.repairs(now) {
		return false, notMine(tx, box, "adopt: no lease")
	}
	e, live := entryOf(c.Envelope, now, c.Expires)
	if !live {
		return false, refuse(Expired, "adopt")
	}
	e.Copied = true
	if old, known := tx.Find(box, e.ID); known {
		if !old.Outlived(timeOf(e.Expires)) {
			return false, nil
		}
		e.Stored, e.Expires = old.Stored, min(e.Expires, old.lastCopy())
	}
	by, err := r.judge(tx, box, b, e, c)
	if err != nil {
		return false, err
	}
	if err := r.quotas(tx, r.limits.forCopies(), box, by, e); err != nil {
		return false, err
	}
	err = store(tx, box, by, e, c.Envelope)
	return err == nil, err
}

// judge checks by what a copy was admitted at the relay that gave it. A
// stranger's work is held against the least that is ever asked: what was asked
// at its time is not known.
func (r *Relay) judge(tx Tx, box ID, b Box, e Entry, c Copy) (admitted, error) {
	if len(c.Cert) > 0 {
		if len(c.Cert) != pass.CertSize || b.FrontDoor {
			return admitted{}, refuse(BadPass, "adopt")
		}
		cert := pass.Cert(c.Cert)
		if cert.ID() != c.Admit {
			return admitted{}, refuse(BadPass, "adopt")
		}
		if kept, known := tx.Pass(box, c.Admit); (!known || kept != cert) && !cert.Verify(boxKey(tx, box, b)) {
			return admitted{}, refuse(BadPass, "adopt")
		}
		return admitted{byPass: true, cert: cert, mark: c.Admit}, nil
	}
	if e.Size > r.limits.FrontEnvelope {
		return admitted{}, refuse(TooLarge, "adopt: without a pass")
	}
	if !CheckWork(box, e.ID, r.limits.FrontWork, c.Admit[:]) {
		return admitted{}, &Refusal{Code: NeedWork, Bits: r.limits.FrontWork}
	}
	return admitted{mark: c.Admit}, nil
}

// Possess answers whoever knows the ids of envelopes, at most MaxPossess, with
// what became of each. It asks the disk, not the clock: an expired envelope is
// held until its day is dropped. Refusal: Malformed.
func (r *Relay) Possess(tx Tx, _ time.Time, box ID, nonce [32]byte, ids []EnvelopeID) ([]Possession, error) {
	if len(ids) > MaxPossess {
		return nil, refuse(Malformed, "possess: too many")
	}
	answers := make([]Possession, len(ids))
	for i, id := range ids {
		e, body, err := bodyOf(tx, box, id)
		switch {
		case err != nil:
			return nil, err
		case body != nil:
			answers[i] = Possession{State: Holds, Proof: ProofOf(nonce, body)}
		case e.Buried:
			answers[i].State = Buried
		}
	}
	return answers, nil
}

const possessionLabel = "kith1 possession"

// ProofOf is H("kith1 possession" | nonce | envelope): nobody can say it for a
// new nonce who does not have the envelope.
func ProofOf(nonce [32]byte, envelope []byte) [32]byte {
	h := sha256.New()
	h.Write(append([]byte(possessionLabel), nonce[:]...))
	h.Write(envelope)
	return [32]byte(h.Sum(nil))
}

// Mend puts back the bytes of a live envelope whose stored bytes are damaged,
// and says whether it did. The bytes prove themselves: they hash to the id.
func (r *Relay) Mend(tx Tx, box ID, envelope []byte) (bool, error) {
	e, known := tx.Find(box, EnvelopeIDOf(envelope))
	if !known || e.Buried {
		return false, nil
	}
	if _, err := tx.Body(box, e); !errors.Is(err, ErrDamaged) {
		return false, err
	}
	return true, tx.Mend(box, e, envelope)
}

// Room says whether nothing stands in the way of another deposit into a box, by
// a pass that is not used up or, at a front door, by a stranger. A box that
// takes no deposits stands in no one's way: the deposit will be answered.
// relayFull says that the box has room, and the relay has not.
func (r *Relay) Room(tx Tx, now time.Time, box ID) (room, relayFull bool) {
	b, known := tx.Box(box)
	if !known || !b.leased(steady(tx, now)) {
		return true, false
	}
	return r.room(tx, r.limits, box, b)
}

// RoomForCopies is Room for what other relays give us: where Adopt has refused a
// copy as Full, others may still be taken.
func (r *Relay) RoomForCopies(tx Tx, box ID) bool {
	b, known := tx.Box(box)
	room, _ := r.room(tx, r.limits.forCopies(), box, b)
	return known && room
}

func (r *Relay) room(tx Tx, l Limits, box ID, b Box) (room, relayFull bool) {
	used, strangers, size := tx.Usage(box), tx.By(box, pass.ID{}), uint64(l.MaxEnvelope)
	detail := ""
	if b.FrontDoor {
		size, detail = uint64(l.FrontEnvelope), l.byWork(strangers)
	} else {
		detail = l.byPass(Usage{}, used.less(strangers), size)
	}
	if detail != "" {
		return false, false
	}
	room = r.fits(tx, used, used, size)
	return room, !room
}
