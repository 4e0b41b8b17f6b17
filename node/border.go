package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
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
	Ref      uint64 // delivery number
	Peer     dht.Peer
	Envelope []byte // of that moment
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

// Files: what the engine is for their ledger, and what a person asks of it.

// filed is the engine as the ledger of files sees it in one turn.
type filed struct {
	e *Engine
	t *Turn
}

// onFiles runs one call of the ledger and takes what comes of it.
func (e *Engine) onFiles(t *Turn, fn func(f *transfer.Turn, w transfer.World)) {
	f := &transfer.Turn{Now: t.Now, Rand: t.Rand, Tx: t.Tx}
	fn(f, filed{e, t})
	t.Out.Transfers = append(t.Out.Transfers, f.Jobs...)
	for _, v := range f.Changed {
		e.notice(t, view.Notice{Type: "transfer", ID: v.Message, Transfer: &v})
	}
}

func (e *Engine) tickFiles(t *Turn) {
	if due(e.files.Deadline(), t.Now) {
		e.onFiles(t, e.files.Tick)
	}
}

// Transferred takes how a job on a file ended.
func (e *Engine) Transferred(t *Turn, r transfer.Result) {
	e.onFiles(t, func(f *transfer.Turn, w transfer.World) { e.files.Ended(f, w, r) })
}

// Keep takes in the files of a message that is being placed.
func (f filed) Keep(m *pb.Message, files []*chatpb.File) (numbers []uint64) {
	author := identity.UserID(m.User)
	f.e.onFiles(f.t, func(t *transfer.Turn, w transfer.World) {
		if author == f.e.user && string(m.Device) == string(f.e.device[:]) {
			numbers = f.e.files.Sent(t, author, m.Id, files)
		} else {
			numbers = f.e.files.Came(t, w, author, m.Id, files)
		}
		f.e.files.Tick(t, w)
	})
	return numbers
}

// Show takes in the picture of a group, set by a device of somebody.
func (f filed) Show(author identity.UserID, here bool, subject []byte, picture *chatpb.File) (numbers []uint64) {
	f.e.onFiles(f.t, func(t *transfer.Turn, w transfer.World) {
		if here {
			numbers = f.e.files.Stands(t, author, subject, picture)
		} else {
			numbers = f.e.files.Came(t, w, author, subject, []*chatpb.File{picture})
		}
		f.e.files.Tick(t, w)
	})
	return numbers
}

// Forget drops the files of a message that is gone.
func (f filed) Forget(numbers []uint64) {
	f.e.onFiles(f.t, func(t *transfer.Turn, w transfer.World) { f.e.files.Forget(t, w, numbers) })
}

// Sources implements transfer.World: the author's devices, our own others, and the relays of the author's devices.
func (f filed) Sources(author identity.UserID) (out []transfer.Source) {
	var relays []transfer.Source
	devices := f.e.siblings()
	if list := f.e.listOf(f.t, author); list != nil && author != f.e.user {
		devices = append(deviceIDs(list), devices...)
	}
	for _, id := range devices {
		dev := f.e.peerDevice(f.t, id)
		if dev == nil {
			continue
		}
		if dev.Endpoint != nil {
			out = append(out, transfer.Source{Peer: toPeer(dev.Endpoint)})
		}
		for _, raw := range dev.Sets {
			rec, err := f.e.sets.Get(raw)
			if err != nil || !owns(dev, author) {
				continue
			}
			for m := range rec.EachMember() {
				if !slices.ContainsFunc(relays, func(s transfer.Source) bool { return string(s.Peer.ID) == string(m.Peer.ID) }) {
					relays = append(relays, transfer.Source{Peer: f.e.reached(f.t, m.Peer), Relay: true})
				}
			}
		}
	}
	return append(out, relays...)
}

// Relays implements transfer.World: the members of our set in force.
func (f filed) Relays() (out []dht.Peer, quorum int, box ed25519.PrivateKey) {
	rec := f.e.setNow(f.t)
	if rec == nil {
		return nil, 1, nil
	}
	for m := range rec.EachMember() {
		if !m.Standby {
			out = append(out, f.e.reached(f.t, m.Peer))
		}
	}
	return out, int(rec.W()), f.e.boxKey(rec.Epoch())
}

// setNow is our set of this epoch, or that of our front door.
func (e *Engine) setNow(t *Turn) *dht.SetRecord {
	for _, epoch := range []uint32{dht.EpochAt(t.Now), dht.FrontDoorEpoch} {
		if _, rec := e.box(t, epoch); rec != nil && rec.Usable(t.Now) {
			return rec
		}
	}
	return nil
}

// Friend implements transfer.World.
func (f filed) Friend(author identity.UserID) bool {
	if author == f.e.user {
		return true
	}
	c := f.e.contact(f.t, author)
	return c != nil && c.State == contactAccepted
}

