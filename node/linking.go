package node

import (
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/backup"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/link"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// recordsRoom bounds the records in one content, in bytes.
const recordsRoom = 3800

// LinkHello answers a new device's first frame with the sealed snapshot of what we know.
func (e *Engine) LinkHello(t *Turn, frame []byte) ([]byte, error) {
	hello, err := link.ParseHello(frame)
	if err != nil {
		return nil, err
	}
	row := &pb.Invite{}
	if !store.Row(t.Tx, store.BucketInvites, hello.Link[:], row) || link.Kind(row.Kind) != link.KindDevice || e.account == nil {
		return nil, link.ErrPair
	}
	device := identity.DeviceOf(hello.SigPub)
	used := len(row.UsedBy) > 0 && string(row.UsedBy) != string(device[:])
	if used || t.Now.UnixMilli() >= row.Expires {
		return nil, link.ErrPair
	}
	p, err := link.Answer([link.SecretSize]byte(row.Secret), frame)
	if err != nil {
		return nil, err
	}
	row.UsedBy, row.Pairing = device[:], p.Marshal()
	store.PutRow(t.Tx, store.BucketInvites, hello.Link[:], row)
	raw, err := proto.Marshal(e.snapshot(t))
	if err != nil {
		return nil, err
	}
	return p.SealSnapshot(raw)
}

// snapshot is what a new device has to know. It fits a pairing frame.
func (e *Engine) snapshot(t *Turn) *chatpb.Snapshot {
	s := &chatpb.Snapshot{User: e.user[:], List: e.list.Bytes(), Name: e.self.Name, BackupKey: t.Tx.Get(store.BucketMeta, backup.RowKey)}
	if e.self.Record != nil {
		s.Devices = append(s.Devices, e.self.Record)
	}
	people, _ := e.people(t)
	s.People = people
	size := proto.Size(s)
	t.Tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil && len(d.Record) > 0 {
			size += len(d.Record)
			s.Devices = append(s.Devices, d.Record)
		}
		return size < link.MaxPairFrame*3/4
	})
	if rec := e.frontDoor(t); rec != nil {
		for _, m := range rec.Members() {
			s.Relays = append(s.Relays, &chatpb.Endpoint{Id: m.Peer.ID, Addrs: m.Peer.Addrs})
		}
	}
	return s
}

// people are our contacts for a new device: those that fit its snapshot, and the rest, which it gets by sync.
func (e *Engine) people(t *Turn) (now, later []*chatpb.Person) {
	size := 0
	for _, c := range e.contacts(t) {
		if c.State == contactPending || len(c.List) == 0 {
			continue
		}
		p := person(c)
		if size += proto.Size(p); size > link.MaxPairFrame/2 {
			later = append(later, p)
		} else {
			now = append(now, p)
		}
	}
	return now, later
}

// LinkRecord takes the new device's record, adds the device to the list and answers with the list. It may be repeated.
func (e *Engine) LinkRecord(t *Turn, frame []byte) ([]byte, error) {
	id, ok := link.FrameLink(frame)
	row := &pb.Invite{}
	if !ok || !store.Row(t.Tx, store.BucketInvites, id[:], row) || e.account == nil {
		return nil, link.ErrPair
	}
	p, err := link.ResumePairing(row.Pairing)
	if err != nil {
		return nil, err
	}
	raw, err := p.OpenRecord(frame)
	if err != nil {
		return nil, err
	}
	rec, err := dht.ParseDeviceRecord(raw)
	hello, herr := link.ParseHello(p.Hello())
	if err != nil || herr != nil || rec.User() != e.user || rec.Bundle().SigPub() != hello.SigPub || rec.Bundle().IKPub() != hello.IKPub {
		return nil, link.ErrPair
	}
	if err := e.addDevice(t, hello, rec); err != nil {
		return nil, err
	}
	return p.SealListed(e.list.Bytes()), t.Tx.Err()
}

