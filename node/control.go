package node

import (
	"crypto/ed25519"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/pass"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// reachRoom is how large a reach may be to fit one content.
const reachRoom = session.MaxContent - chat.HeaderSize

// reachSoon tells everybody after a short while how to reach us, so that changes found together are told together.
func (e *Engine) reachSoon(t *Turn) {
	store.NextCounter(t.Tx, counterReach)
	e.reachAt = earlier(e.reachAt, t.Now.Add(reachDebounce))
}

// tellReach tells every accepted contact's devices, and our own others.
func (e *Engine) tellReach(t *Turn) {
	for _, d := range e.siblings() {
		if dev := e.peerDevice(t, d); dev != nil {
			e.tellDevice(t, dev)
		}
	}
	for _, c := range e.contacts(t) {
		e.tellContact(t, c)
	}
}

func (e *Engine) contacts(t *Turn) []*pb.Contact {
	var out []*pb.Contact
	t.Tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool {
		c := &pb.Contact{}
		if proto.Unmarshal(value, c) == nil {
			out = append(out, c)
		}
		return true
	})
	return out
}

func (e *Engine) tellContact(t *Turn, c *pb.Contact) {
	if !near(c) || c.Left || len(c.User) != 32 || held(c) {
		return
	}
	list := e.listOf(t, identity.UserID(c.User))
	if list == nil {
		return
	}
	for _, d := range list.Devices() {
		if dev := e.peerDevice(t, d.ID()); dev != nil {
			e.tellDevice(t, dev)
		}
	}
}

// tellDevice sends our reach to a device that has not been told the newest, once there is a way to seal for it.
func (e *Engine) tellDevice(t *Turn, dev *pb.PeerDevice) {
	defer e.tellProfile(t, identity.DeviceID(dev.Device))
	number := store.Counter(t.Tx, counterReach)
	if number == 0 || dev.ToldReach >= number || (len(dev.Sessions) == 0 && len(dev.Record) == 0) || !e.maySpeak(t, dev) {
		return
	}
	dev.ToldReach = number
	e.saveDevice(t, dev)
	e.supersede(t, identity.DeviceID(dev.Device), chat.KindReach)
	for _, r := range e.reaches(t, number, dev) {
		e.sendControl(t, chat.KindReach, r, identity.UserID(dev.User), []identity.DeviceID{identity.DeviceID(dev.Device)})
	}
}

// supersede drops what is still on its way to a device and what newer content of its kind says better.
func (e *Engine) supersede(t *Turn, device identity.DeviceID, kind chat.Kind) {
	for _, n := range e.out.OfDevice(device) {
		if d := e.delivery(t, n); d != nil && d.Kind == uint32(kind) {
			e.finish(t, n, view.StageDropped, "there is a newer one")
		}
	}
}

func (e *Engine) maySpeak(t *Turn, dev *pb.PeerDevice) bool {
	if string(dev.User) == string(e.user[:]) {
		return true
	}
	c := e.seenContact(t, identity.UserID(dev.User))
	if c == nil || c.Left || held(c) {
		return false
	}
	// Of the many members of groups those are told how to reach us that we have spoken with.
	return c.State == contactAccepted || near(c) && len(dev.Sessions) > 0
}

// reaches is how a device reaches us, in as many contents as that needs. One that has given us no passes yet may have no
// way to take large envelopes: what comes without a pass is held to the size of a stranger's.
func (e *Engine) reaches(t *Turn, number uint64, dev *pb.PeerDevice) []*chatpb.Reach {
	room := reachRoom
	if len(dev.Passes) == 0 {
		room = session.ContentRoom(strangerClass) - chat.HeaderSize
	}
	out := []*chatpb.Reach{e.firstReach(t, number, dev)}
	add := func(part *chatpb.Reach) {
		last := out[len(out)-1]
		switch size := proto.Size(part); {
		case proto.Size(last)+size <= room:
			proto.Merge(last, part)
		case size+reachNumber <= room: // else the directory has it
			part.Number = number
			out = append(out, part)
		}
	}
	add(&chatpb.Reach{Endpoint: e.chatEndpoint()})
	for _, epoch := range wantedEpochs(t.Now) {
		if _, rec := e.box(t, epoch); rec != nil && epoch != dht.FrontDoorEpoch {
			add(&chatpb.Reach{Sets: [][]byte{rec.Bytes()}})
		}
	}
	return out
}

