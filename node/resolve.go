package node

import (
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
)

// want is one directory key that we look for, or one record of ours that we put: the next try, and how many failed.
type want struct {
	next   time.Time
	failed int
	busy   bool // asked; the answer is on its way
	again  bool // somebody new can be asked: if the answer is no, ask at once
}

// hurry tries again at once; if an answer is on its way, once that has come and is no.
func (w *want) hurry(now time.Time) {
	if w.busy {
		w.again = true
	} else if w.failed > 0 {
		w.next = now
	}
}

// parsed remembers what was parsed and verified, by its bytes: a stored record is verified once, not at every use.
type parsed[T any] struct {
	parse func([]byte) (T, error)
	known map[string]T
}

func (p *parsed[T]) get(raw []byte) (T, error) {
	if v, ok := p.known[string(raw)]; ok {
		return v, nil
	}
	v, err := p.parse(raw)
	if err != nil {
		return v, err
	}
	if p.known == nil || len(p.known) >= maxParsed {
		p.known = map[string]T{}
	}
	p.known[string(raw)] = v
	return v, nil
}

// need asks for a record, unless it is being looked for already.
func (e *Engine) need(t *Turn, key string) {
	if _, ok := e.wants[key]; ok {
		return
	}
	e.wants[key] = &want{next: t.Now}
	e.tickLookups(t)
}

// takeDueWants marks what is due as asked and returns the keys in order.
func takeDueWants(m map[string]*want, now time.Time) []string {
	var keys []string
	for k, w := range m {
		if !w.busy && due(w.next, now) {
			keys = append(keys, k)
			w.busy, w.next = true, time.Time{}
		}
	}
	slices.Sort(keys)
	return keys
}

func (e *Engine) tickLookups(t *Turn) {
	t.Out.Lookups = append(t.Out.Lookups, takeDueWants(e.wants, t.Now)...)
}

// Looked gives the answer to a lookup; nil means that nothing was found.
func (e *Engine) Looked(t *Turn, key string, value []byte) {
	w := e.wants[key]
	if value != nil && dht.Validate(key, value, t.Now) == nil {
		delete(e.wants, key)
		e.learn(t, key, value)
		return
	}
	if w != nil {
		w.busy = false
		w.failed++
		if w.again {
			w.again, w.next = false, t.Now
			return
		}
		w.next = t.Now.Add(backoff(t.Rand, w.failed, 0))
		if w.failed > lookupRetries {
			if e.onlyRefresh(t, key) {
				delete(e.wants, key)
				return
			}
			w.next = t.Now.Add(backoff(t.Rand, w.failed-lookupRetries, retryLate))
		}
	}
}

// onlyRefresh reports whether a key's record is known already, so that nothing waits for a newer one.
func (e *Engine) onlyRefresh(t *Turn, key string) bool {
	kind, id, err := dht.ParseKey(key)
	c := &pb.Contact{}
	return err == nil && kind == dht.KindUser && getRow(t.Tx, BucketContacts, id, c) && len(c.List) > 0
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
		return
	}
	list := e.listOf(t, r.User())
	if list == nil || identity.Claims(list, r.Bundle()) != nil {
		return
	}
	if user := r.User(); string(d.User) != string(user[:]) {
		d = &pb.PeerDevice{Device: d.Device, User: user[:]}
	}
	old, err := e.records.get(d.Record)
	if err == nil && old.Number() >= r.Number() {
		return
	}
	lost := err == nil && r.Bundle().Generation() > old.Bundle().Generation()
	if lost {
		e.dropSessions(t, d)
	}
	d.Record = r.Bytes()
	e.setEndpoint(d, r.Peer())
	e.saveDevice(t, d)
	if lost {
		e.anew(t, d, "the device has lost its sessions")
	} else {
		e.reinit(t, d, r.Bundle())
	}
	e.out.retryDevice(r.Device(), t.Now)
	e.tellDevice(t, d)
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
	t.Tx.Scan(BucketBoxes, nil, func(_, value []byte) bool {
		if rec := boxSet(value); rec != nil && rec.Epoch() != dht.FrontDoorEpoch && rec.Epoch() >= dht.EpochAt(t.Now) {
			e.publishKey(t, dht.MailboxKey(rec.BoxID()))
		}
		return true
	})
}

func (e *Engine) publishKey(t *Turn, key string) { e.publish[key] = &want{next: t.Now} }

func (e *Engine) tickPublish(t *Turn) {
	for _, key := range takeDueWants(e.publish, t.Now) {
		if value := e.ownRecord(t, key); value != nil {
			t.Out.Puts = append(t.Out.Puts, Put{Key: key, Value: value})
		} else {
			delete(e.publish, key)
		}
	}
}

// ownRecord is the newest value of one of our own keys.
func (e *Engine) ownRecord(t *Turn, key string) []byte {
	switch key {
	case dht.UserKey(e.user):
		return e.list.Bytes()
	case dht.DeviceKey(e.device):
		return e.self.Record
	}
	return e.sealedSet(t, key)
}

// Published says by how many peers a record of ours is stored now. One that nobody stored is tried again, at the latest
// when a peer appears.
func (e *Engine) Published(t *Turn, key string, stored int) {
	w := e.publish[key]
	if w == nil || !w.busy {
		return // superseded by a newer record, which has its own try coming
	}
	w.busy = false
	if stored > 0 {
		w.failed = 0
	} else {
		w.failed++
		if w.again {
			w.again, w.next = false, t.Now
			return
		}
	}
	if next, err := dht.NextPublish(t.Rand, t.Now, stored, w.failed); err == nil {
		w.next = next
	}
}
