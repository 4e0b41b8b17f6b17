package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// fileRoom is how large the payload of a message with files may be, beside what every payload may carry.
const fileRoom = session.MaxContent - chat.HeaderSize - 16*chat.MaxParents - commonRoom

// fileAddrs is how many addresses of a relay a description of a file carries; contacts know the others.
const fileAddrs = 3

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
			for _, m := range rec.Members() {
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
	for _, m := range rec.Members() {
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
	for _, m := range rec.Members() {
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

// What sessions begin with: bundles of others, and ours for others.

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
		if ask, ok := e.prekeyAsk(t, dev, rec); ok {
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
	c := e.contact(t, identity.UserID(dev.User))
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
		e.out.RetryDevice(device, t.Now)
		e.flush(t)
	}
}

// looked goes on with what waited for a lookup, whatever came of it.
func (e *Engine) looked(t *Turn, key string) {
	if kind, id, err := dht.ParseKey(key); err == nil && kind == dht.KindDevice && e.openings.Looked(identity.DeviceID(id), t.Now) {
		e.out.RetryDevice(identity.DeviceID(id), t.Now)
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
	for _, m := range set.Members() {
		if !m.Standby {
			out = append(out, m.Peer)
		}
	}
	return out
}