// reachNumber is the room of a reach's number, in bytes.
const reachNumber = 11

// firstReach is what serves 13 weeks: the keys of our boxes, what opens their sets, and a pass into each for this device.
func (e *Engine) firstReach(t *Turn, number uint64, dev *pb.PeerDevice) *chatpb.Reach {
	cur := dht.EpochAt(t.Now)
	r := &chatpb.Reach{
		Number: number, RecordSecret: e.self.RecordSecret, FirstEpoch: cur,
		PassSecret: derive(e.self.MailboxSecret, labelPass+string(dev.Device)),
	}
	known := e.issued[string(dev.Device)]
	for i := range uint32(boxKeysTold) {
		box := e.boxKey(cur + i)
		r.Boxes = append(r.Boxes, box.Public().(ed25519.PublicKey))
		if n := int64(cur) + int64(i) - int64(known.first); n >= 0 && n < int64(len(known.passes)) {
			r.Passes = append(r.Passes, known.passes[n])
			continue
		}
		holder := pass.HolderKey(r.PassSecret, cur+i).Public().(ed25519.PublicKey)
		r.Passes = append(r.Passes, pass.Issue(box, holder).Sig())
	}
	if len(e.issued) >= maxParsed {
		clear(e.issued)
	}
	e.issued[string(dev.Device)] = issued{cur, r.Passes}
	return r
}

// issued are the passes that a device was given, from an epoch on.
type issued struct {
	first  uint32
	passes [][]byte
}

// passFor is our pass into a box of a device at one relay; nil if it gave us none that holds.
func (e *Engine) passFor(t *Turn, dev *pb.PeerDevice, set *dht.SetRecord, relay []byte) []byte {
	i := int64(set.Epoch()) - int64(dev.FirstEpoch)
	if i < 0 || i >= int64(len(dev.Passes)) || string(dev.Boxes[i]) != string(set.Box()) {
		return nil
	}
	key := string(relay) + string(dev.PassSecret) + string(dev.Passes[i])
	if use, known := e.passes[key]; known {
		return use
	}
	holder := pass.HolderKey(dev.PassSecret, set.Epoch())
	var use []byte
	if cert := pass.Join(holder.Public().(ed25519.PublicKey), dev.Passes[i]); cert.Verify(set.Box()) {
		use = pass.Use(holder, cert, relay, set.BoxID())
	} else {
		e.askReach(t, dev)
	}
	if len(e.passes) >= maxParsed {
		clear(e.passes)
	}
	e.passes[key] = use
	return use
}

// askReach asks a device, at most once a day, to tell us anew how to reach it: a relay does not accept our pass.
func (e *Engine) askReach(t *Turn, dev *pb.PeerDevice) {
	id := identity.DeviceID(dev.Device)
	if last, asked := e.reachAsked[id]; asked && t.Now.Sub(last) < day || !e.maySpeak(t, dev) {
		return
	}
	e.reachAsked[id] = t.Now
	ask := &chatpb.Reach{Number: store.Counter(t.Tx, counterReach), Ask: true}
	e.sendControl(t, chat.KindReach, ask, identity.UserID(dev.User), []identity.DeviceID{id})
}

// answerReach tells a device anew how to reach us, at most once an hour.
func (e *Engine) answerReach(t *Turn, dev *pb.PeerDevice) {
	id := identity.DeviceID(dev.Device)
	if last, told := e.reachTold[id]; told && t.Now.Sub(last) < time.Hour {
		return
	}
	e.reachTold[id] = t.Now
	dev.ToldReach = 0
	e.tellDevice(t, dev)
}

