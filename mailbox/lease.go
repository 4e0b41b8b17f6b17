package mailbox

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
)

// Reserve keeps a place for a box for ReserveFor, so that the owner can ask
// several relays before it commits a set. sig is SignRequest(VerbReserve, nil).
// Refusals: Malformed, NotServing, Full.
func (r *Relay) Reserve(tx Tx, now time.Time, box ed25519.PublicKey, sig []byte) error {
	if !VerifyRequest(box, r.peer, VerbReserve, nil, sig) {
		return refuse(Malformed, "reserve: signature")
	}
	now = steady(tx, now)
	id := IDOf(box)
	b, err := r.place(tx, id)
	if err != nil {
		return err
	}
	b.Reserved = milli(now.Add(ReserveFor))
	return tx.PutBox(id, b)
}

// Leased says whether a box may keep something here beside its mail, and what
// time it is for that. Refusals: NotMine, NotServing.
func (r *Relay) Leased(tx Tx, now time.Time, box ID) (time.Time, error) {
	now = steady(tx, now)
	if b, _ := tx.Box(box); !b.leased(now) {
		return now, notMine(tx, box, "no lease")
	}
	if !tx.Leaving().IsZero() {
		return now, refuse(NotServing, "the relay is leaving")
	}
	return now, nil
}

// Leave says from when on this relay does not serve; zero: it stays. While it is
// leaving it gives no place and no lease; deposits, fetches and repair go on.
// Refusal: Malformed, for a moment that is over.
func (r *Relay) Leave(tx Tx, now, at time.Time) error {
	if at.IsZero() {
		return tx.SetLeaving(time.Time{})
	}
	if at.Before(now) {
		return refuse(Malformed, "leave: in the past")
	}
	return tx.SetLeaving(milli(at))
}

// place returns the box, or a new one if there is room for it.
func (r *Relay) place(tx Tx, id ID) (Box, error) {
	b, known := tx.Box(id)
	if !tx.Leaving().IsZero() {
		return b, refuse(NotServing, "the relay is leaving")
	}
	if !known && tx.Total().Boxes >= int(r.limits.MaxBoxes) {
		return b, refuse(Full, "boxes of the relay")
	}
	return b, nil
}

// Commit takes a set core signed by the box's owner (dht.SignSetCore) that
// names this relay, and returns the relay's countersigned lease. It may be
// repeated; a front door's lease grows by that. A core older than the newest set known is refused as NotMine
// with that set. Refusals: Malformed, NotMine, Expired, NotServing, Full.
func (r *Relay) Commit(tx Tx, now time.Time, signedCore []byte) (dht.Lease, error) {
	core, err := dht.ParseSetCore(signedCore)
	if err != nil {
		return dht.Lease{}, refuse(Malformed, "commit: core")
	}
	now = steady(tx, now)
	member, ok := memberOf(core.Members, r.peer)
	if !ok {
		return dht.Lease{}, refuse(Malformed, "commit: not a member")
	}
	end, err := leaseEnd(core, now)
	if err != nil {
		return dht.Lease{}, err
	}
	id := IDOf(core.Box)
	b, err := r.place(tx, id)
	if err != nil {
		return dht.Lease{}, err
	}
	hash := core.Hash()
	if b.Number > core.Number {
		return dht.Lease{}, notMine(tx, id, "commit: older set")
	}
	if b.Number == core.Number && b.Core != hash && b.Core != [32]byte{} {
		return dht.Lease{}, refuse(Malformed, "commit: two sets with one number")
	}
	if end.After(b.End) {
		b.End = end
	}
	b.Number, b.Core, b.Rank, b.Member = core.Number, hash, member.Rank, true
	b.FrontDoor = core.Epoch == dht.FrontDoorEpoch
	b.Reserved, b.Key = time.Time{}, [32]byte(core.Box)
	if err := tx.PutBox(id, b); err != nil {
		return dht.Lease{}, err
	}
	return dht.SignLease(r.key, hash, member.Rank, b.End), nil
}

