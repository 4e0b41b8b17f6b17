package node

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Sessions: their rows, what they begin with, and what becomes of them when a device has lost what it knew.

// sessions reads the sessions with a device, oldest first.
func (e *Engine) sessions(t *Turn, dev *pb.PeerDevice) []*session.Session {
	var out []*session.Session
	for _, sid := range dev.Sessions {
		if s, err := session.ParseSession(store.Shown(t.Tx, store.BucketSessions, slices.Concat(dev.Device, sid))); err == nil {
			out = append(out, s)
		}
	}
	return out
}

func (e *Engine) saveSession(t *Turn, dev *pb.PeerDevice, s *session.Session) {
	sid := s.ID()
	t.Tx.Put(store.BucketSessions, slices.Concat(dev.Device, sid[:]), s.Marshal())
	e.book.Put(session.Ref{Device: identity.DeviceID(dev.Device), Session: sid}, s)
	for ref, n := e.book.Excess(); n > 0; ref, n = e.book.Excess() {
		key := slices.Concat(ref.Device[:], ref.Session[:])
		old, err := session.ParseSession(store.Shown(t.Tx, store.BucketSessions, key))
		if err != nil {
			e.book.Remove(ref)
			continue
		}
		old.Forget(n)
		t.Tx.Put(store.BucketSessions, key, old.Marshal())
		e.book.Put(ref, old)
	}
}

// addSession keeps a bounded number of sessions with a device: those that were given up go first, then the oldest.
func (e *Engine) addSession(t *Turn, dev *pb.PeerDevice, s *session.Session) {
	sid := s.ID()
	e.eraseSessions(t, dev, mend.Add(dev, sid[:], t.Now))
	e.saveSession(t, dev, s)
	e.saveDevice(t, dev)
}

func (e *Engine) dropSessions(t *Turn, d *pb.PeerDevice) {
	mend.Retire(d, nil, t.Now)
	for _, r := range d.Retired {
		e.eraseSessions(t, d, [][]byte{r.Session})
	}
	d.Retired = nil
	mend.Forget(t.Tx, d)
}

func (e *Engine) eraseSessions(t *Turn, d *pb.PeerDevice, ids [][]byte) {
	for _, sid := range ids {
		e.book.Remove(session.Ref{Device: identity.DeviceID(d.Device), Session: [8]byte(sid)})
		t.Tx.Delete(store.BucketSessions, slices.Concat(d.Device, sid))
	}
}

// sessionWith is the session to seal on: the one that a device last answered on, else a new one from its bundle. One is
// begun too where the first flight of ours was never answered and there is a newer bundle: its secret may be gone.
func (e *Engine) sessionWith(t *Turn, dev *pb.PeerDevice) (*session.Session, error) {
	sessions := e.sessions(t, dev)
	i := session.Choose(sessions)
	if i >= 0 && (sessions[i].Established() || !sessions[i].Initiated() || t.Now.Sub(unixMilli(dev.Begun)) < reinitAfter) {
		return sessions[i], nil
	}
	if !e.opens(t, dev).IsZero() {
		return nil, errSoon
	}
	bundle, err := e.freshBundle(t, dev)
	if i >= 0 && (err != nil || bundle.Number() <= dev.BegunAt) {
		return sessions[i], nil
	}
	if err != nil {
		return nil, err
	}
	return e.begin(t, dev, bundle)
}

// begin begins a session with a device from its bundle, or from a one-time bundle that came; dev is saved.
func (e *Engine) begin(t *Turn, dev *pb.PeerDevice, bundle *identity.Bundle) (*session.Session, error) {
	from := e.openings.Take(bundle, e.listOf(t, identity.UserID(dev.User)), t.Now)
	s, err := session.Initiate(t.Rand, e.sessionSelf(), from)
	if err != nil {
		return nil, err
	}
	dev.Begun, dev.BegunAt = t.Now.UnixMilli(), bundle.Number()
	e.addSession(t, dev, s)
	return s, nil
}

