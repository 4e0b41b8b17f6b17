package node

import (
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/backup"
	backuppb "github.com/kith-im/kith/node/backup/pb"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// With each other device of ours the past is compared when it is heard of for the first time, and every historyEvery
// from then on: so a device that was away for longer than relays keep mail closes its gap. It is also compared soon after
// somebody showed that it holds another list of our devices: what it said went to the devices on that list only.

func historyKey(device identity.DeviceID) []byte { return append([]byte("history/"), device[:]...) }

// compareHistory begins a comparison with a device of ours, if it is time for one.
func (e *Engine) compareHistory(t *Turn, device identity.DeviceID) {
	row := &pb.History{}
	store.Row(t.Tx, store.BucketMeta, historyKey(device), row)
	again := e.gaps[device] && !e.answering(t, device, chat.KindHistory)
	if !again && (t.Now.Sub(unixMilli(row.Equal)) < historyEvery || t.Now.Sub(unixMilli(row.Asked)) < historyRetry) {
		return
	}
	delete(e.gaps, device)
	e.askHistory(t, device, row, owed(t, row))
}

// owed is the first month that the next comparison has to look at.
func owed(t *Turn, row *pb.History) uint32 {
	switch {
	case row.Since != 0:
		return row.Since
	case row.Equal == 0:
		return talk.MonthAt(t.Now.Add(-historyOffered))
	}
	return talk.MonthAt(unixMilli(row.Equal).Add(-historyOverlap))
}

// missed plans a comparison because others of our devices may lack what this one just got. That they are to be compared
// is on disk; that it happens soon is not.
func (e *Engine) missed(t *Turn) {
	if !e.historyAt.IsZero() {
		return
	}
	e.historyAt = t.Now.Add(historySoon)
	if next := e.compared.Add(historyPause); next.After(e.historyAt) {
		e.historyAt = next
	}
	for _, device := range e.siblings() {
		row := &pb.History{}
		if store.Row(t.Tx, store.BucketMeta, historyKey(device), row) && row.Equal != 0 {
			row.Since, row.Equal = owed(t, row), 0 // not less than it would have been
			store.PutRow(t.Tx, store.BucketMeta, historyKey(device), row)
		}
	}
}

// tickHistory compares what missed planned: at once, or where a comparison is under way already when that is over.
func (e *Engine) tickHistory(t *Turn) {
	if !due(e.historyAt, t.Now) {
		return
	}
	e.historyAt, e.compared = time.Time{}, t.Now
	for _, device := range e.siblings() {
		e.gaps[device] = true
		e.compareHistory(t, device)
	}
}

func (e *Engine) askHistory(t *Turn, device identity.DeviceID, row *pb.History, since uint32) {
	row.Device, row.Asked = device[:], t.Now.UnixMilli()
	store.PutRow(t.Tx, store.BucketMeta, historyKey(device), row)
	e.sayHistory(t, device, e.desk(t).HistoryAsk(&chatpb.HistoryAsk{Since: since, Pass: 1}))
}

func (e *Engine) sayHistory(t *Turn, device identity.DeviceID, h *chatpb.History) {
	e.sendControl(t, chat.KindHistory, h, e.user, []identity.DeviceID{device})
}

// gotHistory answers a question of another device of ours about the past, or takes in an answer.
func (e *Engine) gotHistory(t *Turn, a arrival) bool {
	h := &chatpb.History{}
	if proto.Unmarshal(a.content.Payload, h) != nil {
		return false
	}
	device, d := a.sender.Device(), e.desk(t)
	if h.Ask != nil && !e.busy() && e.out.Waiting(device) < maxAckedTo { // else it asks again when it has taken what waits
		for _, part := range d.HistoryAnswer(h.Ask) {
			e.sayHistory(t, device, part)
		}
	}
	if h.Part == nil {
		return true
	}
	ask, end := d.HistoryPart(h.Part)
	e.carry(t, d)
	if ask != nil {
		e.sayHistory(t, device, ask)
	}
	if end != talk.HistoryOpen {
		e.historyEnded(t, device, end)
	}
	return true
}

func (e *Engine) historyEnded(t *Turn, device identity.DeviceID, end talk.HistoryEnd) {
	row := &pb.History{}
	store.Row(t.Tx, store.BucketMeta, historyKey(device), row)
	row.Asked = 0
	if end == talk.HistoryEqual {
		row.Equal, row.Since = t.Now.UnixMilli(), 0
	}
	store.PutRow(t.Tx, store.BucketMeta, historyKey(device), row)
	e.notice(t, view.Notice{Type: "history", Device: &view.Device{Device: hexOf(device[:])}, Text: historyWords[end]})
}

var historyWords = map[talk.HistoryEnd]string{
	talk.HistoryEqual: "both devices have the same", talk.HistoryDiffers: "what the devices have still differs; it is compared again later",
}

// AskHistory compares what every device of ours has of the last days; 0: of all time.
func (e *Engine) AskHistory(t *Turn, days int) ([]view.History, error) {
	siblings := e.siblings()
	if len(siblings) == 0 {
		return nil, &view.Problem{Class: view.ErrRefused, Message: "you have no other device", Hint: "kith device add"}
	}
	var since uint32
	if days > 0 {
		since = talk.MonthAt(t.Now.Add(-time.Duration(days) * day))
	}
	for _, device := range siblings {
		row := &pb.History{}
		store.Row(t.Tx, store.BucketMeta, historyKey(device), row)
		from := min(since, owed(t, row)) // it counts as a comparison of all that was due
		row.Since = max(from, 1)
		e.askHistory(t, device, row, from)
	}
	e.flush(t)
	return History(t.Tx)
}

// History shows how the past was compared with each other device of ours.
func History(tx store.Tx) ([]view.History, error) {
	devices, err := Devices(tx, nil)
	if err != nil {
		return nil, err
	}
	var out []view.History
	for _, dev := range devices {
		row := &pb.History{}
		if dev.This {
			continue
		}
		id, err := hex.DecodeString(dev.Device)
		if err != nil {
			return nil, err
		}
		store.Row(tx, store.BucketMeta, historyKey(identity.DeviceID(id)), row)
		v := view.History{Device: dev.Device, Name: dev.Name, State: "not compared", Equal: unixMilli(row.Equal)}
		switch {
		case row.Asked != 0:
			v.State = "comparing"
		case row.Equal != 0:
			v.State = "equal"
		}
		out = append(out, v)
	}
	return out, tx.Err()
}

// tickGroups asks for what has not come by itself.
func (e *Engine) tickGroups(t *Turn) {
	for _, q := range e.groups.asks.Due(t.Now) {
		id := chat.ChatID(q.Group)
		l := e.groupLog(t, id)
		if slices.ContainsFunc(q.Want, func(h [16]byte) bool { return !l.Has(h) }) {
			e.groups.asks.Asked(t.Now, q)
			ask := &chatpb.GroupAsk{Have: talk.RosterOf(t.Tx, id).GetHeads()}
			e.sayTo(t, chat.KindGroupAsk, id, ask, q.User, []identity.DeviceID{q.Device})
		}
	}
}

// gotGroupAsk answers a member with what it lacks of a log, and who was one with what made it none.
func (e *Engine) gotGroupAsk(t *Turn, a arrival) bool {
	ask := &chatpb.GroupAsk{}
	r := talk.RosterOf(t.Tx, a.content.Chat)
	if proto.Unmarshal(a.content.Payload, ask) != nil || len(ask.Have) > group.MaxHeads {
		return false
	}
	if r == nil || e.answering(t, a.sender.Device(), chat.KindGroup) {
		return r != nil
	}
	if !e.groups.asks.Answer(t.Now, group.ID(a.content.Chat), a.sender.Device()) {
		return true
	}
	var have [][16]byte
	for _, h := range ask.Have {
		if len(h) == 16 {
			have = append(have, [16]byte(h))
		}
	}
	l := e.groupLog(t, a.content.Chat)
	rest := l.Beyond(have)
	if !a.own && !talk.InGroup(r, a.sender.User) { // it learns that it is none any more, and nothing after that
		known := l.End(a.sender.User)
		rest = slices.DeleteFunc(rest, func(x *group.Entry) bool { return !slices.Contains(known, x) })
	}
	if len(rest) == 0 {
		return true
	}
	pages := e.pages(t, rest, talk.Provers(t.Tx, l, rest), nil)
	if len(have) == 0 && talk.InGroup(r, a.sender.User) {
		pages = e.logPages(t, l)
	}
	for _, p := range pages {
		e.sayTo(t, chat.KindGroup, a.content.Chat, p, a.sender.User, []identity.DeviceID{a.sender.Device()})
	}
	return true
}

// answering reports whether an answer of a kind is still on its way to a device, or more than it takes: whoever asks again
// and acknowledges nothing gets no more.
func (e *Engine) answering(t *Turn, device identity.DeviceID, kind chat.Kind) bool {
	waiting := e.out.OfDevice(device)
	return e.busy() || len(waiting) >= maxAckedTo || slices.ContainsFunc(waiting, func(n uint64) bool {
		d := e.delivery(t, n)
		return d != nil && chat.Kind(d.Kind) == kind
	})
}

// handLogs gives all our logs to another device of ours.
func (e *Engine) handLogs(t *Turn, device identity.DeviceID) {
	for _, c := range talk.Groups(t.Tx) {
		for _, p := range e.logPages(t, e.groupLog(t, talk.IDOf(c))) {
			e.sayTo(t, chat.KindGroup, talk.IDOf(c), p, e.user, []identity.DeviceID{device})
		}
	}
}

// RecoveryEpoch is the account epoch of somebody who comes back with nothing but the recovery phrase: minutes since
// 2026, so that it lies above every epoch before it, also when no list of that time can be found.
func RecoveryEpoch(now time.Time) uint32 {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return uint32(min(max(now.Sub(begin)/time.Minute, 2), 1<<32-1))
}

// Restore takes in a record of a backup of ours, beside what is here, so that it may be repeated and mixed with what comes
// by itself. The head is the first.
func (e *Engine) Restore(t *Turn, r *backuppb.Record) error {
	switch {
	case e.self.Removed:
		return &view.Problem{Class: view.ErrRefused, Message: "this device was removed from its account", Hint: "kith device list"}
	case r.Head != nil && string(r.Head.User) != string(e.user[:]):
		return &view.Problem{Class: view.ErrRefused, Message: "this is the backup of another person, " + hexOf(r.Head.User[:min(4, len(r.Head.User))]), Hint: "kith id"}
	case r.Head != nil:
		e.restoreHead(t, r.Head)
	case r.Contact != nil:
		e.restoreContact(t, r.Contact)
	case r.Device != nil:
		e.restoreDevice(t, r.Device)
	case r.Log != nil && len(r.Log.Group) == 16:
		e.restoreLog(t, r.Log)
	case r.End != nil && e.account != nil:
		t.Tx.Put(store.BucketMeta, keyAnnounce, []byte{1})
		if len(e.live) > 0 {
			e.announce(t, dht.UserKey(e.user))
		}
	default:
		d := e.desk(t)
		backup.Talked(d, r)
		e.carry(t, d)
	}
	e.flush(t)
	return t.Tx.Err()
}

// lookedTooEarly asks again for a list that was found while somebody waits for a newer one: a device that is not in it has
// written, and whoever brought the answer may not have heard of that device yet.
func (e *Engine) lookedTooEarly(t *Turn, key string, w *outbox.Want) {
	kind, id, err := dht.ParseKey(key)
	if w == nil || err != nil || kind != dht.KindUser || e.wants.Of(key) != nil || w.Failed >= lookupRetries {
		return
	}
	for u := range e.parked {
		if c := e.contact(t, u); string(u[:len(id)]) == string(id) && c != nil && !held(c) {
			e.wants.Set(key, t.Now.Add(backoff(t.Rand, w.Failed+1, 0)), w.Failed+1)
			return
		}
	}
}

var keyAnnounce = []byte("announce")

// announce hands our list to the people of a backup: they may know one that names lost devices. It waits until the list
// can be found, because whoever hears of it from a device that it does not know looks it up.
func (e *Engine) announce(t *Turn, published string) {
	if published == dht.UserKey(e.user) && t.Tx.Get(store.BucketMeta, keyAnnounce) != nil {
		t.Tx.Delete(store.BucketMeta, keyAnnounce)
		e.pushList(t, nil)
	}
}

func (e *Engine) restoreHead(t *Turn, h *backuppb.Head) {
	if name := chat.CleanName(h.Name); name != "" && h.ProfileAt > e.self.ProfileAt {
		e.self.Name, e.self.Handles = name, people.Handles(h.Handles)
		e.self.ProfileAt = min(h.ProfileAt, uint64(t.Now.Add(dht.MaxSkew).UnixMilli()))
		if f := (&chatpb.File{}); len(h.Picture) <= people.MaxPicture && proto.Unmarshal(h.Picture, f) == nil {
			e.self.Picture, e.self.Pictures = e.keepPicture(t, e.user, e.self.Pictures, f, false)
		}
		e.profileChanged(t)
	}
	for _, p := range h.Relays {
		if peer, ok := validEndpoint(p); ok {
			if row, known := e.relay(t, peer.ID); !known {
				row.Addrs = peer.Addrs
				store.PutRow(t.Tx, store.BucketRelays, row.Peer, row)
			}
		}
	}
}

// restoreContact takes in a person as it was believed; what was said later is kept.
func (e *Engine) restoreContact(t *Turn, x *backuppb.Contact) {
	list, err := identity.ParseDeviceList(x.Person.GetList())
	if err != nil {
		return
	}
	known := e.contact(t, list.User()) != nil
	e.keepPerson(t, x.Person)
	c := e.contact(t, list.User())
	if known || c == nil {
		return
	}
	backup.Named(c, x)
	c.Names = people.Merge(c.Names, people.Handles(x.Names), t.Now)
	if f := (&chatpb.File{}); len(x.Picture) > 0 && len(x.Picture) <= people.MaxPicture && proto.Unmarshal(x.Picture, f) == nil {
		c.Picture, c.Pictures = e.keepPicture(t, list.User(), nil, f, false)
	}
	e.namesAt = earlier(e.namesAt, people.NextAsk(c))
	e.saveContact(t, c)
}

// restoreDevice takes in where a contact's device was found last, if it is still one.
func (e *Engine) restoreDevice(t *Turn, x *backuppb.Device) {
	if r, err := dht.ParseDeviceRecord(x.Record); err == nil && dht.Validate(dht.DeviceKey(r.Device()), x.Record, t.Now) == nil {
		e.learnRecord(t, r)
	}
	if len(x.Device) != 32 {
		return
	}
	dev := e.peerDevice(t, identity.DeviceID(x.Device))
	if peer, ok := validEndpoint(x.Endpoint); ok && dev != nil && dev.Endpoint == nil {
		e.setEndpoint(dev, peer)
		e.saveDevice(t, dev)
		t.Out.Connects = append(t.Out.Connects, peer)
	}
}

// restoreLog takes in a page of a group's log as from another device of ours.
func (e *Engine) restoreLog(t *Turn, x *backuppb.Log) {
	payload, err := proto.Marshal(x.Page)
	if err != nil {
		return
	}
	me := session.Peer{User: e.user, SigPub: e.keys.Public(0, 0).SigPub}
	e.gotGroup(t, arrival{sender: me, own: true, content: chat.Content{Chat: chat.ChatID(x.Group), Payload: payload}})
}

// planAsk plans the next question to a device for what did not come.
func (e *Engine) planAsk(dev *pb.PeerDevice) {
	id := identity.DeviceID(dev.Device)
	mail := e.mailAt
	if at := mend.NextAsk(dev, mail); at.IsZero() {
		delete(e.missing, id)
	} else {
		e.missing[id] = at
	}
}

// tickMissing asks devices for what they sealed for this one and has not come.
func (e *Engine) tickMissing(t *Turn) {
	for _, id := range takeDue(e.missing, t.Now) {
		dev := e.peerDevice(t, id)
		if dev == nil {
			continue
		}
		mail := e.mailAt
		if e.parked[identity.UserID(dev.User)] > 0 { // what is put aside may be it
			mail = t.Now
		}
		spans := mend.Ask(dev, mail, t.Now)
		e.saveDevice(t, dev)
		if len(spans) > 0 && e.maySpeak(t, dev) && !e.answering(t, id, chat.KindMissing) {
			e.sendControl(t, chat.KindMissing, &chatpb.Missing{Spans: spans}, identity.UserID(dev.User), []identity.DeviceID{id})
			dev = e.peerDevice(t, id)
		}
		e.planAsk(dev)
	}
}

// gotMissing sends messages again that were sealed for the asking device, and says which of them are gone. It answers only
// to a device that its user still lists, and only about what was sealed for that device.
func (e *Engine) gotMissing(t *Turn, a arrival) bool {
	m, id := &chatpb.Missing{}, a.sender.Device()
	dev, list := e.peerDevice(t, id), e.listOf(t, a.sender.User)
	if proto.Unmarshal(a.content.Payload, m) != nil || len(m.Spans) > mend.MaxSpans || dev == nil || list == nil {
		return false
	}
	if _, listed := list.Find(id); !listed || e.answering(t, id, chat.KindGone) || !e.meter.Asks(id, t.Now) {
		return listed // it asks again
	}
	gone := mend.Find(t.Tx, dev, m.Spans, func(counter uint64, x []byte) mend.Fate { return e.sendAgain(t, a.sender, counter, x) })
	for part := range slices.Chunk(gone, mend.MaxSpans) {
		e.sendControl(t, chat.KindGone, &chatpb.Gone{Spans: part}, a.sender.User, []identity.DeviceID{id})
	}
	return true
}

// sendAgain has a message of this device go out again to a device that has acknowledged it already, as one does that has
// lost what it had.
func (e *Engine) sendAgain(t *Turn, to session.Peer, counter uint64, id []byte) mend.Fate {
	m, device := &pb.Message{}, to.Device()
	if !store.Row(t.Tx, store.BucketMessages, id, m) || !m.Mine || string(m.Device) != string(e.device[:]) || talk.Wiped(m) {
		return mend.Gone
	}
	for _, n := range m.Pending {
		if it := e.out.Items[n]; it != nil && it.Device == device {
			return mend.Comes
		}
	}
	had := func(d *pb.Done) bool {
		s := view.StageOf(d.Stage)
		return string(d.Device) == string(device[:]) && (s == view.StageDelivered || s == view.StageRead)
	}
	switch {
	case !slices.ContainsFunc(m.Done, had), to.User != e.user && !talk.MayHave(t.Tx, m)(to.User):
		return mend.Gone
	case e.busy() || !e.meter.Sends(device, t.Now):
		return mend.Later
	}
	m.Done = slices.DeleteFunc(m.Done, had)
	e.enqueueAs(t, m, device, to.User, counter)
	store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	return mend.Comes
}

// gotGone takes in what a device will not send again.
func (e *Engine) gotGone(t *Turn, a arrival) bool {
	g, dev := &chatpb.Gone{}, e.peerDevice(t, a.sender.Device())
	if proto.Unmarshal(a.content.Payload, g) != nil || dev == nil || len(g.Spans) > mend.MaxSpans {
		return false
	}
	for _, s := range g.Spans {
		mend.Settle(dev, s.From, s.To)
	}
	e.saveDevice(t, dev)
	e.planAsk(dev)
	return true
}
