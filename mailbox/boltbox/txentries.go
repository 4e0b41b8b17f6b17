package boltbox

import (
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/mailbox"
)

func (t *tx) Find(box mailbox.ID, id mailbox.EnvelopeID) (mailbox.Entry, bool) {
	if a, ok := t.over.entries[entryKey{box, id}]; ok {
		if a == nil {
			return mailbox.Entry{}, false
		}
		return a.Entry, true
	}
	e := t.ix.find(box, id)
	if e == nil {
		return mailbox.Entry{}, false
	}
	return t.seen(*e)
}

// seen is a committed entry as this transaction sees it.
func (t *tx) seen(e mailbox.Entry) (mailbox.Entry, bool) {
	_, dropped := t.over.dropped[e.Day()]
	if _, gone := t.over.gone[e.Seq]; gone || dropped {
		return mailbox.Entry{}, false
	}
	if _, buried := t.over.buried[e.Seq]; buried {
		e.Buried, e.Size = true, 0
	}
	return e, true
}

func (t *tx) Add(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	old, known := t.Find(box, e.ID)
	if !t.view && !t.hasRoom(len(envelope)) {
		return mailbox.ErrDiskFull
	}
	e.Seq, e.Buried = t.ix.seq+t.over.seq+1, false
	if t.view {
		return mailbox.ErrReadOnly
	}
	if err := t.count(box, e.Share(), one(e)); err != nil { // before the earlier one goes: a certificate of both stays
		return err
	}
	if known {
		if err := t.forget(box, old); err != nil {
			return err
		}
	}
	if err := t.write(addEntry{box, e, envelope}); err != nil {
		return err
	}
	a := &added{Entry: e, body: envelope}
	t.over.seq++
	t.over.bytes += len(envelope)
	set(&t.over.entries, entryKey{box, e.ID}, a)
	set(&t.over.order, box, append(t.over.order[box], a))
	set(&t.over.days, e.Day(), t.over.days[e.Day()]+1)
	return nil
}

// hasRoom says whether an envelope fits without touching the reserve. The disk
// is asked once in a transaction.
func (t *tx) hasRoom(size int) bool {
	if !t.asked {
		t.asked = true
		if t.room = t.store.roomLeft(); t.room == 0 {
			t.store.full.Add(1)
		}
	}
	return uint64(t.over.bytes+size) <= t.room
}

// forget takes an entry away whose envelope comes again.
func (t *tx) forget(box mailbox.ID, old mailbox.Entry) error {
	if err := t.write(forgetEntry{box, old}); err != nil {
		return err
	}
	if err := t.count(box, old.Share(), negative(one(old))); err != nil {
		return err
	}
	set(&t.over.days, old.Day(), t.over.days[old.Day()]-1)
	if a := t.over.entries[entryKey{box, old.ID}]; a != nil {
		t.over.order[box] = slices.DeleteFunc(slices.Clone(t.over.order[box]), func(x *added) bool { return x == a })
		return nil
	}
	set(&t.over.gone, old.Seq, struct{}{})
	return nil
}

func (t *tx) Bury(box mailbox.ID, id mailbox.EnvelopeID) error {
	e, ok := t.Find(box, id)
	if !ok || e.Buried {
		return errMisuse
	}
	if err := t.write(buryEntry{box, e}); err != nil {
		return err
	}
	if err := t.count(box, e.Share(), plus(negative(one(e)), mailbox.Usage{Tombs: 1})); err != nil {
		return err
	}
	if a := t.over.entries[entryKey{box, id}]; a != nil {
		a.Buried, a.Size, a.body = true, 0, nil
		return nil
	}
	delete(t.over.mended, e.Seq)
	set(&t.over.buried, e.Seq, struct{}{})
	return nil
}

func (t *tx) List(box mailbox.ID, after uint64, fn func(mailbox.Entry) bool) {
	if c := t.ix.held[box]; c != nil {
		for e := range c.after(after) {
			if e, ok := t.seen(e); ok && !e.Buried && !fn(e) {
				return
			}
		}
	}
	for _, a := range t.over.order[box] {
		if a.Seq > after && !a.Buried && !fn(a.Entry) {
			return
		}
	}
}

func (t *tx) Body(box mailbox.ID, e mailbox.Entry) ([]byte, error) {
	if a := t.over.entries[entryKey{box, e.ID}]; a != nil && a.Seq == e.Seq {
		return a.body, nil
	}
	if body, ok := t.over.mended[e.Seq]; ok {
		return body, nil
	}
	var body []byte
	err := t.read(func(r *bolt.Tx) error {
		if b := r.Bucket(envelopeBucket(e.Day())); b != nil {
			body = b.Get(seqBytes(e.Seq))
		}
		if body == nil && !t.inTurn {
			t.moved = true
			return errMoved
		}
		if mailbox.EnvelopeIDOf(body) != e.ID {
			return mailbox.ErrDamaged
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (t *tx) Mend(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	found, ok := t.Find(box, e.ID)
	if !ok || found.Buried || found.Seq != e.Seq {
		return errMisuse
	}
	if err := t.write(mendEntry{e, envelope}); err != nil {
		return err
	}
	if a := t.over.entries[entryKey{box, e.ID}]; a != nil {
		a.body = envelope
		return nil
	}
	set(&t.over.mended, e.Seq, envelope)
	return nil
}

func (t *tx) Days() []mailbox.Day {
	all := map[mailbox.Day]int{}
	for d, known := range t.ix.days {
		if _, gone := t.over.dropped[d]; !gone {
			all[d] = known.entries
		}
	}
	for d, more := range t.over.days {
		all[d] += more
	}
	maps.DeleteFunc(all, func(_ mailbox.Day, n int) bool { return n == 0 })
	return slices.Sorted(maps.Keys(all))
}

func (t *tx) DropDay(d mailbox.Day) (mailbox.Usage, error) {
	if err := t.write(dropDay{d}); err != nil {
		return mailbox.Usage{}, err
	}
	var gone mailbox.Usage
	for box, c := range t.ix.held {
		var here tally
		for _, e := range c.of(d) {
			if e, ok := t.seen(e); ok {
				here.add(e.Share(), one(e))
			}
		}
		if here.used == (mailbox.Usage{}) {
			continue
		}
		all, err := t.countAll(box, &here)
		if err != nil {
			return gone, err
		}
		gone = plus(gone, all)
	}
	for box, order := range t.over.order {
		all, err := t.dropAdded(box, order, d)
		if err != nil {
			return gone, err
		}
		gone = plus(gone, all)
	}
	set(&t.over.dropped, d, struct{}{})
	delete(t.over.days, d)
	return gone, nil
}

// countAll takes away what a day held of a box, by share.
func (t *tx) countAll(box mailbox.ID, shares *tally) (all mailbox.Usage, err error) {
	for id, used := range shares.all {
		all = plus(all, used)
		if err := t.count(box, id, negative(used)); err != nil {
			return all, err
		}
	}
	return all, nil
}

// dropAdded takes back what this transaction added to a box for a day.
func (t *tx) dropAdded(box mailbox.ID, order []*added, d mailbox.Day) (mailbox.Usage, error) {
	var here tally
	for _, a := range order {
		if a.Day() != d {
			continue
		}
		here.add(a.Share(), one(a.Entry))
		t.over.entries[entryKey{box, a.ID}] = nil
	}
	if here.used != (mailbox.Usage{}) {
		t.over.order[box] = slices.DeleteFunc(slices.Clone(order), func(a *added) bool { return a.Day() == d })
	}
	return t.countAll(box, &here)
}
