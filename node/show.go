package node

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/witness"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func hexOf(b []byte) string     { return hex.EncodeToString(b) }
func shortID(id []byte) string  { return hexOf(id[:min(16, len(id))]) }
func shortPeer(p []byte) string { return hexOf(p[max(0, len(p)-4):]) }
func (e *Engine) online() map[string]bool {
	if e == nil {
		return nil
	}
	return e.live
}

// event is how a notice is kept. Of a message there is only its id: the event shows the message as it is when it is read,
// so that nothing that was taken back or is over stays here, and a message with many acts costs no more than another.
type event struct {
	view.Notice
	Row []byte `json:"row,omitempty"`
}

// notice persists an event and hands it to the API's streams after the commit.
func (e *Engine) notice(t *Turn, n view.Notice) {
	n.Cursor, n.At = 1, t.Now.UTC()
	if k, _ := t.Tx.Last(store.BucketEvents); len(k) == 8 {
		n.Cursor = fromU64(k) + 1
	}
	kept := event{Notice: n}
	if n.Message != nil && len(n.Message.Whole) == 32 {
		kept.Row, kept.Message = n.Message.Whole, nil
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		panic("node: a notice does not encode: " + err.Error())
	}
	t.Tx.Put(store.BucketEvents, store.U64(n.Cursor), raw)
	if most := uint64(cmp.Or(e.cfg.Events, maxEvents)); n.Cursor > most {
		t.Tx.Delete(store.BucketEvents, store.U64(n.Cursor-most))
	}
	t.Out.Notices = append(t.Out.Notices, n)
}

func (e *Engine) warn(t *Turn, text string) { e.notice(t, view.Notice{Type: "warning", Text: text}) }

// stageNotice tells of a delivery's stage, for messages that people see.
func (e *Engine) stageNotice(t *Turn, _ uint64, d *pb.Delivery) {
	if d.Kind == uint32(chat.KindRequest) {
		e.requestMoved(t, d)
	}
	if !chat.Kind(d.Kind).Visible() {
		return
	}
	v := talk.DeliveryView(t.Tx, e.user, d)
	e.notice(t, view.Notice{Type: "stage", ID: shortID(d.Message), Stage: &v})
}

// Events returns the notices after a cursor, at most limit of them.
func Events(tx store.Tx, since uint64, limit int) ([]view.Notice, error) {
	var out []view.Notice
	me := talk.Me(tx)
	tx.Scan(store.BucketEvents, store.U64(since+1), func(_, value []byte) bool {
		var n event
		if json.Unmarshal(value, &n) != nil {
			return true
		}
		if m := (&pb.Message{}); talk.Row(tx, n.Row, m) {
			v := talk.MessageView(tx, me, m)
			n.Message = &v
		}
		out = append(out, n.Notice)
		return len(out) < limit
	})
	return out, tx.Err()
}

// Identity shows who this device is. It returns view.ErrNoIdentity on an empty store.
func Identity(tx store.Tx) (view.Identity, error) {
	self := &pb.Self{}
	if !store.Row(tx, store.BucketMeta, keySelf, self) {
		if err := tx.Err(); err != nil {
			return view.Identity{}, err
		}
		return view.Identity{}, view.ErrNoIdentity
	}
	keys, err := identity.ParseDeviceKeys(self.DeviceKeys)
	if err != nil {
		return view.Identity{}, err
	}
	list, err := identity.ParseDeviceList(self.List)
	if err != nil {
		return view.Identity{}, err
	}
	return view.Identity{
		User: hexOf(self.User), Device: keys.ID().String(), Name: self.Name, DeviceName: self.DeviceName,
		Admin: len(self.Account) > 0, Epoch: list.Epoch(), ListNumber: list.Seq(), Devices: len(list.Devices()),
		Fingerprint: list.User().Short(), AccountKey: list.Fingerprint(), Leaving: self.Leaving && !self.Removed, Removed: self.Removed,
	}, tx.Err()
}

