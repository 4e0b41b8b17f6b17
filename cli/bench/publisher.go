package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
)

// publisher writes into somebody's mailbox at several relays, one message after the other.
type publisher struct {
	writer *sender // its bodies are its own, the box is the owner's
	relays []dht.Peer
	passes [][]byte
	dead   []bool
	turn   int // who is asked first: publishers and messages take turns
	w      int

	custody map[mailbox.EnvelopeID]struct{}
	took    []time.Duration
	failed  error
}

func newPublisher(c *relay.Client, owner *sender, relays []dht.Peer, turn int, p Publish) (*publisher, error) {
	own, err := newSender(c, relays[0], p.Bytes)
	if err != nil {
		return nil, err
	}
	own.box = owner.box
	out := &publisher{
		writer: own, relays: relays, dead: make([]bool, len(relays)), turn: turn, w: p.W,
		custody: map[mailbox.EnvelopeID]struct{}{},
	}
	for _, r := range relays {
		out.passes = append(out.passes, passFor(owner.key, own.key.Seed(), r, owner.box))
	}
	return out, nil
}

// at is the same owner at another relay.
func (s *sender) at(relay dht.Peer) *sender {
	return &sender{client: s.client, relay: relay, key: s.key, box: s.box}
}

func (p *publisher) run(ctx context.Context, messages int, sent func()) {
	for range messages {
		start := time.Now()
		id, err := p.publish(ctx)
		sent()
		if err != nil {
			p.failed = err
			return
		}
		p.took = append(p.took, time.Since(start))
		p.custody[id] = struct{}{}
	}
}

// publish leaves one message at W relays. A relay that fails is not asked again; another takes its place.
func (p *publisher) publish(ctx context.Context) (mailbox.EnvelopeID, error) {
	p.turn++
	d := p.writer.next()
	id := mailbox.EnvelopeIDOf(d.Envelope)
	var order []int
	for i := range p.relays {
		if at := (p.turn + i) % len(p.relays); !p.dead[at] {
			order = append(order, at)
		}
	}
	var why error
	for need := p.w; need > 0; {
		if len(order) < need {
			return id, fmt.Errorf("too few relays take a message: %w", errors.Join(why, ctx.Err()))
		}
		asked := order[:need]
		order = order[need:]
		for at, err := range p.deposit(ctx, d, asked) {
			if err == nil {
				need--
				continue
			}
			p.dead[at], why = true, err
		}
	}
	return id, nil
}

// deposit asks relays at once.
func (p *publisher) deposit(ctx context.Context, d mailbox.Deposit, asked []int) map[int]error {
	type answer struct {
		at  int
		err error
	}
	answers := make(chan answer, len(asked))
	for _, at := range asked {
		go func() {
			own := d
			own.Pass = p.passes[at]
			_, err := p.writer.client.Deposit(ctx, p.relays[at], own)
			answers <- answer{at, err}
		}()
	}
	out := map[int]error{}
	for range asked {
		a := <-answers
		out[a.at] = a.err
	}
	return out
}
