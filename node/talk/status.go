package talk

import (
	"slices"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// deliveries lists a message's deliveries and the least stage among its recipients. What another device wrote has none
// here, and no stage.
func deliveries(tx store.Tx, me identity.UserID, m *pb.Message) (view.Stage, []view.Delivery) {
	var all []view.Delivery
	for _, d := range m.Done {
		all = append(all, DoneView(tx, me, d))
	}
	for _, n := range m.Pending {
		d := &pb.Delivery{}
		if store.Row(tx, store.BucketOutbox, store.U64(n), d) {
			all = append(all, DeliveryView(tx, me, d))
		}
	}
	devices := map[string][]view.Stage{} // of each recipient
	for _, v := range all {
		if !v.Own {
			devices[v.User] = append(devices[v.User], v.Stage)
		}
	}
	switch {
	case len(devices) == 0 && forNobodyElse(tx, m):
		own := []view.Stage{view.StageDelivered} // it is here, and there is nobody else whom it could be short of
		for _, v := range all {
			if v.Stage != view.StageDropped {
				own = append(own, v.Stage)
			}
		}
		return view.Least(own), all
	case len(all) == 0 && !m.Unsent:
		return "", nil
	}
	var persons []view.Stage
	for _, of := range devices {
		persons = append(persons, view.Together(of))
	}
	return together(persons), all
}

// forNobodyElse reports whether a message of ours is a note to oneself, or said in a group that has nobody else.
func forNobodyElse(tx store.Tx, m *pb.Message) bool {
	if !m.Mine || len(m.Chat) != 16 {
		return false
	}
	c := Chat(tx, chat.ChatID(m.Chat))
	if c == nil || c.Kind != Group {
		return c != nil && c.Kind == Self
	}
	r := RosterOf(tx, IDOf(c))
	return r != nil && len(r.Members) == 1
}

// together is how far a message is with all its recipients. Who has no device left does not hold the others back.
func together(persons []view.Stage) view.Stage {
	there := slices.DeleteFunc(slices.Clone(persons), func(s view.Stage) bool { return s == view.StageDropped })
	switch {
	case len(persons) == 0:
		return view.StageQueued
	case len(there) == 0:
		return view.StageDropped
	}
	return view.Least(there)
}

// DeliveryView shows one delivery on its way.
func DeliveryView(tx store.Tx, me identity.UserID, d *pb.Delivery) view.Delivery {
	v := DoneView(tx, me, &pb.Done{
		Device: d.Device, User: d.User, Stage: d.Stage, Receipts: d.Receipts, Attempts: d.Attempts, Expires: d.Expires,
		SetW: d.SetW, SetR: d.SetR,
	})
	v.NextTry, v.Voided, v.Expiring = unixMilli(d.Next), len(d.Voided), d.Warned
	return v
}

// DoneView shows one delivery that has ended.
func DoneView(tx store.Tx, me identity.UserID, d *pb.Done) view.Delivery {
	v := view.Delivery{
		Device: hexOf(d.Device), User: hexOf(d.User), Own: string(d.User) == string(me[:]), Stage: view.StageOf(d.Stage),
		Custody: len(d.Receipts), Replicas: int(d.SetR), Quorum: int(d.SetW), Attempts: int(d.Attempts), Expires: unixMilli(d.Expires),
	}
	for _, r := range d.Receipts {
		v.Receipts = append(v.Receipts, view.Receipt{Relay: hexOf(r.Relay), StoredAt: unixMilli(r.Stored)})
	}
	c := &pb.Contact{}
	switch {
	case v.Own:
		v.Handle = OwnHandle
	case len(d.User) == 32 && store.Row(tx, store.BucketContacts, d.User[:ContactKeySize], c):
		v.Handle = c.Handle
	}
	return v
}

// Status shows how far a message came, per device.
func Status(tx store.Tx, id string) (view.Status, error) {
	m, err := FindMessage(tx, id)
	if err != nil {
		return view.Status{}, err
	}
	me := Me(tx)
	s := view.Status{Message: MessageView(tx, me, m)}
	s.Stage, s.Deliveries = deliveries(tx, me, m)
	for _, d := range s.Deliveries {
		switch {
		case view.Rank(d.Stage) < view.Rank(view.StageDelivered) && d.Stage != view.StageExpired:
			if s.Expires.IsZero() || d.Expires.Before(s.Expires) {
				s.Expires = d.Expires
			}
		case d.Stage == view.StageExpired:
			s.Rearm = true
		}
		s.Rearm = s.Rearm || d.Expiring
	}
	return s, tx.Err()
}

// Trace lists what was tried for a message, in order of time.
func Trace(tx store.Tx, id string) ([]view.Step, error) {
	m, err := FindMessage(tx, id)
	if err != nil {
		return nil, err
	}
	var out []view.Step
	add := func(device []byte, steps []*pb.Step) {
		for _, s := range steps {
			out = append(out, view.Step{At: unixMilli(s.At), Device: hexOf(device), What: s.What, Detail: s.Detail})
		}
	}
	for _, d := range m.Done {
		add(d.Device, d.Steps)
	}
	for _, n := range m.Pending {
		d := &pb.Delivery{}
		if store.Row(tx, store.BucketOutbox, store.U64(n), d) {
			add(d.Device, d.Steps)
		}
	}
	slices.SortStableFunc(out, func(a, b view.Step) int { return a.At.Compare(b.At) })
	return out, tx.Err()
}
