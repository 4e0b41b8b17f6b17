package relay

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// Collect holds a stream: the backlog of every box, then live push. It returns
// when the stream ends (io.EOF at a clean end), ctx ends, each returns an error
// (that error), or the relay has refused every box (the last *mailbox.Refusal).
// each is called from Collect's own goroutine; its return gives the relay
// credit for more. One call with no items for a box says that everything the
// box held at the start has been handed over. After a reconnection whatever was
// not acknowledged comes again; the caller knows it by its id.
//
// told, which may be nil, hears the relay's advert when it begins to leave or
// thinks better of it (Advert.LeavingAt): verified, fresh, with ascending
// numbers, also from Collect's own goroutine.
func (c *Client) Collect(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey,
	each func(box mailbox.ID, items []mailbox.Stored) error, told func(*dht.Advert),
) error {
	if len(keys) == 0 || len(keys) > MaxBoxesPerStream {
		return fmt.Errorf("collect: 1 to %d boxes are needed", MaxBoxesPerStream)
	}
	w, err := c.watcher(ctx, relay, each, told)
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	defer c.forget(w)
	defer context.AfterFunc(ctx, w.end)()
	err = w.run(keys)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case c.isClosed():
		err = ErrClosed
	}
	return fmt.Errorf("collect: %w", replyError(err))
}

// forget takes an ended collect stream off the client.
func (c *Client) forget(w *watcher) {
	c.mu.Lock()
	delete(c.watching, w)
	c.mu.Unlock()
	c.wg.Done()
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// watcher is the client's side of one collect stream.
type watcher struct {
	st      stream
	in      *frame.Reader
	out     *frame.Flusher
	each    func(mailbox.ID, []mailbox.Stored) error
	told    func(*dht.Advert)
	relay   dht.Peer
	now     func() time.Time
	adverts int    // that came
	number  uint64 // of the last advert
	first   time.Duration
	boxes   map[mailbox.ID]*seen
	refused map[uint64]bool
	spent   credit // handed to each and not yet given back
}

type credit struct{ items, bytes int64 }

// seen is what came of one box.
type seen struct {
	id      uint64 // of its Prove
	seq     uint64
	drained bool
}

func (c *Client) watcher(ctx context.Context, relay dht.Peer,
	each func(mailbox.ID, []mailbox.Stored) error, told func(*dht.Advert),
) (*watcher, error) {
	dial, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	st, err := c.open(dial, relay)
	if err != nil {
		return nil, err
	}
	w := &watcher{
		st: st, each: each, told: told, relay: relay, now: c.now, first: c.times.first,
		boxes: make(map[mailbox.ID]*seen), refused: make(map[uint64]bool),
	}
	w.in = frame.NewReader(st, c.times.body, nil)
	w.out = frame.NewFlusher(st, c.times.write, w.end, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		w.end()
		return nil, ErrClosed
	}
	c.wg.Add(1)
	c.watching[w] = struct{}{}
	return w, nil
}

func (w *watcher) end() {
	w.out.Close()
	_ = w.st.Reset()
}

// run proves the boxes and hands on what comes until the stream ends.
func (w *watcher) run(keys []ed25519.PrivateKey) error {
	defer w.out.Wait()
	defer w.end()
	defer w.in.Release()
	if err := w.open(keys); err != nil {
		return err
	}
	for {
		a, err := w.next(0)
		if err != nil {
			return err
		}
		if err := w.take(a); err != nil {
			return err
		}
	}
}

func (w *watcher) next(first time.Duration) (*pb.Answer, error) {
	body, err := w.in.Next(first)
	if err != nil {
		return nil, err
	}
	return parseAnswer(body)
}

// open asks for the challenge and answers it for every box.
func (w *watcher) open(keys []ed25519.PrivateKey) error {
	if err := w.out.Send(&pb.Ask{What: &pb.Ask_Collect{Collect: &pb.Collect{}}}); err != nil {
		return err
	}
	a, err := w.next(w.first)
	if err != nil {
		return err
	}
	nonce := a.GetChallenge().GetNonce()
	if nonce == nil {
		return ErrReply
	}
	for i, key := range keys {
		id := uint64(i + 1)
		w.boxes[mailbox.IDOf(publicOf(key))] = &seen{id: id}
		err := w.out.Send(&pb.Ask{Id: id, What: &pb.Ask_Prove{Prove: &pb.Prove{
			Key: publicOf(key),
			Sig: mailbox.SignRequest(key, w.relay.ID, mailbox.VerbCollect, nonce),
		}}})
		if err != nil {
			return err
		}
	}
	return w.give(credit{CreditItems, CreditBytes})
}

// give lets the relay send so much more.
func (w *watcher) give(c credit) error {
	w.spent = credit{}
	return w.out.Send(&pb.Ask{What: &pb.Ask_Credit{Credit: &pb.Credit{Items: uint32(c.items), Bytes: uint32(c.bytes)}}})
}

// take handles one frame of the relay.
func (w *watcher) take(a *pb.Answer) error {
	switch m := a.What.(type) {
	case *pb.Answer_Items:
		return w.items(m.Items)
	case *pb.Answer_Drained:
		box := mailbox.ID(m.Drained.GetBox())
		s := w.boxes[box]
		if s == nil || s.drained {
			return ErrReply
		}
		s.drained = true
		return w.each(box, nil)
	case *pb.Answer_Advert:
		return w.advert(m.Advert)
	case *pb.Answer_Refusal:
		w.refused[a.Id] = true
		if len(w.refused) >= len(w.boxes) {
			return refusalOf(m.Refusal)
		}
		return nil
	}
	return ErrReply
}

// advert hands a pushed advert on, unless it says nothing new.
func (w *watcher) advert(raw []byte) error {
	a, err := checkAdvert(raw, w.relay, w.now())
	if w.adverts++; err != nil || w.adverts > maxPushedAdverts {
		return ErrReply
	}
	if a.Number <= w.number {
		return nil
	}
	if w.number = a.Number; w.told != nil {
		w.told(a)
	}
	return nil
}

// items hands envelopes on and gives credit back, half a window at a time. A
// relay that ignores its credit gains nothing: frames are read one by one, each
// after the last was handed on.
func (w *watcher) items(m *pb.Items) error {
	box := mailbox.ID(m.GetBox())
	s := w.boxes[box]
	if s == nil {
		return ErrReply
	}
	out := make([]mailbox.Stored, 0, len(m.GetItems()))
	for _, it := range m.GetItems() {
		if it.GetSeq() <= s.seq {
			return ErrReply
		}
		s.seq = it.GetSeq()
		w.spent.items++
		w.spent.bytes += int64(len(it.GetEnvelope()))
		out = append(out, mailbox.Stored{
			Seq: it.GetSeq(), ID: mailbox.EnvelopeIDOf(it.GetEnvelope()), Envelope: it.GetEnvelope(),
		})
	}
	if err := w.each(box, out); err != nil {
		return err
	}
	if w.spent.items < CreditItems/2 && w.spent.bytes < CreditBytes/2 {
		return nil
	}
	return w.give(w.spent)
}