// addDevice signs the list with one more device.
func (e *Engine) addDevice(t *Turn, hello link.Hello, rec *dht.DeviceRecord) error {
	if _, listed := e.list.Find(rec.Device()); listed {
		return nil // its answer was lost the last time
	}
	t.Out.Puts = append(t.Out.Puts, Put{Key: dht.DeviceKey(rec.Device()), Value: rec.Bytes()}) // before the list names it
	d := identity.Device{SigPub: hello.SigPub, IKPub: hello.IKPub, AddedSeq: e.list.Seq() + 1}
	next, err := e.signList(t, append(e.list.Devices(), d), 0)
	if err != nil {
		return err
	}
	e.adoptOwnList(t, next)
	if dev := e.peerDevice(t, rec.Device()); dev != nil {
		dev.Name = chat.CleanName(hello.Name)
		e.saveDevice(t, dev)
	}
	e.learnRecord(t, rec)
	e.pushList(t, rec.Bytes())
	_, later := e.people(t)
	for _, p := range later {
		e.sendControl(t, chat.KindSync, &chatpb.Sync{People: []*chatpb.Person{p}}, e.user, []identity.DeviceID{rec.Device()})
	}
	for _, c := range e.contacts(t) {
		if len(c.Proof) > 0 && !c.ForkAccepted {
			e.sendControl(t, chat.KindRecords, &chatpb.Records{Proof: c.Proof}, e.user, []identity.DeviceID{rec.Device()})
		}
	}
	for _, batch := range talk.SettingBatches(t.Tx) {
		e.sendControl(t, chat.KindSync, batch, e.user, []identity.DeviceID{rec.Device()})
	}
	return nil
}

// pushList hands our newest list, and the record of the device that it adds, to everybody who talks to us; the directory
// is the slower way.
func (e *Engine) pushList(t *Turn, record []byte) {
	r := &chatpb.Records{Lists: [][]byte{e.list.Bytes()}}
	if size := len(record); size > 0 && proto.Size(r)+size < recordsRoom {
		r.Devices = [][]byte{record}
	}
	e.tellAll(t, r)
}

// tellAll hands records to our other devices and to every contact.
func (e *Engine) tellAll(t *Turn, r *chatpb.Records) {
	e.sendControl(t, chat.KindRecords, r, e.user, e.siblings())
	e.tellContacts(t, r)
	e.flush(t)
}

func (e *Engine) tellContacts(t *Turn, r *chatpb.Records) {
	for _, c := range e.contacts(t) {
		if c.State != contactAccepted || c.Left {
			continue
		}
		if list := e.listOf(t, identity.UserID(padUser(c.User))); list != nil {
			e.sendControl(t, chat.KindRecords, r, list.User(), deviceIDs(list))
			for _, d := range list.Devices() {
				if len(r.Lists) > 0 {
					e.pushed[d.ID()] = pushed{e.list.Head().Digest(), t.Now}
				}
			}
		}
	}
	e.flush(t)
}

var keyFork = []byte("fork")

// pushed is which head a device was sent, and when: if it goes on without it, it has not got it.
type pushed struct {
	head [12]byte
	at   time.Time
}

// noteHeads follows the sender's word on its own device list: a head that we do not hold is looked up.
func (e *Engine) noteHeads(t *Turn, a arrival) {
	dev := e.peerDevice(t, a.sender.Device())
	if dev == nil {
		return
	}
	dev.Heard = t.Now.UnixMilli()
	e.hear(t, dev, a)
	list := e.listOf(t, a.sender.User)
	if list != nil && a.body.OwnHead != [12]byte{} && a.body.OwnHead != list.Head().Digest() && a.content.Kind != chat.KindRecords {
		e.need(t, dht.UserKey(a.sender.User))
	}
	head := e.list.Head().Digest()
	if friend := a.own || near(a.contact); !friend || a.body.YourHead == [12]byte{} || a.body.YourHead == head {
		return
	}
	if last := e.pushed[a.sender.Device()]; last.head != head || t.Now.Sub(last.at) >= repairAfter {
		e.pushTo(t, a.sender.User, a.sender.Device())
	}
	if a.content.Kind.Visible() || a.content.Kind.Act() {
		e.missed(t)
	}
}

