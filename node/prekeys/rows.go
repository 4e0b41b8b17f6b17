package prekeys

import (
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
)

// Rotate makes the next bundle of a device, and starts the clock of the old one's secret. Secrets are kept before a
// bundle leaves the device.
func Rotate(tx store.Tx, rng io.Reader, keys *identity.DeviceKeys, old []byte, next identity.BundleFields) (*identity.Bundle, error) {
	if b, err := identity.ParseBundle(old); err == nil {
		id, row := b.Hash(), &pb.Prekey{}
		if store.Row(tx, store.BucketPrekeys, id[:8], row) {
			row.Superseded = next.Issued.UnixMilli()
			store.PutRow(tx, store.BucketPrekeys, id[:8], row)
		}
	}
	return issue(tx, rng, keys, next, &pb.Prekey{})
}

// Kind is what a one-time bundle was made for.
type Kind uint32

// The kinds.
const (
	Live    Kind = 1 // whoever asked this device
	Stocked Kind = 2 // the stock of a relay
)

// most is how many secrets of a kind a device keeps: who draws bundles to no
// purpose fills these, and others get none.
func (k Kind) most() int {
	if k == Live {
		return maxLive
	}
	return maxStocked
}

// Issue makes up to n one-time bundles, as many as there is room for.
func Issue(tx store.Tx, rng io.Reader, keys *identity.DeviceKeys, kind Kind, n int, f identity.BundleFields) (bundles [][]byte) {
	room := kind.most()
	tx.Scan(store.BucketPrekeys, nil, func(_, value []byte) bool {
		if row := (&pb.Prekey{}); proto.Unmarshal(value, row) == nil && row.OneTime == uint32(kind) && len(row.Secret) > 0 {
			room--
		}
		return true
	})
	for range min(n, room) {
		b, err := issue(tx, rng, keys, f, &pb.Prekey{OneTime: uint32(kind), Superseded: f.NotAfter.UnixMilli()})
		if err != nil {
			return bundles
		}
		bundles = append(bundles, b.Bytes())
	}
	return bundles
}

// Use notes the first session that began with a one-time bundle. Its secret
// lives on for a while: a relay may have handed the bundle out twice.
func Use(tx store.Tx, id [8]byte, now time.Time) {
	row := &pb.Prekey{}
	if store.Row(tx, store.BucketPrekeys, id[:], row) && row.OneTime != 0 && row.Used == 0 {
		row.Used = now.UnixMilli()
		store.PutRow(tx, store.BucketPrekeys, id[:], row)
	}
}

// issue signs a bundle and keeps its secret in row.
func issue(tx store.Tx, rng io.Reader, keys *identity.DeviceKeys, f identity.BundleFields, row *pb.Prekey) (*identity.Bundle, error) {
	b, pre, err := identity.NewBundle(rng, keys, f)
	if err != nil {
		return nil, err
	}
	id := pre.ID()
	row.Secret = pre.Marshal()
	store.PutRow(tx, store.BucketPrekeys, id[:], row)
	return b, nil
}

// Find is the secret that a first flight names; nil if it is not here any more.
func Find(tx store.Tx, id [8]byte) *identity.Prekey {
	row := &pb.Prekey{}
	if !store.Row(tx, store.BucketPrekeys, id[:], row) {
		return nil
	}
	pre, err := identity.ParsePrekey(row.Secret)
	if err != nil {
		return nil
	}
	return pre
}

// Forget deletes the secrets whose time is over. That a first flight was opened
// is remembered up to the cap: who sent it may have no answer yet, and begins
// every envelope with it.
func Forget(tx store.Tx, d Drained, now time.Time) (gone int) {
	waited := waited(tx)
	rows := map[string]*pb.Prekey{}
	tx.Scan(store.BucketPrekeys, nil, func(key, value []byte) bool {
		if row := (&pb.Prekey{}); proto.Unmarshal(value, row) == nil && len(key) == 8 {
			rows[string(key)] = row
		}
		return true
	})
	over := map[string]*pb.Prekey{} // whose secret goes
	for id, row := range rows {
		if row.Superseded == 0 {
			continue
		}
		s := Secret{Superseded: time.UnixMilli(row.Superseded), OneTime: row.OneTime != 0, Waited: waited[[8]byte([]byte(id))]}
		limit := now
		if s.OneTime {
			limit = now.Add(fresh)
		}
		if row.Used != 0 {
			s.Used = time.UnixMilli(min(row.Used, now.UnixMilli()))
		}
		switch {
		case s.Superseded.After(limit): // by a clock that was wrong
			row.Superseded = limit.UnixMilli()
			store.PutRow(tx, store.BucketPrekeys, []byte(id), row)
		case s.Over(d, now):
			over[id] = row
		}
	}
	return erase(tx, over, now)
}

// erase drops secrets, and, when the cap is over, what was opened with them.
func erase(tx store.Tx, over map[string]*pb.Prekey, now time.Time) (gone int) {
	if len(over) == 0 {
		return 0
	}
	flights := map[string][][]byte{}
	tx.Scan(store.BucketFlights, nil, func(key, _ []byte) bool {
		if len(key) > 8 && over[string(key[:8])] != nil {
			flights[string(key[:8])] = append(flights[string(key[:8])], key)
		}
		return true
	})
	for id, row := range over {
		if len(row.Secret) > 0 {
			gone++
		}
		if row.Secret = nil; len(flights[id]) > 0 && now.Sub(time.UnixMilli(row.Superseded)) < Cap {
			store.PutRow(tx, store.BucketPrekeys, []byte(id), row)
			continue
		}
		tx.Delete(store.BucketPrekeys, []byte(id))
		for _, key := range flights[id] {
			tx.Delete(store.BucketFlights, key)
		}
	}
	return gone
}

// waited are the prekeys of first flights that wait for something else, such as
// their sender's list.
func waited(tx store.Tx) map[[8]byte]bool {
	out := map[[8]byte]bool{}
	tx.Scan(store.BucketParked, nil, func(_, value []byte) bool {
		p := &pb.Parked{}
		if proto.Unmarshal(value, p) == nil {
			if f, first := session.ParseFirstFlight(p.Envelope); first {
				out[f.Prekey] = true
			}
		}
		return true
	})
	return out
}
