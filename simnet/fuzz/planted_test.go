package fuzz_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/simnet/fuzz"
	"github.com/kith-im/kith/simnet/story"
)

// lag is how long what was said to be on disk is not.
const lag = 2 * time.Second

// Each of these faults is one that an engine, a relay or its store could have. All are put in from outside. The search
// finds each of them among the first thousand seeds.
func TestPlantedFaultsAreFound(t *testing.T) {
	for _, x := range []struct {
		name, sign string // what the search has to say
		from       uint64 // a seed that is known to be near
		plant      func(*story.Play)
	}{
		{"a relay signs before it commits", "does not hold it", 1, receiptBeforeCommit},
		{"a device acknowledges before it commits", "does not h", 2, ackBeforeCommit},
		{"a device does not know what it has seen", "twice", 5, wrap(func(s store.Store) store.Store { return amnesiac{s} })},
		{"relays do not repair", "in peace", 1, func(p *story.Play) { p.World.NoRepair() }},
		{"one receipt counts as custody", "shows custody by 1 relays", 1, wrap(func(s store.Store) store.Store { return hasty{s} })},
		{"envelopes are not sealed", "in the clear", 1, wrap(func(s store.Store) store.Store { return open{s} })},
		{"relays forget the mail of whoever is gone", "and lives", 14, forgetOrphans},
		{"a removed device is told", "knew was removed", 1, tellRemoved},
		{"who was removed from a group still gets its mail", "to be no member", 17, wrap(func(s store.Store) store.Store { return faithful{s, map[string][]byte{}} })},
		{"a device does not learn who is in a group", "agree who is in", 24, wrap(func(s store.Store) store.Store { return stubborn{s} })},
		{"nothing disappears", "whose time was over", 4, wrap(func(s store.Store) store.Store { return lasting{s} })},
	} {
		t.Run(x.name, func(t *testing.T) {
			for seed := x.from; seed < 1000; seed++ {
				o := fuzz.Of(seed).Play(x.plant)
				if strings.Contains(strings.Join(o.Broken, "\n"), x.sign) {
					t.Logf("seed %d: %s", seed, o.Broken[0])
					return
				}
			}
			t.Error("nobody notices")
		})
	}
}

// wrap puts a store in front of every device's as it is brought on.
func wrap(with func(store.Store) store.Store) func(*story.Play) {
	return func(p *story.Play) { p.Made = func(d *story.Device) { d.World.Wrap(with) } }
}

// ackBeforeCommit: a crash undoes the last turns of a device, whose effects happened.
func ackBeforeCommit(p *story.Play) {
	disks := map[string]*forgetful{}
	p.Made = func(d *story.Device) {
		f := &forgetful{now: p.World.Now}
		d.World.Wrap(func(s store.Store) store.Store { f.Store = s; return f })
		disks[d.Name()] = f
	}
	p.Crash = func(host string) {
		if f := disks[host]; f != nil {
			f.crash()
		}
	}
}

type change struct {
	at   time.Time
	undo func(store.Tx)
}

type forgetful struct {
	store.Store
	now     func() time.Time
	changes []change
}

func (f *forgetful) Update(fn func(store.Tx) error) error {
	mark := len(f.changes)
	err := f.Store.Update(func(tx store.Tx) error { return fn(&forgetfulTx{tx, f}) })
	if err != nil {
		f.changes = f.changes[:mark]
	}
	return err
}

func (f *forgetful) crash() {
	_ = f.Store.Update(func(tx store.Tx) error {
		for i := len(f.changes) - 1; i >= 0 && f.now().Sub(f.changes[i].at) < lag; i-- {
			f.changes[i].undo(tx)
		}
		return nil
	})
	f.changes = nil
}

type forgetfulTx struct {
	store.Tx
	f *forgetful
}

func (t *forgetfulTx) note(b store.Bucket, key []byte) {
	key, old := bytes.Clone(key), bytes.Clone(t.Get(b, key))
	t.f.changes = append(t.f.changes, change{t.f.now(), func(tx store.Tx) {
		if old == nil {
			tx.Delete(b, key)
		} else {
			tx.Put(b, key, old)
		}
	}})
}

func (t *forgetfulTx) Put(b store.Bucket, key, value []byte) { t.note(b, key); t.Tx.Put(b, key, value) }
func (t *forgetfulTx) Delete(b store.Bucket, key []byte)     { t.note(b, key); t.Tx.Delete(b, key) }

// receiptBeforeCommit: a crash undoes what a relay took last, which it has signed for.
func receiptBeforeCommit(p *story.Play) {
	disks := map[string]*volatile{}
	p.MadeRelay = func(r *story.Relay) {
		v := &volatile{now: p.World.Now}
		r.World.Wrap(func(s mailbox.Store) mailbox.Store { v.Store = s; return v })
		disks[r.Name()] = v
	}
	p.Crash = func(host string) {
		if v := disks[host]; v != nil {
			v.crash()
		}
	}
}