// errSoon says that something is waited for before a session begins.
var errSoon = errors.New("node: a bundle is on its way")

// opens asks for what a session had better begin with, a newer record and a one-time bundle, and says until when to wait
// for it; zero: not at all.
func (e *Engine) opens(t *Turn, dev *pb.PeerDevice) time.Time {
	id := identity.DeviceID(dev.Device)
	rec, err := e.records.Get(dev.Record)
	if err != nil {
		return time.Time{}
	}
	if o, isNew := e.openings.Of(id, t.Now); isNew {
		if t.Now.Sub(rec.Bundle().Issued()) >= prekeys.Old {
			o.Look(t.Now)
			e.need(t, dht.DeviceKey(id))
		}
		worn := dev.Begun != 0 && dev.Heard < dev.Begun // nothing came of the last one: a relay can hand out one that was used up
		if ask, ok := e.prekeyAsk(t, dev, rec); ok && !worn {
			o.Ask(t.Now)
			t.Out.Prekeys = append(t.Out.Prekeys, ask)
		}
	}
	return e.openings.Until(id, t.Now)
}

// prekeyAsk is the question for a one-time bundle. A device that is connected is asked itself, else a relay of its front
// door, while the device is dialled.
func (e *Engine) prekeyAsk(t *Turn, dev *pb.PeerDevice, rec *dht.DeviceRecord) (PrekeyAsk, bool) {
	ask := PrekeyAsk{Device: identity.DeviceID(dev.Device)}
	c := e.seenContact(t, identity.UserID(dev.User))
	shy := c != nil && wanted(c) // shows no address of ours: see byDoor
	if !shy && dev.Endpoint != nil && e.live[string(dev.Endpoint.Id)] {
		ask.From, ask.ID, ask.Live = toPeer(dev.Endpoint), ask.Device, true
		return ask, true
	}
	door := rec.FrontDoor()
	if door == nil || !door.Usable(t.Now) {
		return ask, false
	}
	members := activePeers(door)
	ask.From, ask.ID = e.reached(t, members[jitter(t.Rand, time.Duration(len(members)))]), door.BoxID()
	if !shy && dev.Endpoint != nil {
		t.Out.Connects = append(t.Out.Connects, toPeer(dev.Endpoint))
	}
	return ask, true
}

// Prekey gives the answer to a PrekeyAsk; nil: there is no bundle.
func (e *Engine) Prekey(t *Turn, device identity.DeviceID, raw []byte) {
	if e.openings.Came(device, raw, t.Now) {
		e.out.Wake(device, t.Now)
		e.flush(t)
	}
}

// looked goes on with what waited for a lookup, whatever came of it.
func (e *Engine) looked(t *Turn, key string) {
	if kind, id, err := dht.ParseKey(key); err == nil && kind == dht.KindDevice && e.openings.Looked(identity.DeviceID(id), t.Now) {
		e.out.Wake(identity.DeviceID(id), t.Now)
		e.flush(t)
	}
}

// Device is this device's id.
func (e *Engine) Device() identity.DeviceID { return e.device }

// OneTime makes a bundle for whoever asks this device; nil: too many are out.
func (e *Engine) OneTime(t *Turn) []byte {
	if out := e.issue(t, 1, prekeys.Live); len(out) == 1 {
		return out[0]
	}
	return nil
}

// issue makes up to n one-time bundles of a kind.
func (e *Engine) issue(t *Turn, n int, kind prekeys.Kind) [][]byte {
	last, err := identity.ParseBundle(e.self.Bundle)
	if err != nil || e.self.Removed {
		return nil
	}
	return prekeys.Issue(t.Tx, t.Rand, e.keys, kind, n, identity.BundleFields{
		User: e.user, Generation: e.self.Generation, Number: last.Number(), Issued: t.Now, NotAfter: t.Now.Add(bundleLife),
		Flags: identity.FlagOneTime,
	})
}

