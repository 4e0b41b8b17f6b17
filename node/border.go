package node

import (
	"crypto/ed25519"
	"errors"
	"io"
	"reflect"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/mend"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Turn is what one call into the engine may use: the time, entropy, one store transaction, and the place for its
// effects. The loop makes one for each batch of inputs, commits Tx, and only then performs Out.
type Turn struct {
	Now  time.Time
	Rand io.Reader
	Tx   store.Tx
	Out  *Effects

	devices map[string]*pb.PeerDevice // rows that were read or written in this turn, by id; nobody changes them
}

// keepDevice remembers a row as it is in the store.
func (t *Turn) keepDevice(d *pb.PeerDevice) {
	if len(t.devices) >= maxKeptDevices {
		clear(t.devices)
	}
	if t.devices == nil {
		t.devices = map[string]*pb.PeerDevice{}
	}
	t.devices[string(d.Device)] = d
}

// maxKeptDevices bounds what a turn remembers, in rows of some kilobytes.
const maxKeptDevices = 256

// copyDevice is a row that may be changed field by field, and by appending; what its fields refer to is shared.
func copyDevice(d *pb.PeerDevice) *pb.PeerDevice {
	c := &pb.PeerDevice{}
	from, to := reflect.ValueOf(d).Elem(), reflect.ValueOf(c).Elem()
	for _, i := range deviceFields {
		f := from.Field(i)
		if f.Kind() == reflect.Slice {
			f = f.Slice3(0, f.Len(), f.Len())
		}
		to.Field(i).Set(f)
	}
	if unknown := d.ProtoReflect().GetUnknown(); len(unknown) > 0 { // of a later build
		c.ProtoReflect().SetUnknown(unknown)
	}
	return c
}

// deviceFields are the fields of a row, whichever it has.
var deviceFields = func() (out []int) {
	row := reflect.TypeFor[pb.PeerDevice]()
	for i := range row.NumField() {
		if row.Field(i).IsExported() {
			out = append(out, i)
		}
	}
	return out
}()

// Effects is what has to happen after the commit, in this order of fields. Every performer answers with an input of the
// engine (named on each type); a performer that cannot act answers with the failure, so that the engine can plan again.
type Effects struct {
	Notices   []view.Notice  // to the local API's event streams; already persisted
	Signals   []view.Notice  // the same, kept nowhere: who misses one has missed it
	Acks      []RelayAck     // tell a relay to forget envelopes          (best effort: a relay that missed it hands the envelope out again)
	Directs   []Direct       // envelope to a device over its held stream -> Engine.DirectDone
	Deposits  []Deposit      // envelope into a box at a relay            -> Engine.Deposited
	Audits    []Audit        // ask a relay to prove that it holds mail   -> Engine.Audited
	Awaits    []Await        // wait for room in a box at a relay         -> Engine.Freed, also hours later
	Names     []NameQuery    // ask the DNS whose a name is              -> Engine.NameChecked
	Lookups   []string       // directory keys wanted                     -> Engine.Looked
	Puts      []Put          // records to publish                        -> Engine.Published
	Connects  []dht.Peer     // peers worth a connection                  -> Engine.PeerUp when one is made
	Prekeys   []PrekeyAsk    // ask a device or a relay for a bundle      -> Engine.Prekey
	Stocks    []Stock        // leave one-time bundles at a relay         -> Engine.Stocked
	Reserves  []Reserve      // ask a relay for room                      -> Engine.Reserved
	Commits   []Commit       // ask a relay to sign leases                -> Engine.Committed
	Sets      []PushSet      // hand a finished set record to a member    (best effort, no answer)
	Transfers []transfer.Job // what is to be done with files -> Engine.Transferred
	Watches   bool           // Engine.Watches changed: reconcile the collect streams
}

// Direct is one envelope for a device that may be reachable now. The performer dials Peer if no stream is held.
type Direct struct {
	Ref      uint64 // delivery number, echoed
	Peer     dht.Peer
	Envelope []byte
}

// Deposit is one envelope for a box at one relay.
type Deposit struct {
	Ref   uint64 // delivery number, echoed
	Relay dht.Peer
	mailbox.Deposit
}

// ErrBusy is the answer to an effect that was not tried, because too many wait on this device for the same relay: it
// says nothing of the relay.
var ErrBusy = errors.New("busy")

// Audit asks one relay to prove that it holds an envelope (mailbox.ProofOf). Those of one turn with the same relay and
// box have the same nonce, and can go in one question.
type Audit struct {
	Ref      uint64 // delivery number, echoed
	Relay    dht.Peer
	Box      mailbox.ID
	Envelope mailbox.EnvelopeID
	Nonce    [32]byte
}

// Await is a wait for room in a box that was full. The performer answers once: when the relay says that there may be
// room, or when it cannot be asked any more.
type Await struct {
	Relay dht.Peer
	Box   mailbox.ID
}

// RelayAck tells a relay which envelopes of our box we hold; signed by the performer with the box key.
type RelayAck struct {
	Relay dht.Peer
	Key   ed25519.PrivateKey
	IDs   []mailbox.EnvelopeID
}

// NameQuery asks whether a name under a domain (people.Name) is a contact's.
type NameQuery struct {
	User identity.UserID
	Name string
}

// Put is a record to publish under its directory key.
type Put struct {
	Key   string
	Value []byte
}

// Reserve asks a relay for room for the given boxes of ours.
type Reserve struct {
	Round uint64 // election round, echoed
	Relay dht.Peer
	Boxes []ed25519.PrivateKey
}

// Commit asks a relay to countersign set cores; Keys[i] signs Cores[i].
type Commit struct {
	Round uint64
	Relay dht.Peer
	Keys  []ed25519.PrivateKey
	Cores []dht.SetCore
}

// PrekeyAsk asks for a one-time bundle of a device: the device itself, or a relay of its front door.
type PrekeyAsk struct {
	Device identity.DeviceID // echoed
	From   dht.Peer
	ID     [32]byte // of the device, or of its box at the relay
	Live   bool     // From is the device
}

// Stock leaves one-time bundles of our front door at a relay; without bundles it asks how many are there.
type Stock struct {
	Relay   dht.Peer
	Key     ed25519.PrivateKey
	Bundles [][]byte
}

// PushSet hands a finished set record to one of its members, which serves it to senders.
type PushSet struct {
	Relay dht.Peer
	Set   []byte
}

// Watch is one box of ours at one relay: the performer holds a collect stream to Relay for it.
type Watch struct {
	Relay dht.Peer
	Box   mailbox.ID
	Key   ed25519.PrivateKey
}

// Collected is one envelope that a relay handed out.
type Collected struct {
	Box      mailbox.ID
	ID       mailbox.EnvelopeID
	Envelope []byte
}

// The fallback: a command of the person's own that takes a message another way, without end-to-end encryption, when
// nobody it is for can be reached. The engine only says when (an event "unreachable") and remembers that it was done.

// unreachedAt is when a delivery that found neither a relay nor its device is looked at, in ms; 0: never.
func (e *Engine) unreachedAt(d *pb.Delivery) int64 {
	if e.cfg.Unreachable == 0 || d.Unreachable || !chat.Kind(d.Kind).Visible() || string(d.User) == string(e.user[:]) ||
		d.Stage >= view.StageCustody.Number() {
		return 0
	}
	return d.Created + e.cfg.Unreachable.Milliseconds()
}

// unreached asks once for another way for a message to one person, if none of the person's devices has it, and no relay
// holds it for one of them.
func (e *Engine) unreached(t *Turn, d *pb.Delivery) {
	if at := e.unreachedAt(d); at == 0 || at > t.Now.UnixMilli() {
		return
	}
	d.Unreachable = true
	m := &pb.Message{}
	if !store.Row(t.Tx, store.BucketMessages, d.Message, m) {
		return
	}
	for _, o := range m.Done {
		if s := view.StageOf(o.Stage); string(o.User) == string(d.User) && (s == view.StageDelivered || s == view.StageRead) {
			return
		}
	}
	for _, n := range m.Pending {
		o := &pb.Delivery{}
		if store.Row(t.Tx, store.BucketOutbox, store.U64(n), o) && string(o.User) == string(d.User) &&
			(o.Unreachable || o.Stage >= view.StageCustody.Number()) {
			return
		}
	}
	e.askFallback(t, m, "no device of "+talk.NameOf(t.Tx, identity.UserID(d.User))+" could be reached")
}

// stranded asks for another way for what was on its way to a person who has left, when the last delivery of it ends.
func (e *Engine) stranded(t *Turn, d *pb.Delivery, m *pb.Message) {
	c := e.contact(t, identity.UserID(d.User))
	if e.cfg.Unreachable == 0 || d.Unreachable || c == nil || !c.Left || !chat.Kind(d.Kind).Visible() {
		return
	}
	for _, n := range m.Pending {
		if o := (&pb.Delivery{}); store.Row(t.Tx, store.BucketOutbox, store.U64(n), o) && string(o.User) == string(d.User) {
			return
		}
	}
	for _, o := range m.Done {
		if string(o.User) == string(d.User) && o.Stage != view.StageDropped.Number() && o.Stage != view.StageExpired.Number() {
			return
		}
	}
	e.askFallback(t, m, c.Handle+" has left")
}

// askFallback is for conversations of two: a group's other members have the message the safe way.
func (e *Engine) askFallback(t *Turn, m *pb.Message, why string) {
	v := talk.MessageView(t.Tx, e.user, m)
	if v.Group || v.Unsent || m.Fallback {
		return
	}
	e.notice(t, view.Notice{Type: "unreachable", ID: v.ID, Message: &v, Text: why})
}

// FellBack notes that a message is being handed to the person's command: from now on every view says so.
func (e *Engine) FellBack(t *Turn, id string) error {
	m, err := talk.FindMessage(t.Tx, id)
	if err != nil {
		return err
	}
	if !m.Mine {
		return &view.Problem{Class: view.ErrRefused, Message: "only a message of one's own goes another way", Hint: "kith status " + id}
	}
	e.setFallback(t, m)
	e.sendControl(t, chat.KindSync, &chatpb.Sync{Fallback: [][]byte{m.Id}}, e.user, e.siblings())
	e.flush(t)
	return t.Tx.Err()
}

func (e *Engine) setFallback(t *Turn, m *pb.Message) {
	if m.Fallback {
		return
	}
	m.Fallback = true
	store.PutRow(t.Tx, store.BucketMessages, m.Id, m)
	v := talk.MessageView(t.Tx, e.user, m)
	e.notice(t, view.Notice{Type: "message_changed", ID: v.ID, Message: &v})
}

// gotFallback marks what another device of ours handed to its command.
func (e *Engine) gotFallback(t *Turn, ids [][]byte) {
	for _, id := range ids[:min(len(ids), chat.MaxIDs)] {
		if m := (&pb.Message{}); len(id) == 32 && store.Row(t.Tx, store.BucketMessages, id, m) && m.Mine {
			e.setFallback(t, m)
		}
	}
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

// tidySessions compares our own record with the network's, and forgets sessions that were given up long ago.
func (e *Engine) tidySessions(t *Turn) {
	e.need(t, dht.DeviceKey(e.device))
	for _, dev := range e.allDevices(t) {
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
	if r.Device() != e.device || e.self.Removed || len(e.self.Record) == 0 || string(r.Bytes()) == string(e.self.Record) {
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