// pushTo hands our device list to a device that showed that it has another one.
func (e *Engine) pushTo(t *Turn, user identity.UserID, device identity.DeviceID) {
	e.pushed[device] = pushed{e.list.Head().Digest(), t.Now}
	e.sendControl(t, chat.KindRecords, &chatpb.Records{Lists: [][]byte{e.list.Bytes()}}, user, []identity.DeviceID{device})
}

// learnOwnList takes a newer list of our own user; one that does not name this device ends it.
func (e *Engine) learnOwnList(t *Turn, l *identity.DeviceList) {
	switch l.Order(e.list) {
	case identity.Newer:
		e.adoptOwnList(t, l)
	case identity.Fork:
		if p, err := witness.NewProof(e.list, l); err == nil {
			e.learnOwnProof(t, p)
		}
	}
}

// learnOwnProof keeps the first proof that our own account key signed two lists for one place, and tells all who know us.
func (e *Engine) learnOwnProof(t *Turn, p *witness.Proof) bool {
	if l, _ := p.Lists(); l.Epoch() < e.list.Epoch() || t.Tx.Get(store.BucketMeta, keyFork) != nil {
		return true
	}
	t.Tx.Put(store.BucketMeta, keyFork, p.Bytes())
	e.warn(t, "two different lists of your own devices carry one number: somebody else has your account key, or a copy of the admin device. A new epoch ends it: kith init --phrase-file")
	e.tellAll(t, &chatpb.Records{Proof: p.Bytes()})
	return true
}

func (e *Engine) adoptOwnList(t *Turn, l *identity.DeviceList) {
	old := e.list.Devices()
	recovered := l.Epoch() > e.list.Epoch()
	if recovered {
		e.account, e.self.Account = nil, nil
		t.Tx.Delete(store.BucketMeta, keyFork)
	}
	e.list, e.self.List = l, l.Bytes()
	_, named := l.Find(e.device)
	e.self.Removed = !named
	if named {
		e.self.Pairing = nil
	} else {
		e.stopSpeaking(t, recovered)
	}
	e.saveSelf(t)
	e.changeDevices(t, e.user, "your account", old, l)
	e.publishKey(t, dht.UserKey(e.user))
	e.renewRecord(t, false)
	e.unpark(t, e.user, true)
}

// stopSpeaking is what a device does that its account's newest list does not name: nobody listens to it any more, so what
// it had to say ends here, as its person is told. If everything was begun anew with the recovery phrase there may be nobody
// else who can tell the contacts: then they get that list as its last word.
func (e *Engine) stopSpeaking(t *Turn, recovered bool) {
	for _, n := range e.out.All() {
		if d := e.delivery(t, n); d == nil || d.Kind != uint32(chat.KindRecords) {
			e.finish(t, n, view.StageDropped, "this device was removed from its account")
		}
	}
	text := "this device was removed from its account"
	if recovered {
		text += ": the account was begun anew with the recovery phrase"
		e.tellAll(t, &chatpb.Records{Lists: [][]byte{e.list.Bytes()}})
	}
	e.notice(t, view.Notice{Type: "identity", Text: text})
}

// signList signs the next device list. Only the admin device can.
func (e *Engine) signList(t *Turn, devices []identity.Device, flags byte) (*identity.DeviceList, error) {
	if e.account == nil {
		return nil, &view.Problem{
			Class: view.ErrRefused, Message: "this device cannot sign the device list; the admin device can",
			Hint: "kith device list",
		}
	}
	if !e.read {
		return nil, &view.Problem{
			Class: view.ErrRefused, Message: "your newest device list has not been read back since this node started: try again in a moment",
			Hint: "kith status",
		}
	}
	return e.account.SignList(identity.ListFields{
		Seq: e.list.Seq() + 1, Prev: e.list.Hash(), Issued: t.Now, NotAfter: t.Now.Add(listLife), Flags: flags, Devices: devices,
	})
}

