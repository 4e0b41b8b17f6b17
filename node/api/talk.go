package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

func send(ctx context.Context, b *Backend, q SendRequest) (Sent, error) {
	if len(q.Text) > MaxText {
		return Sent{}, Fail(ExitUsage, fmt.Sprintf("the text has %d bytes; at most %d fit", len(q.Text), MaxText), "kith send --help")
	}
	if len(q.Key) > maxKeySize {
		return Sent{}, Fail(ExitUsage, fmt.Sprintf("the idempotency key has more than %d bytes", maxKeySize), "kith api --help")
	}
	return turn(func(e *node.Engine, t *node.Turn, q SendRequest) (Sent, error) {
		m, err := e.Send(t, node.SendRequest{To: q.To, Text: q.Text, Key: q.Key})
		return Sent{Message: m}, err
	})(ctx, b, q)
}

func messageStatus(tx store.Tx, q MessageRequest) (view.Status, error) {
	return statusOf(tx, q.ID)
}

// statusOf is a message's status with its relays' peer ids as text.
func statusOf(tx store.Tx, id string) (view.Status, error) {
	s, err := talk.Status(tx, id)
	for _, d := range s.Deliveries {
		for i, r := range d.Receipts {
			d.Receipts[i].Relay = peerText(r.Relay)
		}
	}
	return s, err
}

// rearm answers as message_status does, after the turn.
func rearm(ctx context.Context, b *Backend, q MessageRequest) (s view.Status, err error) {
	err = b.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		_, err := e.Rearm(t, q.ID)
		return err
	})
	if err != nil {
		return s, err
	}
	err = b.View(func(tx store.Tx) (err error) {
		s, err = statusOf(tx, q.ID)
		return err
	})
	return s, err
}

func trace(tx store.Tx, q MessageRequest) (TraceView, error) {
	s, err := talk.Status(tx, q.ID)
	if err != nil {
		return TraceView{}, err
	}
	steps, err := talk.Trace(tx, s.Message.ID)
	return TraceView{ID: s.Message.ID, Steps: steps}, err
}

func inbox(tx store.Tx, _ None) (Chats, error) {
	chats, err := talk.Inbox(tx)
	return Chats{Chats: chats}, err
}

func messages(tx store.Tx, q MessagesRequest) (Messages, error) {
	c, err := talk.Find(tx, q.Chat)
	if err != nil {
		return Messages{}, err
	}
	list, err := talk.Messages(tx, q.Chat, count(q.Limit))
	return Messages{Chat: hex.EncodeToString(c.Id), With: talk.HandleOf(tx, c), Messages: list}, err
}

func searched(tx store.Tx, q SearchRequest) (Messages, error) {
	list, err := talk.Search(tx, talk.SearchQuery{
		Words: q.Query, Chat: q.Chat, From: q.From, Kind: q.Kind, Since: q.Since, Until: q.Until, Limit: count(q.Limit),
	})
	return Messages{Messages: list}, err
}

// count bounds how many rows a request gets.
func count(asked int) int {
	if asked <= 0 {
		return defaultCount
	}
	return min(asked, maxCount)
}

func markRead(e *node.Engine, t *node.Turn, q ReadRequest) (MarkedRead, error) {
	if len(q.IDs) > maxCount {
		return MarkedRead{}, Fail(ExitUsage, fmt.Sprintf("%d ids; at most %d at a time", len(q.IDs), maxCount), "kith api --help")
	}
	n, err := e.MarkRead(t, q.Chat, q.IDs...)
	return MarkedRead{Read: n}, err
}

// order of the stages that can be waited for; later ones satisfy earlier ones.
var order = map[view.Stage]int{view.StageQueued: 1, view.StageCustody: 2, view.StageDelivered: 3, view.StageRead: 4}

// wait returns when the message has come as far as asked for, when it cannot, or when the time is up. Each look at the
// message follows an event; nothing is polled.
func wait(ctx context.Context, b *Backend, q WaitRequest) (Waited, error) {
	if order[q.Stage] == 0 {
		return Waited{}, Fail(ExitUsage, fmt.Sprintf("there is no stage %q to wait for; there are queued, custody, delivered, read", q.Stage), "kith send --help")
	}
	limit := min(max(0, time.Duration(q.TimeoutMS)*time.Millisecond), maxWait)
	full, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	short, cancel := context.WithTimeout(full, waitingGrace)
	defer cancel()
	for {
		cursor, w, err := lookAt(b, q)
		if err != nil || w.Reached || w.Why != "" && w.Why != string(view.StageWaiting) {
			return w, err
		}
		until := full
		if w.Why != "" && order[q.Stage] <= order[view.StageCustody] {
			until = short
		}
		if _, err := b.Events(until, cursor, 1); err != nil {
			return giveUp(ctx, w, err)
		}
	}
}

// giveUp tells the end of the time apart from failures.
func giveUp(ctx context.Context, w Waited, err error) (Waited, error) {
	if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return Waited{}, err
	}
	if w.Why == "" {
		w.Why = "timeout"
	}
	return w, nil
}

// lookAt reads a message's status and the cursor of the newest event, which no later change can hide behind.
func lookAt(b *Backend, q WaitRequest) (cursor uint64, w Waited, err error) {
	err = b.View(func(tx store.Tx) (err error) {
		cursor = newest(tx)
		w.Status, err = statusOf(tx, q.ID)
		return err
	})
	have := w.Status.Stage
	w.Reached = order[have] >= order[q.Stage]
	switch have {
	case view.StageWaiting, view.StageFull, view.StageExpired, view.StageDropped:
		// On our disk it is in any case.
		if w.Reached = q.Stage == view.StageQueued; !w.Reached {
			w.Why = string(have)
		}
	}
	return cursor, w, err
}
