package node

import (
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
)

// heard plans a look at what a device has not acknowledged: it is alive, so what left before now will be acknowledged
// soon, or was lost. Looking at once would seal a whole backlog anew that the device is just about to acknowledge.
func (e *Engine) heard(t *Turn, id identity.DeviceID) {
	if _, planned := e.checks[id]; !planned && len(e.out.byDevice[id]) > 0 {
		e.checks[id] = t.Now.Add(repairAfter)
	}
}

func (e *Engine) tickRepair(t *Turn) {
	var ids []identity.DeviceID
	for id, at := range e.checks {
		if due(at, t.Now) {
			ids = append(ids, id)
			delete(e.checks, id)
		}
	}
	slices.SortFunc(ids, func(a, b identity.DeviceID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		if dev := e.peerDevice(t, id); dev != nil && e.repair(t, dev) {
			e.checks[id] = t.Now.Add(repairAfter)
		}
	}
}

// repair seals anew what a device that was heard later has not acknowledged: the envelope was lost, or the
// acknowledgement. Relays remember the old envelope as done, so a new one it has to be. It reports whether something
// may have to be repaired later.
func (e *Engine) repair(t *Turn, dev *pb.PeerDevice) bool {
	later := false
	for _, n := range e.out.ofDevice(identity.DeviceID(dev.Device)) {
		d := e.delivery(t, n)
		if d == nil || len(d.Envelope) == 0 || len(d.Acks) > 0 {
			continue
		}
		if d.Left == 0 || dev.Heard <= d.Left {
			continue
		}
		if t.Now.Sub(unixMilli(d.Left)) < repairAfter || t.Now.Sub(unixMilli(d.Resealed)) < repairPause(d.Repairs) {
			later = true
			continue
		}
		e.again(t, n, d, "the device is there and has not acknowledged")
	}
	return later
}

// repairPause is the least time between two repairs of one delivery.
func repairPause(repairs uint32) time.Duration {
	if repairs == 0 {
		return 0
	}
	return min(repairEvery<<min(repairs-1, 16), repairMax)
}

// again forgets the envelope of a delivery, so that its message is sealed anew.
func (e *Engine) again(t *Turn, n uint64, d *pb.Delivery, why string) {
	d.Envelope, d.Receipts, d.SetBox = nil, nil, nil
	d.Sent, d.Left, d.Resealed = 0, 0, t.Now.UnixMilli()
	d.Repairs++
	step(t, d, "again", why)
	e.put(t, n, d, t.Now)
	e.out.restart(n, t.Now)
}

// anew seals everything for a device again that is not acknowledged yet: its sessions are of no use any more.
func (e *Engine) anew(t *Turn, dev *pb.PeerDevice, why string) {
	for _, n := range e.out.ofDevice(identity.DeviceID(dev.Device)) {
		if d := e.delivery(t, n); d != nil && len(d.Envelope) > 0 && len(d.Acks) == 0 {
			e.again(t, n, d, why)
		}
	}
}

// reinit begins a new session with a device that has published a newer bundle and never answered our first flight: the
// secret of the bundle that we used may be gone.
func (e *Engine) reinit(t *Turn, dev *pb.PeerDevice, bundle *identity.Bundle) {
	sessions := e.sessions(t, dev)
	i := session.Choose(sessions)
	hash := bundle.Hash()
	if i < 0 || sessions[i].Established() || !sessions[i].Initiated() || sessions[i].PrekeyID() == [8]byte(hash[:8]) {
		return
	}
	ns := e.out.ofDevice(identity.DeviceID(dev.Device))
	if len(ns) == 0 {
		return
	}
	if d := e.delivery(t, ns[0]); d == nil || t.Now.Sub(unixMilli(d.Created)) < reinitAfter {
		return
	}
	if s, err := session.Initiate(t.Rand, e.sessionSelf(), bundle); err == nil {
		e.addSession(t, dev, s)
		e.anew(t, dev, "the first flight was never answered")
	}
}

// freshBundle is a device's bundle to begin a session with. One past its freshness mark still serves, and is looked for
// anew; one past its grace does not.
func (e *Engine) freshBundle(t *Turn, dev *pb.PeerDevice) (*identity.Bundle, error) {
	rec, err := e.records.get(dev.Record)
	if err != nil {
		return nil, err
	}
	b := rec.Bundle()
	if !b.Fresh(t.Now) {
		e.need(t, dht.DeviceKey(b.Device()))
	}
	if !b.Usable(t.Now) {
		return nil, identity.ErrInvalid
	}
	return b, nil
}