func (e *Engine) chatEndpoint() *chatpb.Endpoint {
	if e.self.Endpoint == nil {
		return nil
	}
	return &chatpb.Endpoint{Id: e.self.Endpoint.Id, Addrs: e.self.Endpoint.Addrs}
}

// gotReach takes in how to reach the sending device.
func (e *Engine) gotReach(t *Turn, a arrival) bool {
	r := &chatpb.Reach{}
	dev := e.peerDevice(t, a.sender.Device())
	if dev == nil || proto.Unmarshal(a.content.Payload, r) != nil {
		return false
	}
	e.keepReach(t, dev, r)
	if r.Ask {
		e.answerReach(t, dev)
	}
	return true
}

func (e *Engine) keepReach(t *Turn, dev *pb.PeerDevice, r *chatpb.Reach) {
	if r == nil || r.Number < dev.ReachNumber {
		return
	}
	dev.ReachNumber = r.Number
	before := store.CopyDevice(dev)
	if len(r.RecordSecret) == 32 && len(r.Boxes) <= boxKeysTold {
		e.forgetBoxes(dev, r.Boxes)
		dev.RecordSecret, dev.FirstEpoch, dev.Boxes = r.RecordSecret, r.FirstEpoch, r.Boxes
		dev.PassSecret, dev.Passes = nil, nil
		if len(r.PassSecret) == pass.SecretSize && len(r.Passes) == len(r.Boxes) &&
			!slices.ContainsFunc(r.Passes, func(sig []byte) bool { return len(sig) != ed25519.SignatureSize }) {
			dev.PassSecret, dev.Passes = r.PassSecret, r.Passes
		}
	}
	if p, ok := validEndpoint(r.Endpoint); ok {
		e.setEndpoint(dev, p)
	}
	for _, raw := range r.Sets[:min(len(r.Sets), maxSets)] {
		if rec, err := dht.ParseSetRecord(raw); err == nil {
			e.keepPeerSet(dev, rec)
			if e.maySpeak(t, dev) { // whoever we decline may say where the answer goes, not which relays are good
				e.candidates(t, rec)
			}
		}
	}
	e.saveDevice(t, dev)
	switch id := identity.DeviceID(dev.Device); {
	case !proto.Equal(before.Endpoint, dev.Endpoint):
		e.out.RetryDevice(id, t.Now)
	case !proto.Equal(before, dev): // a higher number alone is no reason to try again
		e.out.Wake(id, t.Now)
	}
}

// validEndpoint bounds what another device says about its addresses.
func validEndpoint(p *chatpb.Endpoint) (dht.Peer, bool) {
	if p == nil || len(p.Addrs) > dht.MaxAddrs {
		return dht.Peer{}, false
	}
	if _, ok := dht.PeerKey(p.Id); !ok {
		return dht.Peer{}, false
	}
	for _, a := range p.Addrs {
		if len(a) == 0 || len(a) > dht.MaxAddr {
			return dht.Peer{}, false
		}
	}
	return dht.Peer{ID: p.Id, Addrs: p.Addrs}, true
}

// keepPeerSet keeps the newest set of each epoch of a device, if its box key is the one that the device told.
func (e *Engine) keepPeerSet(dev *pb.PeerDevice, rec *dht.SetRecord) bool {
	i := int64(rec.Epoch()) - int64(dev.FirstEpoch)
	if len(dev.Boxes) > 0 && (i < 0 || i >= int64(len(dev.Boxes)) || string(dev.Boxes[i]) != string(rec.Box())) {
		return false
	}
	var sets [][]byte
	for _, raw := range dev.Sets {
		old, err := e.sets.Get(raw)
		if err != nil {
			continue
		}
		if old.Epoch() == rec.Epoch() {
			if old.Number() >= rec.Number() {
				return false
			}
			continue
		}
		sets = append(sets, raw)
	}
	dev.Sets = append(sets, rec.Raw())
	if len(dev.Sets) > maxSets {
		dev.Sets = dev.Sets[len(dev.Sets)-maxSets:]
	}
	return true
}