// renewList signs the list again when half of its life is over.
func (e *Engine) renewList(t *Turn) {
	if e.account == nil || e.self.Removed || !t.Now.After(e.list.NotAfter().Add(listRenew-listLife)) {
		return
	}
	if next, err := e.signList(t, e.list.Devices(), 0); err == nil {
		e.adoptOwnList(t, next)
	}
}

// RemoveDevice takes a device off the list. It gets nothing from anybody who has seen the new list.
func (e *Engine) RemoveDevice(t *Turn, prefix string) (view.Device, error) {
	if e.account == nil {
		return view.Device{}, e.notAdmin("remove")
	}
	var found []identity.Device
	for _, d := range e.list.Devices() {
		if id := d.ID(); prefix != "" && strings.HasPrefix(id.String(), strings.ToLower(prefix)) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 0:
		return view.Device{}, &view.Problem{Class: view.ErrNotFound, Message: "no device of yours begins with " + prefix, Hint: "kith device list"}
	case len(found) > 1:
		var ids []string
		for _, d := range found {
			ids = append(ids, d.ID().String()[:shownDigits])
		}
		return view.Device{}, &view.Problem{Class: view.ErrAmbiguous, Message: "more than one device begins with " + prefix + ": " + strings.Join(ids, ", "), Hint: "kith device list"}
	case found[0].ID() == e.device:
		return view.Device{}, &view.Problem{Class: view.ErrUsage, Message: "this is the device you are on", Hint: "kith device leave"}
	}
	gone := found[0].ID()
	if err := e.dropDevice(t, gone); err != nil {
		return view.Device{}, err
	}
	return view.Device{Device: gone.String()}, t.Tx.Err()
}

// dropDevice signs the list without a device, and tells it and everybody.
func (e *Engine) dropDevice(t *Turn, gone identity.DeviceID) error {
	next, err := e.signList(t, e.without(gone), 0)
	if err != nil {
		return err
	}
	e.tellRemoved(t, gone, next)
	e.adoptOwnList(t, next)
	e.pushList(t, nil)
	return nil
}

func (e *Engine) without(gone identity.DeviceID) []identity.Device {
	return slices.DeleteFunc(e.list.Devices(), func(d identity.Device) bool { return d.ID() == gone })
}

// tellRemoved hands the removed device the list that no longer names it, over a stream if one is up; it would otherwise
// find out by the directory. Best effort: its row, and with it the delivery, goes in this same turn.
func (e *Engine) tellRemoved(t *Turn, id identity.DeviceID, next *identity.DeviceList) {
	dev := e.peerDevice(t, id)
	if dev == nil || dev.Endpoint == nil {
		return
	}
	payload, err := proto.Marshal(&chatpb.Records{Lists: [][]byte{next.Bytes()}})
	if err != nil {
		return
	}
	content, err := chat.New(t.Rand, chat.KindRecords, chat.Direct(e.user, e.user), e.desk(t).Stamp(), payload)
	if err != nil {
		return
	}
	if envelope, err := e.seal(t, dev, content.Bytes(), nil); err == nil {
		t.Out.Directs = append(t.Out.Directs, Direct{Peer: toPeer(dev.Endpoint), Envelope: envelope})
	}
}

// Linker is the new device's side of linking. Its state is in the store from Welcome on, so that it can be resumed.
type Linker struct {
	link    link.Link
	pairing *link.Pairing
	keys    *identity.DeviceKeys
	name    string
}

