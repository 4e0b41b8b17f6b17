package node

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
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

// notice persists an event and hands it to the API's streams after the commit.
func (e *Engine) notice(t *Turn, n view.Notice) {
	n.Cursor, n.At = 1, t.Now.UTC()
	if k, _ := t.Tx.Last(store.BucketEvents); len(k) == 8 {
		n.Cursor = fromU64(k) + 1
	}
	raw, err := json.Marshal(n)
	if err != nil {
		panic("node: a notice does not encode: " + err.Error())
	}
	t.Tx.Put(store.BucketEvents, u64(n.Cursor), raw)
	if n.Cursor > maxEvents {
		t.Tx.Delete(store.BucketEvents, u64(n.Cursor-maxEvents))
	}
	t.Out.Notices = append(t.Out.Notices, n)
}

func (e *Engine) warn(t *Turn, text string) { e.notice(t, view.Notice{Type: "warning", Text: text}) }

// stageNotice tells of a delivery's stage, for messages that people see.
func (e *Engine) stageNotice(t *Turn, _ uint64, d *pb.Delivery) {
	if !chat.Kind(d.Kind).Visible() {
		return
	}
	v := deliveryView(t.Tx, e.user, d)
	e.notice(t, view.Notice{Type: "stage", ID: shortID(d.Message), Stage: &v})
}

// Events returns the notices after a cursor, at most limit of them.
func Events(tx store.Tx, since uint64, limit int) ([]view.Notice, error) {
	var out []view.Notice
	tx.Scan(store.BucketEvents, u64(since+1), func(_, value []byte) bool {
		var n view.Notice
		if json.Unmarshal(value, &n) == nil {
			out = append(out, n)
		}
		return len(out) < limit
	})
	return out, tx.Err()
}

// Identity shows who this device is. It returns view.ErrNoIdentity on an empty store.
func Identity(tx store.Tx) (view.Identity, error) {
	self := &pb.Self{}
	if !getRow(tx, store.BucketMeta, keySelf, self) {
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
		Fingerprint: list.User().Short(), Removed: self.Removed,
	}, tx.Err()
}

func contactView(c *pb.Contact, live map[string]bool) view.Contact {
	v := view.Contact{
		User: hexOf(c.User), Handle: c.Handle, Name: c.Name, State: contactStates[c.State], Verified: c.Verified, Left: c.Left,
		EpochChanged: held(c), Declined: c.Declined, Added: unixMilli(c.Added),
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
		out = append(out, v)
		return true
	})
	slices.SortFunc(out, func(a, b view.Contact) int { return strings.Compare(a.Handle, b.Handle) })
	return out, tx.Err()
}