// route picks the set to deposit with: the current epoch's, a neighbour's, else the front door. It asks the directory
// for the set when only an epoch key is known, and for the device's record when nothing is.
func (e *Engine) route(t *Turn, dev *pb.PeerDevice, size int) *dht.SetRecord {
	cur := dht.EpochAt(t.Now)
	var best *dht.SetRecord
	for _, raw := range dev.Sets {
		rec, err := e.sets.Get(raw)
		if err != nil || !rec.Usable(t.Now) {
			continue
		}
		if rec.Epoch() == cur {
			return rec
		}
		if best == nil || rec.Epoch() > best.Epoch() {
			best = rec
		}
	}
	if i := int(cur) - int(dev.FirstEpoch); i >= 0 && i < len(dev.Boxes) && len(dev.RecordSecret) == 32 {
		key := dht.MailboxKey(dht.BoxID(dev.Boxes[i]))
		e.boxesOf[key] = identity.DeviceID(dev.Device)
		e.need(t, key)
	}
	if best != nil {
		return best
	}
	rec, err := e.records.Get(dev.Record)
	if err == nil && size <= frontEnvelope {
		if f := rec.FrontDoor(); f != nil && f.Usable(t.Now) {
			return f
		}
	}
	e.need(t, dht.DeviceKey(identity.DeviceID(dev.Device))) // it may have elected relays and not been able to tell us
	return nil
}

// setOf is the set of one box of a device, however old; nil if it is not known any more.
func (e *Engine) setOf(dev *pb.PeerDevice, box []byte) *dht.SetRecord {
	for _, raw := range dev.Sets {
		if rec, err := e.sets.Get(raw); err == nil {
			if id := rec.BoxID(); string(id[:]) == string(box) {
				return rec
			}
		}
	}
	if rec, err := e.records.Get(dev.Record); err == nil && rec.FrontDoor() != nil {
		if id := rec.FrontDoor().BoxID(); string(id[:]) == string(box) {
			return rec.FrontDoor()
		}
	}
	return nil
}

// learnSet takes a set that a relay handed out in place of an older one.
func (e *Engine) learnSet(t *Turn, device identity.DeviceID, raw []byte) bool {
	dev := e.peerDevice(t, device)
	rec, err := dht.ParseSetRecord(raw)
	if dev == nil || err != nil || len(dev.Boxes) == 0 || !e.keepPeerSet(dev, rec) {
		return false
	}
	e.saveDevice(t, dev)
	return true
}

// learnSealedSet opens the directory copy of a contact device's set.
func (e *Engine) learnSealedSet(t *Turn, key string, value []byte) {
	id, ok := e.boxesOf[key]
	dev := e.peerDevice(t, id)
	delete(e.boxesOf, key)
	if !ok || dev == nil {
		return
	}
	for i, box := range dev.Boxes {
		if dht.MailboxKey(dht.BoxID(box)) != key {
			continue
		}
		rec, err := dht.OpenSet(recordKey(dev.RecordSecret, dev.FirstEpoch+uint32(i)), value)
		if err == nil && e.keepPeerSet(dev, rec) {
			e.saveDevice(t, dev)
			e.out.Wake(id, t.Now)
		}
		return
	}
}