// stockUp asks the relays of our front door how many one-time bundles they have.
func (e *Engine) stockUp(t *Turn) {
	clear(e.stocked)
	if door := e.frontDoor(t); door != nil && !e.self.Removed {
		for _, p := range activePeers(door) {
			t.Out.Stocks = append(t.Out.Stocks, Stock{Relay: p, Key: e.boxKey(dht.FrontDoorEpoch)})
		}
	}
}

// Stocked says how many bundles a relay has; what is missing is made once a round.
func (e *Engine) Stocked(t *Turn, relay []byte, held int) {
	door := e.frontDoor(t)
	if door == nil || e.stocked[string(relay)] || held < 0 || held >= stock.Most {
		return
	}
	for _, p := range activePeers(door) {
		if string(p.ID) != string(relay) {
			continue
		}
		e.stocked[string(relay)] = true
		if bundles := e.issue(t, stock.Most-held, prekeys.Stocked); len(bundles) > 0 {
			t.Out.Stocks = append(t.Out.Stocks, Stock{Relay: p, Key: e.boxKey(dht.FrontDoorEpoch), Bundles: bundles})
		}
	}
}

// activePeers are the members of a set that do not stand by.
func activePeers(set *dht.SetRecord) (out []dht.Peer) {
	for m := range set.EachMember() {
		if !m.Standby {
			out = append(out, m.Peer)
		}
	}
	return out
}

// freshBundle is a device's bundle to begin a session with. One past its freshness mark still serves, and is looked for
// anew; one past its grace does not.
func (e *Engine) freshBundle(t *Turn, dev *pb.PeerDevice) (*identity.Bundle, error) {
	rec, err := e.records.Get(dev.Record)
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

// hear takes in what a body says of the sessions with its device, and of what did not come.
func (e *Engine) hear(t *Turn, dev *pb.PeerDevice, a arrival) {
	id := a.sender.Device()
	delete(e.unopen, id)
	a.body.Generation = e.generation(t, dev, a.body.Generation)
	said := mend.Heard(dev, a.body, t.Now)
	e.saveDevice(t, dev)
	switch {
	case said.Behind: // it has had more from us than we know of
		if mend.MayRenew(dev, t.Now) {
			e.need(t, dht.DeviceKey(e.device))
			e.lost(t, dev, nil, "the device has had what this one does not know of")
		}
	case said.Lost:
		e.lost(t, dev, a.session[:], "the device has lost its sessions")
		e.need(t, dht.DeviceKey(id))
		e.tellDevice(t, e.peerDevice(t, id))
	}
	e.planAsk(dev)
}

// generation is the generation that a device tells, as far as it counts now: whoever loses its sessions again within
// lostEvery says so again later. Else every small message could have all that is on its way sealed anew. A row of a build
// that did not keep it has it from the device's record.
func (e *Engine) generation(t *Turn, dev *pb.PeerDevice, told uint64) uint64 {
	if r, err := e.records.Get(dev.Record); err == nil && dev.Generation == 0 {
		dev.Generation = r.Bundle().Generation()
	}
	if dev.Generation == 0 || told <= dev.Generation {
		return told
	}
	id := identity.DeviceID(dev.Device)
	if ago := t.Now.Sub(e.lostAt[id]); ago >= 0 && ago < lostEvery {
		return dev.Generation
	}
	e.lostAt[id] = t.Now
	return told
}

// lost gives up the sessions with a device but keep, and seals anew what it has not acknowledged. They still open what is
// on its way: it may be the only copy.
func (e *Engine) lost(t *Turn, dev *pb.PeerDevice, keep []byte, why string) {
	mend.Retire(dev, keep, t.Now)
	dev.ToldReach, dev.ToldProfile, dev.ToldName = 0, 0, 0
	e.saveDevice(t, dev)
	e.sealAnew(t, dev, why)
}

// unopened counts envelopes that a device brings over its own stream and that do not open: its sessions and ours may not be
// the same any more. Nothing but this count changes before we have something to say to it ourselves: seal.
func (e *Engine) unopened(envelope, peer []byte) {
	if _, first := session.ParseFirstFlight(envelope); first || peer == nil {
		return
	}
	for _, id := range e.peers[string(peer)] {
		e.unopen[id]++
	}
}

// tidySessions forgets sessions that were given up long ago.
func (e *Engine) tidySessions(t *Turn) {
	var stale []*pb.PeerDevice
	e.rows.devices.Each(t.Tx, func(row *pb.PeerDevice) bool {
		if len(row.Retired) > 0 {
			stale = append(stale, store.CopyDevice(row))
		}
		return true
	})
	for _, dev := range stale {
		if gone := mend.Expired(dev, t.Now); len(gone) > 0 {
			e.eraseSessions(t, dev, gone)
			e.saveDevice(t, dev)
		}
	}
}

func (e *Engine) allDevices(t *Turn) (all []*pb.PeerDevice) {
	t.Tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil {
			all = append(all, d)
		}
		return true
	})
	return all
}