// Contact shows one person, with the safety number.
func Contact(tx store.Tx, e *Engine, who string) (view.Contact, error) {
	c, err := findContact(tx, who)
	if err != nil {
		return view.Contact{}, err
	}
	all, err := Contacts(tx, e)
	if err != nil {
		return view.Contact{}, err
	}
	i := slices.IndexFunc(all, func(v view.Contact) bool { return v.Handle == c.Handle })
	self := &pb.Self{}
	if getRow(tx, store.BucketMeta, keySelf, self) && len(c.User) == 32 {
		all[i].SafetyNumber = identity.SafetyNumber(identity.UserID(self.User), identity.UserID(c.User))
	}
	return all[i], tx.Err()
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

func activeMembers(rec *dht.SetRecord) int {
	n := 0
	for _, m := range rec.Members() {
		if !m.Standby {
			n++
		}
	}
	return n
}

// chatIDs lists the message ids of a conversation in order: by Lamport time, then by id. The key, which stands in the
// clear, has a local number in the id's place.
func chatIDs(tx store.Tx, number uint32) [][]byte {
	var out [][]byte
	last, ties := "", 0
	tx.Scan(store.BucketChats, u32(number), func(key, value []byte) bool {
		if string(key[:4]) != string(u32(number)) {
			return false
		}
		if at := string(key[4:12]); at != last {
			last, ties = at, len(out)
		}
		out = append(out, value)
		slices.SortFunc(out[ties:], bytes.Compare)
		return true
	})
	return out
}

// Inbox lists the conversations, the one with the newest message first.
func Inbox(tx store.Tx) ([]view.Chat, error) {
	self := &pb.Self{}
	getRow(tx, store.BucketMeta, keySelf, self)
	var out []view.Chat
	tx.Scan(store.BucketContacts, nil, func(_, value []byte) bool {
		c := &pb.Contact{}
		if proto.Unmarshal(value, c) != nil || len(c.User) != 32 || c.State == contactBlocked {
			return true
		}
		v := view.Chat{Chat: chat.Direct(identity.UserID(self.User), identity.UserID(c.User)).String(), Handle: c.Handle, Unread: int(c.Unread)}
		if ids := chatIDs(tx, c.Chat); len(ids) > 0 {
			m := &pb.Message{}
			if getRow(tx, store.BucketMessages, ids[len(ids)-1], m) {
				last := messageView(tx, identity.UserID(self.User), m)
				v.Last = &last
			}
		}
		out = append(out, v)
		return true
	})
	slices.SortStableFunc(out, func(a, b view.Chat) int { return lastAt(b).Compare(lastAt(a)) })
	return out, tx.Err()
}

func lastAt(v view.Chat) time.Time {
	if v.Last == nil {
		return time.Time{}
	}
	return v.Last.SentAt
}

// Messages lists the newest messages of a conversation, oldest first.
func Messages(tx store.Tx, who string, limit int) ([]view.Message, error) {
	c, err := findContact(tx, who)
	if err != nil {
		return nil, err
	}
	self := &pb.Self{}
	getRow(tx, store.BucketMeta, keySelf, self)
	ids := chatIDs(tx, c.Chat)
	if limit > 0 && len(ids) > limit {
		ids = ids[len(ids)-limit:]
	}
	var out []view.Message
	for _, id := range ids {
		m := &pb.Message{}
		if getRow(tx, store.BucketMessages, id, m) {
			out = append(out, messageView(tx, identity.UserID(self.User), m))
		}
	}
	return out, tx.Err()
}

func messageView(tx store.Tx, me identity.UserID, m *pb.Message) view.Message {
	v := view.Message{ID: shortID(m.Id), Mine: m.Mine, From: "me", Received: unixMilli(m.Received), Read: m.Read}
	c, err := chat.Parse(m.Content)
	if err != nil {
		return v
	}
	v.Chat, v.SentAt = c.Chat.String(), shownTime(m)
	row := &pb.Contact{}
	if len(m.Contact) == 32 && getRow(tx, store.BucketContacts, m.Contact[:contactKeySize], row) {
		v.With = row.Handle
		if !m.Mine {
			v.From = row.Handle
		}
	}
	text := &chatpb.Text{}
	switch {
	case c.Kind == chat.KindText && proto.Unmarshal(c.Payload, text) == nil:
		v.Kind, v.Text = "text", text.Text
	default:
		v.Kind = "unknown"
	}
	if m.Mine && (m.Unsent || len(m.Pending)+len(m.Done) > 0) { // another device of ours knows of its own
		v.Stage, _ = deliveries(tx, me, m)
	}
	return v
}

// shownTime is the author's time as far as it can be true. The order in a conversation goes by what the author said in
// any case, so that it is the same on every device.
func shownTime(m *pb.Message) time.Time {
	at := unixMilli(m.Received)
	low, high := at.Add(-maxBehind).UnixMilli(), at.Add(maxAhead).UnixMilli()
	return time.UnixMilli(int64(min(max(m.Order, uint64(low)), uint64(high)))).UTC()
}

// deliveries lists a message's deliveries and the least stage among the recipient's devices. What another device wrote
// has none here, and no stage.
func deliveries(tx store.Tx, me identity.UserID, m *pb.Message) (view.Stage, []view.Delivery) {
	var all []view.Delivery
	for _, d := range m.Done {
		all = append(all, doneView(tx, me, d))
	}
	for _, n := range m.Pending {
		d := &pb.Delivery{}
		if getRow(tx, store.BucketOutbox, u64(n), d) {
			all = append(all, deliveryView(tx, me, d))
		}
	}
	if len(all) == 0 && !m.Unsent {
		return "", nil
	}
	least, found := view.StageQueued, false
	for _, v := range all {
		if v.Own || v.Stage == view.StageDropped {
			continue
		}
		if !found || rank(v.Stage) < rank(least) {
			least, found = v.Stage, true
		}
	}
	if !found && slices.ContainsFunc(all, func(v view.Delivery) bool { return !v.Own }) {
		least = view.StageDropped
	}
	return least, all
}

// rank orders stages for the least: an expired delivery is worse than any that is still on its way.
func rank(s view.Stage) int {
	if s == view.StageExpired {
		return -1
	}
	return slices.Index(stages, s)
}

func deliveryView(tx store.Tx, me identity.UserID, d *pb.Delivery) view.Delivery {
	v := doneView(tx, me, &pb.Done{
		Device: d.Device, User: d.User, Stage: d.Stage, Receipts: d.Receipts, Attempts: d.Attempts, Expires: d.Expires,
		SetW: d.SetW, SetR: d.SetR,
	})
	v.NextTry, v.Voided, v.Expiring = unixMilli(d.Next), len(d.Voided), d.Warned
	return v
}

func doneView(tx store.Tx, me identity.UserID, d *pb.Done) view.Delivery {
	v := view.Delivery{
		Device: hexOf(d.Device), User: hexOf(d.User), Own: string(d.User) == string(me[:]), Stage: stageOf(d.Stage),
		Custody: len(d.Receipts), Replicas: int(d.SetR), Quorum: int(d.SetW), Attempts: int(d.Attempts), Expires: unixMilli(d.Expires),
	}
	for _, r := range d.Receipts {
		v.Receipts = append(v.Receipts, view.Receipt{Relay: hexOf(r.Relay), StoredAt: unixMilli(r.Stored)})
	}
	c := &pb.Contact{}
	switch {
	case v.Own:
		v.Handle = "me"
	case len(d.User) == 32 && getRow(tx, store.BucketContacts, d.User[:contactKeySize], c):
		v.Handle = c.Handle
	}
	return v
}

// findMessage resolves a unique prefix (leastDigits or more) of a message id.
func findMessage(tx store.Tx, prefix string) (*pb.Message, error) {
	low := strings.ToLower(prefix)
	if len(low) < leastDigits {
		return nil, &view.Problem{Class: view.ErrUsage, Message: fmt.Sprintf("%q is too short for a message: give %d digits of its id or more", prefix, leastDigits), Hint: "kith inbox"}
	}
	var found []*pb.Message
	var ids []string
	tx.Scan(store.BucketChats, nil, func(_, id []byte) bool {
		m := &pb.Message{}
		if strings.HasPrefix(shortID(id), low) && getRow(tx, store.BucketMessages, id, m) {
			found, ids = append(found, m), append(ids, shortID(id)[:shownDigits])
		}
		return true
	})
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		more := ""
		if len(ids) > candidatesShown {
			ids, more = ids[:candidatesShown], " and others"
		}
		return nil, &view.Problem{Class: view.ErrAmbiguous, Message: "more than one message begins with " + prefix + ": " + strings.Join(ids, ", ") + more, Hint: "kith inbox"}
	}
	return nil, &view.Problem{Class: view.ErrNotFound, Message: "no message " + prefix, Hint: "kith inbox"}
}