// gotRecords takes in records that a contact, or another device of ours, passed on.
func (e *Engine) gotRecords(t *Turn, a arrival) bool {
	r := &chatpb.Records{}
	if proto.Unmarshal(a.content.Payload, r) != nil {
		return false
	}
	for _, raw := range r.Lists {
		if l, err := identity.ParseDeviceList(raw); err == nil && dht.Validate(dht.UserKey(l.User()), raw, t.Now) == nil {
			e.learnList(t, l)
		}
	}
	for _, raw := range r.Devices {
		if d, err := dht.ParseDeviceRecord(raw); err == nil && dht.Validate(dht.DeviceKey(d.Device()), raw, t.Now) == nil {
			e.learnRecord(t, d)
		}
	}
	if len(r.Proof) > 0 {
		p, err := witness.ParseProof(r.Proof)
		return err == nil && e.learnProof(t, p)
	}
	return true
}

// syncContact tells our other devices what we know of a contact.
func (e *Engine) syncContact(t *Turn, c *pb.Contact) {
	if len(c.User) != 32 || c.State == contactPending {
		return
	}
	e.sendControl(t, chat.KindSync, &chatpb.Sync{People: []*chatpb.Person{person(c)}}, e.user, e.siblings())
}

func person(c *pb.Contact) *chatpb.Person {
	return &chatpb.Person{
		User: c.User, Handle: c.Handle, Name: c.Name, State: c.State, Verified: c.Verified, List: c.List, Changed: c.Changed,
		AcceptedEpoch: c.AcceptedEpoch,
	}
}

// gotSync takes in what another device of ours knows; of two views of one contact the later change wins.
func (e *Engine) gotSync(t *Turn, a arrival) bool {
	s := &chatpb.Sync{}
	if proto.Unmarshal(a.content.Payload, s) != nil {
		return false
	}
	if s.Leaving && e.account != nil && e.dropDevice(t, a.sender.Device()) != nil {
		return false // not acknowledged: it asks again
	}
	for _, p := range s.People {
		e.keepPerson(t, p)
	}
	d := e.desk(t)
	for _, x := range s.Settings {
		d.Learn(x)
	}
	for _, x := range s.Deleted {
		d.LearnDeleted(x)
	}
	e.carry(t, d)
	e.gotFallback(t, s.Fallback)
	return true
}

func (e *Engine) keepPerson(t *Turn, p *chatpb.Person) {
	list, err := identity.ParseDeviceList(p.List)
	if err != nil || contactStates[p.State] == "" || list.User() == e.user || string(p.User) != string(sliceOf(list.User())) {
		return
	}
	c := e.contact(t, list.User())
	if c == nil {
		if c, err = e.newContact(t, p.User, p.Handle, p.State); err != nil {
			return
		}
	} else if c.Changed >= p.Changed {
		e.learnList(t, list)
		return
	}
	strict := c.Verified // as it was here: then our other device has to say that a person accepted the epoch
	admitted := (c.State == contactRequest || c.State == contactIgnored) && p.State == contactAccepted
	c.User, c.Name, c.State, c.Verified, c.Changed = p.User, chat.CleanName(p.Name), p.State, p.Verified, p.Changed
	if h := talk.CleanHandle(p.Handle); h != "" && !talk.Handles(t.Tx)[h] {
		c.Handle = h
	}
	c.AcceptedEpoch = max(c.AcceptedEpoch, p.AcceptedEpoch)
	e.saveContact(t, c)
	switch known := e.listOf(t, list.User()); {
	case known != nil && list.Order(known) != identity.Newer:
	case known == nil || list.Epoch() == known.Epoch() || list.Epoch() <= p.AcceptedEpoch:
		e.adoptList(t, c, list)
	default:
		c.Verified = strict || c.Verified
		e.newEpoch(t, c, list)
	}
	if known := e.listOf(t, list.User()); admitted && known != nil {
		e.changeDevices(t, list.User(), c.Handle, nil, known) // of a request we kept the device that asked alone
	}
	if c = e.contact(t, list.User()); c != nil {
		v := contactView(c, e.live)
		e.notice(t, view.Notice{Type: "contact", Contact: &v})
		e.tellContact(t, c)
		e.unpark(t, list.User(), true)
	}
}

func sliceOf(u identity.UserID) []byte { return u[:] }
