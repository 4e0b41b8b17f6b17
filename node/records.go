package node

import (
	"crypto/ed25519"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/backup"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// CreateParams is a new person with its first device.
type CreateParams struct {
	Root       *identity.Root
	Name       string // of the person, self-asserted
	DeviceName string
	Epoch      uint32 // of the account key; 0: the first. A phrase that comes back needs RecoveryEpoch
	BackupKey  []byte // public, of package backup; nil: backups need a passphrase of their own
}

// Create writes a new identity into an empty store. The root is not kept: it is the recovery phrase.
func Create(t *Turn, p CreateParams) error {
	if t.Tx.Get(store.BucketMeta, keySelf) != nil {
		return &view.Problem{Class: view.ErrRefused, Message: "there is an identity here already", Hint: "kith id"}
	}
	keys, err := identity.NewDeviceKeys(t.Rand)
	if err != nil {
		return err
	}
	account := p.Root.Account(max(p.Epoch, 1))
	list, err := account.SignList(identity.ListFields{
		Seq: 1, Issued: t.Now, NotAfter: t.Now.Add(listLife),
		Devices: []identity.Device{keys.Public(identity.FlagAdmin, 1)},
	})
	if err != nil {
		return err
	}
	self, err := newSelf(t, keys, p.Root.User(), chat.CleanName(p.Name), chat.CleanName(p.DeviceName))
	if err != nil {
		return err
	}
	self.Account, self.List = account.Marshal(), list.Bytes()
	store.PutRow(t.Tx, store.BucketMeta, keySelf, self)
	if len(p.BackupKey) > 0 {
		t.Tx.Put(store.BucketMeta, backup.RowKey, p.BackupKey)
	}
	return t.Tx.Err()
}

// newSelf draws a device's own secrets and its first bundle.
func newSelf(t *Turn, keys *identity.DeviceKeys, user identity.UserID, name, deviceName string) (*pb.Self, error) {
	self := &pb.Self{
		User: user[:], DeviceKeys: keys.Marshal(), Name: name, DeviceName: deviceName,
		Generation: uint64(t.Now.UnixMilli()),
	}
	var err error
	if self.MailboxSecret, err = draw(t.Rand, 32); err != nil {
		return nil, err
	}
	if self.RecordSecret, err = draw(t.Rand, 32); err != nil {
		return nil, err
	}
	return self, rotateBundle(t, self, keys, 1)
}

// draw reads n bytes of entropy.
func draw(rng io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(rng, b)
	return b, err
}

// rotateBundle makes the next bundle and keeps the secret of the old one for envelopes that are on their way.
func rotateBundle(t *Turn, self *pb.Self, keys *identity.DeviceKeys, number uint64) error {
	b, err := prekeys.Rotate(t.Tx, t.Rand, keys, self.Bundle, identity.BundleFields{
		User: identity.UserID(self.User), Generation: self.Generation, Number: number,
		Issued: t.Now, NotAfter: t.Now.Add(bundleLife),
	})
	if err != nil {
		return err
	}
	self.Bundle = b.Bytes()
	self.BundleDue = t.Now.Add(bundleEvery + jitter(t.Rand, 2*bundleJitter) - bundleJitter).UnixMilli()
	return nil
}

// jitter draws a duration in [0, max). A broken source of entropy gives 0.
func jitter(rng io.Reader, limit time.Duration) time.Duration {
	b, err := draw(rng, 8)
	if err != nil || limit <= 0 {
		return 0
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return time.Duration(v % uint64(limit))
}

// renew rotates the bundle, renews the device list's freshness mark, and forgets old prekey secrets.
func (e *Engine) renew(t *Turn) {
	if !due(unixMilli(e.self.BundleDue), t.Now) {
		return
	}
	number := uint64(1)
	if b, err := identity.ParseBundle(e.self.Bundle); err == nil {
		number = b.Number() + 1
	}
	if rotateBundle(t, e.self, e.keys, number) != nil {
		return
	}
	e.renewList(t)
	e.saveSelf(t)
	e.renewRecord(t, true)
}

// renewSoon has a bundle that was made some time ago followed by another at the start, so that a device that is there for
// an hour a day has a new one every day.
func (e *Engine) renewSoon(t *Turn) {
	if b, err := identity.ParseBundle(e.self.Bundle); err == nil && t.Now.Sub(b.Issued()) >= bundleStale {
		e.self.BundleDue = min(e.self.BundleDue, t.Now.UnixMilli())
	}
}

// tickPrekeys runs every few hours, and soon after something was drained: what that was waiting for may go now.
func (e *Engine) tickPrekeys(t *Turn) {
	if e.prekeysAt.IsZero() {
		e.prekeysAt = t.Now.Add(prekeysSoon)
	}
	if due(e.prekeysAt, t.Now) {
		e.prekeysAt = t.Now.Add(prekeysEvery)
		prekeys.Forget(t.Tx, e.drains.Of(e.watchedBoxes(t), t.Now), t.Now)
		e.tidySessions(t)
		e.dropParked(t)
		e.forgetRequests(t)
		e.stockUp(t)
		e.lists.Age() // records are followed by others
		e.records.Age()
		e.sets.Age()
	}
}

// Drained says that a relay has handed over all that one of our boxes held when the performer began to ask for it, and
// that the engine has taken it in.
func (e *Engine) Drained(t *Turn, relay []byte, box mailbox.ID, began time.Time) {
	e.drains.Done(prekeys.Place{Box: box, Relay: string(relay)}, began)
	e.prekeysAt = earlier(e.prekeysAt, t.Now.Add(prekeysSoon))
}

// SetHost tells the engine the libp2p identity and addresses of this device.
func (e *Engine) SetHost(t *Turn, self dht.Peer) {
	if samePeer(e.self.Endpoint, self) {
		return
	}
	e.self.Endpoint = fromPeer(self)
	e.saveSelf(t)
	e.renewRecord(t, false)
	e.reachSoon(t)
}

// renewRecord signs a new device record when what it says has changed, or when forced, and publishes it.
func (e *Engine) renewRecord(t *Turn, force bool) {
	if e.self.Endpoint == nil || e.self.Removed {
		return
	}
	bundle, err := identity.ParseBundle(e.self.Bundle)
	if err != nil {
		return
	}
	rec, err := dht.SignDeviceRecord(e.keys, dht.DeviceFields{
		Bundle: bundle, Number: e.self.RecordNumber + 1, Issued: t.Now, NotAfter: t.Now.Add(bundleLife),
		Peer: toPeer(e.self.Endpoint), Head: e.list.Head(), FrontDoor: e.frontDoor(t),
	})
	if err != nil || (!force && sameRecord(e.self.Record, rec)) {
		return
	}
	e.self.RecordNumber++
	e.self.Record = rec.Bytes()
	e.saveSelf(t)
	e.publishOwn(t)
}

// sameRecord reports whether next says nothing that the stored record does not say.
func sameRecord(stored []byte, next *dht.DeviceRecord) bool {
	old, err := dht.ParseDeviceRecord(stored)
	if err != nil || old.Bundle().Hash() != next.Bundle().Hash() || old.Head() != next.Head() || !samePeer(fromPeer(old.Peer()), next.Peer()) {
		return false
	}
	a, b := old.FrontDoor(), next.FrontDoor()
	if a == nil || b == nil {
		return a == b
	}
	return a.Is(b.Raw())
}

func (e *Engine) sessionSelf() session.Self {
	return session.Self{User: e.user, Keys: e.keys, Head: e.list.Head()}
}

// need asks for a record, unless it is being looked for already.
func (e *Engine) need(t *Turn, key string) {
	if e.wants.Of(key) != nil {
		return
	}
	e.wants.Set(key, t.Now, 0)
	e.tickLookups(t)
}

func (e *Engine) tickLookups(t *Turn) {
	t.Out.Lookups = append(t.Out.Lookups, e.wants.Take(t.Now)...)
}

// Looked gives the answer to a lookup; nil means that nothing was found.
func (e *Engine) Looked(t *Turn, key string, value []byte) {
	w := e.wants.Of(key)
	defer e.looked(t, key)
	if key == dht.UserKey(e.user) && !e.read {
		e.read = true
		defer e.renewList(t)
	}
	if value != nil && dht.Validate(key, value, t.Now) == nil {
		e.wants.Drop(key)
		e.learn(t, key, value)
		e.lookedTooEarly(t, key, w)
		return
	}
	if w == nil || e.wants.Answered(w, false, t.Now) {
		return
	}
	next := t.Now.Add(backoff(t.Rand, w.Failed, 0))
	if w.Failed > lookupRetries {
		if e.onlyRefresh(t, key) {
			e.wants.Drop(key)
			return
		}
		next = t.Now.Add(backoff(t.Rand, w.Failed-lookupRetries, outbox.RetryLate))
	}
	e.wants.Plan(w, next)
}

// onlyRefresh reports whether a key's record is known already, so that nothing waits for a newer one.
func (e *Engine) onlyRefresh(t *Turn, key string) bool {
	kind, id, err := dht.ParseKey(key)
	c := &pb.Contact{}
	return key == dht.DeviceKey(e.device) || key == dht.UserKey(e.user) && len(e.self.Pairing) == 0 || err == nil && kind == dht.KindUser && store.Row(t.Tx, store.BucketContacts, id, c) && len(c.List) > 0
}

// learn takes in a valid record, whoever brought it.
func (e *Engine) learn(t *Turn, key string, value []byte) {
	kind, _, err := dht.ParseKey(key)
	if err != nil {
		return
	}
	switch kind {
	case dht.KindUser:
		if l, err := identity.ParseDeviceList(value); err == nil {
			e.learnList(t, l)
		}
	case dht.KindDevice:
		if r, err := dht.ParseDeviceRecord(value); err == nil {
			e.learnRecord(t, r)
		}
	case dht.KindMailbox:
		e.learnSealedSet(t, key, value)
	}
}

// learnRecord takes in a device record of a device that its user's list names. Whose device it is, the device itself
// says: a list that names somebody else's is of no use.
func (e *Engine) learnRecord(t *Turn, r *dht.DeviceRecord) {
	d := e.peerDevice(t, r.Device())
	if d == nil {
		e.learnOwnRecord(t, r)
		return
	}
	list := e.listOf(t, r.User())
	if list == nil || identity.Claims(list, r.Bundle()) != nil {
		return
	}
	if user := r.User(); !owns(d, user) {
		e.dropSessions(t, d)
		e.dropEndpoint(d)
		d = &pb.PeerDevice{Device: d.Device, User: user[:]}
		defer e.unpark(t, user, true)
	}
	old, err := e.records.Get(d.Record)
	if err == nil && dht.Newer(dht.DeviceKey(r.Device()), d.Record, r.Raw()) != dht.VerdictNewer {
		return
	}
	lost := mend.Newer(d, e.generation(t, d, r.Bundle().Generation()))
	moved := !samePeer(d.Endpoint, r.Peer())
	d.Record = r.Raw()
	e.setEndpoint(d, r.Peer())
	e.saveDevice(t, d)
	if lost {
		e.lost(t, d, nil, "the device has lost its sessions")
	} else {
		e.reinit(t, d, r.Bundle())
	}
	if moved {
		e.out.RetryDevice(r.Device(), t.Now)
	} else {
		e.out.Wake(r.Device(), t.Now)
	}
	e.tellDevice(t, d)
	if old == nil && r.User() == e.user {
		e.handLogs(t, r.Device())
	}
	if f := r.FrontDoor(); f != nil {
		e.candidates(t, f)
	}
	if r.Head().Order(list.Head()) == identity.Newer {
		e.need(t, dht.UserKey(list.User()))
	}
}

// setEndpoint notes where a device says that it is. It may lie: another device's peer stays that device's, too.
func (e *Engine) setEndpoint(d *pb.PeerDevice, p dht.Peer) {
	if d.Endpoint == nil || string(d.Endpoint.Id) != string(p.ID) {
		e.dropEndpoint(d)
		e.peers[string(p.ID)] = append(e.peers[string(p.ID)], identity.DeviceID(d.Device))
	}
	d.Endpoint = fromPeer(p)
}

func (e *Engine) dropEndpoint(d *pb.PeerDevice) {
	if d.Endpoint == nil {
		return
	}
	peer := string(d.Endpoint.Id)
	e.peers[peer] = slices.DeleteFunc(e.peers[peer], func(o identity.DeviceID) bool { return string(o[:]) == string(d.Device) })
	if len(e.peers[peer]) == 0 {
		delete(e.peers, peer)
	}
}

// publishOwn plans a put of every record of ours that the directory should hold.
func (e *Engine) publishOwn(t *Turn) {
	e.publishKey(t, dht.UserKey(e.user))
	if e.self.Removed {
		return // the list that says so, or the tombstone, is all that is left to tell
	}
	if e.self.Record != nil {
		e.publishKey(t, dht.DeviceKey(e.device))
	}
	e.rows.boxes.Each(t.Tx, func(b *pb.Box) bool {
		if rec := e.boxSet(b); rec != nil && rec.Epoch() != dht.FrontDoorEpoch && rec.Epoch() >= dht.EpochAt(t.Now) {
			e.publishKey(t, dht.MailboxKey(rec.BoxID()))
		}
		return true
	})
}

func (e *Engine) publishKey(t *Turn, key string) { e.publish.Set(key, t.Now, 0) }

func (e *Engine) tickPublish(t *Turn) {
	for _, key := range e.publish.Take(t.Now) {
		if value := e.ownRecord(t, key); value != nil {
			t.Out.Puts = append(t.Out.Puts, Put{Key: key, Value: value})
		} else {
			e.publish.Drop(key)
		}
	}
}

// ownRecord is the newest value of one of our own keys.
func (e *Engine) ownRecord(t *Turn, key string) []byte {
	switch key {
	case dht.UserKey(e.user):
		if !e.list.Usable(t.Now) {
			return nil // until it is signed anew, or another device's is here
		}
		return e.list.Bytes()
	case dht.DeviceKey(e.device):
		return e.self.Record
	}
	return e.sealedSet(t, key)
}

// Published says by how many peers a record of ours is stored now. One that nobody stored is tried again, at the latest
// when a peer appears.
func (e *Engine) Published(t *Turn, key string, stored int) {
	w := e.publish.Of(key)
	if w == nil || !w.Busy {
		return // superseded by a newer record, which has its own try coming
	}
	if e.publish.Answered(w, stored > 0, t.Now) {
		return
	}
	if stored > 0 {
		e.announce(t, key)
	}
	if next, err := dht.NextPublish(t.Rand, t.Now, stored, w.Failed); err == nil {
		e.publish.Plan(w, next)
	}
}

// sealedSet is the directory copy of one of our sets.
func (e *Engine) sealedSet(t *Turn, key string) []byte {
	if known, ok := e.sealed[key]; ok {
		if _, rec := e.box(t, known.set.Epoch()); rec == known.set {
			return known.copy
		}
	}
	var out []byte
	e.rows.boxes.Each(t.Tx, func(b *pb.Box) bool {
		own := e.boxKey(b.Epoch)
		if dht.MailboxKey(dht.BoxID(own.Public().(ed25519.PublicKey))) != key {
			return true
		}
		rec := e.boxSet(b)
		if rec == nil {
			return false
		}
		out, _ = dht.SealSet(own, recordKey(e.self.RecordSecret, rec.Epoch()), rec)
		if len(e.sealed) > 2*epochsAhead { // those of epochs that are over too
			clear(e.sealed)
		}
		e.sealed[key] = sealed{rec, out}
		return false
	})
	return out
}

// sealed is the directory copy of a set.
type sealed struct {
	set  *dht.SetRecord
	copy []byte
}