// Status shows how far a message came, per device.
func Status(tx store.Tx, id string) (view.Status, error) {
	self := &pb.Self{}
	getRow(tx, store.BucketMeta, keySelf, self)
	m, err := findMessage(tx, id)
	if err != nil {
		return view.Status{}, err
	}
	me := identity.UserID(self.User)
	s := view.Status{Message: messageView(tx, me, m)}
	s.Stage, s.Deliveries = deliveries(tx, me, m)
	for _, d := range s.Deliveries {
		switch {
		case rank(d.Stage) < rank(view.StageDelivered) && d.Stage != view.StageExpired:
			s.Expires = earlier(s.Expires, d.Expires)
		case d.Stage == view.StageExpired:
			s.Rearm = true
		}
		s.Rearm = s.Rearm || d.Expiring
	}
	return s, tx.Err()
}

// Trace lists what was tried for a message, in order of time.
func Trace(tx store.Tx, id string) ([]view.Step, error) {
	m, err := findMessage(tx, id)
	if err != nil {
		return nil, err
	}
	var out []view.Step
	add := func(device []byte, steps []*pb.Step) {
		for _, s := range steps {
			out = append(out, view.Step{At: unixMilli(s.At), Device: hexOf(device), What: s.What, Detail: s.Detail})
		}
	}
	for _, d := range m.Done {
		add(d.Device, d.Steps)
	}
	for _, n := range m.Pending {
		d := &pb.Delivery{}
		if getRow(tx, store.BucketOutbox, u64(n), d) {
			add(d.Device, d.Steps)
		}
	}
	slices.SortStableFunc(out, func(a, b view.Step) int { return a.At.Compare(b.At) })
	return out, tx.Err()
}

// Devices lists our own devices. e may be nil.
func Devices(tx store.Tx, e *Engine) ([]view.Device, error) {
	self := &pb.Self{}
	if !getRow(tx, store.BucketMeta, keySelf, self) {
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
		} else if getRow(tx, store.BucketDevices, id[:], row) {
			v.Name, v.Seen = row.Name, unixMilli(row.Heard)
			v.Online = row.Endpoint != nil && e.online()[string(row.Endpoint.Id)]
		}
		out = append(out, v)
	}
	return out, tx.Err()
}
