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
	sealed, err := attach(ctx, b, q)
	if err != nil {
		return Sent{}, err
	}
	defer settle(b, sealed)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return turn(func(e *node.Engine, t *node.Turn, q SendRequest) (Sent, error) {
		m, err := e.Send(t, node.SendRequest{
			To: q.To, Text: q.Text, Subject: q.Subject, Effect: q.Effect, Reply: q.Reply, Mentions: q.Mentions, TTL: q.TTL, Key: q.Key,
			Files: sealed.Files,
		})
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
	list := talk.Messages
	if q.Deleted {
		list = talk.Deleted
	}
	found, err := list(tx, q.Chat, count(q.Limit))
	return Messages{Chat: hex.EncodeToString(c.Id), With: talk.HandleOf(tx, c), Messages: found}, err
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
		if err := b.changed(until, cursor); err != nil {
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

// LocationRequest sends a place.
type LocationRequest struct {
	To    string  `json:"to"`  // handle
	Lat   float64 `json:"lat"` // degrees, north
	Lon   float64 `json:"lon"` // degrees, east
	Label string  `json:"label,omitempty"`
	Key   string  `json:"key,omitempty"`
}

// CardRequest introduces a contact to another.
type CardRequest struct {
	To      string `json:"to"`      // handle
	Contact string `json:"contact"` // handle of whom it introduces, or me
	Key     string `json:"key,omitempty"`
}

// CustomRequest sends content of a bot or another program.
type CustomRequest struct {
	To       string `json:"to"`   // handle
	Type     string `json:"type"` // a word, like org.example.poll
	Data     []byte `json:"data"` // base64
	Fallback string `json:"fallback"`
	Key      string `json:"key,omitempty"`
}

// ReactRequest reacts to a message.
type ReactRequest struct {
	ID    string `json:"id"`    // of the message
	Emoji string `json:"emoji"` // at most 32 bytes; empty takes the reaction back
}

// EditRequest replaces the text of a message of ours.
type EditRequest struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// TypingRequest says that a person is writing, or stopped.
type TypingRequest struct {
	Chat string `json:"chat"` // handle
	On   bool   `json:"on"`
}

// ChatSetRequest changes settings of a conversation; what is left out stays.
type ChatSetRequest struct {
	Chat     string     `json:"chat"` // handle
	Pinned   *bool      `json:"pinned,omitempty"`
	Muted    *time.Time `json:"muted_until,omitempty"` // the zero time: not muted
	Draft    *string    `json:"draft,omitempty"`
	Timer    *uint32    `json:"timer_seconds,omitempty"` // for everybody in it: new messages disappear after so long; 0: they stay
	Receipts *string    `json:"read_receipts,omitempty"` // on, off, default
}

// SettingsRequest changes settings of the whole person; what is left out stays.
type SettingsRequest struct {
	Receipts *bool `json:"read_receipts,omitempty"`
	Typing   *bool `json:"typing,omitempty"`
}

// spoken makes a handler that does something in conversations and answers with a message.
func spoken[Q any](fn func(*talk.Desk, Q) (view.Message, error)) func(*node.Engine, *node.Turn, Q) (Sent, error) {
	return func(e *node.Engine, t *node.Turn, q Q) (s Sent, err error) {
		err = e.Talk(t, func(d *talk.Desk) error {
			s.Message, err = fn(d, q)
			return err
		})
		return s, err
	}
}

func locationSend(d *talk.Desk, q LocationRequest) (view.Message, error) {
	return d.Location(q.To, q.Lat, q.Lon, q.Label, q.Key)
}

func cardSend(d *talk.Desk, q CardRequest) (view.Message, error) {
	return d.Card(q.To, q.Contact, q.Key)
}

func customSend(d *talk.Desk, q CustomRequest) (view.Message, error) {
	return d.Custom(q.To, q.Type, q.Data, q.Fallback, q.Key)
}

func react(d *talk.Desk, q ReactRequest) (view.Message, error) { return d.React(q.ID, q.Emoji) }

func edit(d *talk.Desk, q EditRequest) (view.Message, error) { return d.Edit(q.ID, q.Text) }

func unsend(d *talk.Desk, q MessageRequest) (view.Message, error) { return d.Unsend(q.ID) }

func messageDelete(d *talk.Desk, q MessageRequest) (view.Message, error) { return d.Delete(q.ID, true) }

func messageUndelete(d *talk.Desk, q MessageRequest) (view.Message, error) {
	return d.Delete(q.ID, false)
}

func message(tx store.Tx, q MessageRequest) (Sent, error) {
	m, err := talk.Message(tx, q.ID)
	return Sent{Message: m}, err
}

func typing(e *node.Engine, t *node.Turn, q TypingRequest) (None, error) {
	return None{}, e.Typing(t, q.Chat, q.On)
}

func chatSet(e *node.Engine, t *node.Turn, q ChatSetRequest) (a ChatAnswer, err error) {
	err = e.Talk(t, func(d *talk.Desk) error {
		a.Chat, err = d.SetChat(q.Chat, talk.ChatChange{Pinned: q.Pinned, Muted: q.Muted, Draft: q.Draft, Timer: q.Timer, Receipts: q.Receipts})
		return err
	})
	return a, err
}

// ChatAnswer is one conversation.
type ChatAnswer struct {
	Chat view.Chat `json:"chat"`
}

func settings(tx store.Tx, _ None) (view.Settings, error) { return talk.Settings(tx), tx.Err() }

func settingsSet(e *node.Engine, t *node.Turn, q SettingsRequest) (s view.Settings, err error) {
	err = e.Talk(t, func(d *talk.Desk) error {
		s, err = d.SetAll(q.Receipts, q.Typing)
		return err
	})
	return s, err
}
