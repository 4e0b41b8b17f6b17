package bench

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
)

// errDrained ends a collect stream of which nothing more is wanted.
var errDrained = errors.New("drained")

// drain fetches everything from the boxes of senders and acknowledges it, as their owner. It returns how often each
// envelope came.
func drain(ctx context.Context, senders []*sender) (Phase, map[mailbox.EnvelopeID]int, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		found = map[mailbox.EnvelopeID]int{}
	)
	begun := time.Now()
	for _, g := range streams(senders) {
		wg.Go(func() {
			if err := g.collect(ctx); err != nil {
				stop(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, b := range g.boxes {
				all = append(all, b.took...)
				for _, id := range b.got {
					found[id]++
				}
			}
		})
	}
	wg.Wait()
	took, n := time.Since(begun), 0
	for _, times := range found {
		n += times
	}
	return Phase{PerSecond: perSecond(n, took), Latency: latencyOf(all)}, found, context.Cause(ctx)
}

// stream is one collect stream: boxes of one client at one relay.
type stream struct {
	client *relay.Client
	relay  dht.Peer
	keys   []ed25519.PrivateKey
	boxes  map[mailbox.ID]*emptied
}

// streams groups boxes as relays allow.
func streams(senders []*sender) (out []*stream) {
	open := map[*relay.Client]*stream{}
	for _, s := range senders {
		g := open[s.client]
		if g == nil || len(g.keys) == relay.MaxBoxesPerStream {
			g = &stream{client: s.client, relay: s.relay, boxes: map[mailbox.ID]*emptied{}}
			open[s.client] = g
			out = append(out, g)
		}
		g.keys = append(g.keys, s.key)
		b := &emptied{key: s.key}
		b.moved.L = &b.mu
		g.boxes[s.box] = b
	}
	return out
}

// collect ends when every box is empty and every ack is answered.
func (g *stream) collect(ctx context.Context) error {
	var acks sync.WaitGroup
	errs := make(chan error, len(g.boxes))
	for _, b := range g.boxes {
		acks.Go(func() { errs <- b.ack(ctx, g.client, g.relay) })
	}
	left := len(g.boxes)
	err := g.client.Collect(ctx, g.relay, g.keys, func(box mailbox.ID, items []mailbox.Stored) error {
		b := g.boxes[box]
		if len(items) > 0 {
			b.add(items)
			return nil
		}
		b.end()
		if left--; left == 0 {
			return errDrained
		}
		return nil
	}, nil)
	if errors.Is(err, errDrained) {
		err = nil
	}
	for _, b := range g.boxes {
		b.end()
	}
	acks.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// emptied is one box that is being drained: its acks go out while the next pages come in.
type emptied struct {
	key ed25519.PrivateKey

	mu    sync.Mutex
	moved sync.Cond
	got   []mailbox.EnvelopeID
	acked int
	last  bool // no more will come
	took  []time.Duration
}

func (b *emptied) add(items []mailbox.Stored) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range items {
		b.got = append(b.got, items[i].ID)
	}
	b.moved.Signal()
}

func (b *emptied) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = true
	b.moved.Signal()
}

// wait returns what is to be acknowledged next, or nothing at the end.
func (b *emptied) wait() []mailbox.EnvelopeID {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.acked == len(b.got) && !b.last {
		b.moved.Wait()
	}
	run := b.got[b.acked:min(len(b.got), b.acked+mailbox.MaxAckIDs)]
	b.acked += len(run)
	return run
}

func (b *emptied) ack(ctx context.Context, c *relay.Client, at dht.Peer) error {
	for run := b.wait(); len(run) > 0; run = b.wait() {
		start := time.Now()
		if err := c.Ack(ctx, at, b.key, run); err != nil {
			return err
		}
		b.mu.Lock()
		b.took = append(b.took, time.Since(start))
		b.mu.Unlock()
	}
	return nil
}
