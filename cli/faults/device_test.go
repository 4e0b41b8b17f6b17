package faults

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// device is a machine of a person, and what its screen showed over all its lives.
type device struct {
	*machine
	id string // device id, hex

	looking chan struct{} // closed when the reader of the last life has ended

	lm      sync.Mutex
	cursor  uint64
	shown   map[string]int                   // text -> how often an event showed it
	stages  map[string]map[string][]progress // message id -> device id -> what was said, in order
	strange []string                         // events that must not be
}

// progress is one thing that a sender said of a delivery.
type progress struct {
	stage view.Stage
	at    time.Time
}

func newDevice(t testing.TB, dir, name string, n *news, where ...string) *device {
	d := &device{
		machine: newMachine(t, dir, name, n, where...),
		shown:   map[string]int{}, stages: map[string]map[string][]progress{},
	}
	d.grown = d.look
	return d
}

// look reads the events of this life from where the last one ended, as a screen would.
func (d *device) look() {
	last, ended := d.looking, make(chan struct{})
	d.looking = ended
	gone := d.ended
	go func() {
		defer close(ended)
		if last != nil {
			<-last
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			<-gone
			cancel()
		}()
		c, err := api.Dial(p2p.SocketPath(d.home))
		if err != nil {
			return
		}
		defer c.Close()
		d.lm.Lock()
		since := d.cursor
		d.lm.Unlock()
		_ = c.Events(ctx, since, d.note)
	}()
}

func (d *device) note(n view.Notice) error {
	d.lm.Lock()
	defer d.lm.Unlock()
	defer d.news.tell()
	if n.Cursor <= d.cursor {
		d.strange = append(d.strange, fmt.Sprintf("event %d after %d", n.Cursor, d.cursor))
	}
	d.cursor = n.Cursor
	switch {
	case n.Type == "message" && n.Message != nil:
		d.shown[n.Message.Text]++
	case n.Type == "stage" && n.Stage != nil:
		d.noteStage(n)
	}
	return nil
}

// order is how far the stages are apart from each other; a delivery goes back past custody only where a relay that
// signed could not show what it signed for.
var order = map[view.Stage]int{
	view.StageWaiting: 1, view.StageQueued: 1, view.StageFull: 1,
	view.StageCustody: 2, view.StageDelivered: 3, view.StageRead: 4, view.StageExpired: 5, view.StageDropped: 5,
}

func (d *device) noteStage(n view.Notice) {
	s := n.Stage
	of := d.stages[n.ID]
	if of == nil {
		of = map[string][]progress{}
		d.stages[n.ID] = of
	}
	if h := of[s.Device]; len(h) > 0 && order[s.Stage] < order[h[len(h)-1].stage] && s.Voided == 0 {
		d.strange = append(d.strange, fmt.Sprintf("%s of %s goes back from %s to %s", n.ID, s.Device[:8], h[len(h)-1].stage, s.Stage))
	}
	if s.Stage == view.StageCustody && (s.Quorum == 0 || s.Custody < s.Quorum || len(s.Receipts) < s.Quorum) {
		d.strange = append(d.strange, fmt.Sprintf("%s: custody with %d of %d receipts", n.ID, len(s.Receipts), s.Quorum))
	}
	of[s.Device] = append(of[s.Device], progress{s.Stage, n.At})
}

// times is how often a text was shown.
func (d *device) times(text string) int {
	d.lm.Lock()
	defer d.lm.Unlock()
	return d.shown[text]
}

// least is the least progress of a message over its deliveries, as the events told it; count is how many they are.
func (d *device) least(id string, count int) int {
	d.lm.Lock()
	defer d.lm.Unlock()
	if len(d.stages[id]) < count {
		return 0
	}
	least := 9
	for _, h := range d.stages[id] {
		least = min(least, order[h[len(h)-1].stage])
	}
	return least
}

// told is when a message was first said to be delivered on a device; zero if never.
func (d *device) told(id, device string) time.Time {
	d.lm.Lock()
	defer d.lm.Unlock()
	for _, p := range d.stages[id][device] {
		if order[p.stage] >= order[view.StageDelivered] {
			return p.at
		}
	}
	return time.Time{}
}

// send puts a text into the outbox: nil means that it is queued.
func (d *device) send(ctx context.Context, to, text, key string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	var sent api.Sent
	err = d.call(ctx, "send", api.SendRequest{To: to, Text: text, Key: key}, &sent)
	return sent.Message.ID, err
}

// status is how far a message came.
func (d *device) status(ctx context.Context, id string) (s view.Status, err error) {
	err = d.call(ctx, "message_status", api.MessageRequest{ID: id}, &s)
	return s, err
}

// holds is every message of a conversation as the store of a daemon that does not run has it.
func (d *device) holds(who string) (list []view.Message, err error) {
	err = p2p.View(d.home, nil, func(tx store.Tx) (err error) {
		list, err = talk.Messages(tx, who, 0)
		return err
	})
	return list, err
}

// meets waits until the device knows a person whom it can write to, on so many devices, each with so many relays.
func (d *device) meets(ctx context.Context, handle string, devices, relays int) error {
	return d.asks(ctx, "the contact "+handle, func() bool {
		var l api.Contacts
		if d.call(ctx, "contacts", api.None{}, &l) != nil {
			return false
		}
		for _, c := range l.Contacts {
			if c.Handle == handle && c.State == "accepted" && c.Devices >= devices && c.Relays >= relays {
				return true
			}
		}
		return false
	})
}

// elects waits until the device has so many relays.
func (d *device) elects(ctx context.Context, members int) error {
	return d.asks(ctx, "the election", func() bool {
		var v view.Mailbox
		if d.call(ctx, "mailbox", api.None{}, &v) != nil {
			return false
		}
		n := 0
		for _, r := range v.Relays {
			if r.Member {
				n++
			}
		}
		return n >= members
	})
}

// asks waits until an answer of the device's API is as wanted.
func (d *device) asks(ctx context.Context, what string, ok func() bool) error {
	if err := asking(ctx, ok); err != nil {
		return fmt.Errorf("%s: %s: %w", d.name, what, err)
	}
	return nil
}

// sane reports what the device's events said that cannot be.
func (d *device) sane(t testing.TB) {
	t.Helper()
	d.lm.Lock()
	defer d.lm.Unlock()
	for _, s := range d.strange {
		t.Errorf("%s: %s", d.name, s)
	}
	d.sound(t)
}

// gone says that no daemon answered, so that nobody knows what became of a request.
func gone(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return errors.Is(err, api.ErrNoNode) || ok && (e.Exit == api.ExitNoNode || e.Exit == api.ExitInterrupted)
}

// raw is the device id in bytes.
func (d *device) raw(t testing.TB) (id [32]byte) {
	t.Helper()
	raw, err := hex.DecodeString(d.id)
	check(t, err)
	copy(id[:], raw)
	return id
}
