package simnet_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet"
)

// found plays seeds, beginning with one that is known to be early, until a planted fault is found.
func found(t *testing.T, what string, first uint64, plant func(*schedule)) {
	t.Helper()
	for seed := first; seed < first+40; seed++ {
		if s := run(t, seed, plant); len(s.broken) > 0 {
			t.Logf("%s: seed %d: %s", what, seed, s.broken[0])
			return
		}
	}
	t.Errorf("%s: 40 schedules saw nothing", what)
}

func (s *schedule) eachDevice(fn func(*simnet.Device)) {
	for _, p := range s.people {
		for _, d := range p.devices {
			fn(d)
		}
	}
}

// The schedules would see what they look for: each of these faults is one that the engine, its store or its relays
// could have.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Run("a store that forgets its last turns in a crash", func(t *testing.T) {
		found(t, t.Name(), 0, func(s *schedule) {
			s.eachDevice(func(d *simnet.Device) {
				f := &forgetful{}
				d.Wrap(func(n store.Store) store.Store { f.Store = n; return f })
				s.crashes[d] = f.crash
			})
		})
	})
	t.Run("a device without memory of what it has seen", func(t *testing.T) {
		found(t, t.Name(), 3, func(s *schedule) {
			s.eachDevice(func(d *simnet.Device) {
				d.Wrap(func(n store.Store) store.Store { return amnesiac{n} })
			})
		})
	})
	t.Run("relays that sign and keep nothing, nobody who asks them, and a sender that is gone", func(t *testing.T) {
		found(t, t.Name(), 15, func(s *schedule) {
			s.eachDevice((*simnet.Device).Deafen)
			for _, r := range s.relays {
				r.Lie()
			}
		})
	})
}

// forgetful undoes its last turns when the process crashes, as a disk without fsync does.
type forgetful struct {
	store.Store
	undo []func(store.Tx)
	mark int
}

func (f *forgetful) Update(fn func(store.Tx) error) error {
	f.mark = len(f.undo)
	err := f.Store.Update(func(tx store.Tx) error { return fn(&forgetfulTx{tx, f}) })
	if err != nil {
		f.undo = f.undo[:f.mark]
	}
	if len(f.undo) > 500 {
		f.undo = f.undo[len(f.undo)-200:]
	}
	return err
}

func (f *forgetful) crash() {
	_ = f.Store.Update(func(tx store.Tx) error {
		for i := len(f.undo) - 1; i >= 0; i-- {
			f.undo[i](tx)
		}
		return nil
	})
	f.undo = nil
}

type forgetfulTx struct {
	store.Tx
	f *forgetful
}

func (t *forgetfulTx) note(b store.Bucket, key []byte) {
	old := t.Get(b, key)
	t.f.undo = append(t.f.undo, func(tx store.Tx) {
		if old == nil {
			tx.Delete(b, key)
		} else {
			tx.Put(b, key, old)
		}
	})
}

func (t *forgetfulTx) Put(b store.Bucket, key, value []byte) { t.note(b, key); t.Tx.Put(b, key, value) }
func (t *forgetfulTx) Delete(b store.Bucket, key []byte)     { t.note(b, key); t.Tx.Delete(b, key) }

// amnesiac does not find messages of others by their id: the check that makes a message shown once.
type amnesiac struct{ store.Store }

func (a amnesiac) Update(fn func(store.Tx) error) error {
	return a.Store.Update(func(tx store.Tx) error { return fn(amnesiacTx{tx}) })
}

type amnesiacTx struct{ store.Tx }

func (t amnesiacTx) Get(b store.Bucket, key []byte) []byte {
	v := t.Tx.Get(b, key)
	if b == store.BucketSeen || b == store.BucketMessages && !mine(v) {
		return nil
	}
	return v
}

// mine reads field 5 (mine) of a message row.
func mine(row []byte) bool {
	m := &pb.Message{}
	return proto.Unmarshal(row, m) == nil && m.Mine
}
