package node

import (
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/chat"
	chatpb "github.com/kith-im/kith/node/chat/pb"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

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
