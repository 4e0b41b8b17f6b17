package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/session"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
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