// forgetOrphans: what relays hold goes when any device is destroyed.
func forgetOrphans(p *story.Play) {
	var disks []*volatile
	p.MadeRelay = func(r *story.Relay) {
		v := &volatile{now: p.World.Now}
		r.World.Wrap(func(s mailbox.Store) mailbox.Store { v.Store = s; return v })
		disks = append(disks, v)
	}
	p.Crash = func(host string) {
		for _, d := range p.Devices() {
			for _, v := range disks {
				if d.Lost && d.Name() == host {
					v.forget(func(added) bool { return true })
				}
			}
		}
	}
}

// tellRemoved lets the search believe of every message that its author knew all its recipients to be removed.
func tellRemoved(p *story.Play) {
	look := p.After
	p.After = func() {
		for _, m := range p.Messages {
			m.Not = m.Due
		}
		look()
	}
}

type added struct {
	at  time.Time
	box mailbox.ID
	id  mailbox.EnvelopeID
}

type volatile struct {
	mailbox.Store
	now   func() time.Time
	added []added
}

func (v *volatile) Do(ctx context.Context, fn func(mailbox.Tx) error) error {
	return v.Store.Do(ctx, func(tx mailbox.Tx) error { return fn(volatileTx{tx, v}) })
}

func (v *volatile) crash() { v.forget(func(a added) bool { return v.now().Sub(a.at) < lag }) }

func (v *volatile) forget(some func(added) bool) {
	_ = v.Store.Do(context.Background(), func(tx mailbox.Tx) error {
		for _, a := range v.added {
			if some(a) {
				_ = tx.Bury(a.box, a.id)
			}
		}
		return nil
	})
	v.added = nil
}

type volatileTx struct {
	mailbox.Tx
	v *volatile
}

func (t volatileTx) Add(box mailbox.ID, e mailbox.Entry, envelope []byte) error {
	t.v.added = append(t.v.added, added{t.v.now(), box, e.ID})
	return t.Tx.Add(box, e, envelope)
}

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

func mine(row []byte) bool {
	m := &pb.Message{}
	return proto.Unmarshal(row, m) == nil && m.Mine
}

// hasty believes that one receipt is as good as as many as the recipient asks for.
type hasty struct{ store.Store }

func (h hasty) Update(fn func(store.Tx) error) error {
	return h.Store.Update(func(tx store.Tx) error { return fn(changing{tx, func(d *pb.Delivery) { d.SetW = min(d.SetW, 1) }}) })
}

// open gives what was said to relays and devices as it is.
type open struct{ store.Store }

func (o open) Update(fn func(store.Tx) error) error {
	return o.Store.Update(func(tx store.Tx) error {
		return fn(changing{tx, func(d *pb.Delivery) {
			m := &pb.Message{}
			if len(d.Envelope) > 0 && len(d.Message) > 0 && store.Row(tx, store.BucketMessages, d.Message, m) {
				copy(d.Envelope[100:], m.Content)
			}
		}})
	})
}

// changing changes deliveries on their way to disk.
type changing struct {
	store.Tx
	change func(*pb.Delivery)
}

func (t changing) Put(b store.Bucket, key, value []byte) {
	if d := (&pb.Delivery{}); b == store.BucketOutbox && proto.Unmarshal(value, d) == nil {
		t.change(d)
		value, _ = proto.Marshal(d)
	}
	t.Tx.Put(b, key, value)
}

// lasting forgets when messages end.
type lasting struct{ store.Store }

func (l lasting) Update(fn func(store.Tx) error) error {
	return l.Store.Update(func(tx store.Tx) error { return fn(lastingTx{tx}) })
}

type lastingTx struct{ store.Tx }

func (t lastingTx) Put(b store.Bucket, key, value []byte) {
	if b != store.BucketTimes {
		t.Tx.Put(b, key, value)
	}
}

// roster says whether a row is that of who is in a group.
func roster(b store.Bucket, key []byte) bool { return b == store.BucketGroups && len(key) == 16 }

// faithful writes to everybody who ever was in a group when it was made, whatever it shows.
type faithful struct {
	store.Store
	first map[string][]byte
}

func (f faithful) Update(fn func(store.Tx) error) error {
	return f.Store.Update(func(tx store.Tx) error { return fn(faithfulTx{tx, f.first}) })
}

type faithfulTx struct {
	store.Tx
	first map[string][]byte
}

func (t faithfulTx) Put(b store.Bucket, key, value []byte) {
	if roster(b, key) && t.first[string(key)] == nil {
		t.first[string(key)] = bytes.Clone(value)
	}
	t.Tx.Put(b, key, value)
}

func (t faithfulTx) Get(b store.Bucket, key []byte) []byte {
	if first := t.first[string(key)]; roster(b, key) && first != nil {
		return first
	}
	return t.Tx.Get(b, key)
}

// stubborn never changes its mind about who is in a group.
type stubborn struct{ store.Store }

func (s stubborn) Update(fn func(store.Tx) error) error {
	return s.Store.Update(func(tx store.Tx) error { return fn(stubbornTx{tx}) })
}

type stubbornTx struct{ store.Tx }

func (t stubbornTx) Put(b store.Bucket, key, value []byte) {
	if !roster(b, key) || t.Get(b, key) == nil {
		t.Tx.Put(b, key, value)
	}
}