// leaseEnd bounds how far ahead a relay binds itself: to the end of the epoch
// after the core's, because senders use a set one epoch early or late; for a
// front door, which has no epoch, MaxLease. It is in whole seconds, as leases
// are. The set's NotAfter marks freshness; it does not shorten a lease.
func leaseEnd(core dht.SetCore, now time.Time) (time.Time, error) {
	if core.Epoch == dht.FrontDoorEpoch {
		return now.Add(MaxLease).Truncate(time.Second).UTC(), nil
	}
	if core.Epoch > dht.EpochAt(now)+EpochsAhead {
		return time.Time{}, refuse(Malformed, "commit: epoch too far ahead")
	}
	end := time.Unix((int64(core.Epoch)+2)*int64(dht.EpochLength/time.Second), 0).UTC()
	if !now.Before(end) {
		return time.Time{}, refuse(Expired, "commit: epoch")
	}
	return end, nil
}

func memberOf(members []dht.Member, peer []byte) (dht.Member, bool) {
	for _, m := range members {
		if bytes.Equal(m.Peer.ID, peer) {
			return m, true
		}
	}
	return dht.Member{}, false
}

// PutSet keeps the newest set record of a box that this relay leased, and
// serves it to whoever comes with an older one. A set without this relay ends
// deposits here; what is stored stays for the owner. Older sets and repeats
// are ignored. A relay that does not know the box, because it lost its disk,
// takes its own lease in the record for what it is: its word, as long as mail of
// the lease's time can live.
// Refusals: Malformed, NotMine, NotServing, Full.
func (r *Relay) PutSet(tx Tx, now time.Time, raw []byte) error {
	set, err := dht.ParseSetRecord(raw)
	if err != nil {
		return refuse(Malformed, "set: record")
	}
	id := ID(set.BoxID())
	b, known := tx.Box(id)
	if !known || b.Core == [32]byte{} {
		if b, err = r.regain(tx, steady(tx, now), set); err != nil {
			return err
		}
	} else if stored, err := tx.Set(id); !newerSet(b, set, stored, err) {
		return nil
	}
	b.Number, b.Key = set.Number(), [32]byte(set.Box())
	_, b.Member = memberOf(set.Members(), r.peer)
	if err := tx.PutBox(id, b); err != nil {
		return err
	}
	return tx.PutSet(id, set.Raw())
}

// regain returns the box of a record that holds a lease of this relay.
// Whoever parsed the record has verified the lease with this relay's key.
func (r *Relay) regain(tx Tx, now time.Time, set *dht.SetRecord) (Box, error) {
	m, named := memberOf(set.Members(), r.peer)
	leases := set.Leases()
	i := slices.IndexFunc(leases, func(l dht.Lease) bool { return l.Rank == m.Rank })
	if !named || i < 0 || !(Box{Member: true, End: leases[i].End}).repairs(now) {
		return Box{}, refuse(NotMine, "set: no lease")
	}
	b, err := r.place(tx, ID(set.BoxID()))
	b.Core, b.Rank, b.End = set.Core().Hash(), m.Rank, leases[i].End
	b.FrontDoor = set.Epoch() == dht.FrontDoorEpoch
	return b, err
}

// newerSet says whether set replaces what is stored. A damaged copy is
// replaced by any that is not older, and so is one from before the last commit.
func newerSet(b Box, set *dht.SetRecord, stored []byte, err error) bool {
	if set.Number() != b.Number {
		return set.Number() > b.Number
	}
	if len(stored) == 0 || errors.Is(err, ErrDamaged) {
		return true
	}
	old, err := dht.ParseSetRecord(stored)
	return err != nil || old.Number() < set.Number()
}

// GetSet returns the newest set record known of a box, in memory of its own.
// Refusal: NotMine.
func (r *Relay) GetSet(tx Tx, _ time.Time, box ID) ([]byte, error) {
	set, err := tx.Set(box)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		return nil, refuse(NotMine, "set: none known")
	}
	return append([]byte(nil), set...), nil
}

func milli(t time.Time) time.Time { return timeOf(t.UnixMilli()) }
