package mailbox

import (
	"crypto/ed25519"
	"errors"
	"time"
)

// Stored is one envelope of a box.
type Stored struct {
	Seq      uint64 // arrival number: the cursor of flow control, nothing more
	ID       EnvelopeID
	Envelope []byte
	Expires  time.Time
}

// Fetch returns the envelopes of a box that are neither expired nor
// acknowledged, with Seq > after, in order of arrival, in memory of their own:
// at most count of them (0 means MaxFetchCount) and as many as fit in size
// bytes, but at least one. more says that others follow. A damaged envelope is
// left out; the store counts it. The caller has made sure that the asker owns
// the box (VerbCollect).
func (r *Relay) Fetch(tx Tx, now time.Time, box ID, after uint64, count, size int) (items []Stored, more bool, err error) {
	items, more, err = r.Show(tx, now, box, after, count, size)
	for i := range items {
		items[i].Envelope = append([]byte(nil), items[i].Envelope...)
	}
	return items, more, err
}

// Show is Fetch without copies: the envelopes are the store's own, as [Tx] shows them.
func (r *Relay) Show(tx Tx, now time.Time, box ID, after uint64, count, size int) (items []Stored, more bool, err error) {
	if count <= 0 || count > MaxFetchCount {
		count = MaxFetchCount
	}
	millis := steady(tx, now).UnixMilli()
	tx.List(box, after, func(e Entry) bool {
		if e.Expires <= millis {
			return true
		}
		if len(items) == count || len(items) > 0 && size < int(e.Size) {
			more = true
			return false
		}
		body, failed := tx.Body(box, e)
		if errors.Is(failed, ErrDamaged) {
			return true
		}
		if err = failed; err != nil {
			return false
		}
		size -= len(body)
		items = append(items, Stored{
			Seq: e.Seq, ID: e.ID, Envelope: body, Expires: timeOf(e.Expires),
		})
		return true
	})
	if err != nil {
		return nil, false, err
	}
	return items, more, nil
}

// Ack forgets envelopes of a box: their bytes go at once, a tombstone stays
// till the envelope's expiry. sig is SignRequest(VerbAck, AckContent(ids)).
// Unknown ids are ignored. No quota and no lease stands in the way of an ack.
// Refusal: Malformed.
func (r *Relay) Ack(tx Tx, _ time.Time, box ed25519.PublicKey, ids []EnvelopeID, sig []byte) error {
	if len(ids) == 0 || len(ids) > MaxAckIDs || !VerifyRequest(box, r.peer, VerbAck, AckContent(ids), sig) {
		return refuse(Malformed, "ack")
	}
	id := IDOf(box)
	for i := range ids {
		if e, ok := tx.Find(id, ids[i]); !ok || e.Buried {
			continue
		}
		if err := tx.Bury(id, ids[i]); err != nil {
			return err
		}
	}
	return nil
}