func contactView(c *pb.Contact, live map[string]bool) view.Contact {
	v := view.Contact{
		User: hexOf(c.User), Handle: c.Handle, Name: c.Name, State: contactStates[c.State], Verified: c.Verified, Left: c.Left,
		EpochChanged: held(c), Forked: forked(c), Declined: c.Declined, Added: unixMilli(c.Added),
		Names: people.ShowNames(c.Names),
	}
	if l, err := identity.ParseDeviceList(c.List); err == nil {
		v.Devices = len(l.Devices())
	}
	return v
}

// Contacts lists the people that we know, by handle. e may be nil: then nobody is online.
func Contacts(tx store.Tx, e *Engine) ([]view.Contact, error) {
	online := map[string]bool{}
	relays := map[string]int{} // of each device
	tx.Scan(store.BucketDevices, nil, func(_, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil {
			if d.Endpoint != nil && e.online()[string(d.Endpoint.Id)] {
				online[string(d.User)] = true
			}
			relays[string(d.Device)] = setSize(d)
		}
		return true
	})
	var out []view.Contact
	tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool {
		c := &pb.Contact{}
		if proto.Unmarshal(value, c) != nil {
			return true
		}
		v := contactView(c, e.online())
		v.Online, v.Relays = online[string(c.User)], leastRelays(c, relays)
		v.Request, v.Picture = requestOf(tx, c), pictureOf(tx, c.Pictures)
		out = append(out, v)
		return true
	})
	slices.SortFunc(out, func(a, b view.Contact) int { return strings.Compare(a.Handle, b.Handle) })
	return out, tx.Err()
}

