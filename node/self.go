package node

import (
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
)

// CreateParams is a new person with its first device.
type CreateParams struct {
	Root       *identity.Root
	Name       string // of the person, self-asserted
	DeviceName string
}

// Create writes a new identity into an empty store. The root is not kept: it is the recovery phrase.
func Create(t *Turn, p CreateParams) error {
	if t.Tx.Get(BucketMeta, keySelf) != nil {
		return &Problem{Class: ErrRefused, Message: "there is an identity here already", Hint: "kith id"}
	}
	keys, err := identity.NewDeviceKeys(t.Rand)
	if err != nil {
		return err
	}
	account := p.Root.Account(1)
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
	putRow(t.Tx, BucketMeta, keySelf, self)
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
	if old, err := identity.ParseBundle(self.Bundle); err == nil {
		id := old.Hash()
		row := &pb.Prekey{}
		if getRow(t.Tx, BucketPrekeys, id[:8], row) {
			row.Superseded = t.Now.UnixMilli()
			putRow(t.Tx, BucketPrekeys, id[:8], row)
		}
	}
	b, pre, err := identity.NewBundle(t.Rand, keys, identity.BundleFields{
		User: identity.UserID(self.User), Generation: self.Generation, Number: number,
		Issued: t.Now, NotAfter: t.Now.Add(bundleLife),
	})
	if err != nil {
		return err
	}
	id := pre.ID()
	putRow(t.Tx, BucketPrekeys, id[:], &pb.Prekey{Secret: pre.Marshal()})
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
	if e.account != nil && t.Now.After(e.list.NotAfter().Add(listRenew-listLife)) {
		if next, err := e.signList(t, e.list.Devices(), 0); err == nil {
			e.adoptOwnList(t, next)
		}
	}
	e.saveSelf(t)
	e.renewRecord(t, true)
}

// tickPrekeys runs once a day, but not before what came while we were away had time to arrive: it may need them.
func (e *Engine) tickPrekeys(t *Turn) {
	if e.prekeysAt.IsZero() {
		e.prekeysAt = t.Now.Add(drainTime)
	}
	if due(e.prekeysAt, t.Now) {
		e.prekeysAt = t.Now.Add(day)
		e.dropPrekeys(t)
	}
}

// dropPrekeys forgets the secrets of bundles that were superseded longer ago than any first flight may travel.
func (e *Engine) dropPrekeys(t *Turn) {
	var old [][]byte
	t.Tx.Scan(BucketPrekeys, nil, func(key, _ []byte) bool {
		row := &pb.Prekey{}
		if getRow(t.Tx, BucketPrekeys, key, row) && row.Superseded != 0 && t.Now.After(unixMilli(row.Superseded).Add(prekeyCap)) {
			old = append(old, key)
		}
		return true
	})
	for _, id := range old {
		t.Tx.Delete(BucketPrekeys, id)
		dropPrefix(t.Tx, BucketFlights, id)
	}
}

// dropPrefix deletes every pair whose key begins with prefix.
func dropPrefix(tx Tx, b Bucket, prefix []byte) {
	var keys [][]byte
	tx.Scan(b, prefix, func(key, _ []byte) bool {
		if len(key) < len(prefix) || string(key[:len(prefix)]) != string(prefix) {
			return false
		}
		keys = append(keys, key)
		return true
	})
	for _, k := range keys {
		tx.Delete(b, k)
	}
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
	return string(a.Bytes()) == string(b.Bytes())
}

// signList signs the next device list. Only the admin device can.
func (e *Engine) signList(t *Turn, devices []identity.Device, flags byte) (*identity.DeviceList, error) {
	if e.account == nil {
		return nil, &Problem{
			Class: ErrRefused, Message: "this device cannot sign the device list; the admin device can",
			Hint: "kith device list",
		}
	}
	return e.account.SignList(identity.ListFields{
		Seq: e.list.Seq() + 1, Prev: e.list.Hash(), Issued: t.Now, NotAfter: t.Now.Add(listLife), Flags: flags, Devices: devices,
	})
}

func (e *Engine) sessionSelf() session.Self {
	return session.Self{User: e.user, Keys: e.keys, Head: e.list.Head()}
}