// NewLinker begins with a link of OfferDevice.
func NewLinker(now time.Time, rng io.Reader, text, deviceName string) (*Linker, error) {
	l, err := link.Parse(text)
	switch {
	case err != nil:
		return nil, &view.Problem{Class: view.ErrUsage, Message: "this is not a kith link", Hint: "kith init --help"}
	case l.Kind != link.KindDevice:
		return nil, &view.Problem{Class: view.ErrUsage, Message: "this link invites a person, it does not add a device", Hint: "kith join LINK"}
	case !now.Before(l.Expires):
		return nil, &view.Problem{Class: view.ErrRefused, Message: "this link has expired; make a new one", Hint: "kith device add"}
	}
	keys, err := identity.NewDeviceKeys(rng)
	if err != nil {
		return nil, err
	}
	d := keys.Public(0, 0)
	p, err := link.NewPairing(rng, l.Secret, d.SigPub, d.IKPub, chat.CleanName(deviceName))
	if err != nil {
		return nil, err
	}
	return &Linker{link: l, pairing: p, keys: keys, name: chat.CleanName(deviceName)}, nil
}

// Hints are the peers to dial.
func (l *Linker) Hints() []dht.Peer { return l.link.Peers }

// Hello is the first frame.
func (l *Linker) Hello() []byte { return l.pairing.Hello() }

// Welcome opens the old device's answer, writes this device's identity into an empty store, and returns the frame with
// this device's record, which the other device publishes before it signs the list.
func (l *Linker) Welcome(t *Turn, frame []byte, self dht.Peer) ([]byte, error) {
	raw, err := l.pairing.OpenSnapshot(frame)
	if err != nil {
		return nil, err
	}
	s := &chatpb.Snapshot{}
	if proto.Unmarshal(raw, s) != nil {
		return nil, link.ErrPair
	}
	own, lerr := identity.ParseDeviceList(s.List)
	if lerr != nil || string(s.User) != string(sliceOf(own.User())) || string(s.User[:talk.ContactKeySize]) != string(l.link.User[:]) {
		return nil, link.ErrPair
	}
	if t.Tx.Get(store.BucketMeta, keySelf) != nil {
		return nil, &view.Problem{Class: view.ErrRefused, Message: "there is an identity here already", Hint: "kith id"}
	}
	row, err := newSelf(t, l.keys, own.User(), chat.CleanName(s.Name), l.name)
	if err != nil {
		return nil, err
	}
	row.List, row.Pairing = own.Bytes(), l.pairing.Marshal()
	store.PutRow(t.Tx, store.BucketMeta, keySelf, row)
	if backup.ValidKey(s.BackupKey) {
		t.Tx.Put(store.BucketMeta, backup.RowKey, s.BackupKey)
	}
	e, err := Load(t, Config{})
	if err != nil {
		return nil, err
	}
	e.adoptSnapshot(t, s)
	e.SetHost(t, self)
	return l.pairing.SealRecord(e.self.Record), t.Tx.Err()
}

// adoptSnapshot takes in contacts and records.
func (e *Engine) adoptSnapshot(t *Turn, s *chatpb.Snapshot) {
	e.changeDevices(t, e.user, "your account", nil, e.list)
	for _, p := range s.People {
		e.keepPerson(t, p)
	}
	for _, raw := range s.Devices {
		if d, err := dht.ParseDeviceRecord(raw); err == nil && dht.Validate(dht.DeviceKey(d.Device()), raw, t.Now) == nil {
			e.learnRecord(t, d)
		}
	}
	for _, p := range s.Relays {
		if peer, ok := validEndpoint(p); ok {
			row, _ := e.relay(t, peer.ID)
			row.Addrs = peer.Addrs
			store.PutRow(t.Tx, store.BucketRelays, row.Peer, row)
			e.self.LinkPeers = append(e.self.LinkPeers, fromPeer(peer))
		}
	}
	e.saveSelf(t)
}

// Finish takes the list that names this device: it is linked.
func (l *Linker) Finish(t *Turn, frame []byte) error {
	raw, err := l.pairing.OpenListed(frame)
	if err != nil {
		return err
	}
	list, err := identity.ParseDeviceList(raw)
	if err != nil {
		return link.ErrPair
	}
	e, err := Load(t, Config{})
	if err != nil {
		return err
	}
	if _, ok := list.Find(e.device); !ok || list.User() != e.user {
		return link.ErrPair
	}
	e.adoptOwnList(t, list)
	return t.Tx.Err()
}