// Contact shows one person, with the safety number.
func Contact(tx store.Tx, e *Engine, who string) (view.Contact, error) {
	c, err := talk.FindContact(tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	all, err := Contacts(tx, e)
	if err != nil {
		return view.Contact{}, err
	}
	i := slices.IndexFunc(all, func(v view.Contact) bool { return v.Handle == c.Handle })
	self := &pb.Self{}
	if store.Row(tx, store.BucketMeta, keySelf, self) && len(c.User) == 32 {
		me, them := identity.UserID(self.User), identity.UserID(c.User)
		all[i].SafetyNumber, all[i].SafetyWords = identity.SafetyNumber(me, them), witness.SafetyWords(me, them)
	}
	own, err1 := identity.ParseDeviceList(self.List)
	if l, err := identity.ParseDeviceList(c.List); err == nil && err1 == nil {
		all[i].Code, all[i].Fingerprint = codeFor(own, l).Text(), l.Fingerprint()
	}
	if l, err := identity.ParseDeviceList(c.NextList); err == nil {
		all[i].NextKey = l.Fingerprint()
	}
	return all[i], tx.Err()
}

// Proof shows the proof that a contact's account key, or with "me" our own, signed two lists for one place.
func Proof(tx store.Tx, who string) (view.Proof, error) {
	var raw []byte
	if who == talk.OwnHandle {
		raw = tx.Get(store.BucketMeta, keyFork)
	} else {
		c, err := talk.FindContact(tx, who)
		if err != nil {
			return view.Proof{}, err
		}
		raw, who = proofOf(c), c.Handle
	}
	p, err := witness.ParseProof(raw)
	if err != nil {
		return view.Proof{}, &view.Problem{Class: view.ErrNotFound, Message: "there is no proof of two device lists of " + who, Hint: "kith contact list"}
	}
	return proofView(tx, p), tx.Err()
}

// proofOf is the proof that a contact's row holds; one of an earlier build holds the other list alone.
func proofOf(c *pb.Contact) []byte {
	if len(c.Proof) > 0 {
		return c.Proof
	}
	a, err1 := identity.ParseDeviceList(c.List)
	b, err2 := identity.ParseDeviceList(c.Fork)
	if err1 != nil || err2 != nil {
		return nil
	}
	p, err := witness.NewProof(a, b)
	if err != nil {
		return nil
	}
	return p.Bytes()
}

// proofView shows a proof, and whether we know whom it is about.
func proofView(tx store.Tx, p *witness.Proof) view.Proof {
	user := p.User()
	v := view.Proof{User: user.String(), Text: p.Text()}
	if tx != nil && user == talk.Me(tx) {
		v.Handle = talk.OwnHandle
	}
	if c := (&pb.Contact{}); tx != nil && store.Row(tx, store.BucketContacts, contactKey(user), c) && string(c.User) == string(user[:]) {
		v.Handle, v.Held = c.Handle, held(c)
	}
	a, b := p.Lists()
	for _, l := range []*identity.DeviceList{a, b} {
		hash := l.Hash()
		x := view.ProofList{Epoch: l.Epoch(), Number: l.Seq(), Hash: hexOf(hash[:]), Issued: l.Issued()}
		for _, d := range l.Devices() {
			x.Devices = append(x.Devices, d.ID().String())
		}
		v.Lists = append(v.Lists, x)
	}
	return v
}

// ReadProof checks the text of a proof. Without a store (nil) it says nothing of whom we know.
func ReadProof(tx store.Tx, text string) (*witness.Proof, view.Proof, error) {
	p, err := witness.ReadProof(text)
	if err != nil {
		return nil, view.Proof{}, &view.Problem{Class: view.ErrRefused, Message: "this proves nothing: it is no proof of two device lists, or was changed", Hint: "kith contact proof --help"}
	}
	return p, proofView(tx, p), nil
}

// TakeProof takes in a proof that a person was handed, as if this device had found it.
func (e *Engine) TakeProof(t *Turn, text string) (view.Proof, error) {
	p, _, err := ReadProof(t.Tx, text)
	if err != nil {
		return view.Proof{}, err
	}
	e.learnProof(t, p)
	e.flush(t)
	return proofView(t.Tx, p), t.Tx.Err()
}

// leastRelays is how many relays serve the device of a contact that has the fewest: mail for it waits there.
func leastRelays(c *pb.Contact, of map[string]int) int {
	l, err := identity.ParseDeviceList(c.List)
	if err != nil || len(l.Devices()) == 0 {
		return 0
	}
	least := maxRelays
	for _, d := range deviceIDs(l) {
		least = min(least, of[string(d[:])])
	}
	return least
}

// setSize is how many relays serve a device now, as far as we know.
func setSize(d *pb.PeerDevice) int {
	n := 0
	for _, raw := range d.Sets {
		if rec, err := dht.ParseSetRecord(raw); err == nil {
			n = max(n, activeMembers(rec))
		}
	}
	if rec, err := dht.ParseDeviceRecord(d.Record); n == 0 && err == nil && rec.FrontDoor() != nil {
		n = activeMembers(rec.FrontDoor())
	}
	return n
}

func activeMembers(rec *dht.SetRecord) (n int) {
	for m := range rec.EachMember() {
		if !m.Standby {
			n++
		}
	}
	return n
}

// Devices lists our own devices. e may be nil.
func Devices(tx store.Tx, e *Engine) ([]view.Device, error) {
	self := &pb.Self{}
	if !store.Row(tx, store.BucketMeta, keySelf, self) {
		return nil, view.ErrNoIdentity
	}
	list, err := identity.ParseDeviceList(self.List)
	keys, kerr := identity.ParseDeviceKeys(self.DeviceKeys)
	if err != nil || kerr != nil {
		return nil, identity.ErrInvalid
	}
	var out []view.Device
	for _, d := range list.Devices() {
		id := d.ID()
		v := view.Device{Device: id.String(), Admin: d.Admin(), AddedAt: d.AddedSeq, This: id == keys.ID()}
		row := &pb.PeerDevice{}
		if v.This {
			v.Name, v.Online = self.DeviceName, e != nil
		} else if store.Row(tx, store.BucketDevices, id[:], row) {
			v.Name, v.Seen = row.Name, unixMilli(row.Heard)
			v.Online = row.Endpoint != nil && e.online()[string(row.Endpoint.Id)]
		}
		out = append(out, v)
	}
	return out, tx.Err()
}

// typist is somebody who writes in a conversation.
type typist struct {
	chat chat.ChatID
	user identity.UserID
}

// Typing tells those in a conversation whose streams are up that we are writing, or are not any more. It is kept nowhere
// and never deposited.
func (e *Engine) Typing(t *Turn, who string, on bool) error {
	return e.Talk(t, func(d *talk.Desk) error {
		p, err := d.Typing(who, on)
		if err != nil || p == nil {
			return err
		}
		in := chat.ChatID(p.Row.Chat)
		last, said := e.typed[in]
		switch recent := said && t.Now.Sub(last) < typingEvery; {
		case on && recent, !on && !said:
			return nil // they know
		case on:
			e.typed[in] = t.Now
		default:
			delete(e.typed, in)
		}
		d.Posts = append(d.Posts, *p)
		return nil
	})
}

// whisper seals what is kept nowhere for the devices of contacts whose streams are up. Nobody hears whether it arrived.
func (e *Engine) whisper(t *Turn, p talk.Post) {
	for _, u := range p.To {
		c, list := e.contact(t, u), e.listOf(t, u)
		if c == nil || list == nil || c.State != contactAccepted || held(c) {
			continue
		}
		for _, d := range list.Devices() {
			dev := e.peerDevice(t, d.ID())
			if dev == nil || !owns(dev, u) || len(dev.Sessions) == 0 || dev.Endpoint == nil || !e.live[string(dev.Endpoint.Id)] {
				continue
			}
			if envelope, err := e.seal(t, dev, p.Row.Content, nil); err == nil {
				t.Out.Directs = append(t.Out.Directs, Direct{Peer: toPeer(dev.Endpoint), Envelope: envelope})
			}
		}
	}
}

// passing reports whether content of a kind is gone as soon as it is heard: nobody acknowledges it.
func passing(k chat.Kind) bool { return k == chat.KindTyping }

// gotTyping tells that somebody writes. What came by way of a relay is ignored: it is over.
func (e *Engine) gotTyping(t *Turn, a arrival) bool {
	on, ok := e.desk(t).Writes(e.arrival(a))
	if !ok || !a.live {
		return ok
	}
	who := typist{a.content.Chat, a.sender.User}
	_, known := e.typing[who]
	switch {
	case on && (known || len(e.typing) < maxTyping):
		e.typing[who] = t.Now.Add(typingFor)
		if !known {
			e.showTyping(t, who, true)
		}
	case !on && known:
		e.stopped(t, a)
	}
	return true
}

// stopped says that the author of a has stopped writing there.
func (e *Engine) stopped(t *Turn, a arrival) {
	who := typist{a.content.Chat, a.sender.User}
	if _, known := e.typing[who]; known {
		delete(e.typing, who)
		e.showTyping(t, who, false)
	}
}

func (e *Engine) showTyping(t *Turn, who typist, on bool) {
	v := view.Typing{From: talk.NameOf(t.Tx, who.user), On: on}
	if c := talk.Chat(t.Tx, who.chat); c != nil {
		v.Chat = talk.HandleOf(t.Tx, c)
	}
	t.Out.Signals = append(t.Out.Signals, view.Notice{At: t.Now.UTC(), Type: "typing", Typing: &v})
}

// tickTalk erases what is over, and stops believing that somebody writes who has not said so for a while.
func (e *Engine) tickTalk(t *Turn) {
	if due(e.timesAt, t.Now) {
		d := e.desk(t)
		d.Pass()
		e.carry(t, d)
		e.timesAt = talk.NextTime(t.Tx)
	}
	var gone []typist
	for who, at := range e.typing {
		if due(at, t.Now) {
			gone = append(gone, who)
		}
	}
	slices.SortFunc(gone, func(a, b typist) int {
		return cmp.Or(bytes.Compare(a.chat[:], b.chat[:]), bytes.Compare(a.user[:], b.user[:]))
	})
	for _, who := range gone {
		delete(e.typing, who)
		e.showTyping(t, who, false)
	}
}

// Endpoint is where a device of a contact was last reachable.
type Endpoint struct {
	Device string // device id, hex
	Peer   dht.Peer
}

// Endpoints lists the devices of a contact of which we know an endpoint, in order of the device id.
func Endpoints(tx store.Tx, who string) ([]Endpoint, error) {
	c, err := talk.FindContact(tx, who)
	if err != nil {
		return nil, err
	}
	var out []Endpoint
	tx.Scan(store.BucketDevices, nil, func(id, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil && d.Endpoint != nil && string(d.User) == string(c.User) {
			out = append(out, Endpoint{Device: hexOf(id), Peer: dht.Peer{ID: d.Endpoint.Id, Addrs: d.Endpoint.Addrs}})
		}
		return true
	})
	return out, tx.Err()
}