// Pending implements transfer.World.
func (f filed) Pending(message []byte) bool {
	if string(message) == string(f.e.user[:]) {
		return true // our picture: contacts of tomorrow want it, too
	}
	m := &pb.Message{}
	return talk.Row(f.t.Tx, message, m) && (m.Unsent || len(m.Pending) > 0)
}

// describeRelays adds to the first file of a message which relays will have all of them.
func (e *Engine) describeRelays(t *Turn, files []*chatpb.File) {
	rec := e.setNow(t)
	if len(files) == 0 || rec == nil {
		return
	}
	files[0].Relays = nil
	for m := range rec.EachMember() {
		if !m.Standby {
			files[0].Relays = append(files[0].Relays, &chatpb.Endpoint{Id: m.Peer.ID, Addrs: m.Peer.Addrs[:min(len(m.Peer.Addrs), fileAddrs)]})
		}
	}
}

// checkFiles says whether files fit a message beside its text.
func checkFiles(text *chatpb.Text) error {
	switch {
	case len(text.Files) > transfer.MaxFiles:
		return &view.Problem{Class: view.ErrUsage, Message: fmt.Sprintf("a message has at most %d files", transfer.MaxFiles), Hint: "kith send --help"}
	case len(text.Files) > 0 && proto.Size(text) > fileRoom:
		return &view.Problem{Class: view.ErrUsage, Message: "the text and what describes the files do not fit into one message: shorten the text, or send fewer files at once", Hint: "kith send --help"}
	}
	return nil
}

// SaveFile has a file of a message written into a folder, after it was fetched if it is not here. FileOf tells when.
func (e *Engine) SaveFile(t *Turn, id string, index int, preview bool, folder string) error {
	n, err := fileNumber(t.Tx, id, index)
	if err != nil {
		return err
	}
	e.onFiles(t, func(f *transfer.Turn, w transfer.World) { err = e.files.Save(f, w, n, preview, folder) })
	if err != nil {
		return &view.Problem{Class: view.ErrRefused, Message: err.Error(), Hint: "kith inbox"}
	}
	return t.Tx.Err()
}

// CancelFile ends what runs for a file of a message; what is here stays.
func (e *Engine) CancelFile(t *Turn, id string, index int) error {
	n, err := fileNumber(t.Tx, id, index)
	if err != nil {
		return err
	}
	ran := false
	e.onFiles(t, func(f *transfer.Turn, _ transfer.World) { ran = e.files.Cancel(f, n) })
	if !ran {
		return &view.Problem{Class: view.ErrRefused, Message: "nothing runs for this file", Hint: "kith transfers"}
	}
	return t.Tx.Err()
}

// FileOf is a file of a message as it is now, and whether it still waits to be saved.
func FileOf(tx store.Tx, id string, index int, preview bool) (v view.Transfer, waits bool, err error) {
	n, err := fileNumber(tx, id, index)
	if err != nil {
		return v, false, err
	}
	v, waits, ok := transfer.View(tx, n, preview)
	if !ok {
		return v, false, errors.Join(tx.Err(), &view.Problem{Class: view.ErrNotFound, Message: "there is no such file", Hint: "kith inbox"})
	}
	return v, waits, nil
}

// fileNumber finds a file of a message, or the picture of a person or a group: "@" and the handle, or "@me".
func fileNumber(tx store.Tx, id string, index int) (uint64, error) {
	if who, ok := strings.CutPrefix(id, "@"); ok {
		return pictureNumber(tx, who)
	}
	m, err := talk.FindMessage(tx, id)
	if err != nil {
		return 0, err
	}
	if index < 0 || index >= len(m.Transfers) {
		return 0, &view.Problem{Class: view.ErrNotFound, Message: fmt.Sprintf("the message has no file %d (%d in all)", index+1, len(m.Transfers)), Hint: "kith inbox"}
	}
	return m.Transfers[index], nil
}

func pictureNumber(tx store.Tx, who string) (uint64, error) {
	var numbers []uint64
	if strings.ToLower(who) == talk.OwnHandle {
		self := &pb.Self{}
		store.Row(tx, store.BucketMeta, keySelf, self)
		numbers = self.Pictures
	} else if g, err := talk.FindGroup(tx, who); err == nil {
		numbers = talk.RosterOf(tx, talk.IDOf(g)).GetPictures()
	} else {
		c, err := talk.FindContact(tx, who)
		if err != nil {
			return 0, err
		}
		numbers = c.Pictures
	}
	if len(numbers) != 1 {
		return 0, &view.Problem{Class: view.ErrNotFound, Message: who + " has no picture", Hint: "kith contact list"}
	}
	return numbers[0], nil
}