// learnOwnRecord compares the record of this device that the network has with ours. Only this device can sign one: a newer
// one, or another one with its number, is of a time that this store does not know.
func (e *Engine) learnOwnRecord(t *Turn, r *dht.DeviceRecord) {
	if r.Device() != e.device || e.self.Removed || len(e.self.Record) == 0 || r.Is(e.self.Record) {
		return
	}
	if r.Number() < e.self.RecordNumber && r.Bundle().Generation() <= e.self.Generation {
		return
	}
	e.future(t, r.Number(), r.Bundle().Generation())
}

// future acts on numbers of ours that this store has not given out: it is an older copy, or it is in use twice.
func (e *Engine) future(t *Turn, number, generation uint64) {
	e.self.RecordNumber = max(e.self.RecordNumber, number)
	e.self.Generation = max(e.self.Generation, generation)
	e.saveSelf(t)
	if t.Now.Sub(unixMilli(e.self.Afresh)) < afreshEvery { // in use twice, it would never end
		e.renewRecord(t, true)
		return
	}
	e.Afresh(t, "the network has newer records of this device than the device itself")
}

// Afresh gives up all sessions of this device because its store is older than what it has sent: with a new generation in
// its bundle its peers begin new ones and send again what it has not acknowledged, and what it had is asked for again by
// the counters. All numbers that others know it by move above those that may have been used.
func (e *Engine) Afresh(t *Turn, why string) {
	if e.self.Removed {
		return
	}
	e.self.Afresh = t.Now.UnixMilli()
	e.self.Generation = mend.Above(t.Now, e.self.Generation)
	e.self.RecordNumber = mend.Above(t.Now, e.self.RecordNumber)
	for _, name := range []string{counterReach, counterSet} {
		store.SetCounter(t.Tx, name, mend.Above(t.Now, store.Counter(t.Tx, name)))
	}
	for _, dev := range e.allDevices(t) {
		dev.Sent = mend.NewBlock(t.Now, dev.Sent)
		e.lost(t, dev, nil, "this device has lost its sessions")
	}
	number := mend.Above(t.Now, 0)
	if b, err := identity.ParseBundle(e.self.Bundle); err == nil {
		number = max(number, b.Number()+1)
	}
	if rotateBundle(t, e.self, e.keys, number) != nil {
		return
	}
	e.saveSelf(t)
	e.renewRecord(t, true)
	e.planElection(t, 0)
	e.reachSoon(t)
	e.need(t, dht.UserKey(e.user))
	e.notice(t, view.Notice{Type: "device", Text: "the store of this device is an older copy of itself (" + why +
		"): all sessions begin anew, and contacts are asked to send again what came since; what this device itself sent since is not here"})
}
