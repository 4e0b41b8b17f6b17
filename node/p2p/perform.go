package p2p

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/files"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/names"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/view"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
)

// performers act out the effects of committed turns. None blocks the loop:
// what finds its queue full is answered at once with node.ErrBusy.
type performers struct {
	host       host.Host
	peers      *host.AddressBook
	loop       *loop
	mail       *mail
	directory  dht.Directory
	names      *names.Resolver
	courier    *courier
	files      *files.Service
	collectors *collectors
	bell       *bell
	log        *slog.Logger
	contacts   func(dht.Peer) // hears the peers that the engine wants near

	relays, waits, looks, asks, puts, connects *lanes

	quiet atomic.Bool // shutting down: effects wait for the next start
}

func (p *performers) init() {
	p.relays = newLanes(relayWidth, relayDepth, maxRelays)
	p.waits = newLanes(relay.MaxAwaitsPerStream, relay.MaxAwaitsPerStream, maxRelays)
	p.looks = newLanes(lookWidth, lookDepth, 1)
	p.asks = newLanes(askWidth, askDepth, 1)
	p.puts = newLanes(putWidth, putDepth, 1)
	p.connects = newLanes(connectWidth, connectDepth, 1)
}

// close waits until every performer has answered.
func (p *performers) close() {
	p.quiet.Store(true)
	p.collectors.close()
	p.courier.close()
	for _, l := range []*lanes{p.relays, p.waits, p.looks, p.asks, p.puts, p.connects} {
		l.close()
	}
}

// perform hands out one turn's effects and returns the answers of those that
// cannot be tried.
func (p *performers) perform(r *result) []call {
	if len(r.out.Notices)+len(r.out.Signals) > 0 {
		p.bell.ring(r.out.Signals)
	}
	if p.quiet.Load() {
		return nil
	}
	var now []call
	busy := func(taken bool, fn func(*node.Engine, *node.Turn)) {
		if !taken {
			now = append(now, input(fn))
		}
	}
	for _, a := range r.out.Acks {
		p.ack(a)
	}
	for _, d := range r.out.Directs {
		busy(p.direct(d), func(e *node.Engine, t *node.Turn) { e.DirectDone(t, d, false) })
	}
	for _, d := range r.out.Deposits {
		busy(p.deposit(d), func(e *node.Engine, t *node.Turn) { e.Deposited(t, d.Ref, d.Relay.ID, nil, node.ErrBusy) })
	}
	for _, group := range auditsOf(r.out.Audits) {
		busy(p.audit(group), func(e *node.Engine, t *node.Turn) { audited(e, t, group, nil, node.ErrBusy) })
	}
	for _, a := range r.out.Awaits {
		busy(p.await(a), func(e *node.Engine, t *node.Turn) { e.Freed(t, a.Relay.ID, a.Box, node.ErrBusy) })
	}
	for _, q := range r.out.Names {
		busy(p.whose(q), func(e *node.Engine, t *node.Turn) { e.NameChecked(t, q, identity.UserID{}, people.ErrUnanswered) })
	}
	for _, key := range r.out.Lookups {
		busy(p.lookup(key), func(e *node.Engine, t *node.Turn) { e.Looked(t, key, nil) })
	}
	for _, put := range r.out.Puts {
		busy(p.publish(put), func(e *node.Engine, t *node.Turn) { e.Published(t, put.Key, 0) })
	}
	for _, peer := range r.out.Connects {
		p.connect(peer)
	}
	for _, q := range r.out.Prekeys {
		busy(p.prekey(q), func(e *node.Engine, t *node.Turn) { e.Prekey(t, q.Device, nil) })
	}
	for _, q := range r.out.Stocks {
		p.stock(q)
	}
	for _, q := range r.out.Reserves {
		busy(p.reserve(q), func(e *node.Engine, t *node.Turn) { e.Reserved(t, q.Round, q.Relay.ID, node.ErrBusy) })
	}
	for _, q := range r.out.Commits {
		busy(p.commit(q), func(e *node.Engine, t *node.Turn) { e.Committed(t, q.Round, q.Relay.ID, nil, node.ErrBusy) })
	}
	for _, s := range r.out.Sets {
		p.pushSet(s)
	}
	if len(r.out.Transfers) > 0 {
		p.files.Do(r.out.Transfers)
	}
	if r.out.Watches {
		p.mail.renew() // a new epoch shows in other watches
		p.collectors.reconcile(r.watches)
	}
	return now
}

// input makes a call of an engine method that answers nothing.
func input(fn func(*node.Engine, *node.Turn)) call {
	return call{fn: func(e *node.Engine, t *node.Turn) error {
		fn(e, t)
		return nil
	}}
}

// tell hands an answer to the loop.
func (p *performers) tell(fn func(*node.Engine, *node.Turn)) { p.loop.post(input(fn)) }

// report is tell for what a relay was asked, unless this node ended the question
// itself because it closes: that says nothing of the relay, and the next start asks again.
func (p *performers) report(ctx context.Context, err error, fn func(*node.Engine, *node.Turn)) {
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		p.tell(fn)
	}
}

func (p *performers) direct(d node.Direct) bool {
	return p.courier.send(d.Peer, d.Envelope, func(sent bool) {
		c := input(func(e *node.Engine, t *node.Turn) { e.DirectDone(t, d, sent) })
		c.lazy = sent // nobody waits for good news
		p.loop.post(c)
	})
}

// atRelay runs one request in the relay's lane.
func (p *performers) atRelay(to dht.Peer, fn func(ctx context.Context)) bool {
	return p.relays.submit(string(to.ID), func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, depositWithin)
		defer cancel()
		fn(ctx)
	})
}

// ack needs no answer: a relay that missed it hands the envelope out again,
// and the engine, which has seen it, acknowledges again.
func (p *performers) ack(a node.RelayAck) {
	p.atRelay(a.Relay, func(ctx context.Context) {
		if err := done(p.mail, a.Relay, func(c *relay.Client) error { return c.Ack(ctx, a.Relay, a.Key, a.IDs) }); err != nil {
			p.log.Debug("envelopes not acknowledged", "err", err)
		}
	})
}

func (p *performers) deposit(d node.Deposit) bool {
	return p.relays.submit(string(d.Relay.ID), func(ctx context.Context) {
		receipt, err := p.leave(ctx, d)
		p.report(ctx, err, func(e *node.Engine, t *node.Turn) { e.Deposited(t, d.Ref, d.Relay.ID, receipt, err) })
	})
}

// leave makes one deposit, and once more with the work that the relay asks for.
func (p *performers) leave(ctx context.Context, d node.Deposit) (*mailbox.Receipt, error) {
	receipt, err := p.leaveOnce(ctx, d)
	var no *mailbox.Refusal
	if !errors.As(err, &no) || no.Code != mailbox.NeedWork || no.Bits > maxWorkBits {
		return receipt, err
	}
	work := solve(ctx, d.Deposit, no.Bits)
	if work == nil {
		return nil, err
	}
	d.Work = work
	return p.leaveOnce(ctx, d)
}

func (p *performers) leaveOnce(ctx context.Context, d node.Deposit) (*mailbox.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, depositWithin)
	defer cancel()
	receipt, err := asked(p.mail, d.Relay, func(c *relay.Client) (mailbox.Receipt, error) {
		return c.Deposit(ctx, d.Relay, d.Deposit)
	})
	if err != nil {
		return nil, err
	}
	return &receipt, nil
}

// solve does a deposit's proof of work, or gives up (nil).
func solve(ctx context.Context, d mailbox.Deposit, bits byte) []byte {
	ctx, cancel := context.WithTimeout(ctx, workWithin)
	defer cancel()
	id := mailbox.EnvelopeIDOf(d.Envelope)
	for start := uint64(0); ctx.Err() == nil; start += workStep {
		if work, ok := mailbox.SolveWork(d.Box, id, bits, start, workStep); ok {
			return work
		}
	}
	return nil
}

func (p *performers) reserve(q node.Reserve) bool {
	return p.atRelay(q.Relay, func(ctx context.Context) {
		err := done(p.mail, q.Relay, func(c *relay.Client) error { return c.Reserve(ctx, q.Relay, q.Boxes) })
		p.report(ctx, err, func(e *node.Engine, t *node.Turn) { e.Reserved(t, q.Round, q.Relay.ID, err) })
	})
}

func (p *performers) commit(q node.Commit) bool {
	return p.atRelay(q.Relay, func(ctx context.Context) {
		leases, err := asked(p.mail, q.Relay, func(c *relay.Client) ([]dht.Lease, error) {
			return c.Commit(ctx, q.Relay, q.Keys, q.Cores)
		})
		p.report(ctx, err, func(e *node.Engine, t *node.Turn) { e.Committed(t, q.Round, q.Relay.ID, leases, err) })
	})
}

func (p *performers) pushSet(s node.PushSet) {
	p.atRelay(s.Relay, func(ctx context.Context) {
		if err := done(p.mail, s.Relay, func(c *relay.Client) error { return c.PutSet(ctx, s.Relay, s.Set) }); err != nil {
			p.log.Debug("set record not pushed", "err", err)
		}
	})
}

// auditsOf groups audits that can go in one question: of one relay and box,
// with one nonce.
func auditsOf(list []node.Audit) (out [][]node.Audit) {
	type place struct {
		relay string
		box   mailbox.ID
		nonce [32]byte
	}
	open := map[place]int{} // the group that takes more
	for _, a := range list {
		key := place{string(a.Relay.ID), a.Box, a.Nonce}
		i, ok := open[key]
		if !ok || len(out[i]) == mailbox.MaxPossess {
			i = len(out)
			out, open[key] = append(out, nil), i
		}
		out[i] = append(out[i], a)
	}
	return out
}

// audit asks a relay to prove that it holds what a group of audits names.
func (p *performers) audit(group []node.Audit) bool {
	one := group[0]
	ids := make([]mailbox.EnvelopeID, len(group))
	for i, a := range group {
		ids[i] = a.Envelope
	}
	return p.atRelay(one.Relay, func(ctx context.Context) {
		proofs, err := asked(p.mail, one.Relay, func(c *relay.Client) ([]mailbox.Possession, error) {
			return c.Possess(ctx, one.Relay, one.Box, one.Nonce, ids)
		})
		p.report(ctx, err, func(e *node.Engine, t *node.Turn) { audited(e, t, group, proofs, err) })
	})
}

// audited hands each audit its answer; Possess gives as many as were asked for.
func audited(e *node.Engine, t *node.Turn, group []node.Audit, proofs []mailbox.Possession, err error) {
	for i, a := range group {
		var proof mailbox.Possession
		if err == nil {
			proof = proofs[i]
		}
		e.Audited(t, a.Ref, a.Relay.ID, proof, err)
	}
}

// await waits until a box may have room; it may take hours.
func (p *performers) await(a node.Await) bool {
	return p.waits.submit(string(a.Relay.ID), func(ctx context.Context) {
		err := p.mail.await(ctx, a.Relay, a.Box)
		p.tell(func(e *node.Engine, t *node.Turn) { e.Freed(t, a.Relay.ID, a.Box, err) })
	})
}

func (p *performers) lookup(key string) bool {
	return p.looks.submit("", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, lookWithin)
		defer cancel()
		value, err := p.directory.Get(ctx, key)
		if err != nil {
			value = nil
		}
		p.tell(func(e *node.Engine, t *node.Turn) { e.Looked(t, key, value) })
	})
}

// whose asks the DNS about a name of a contact.
func (p *performers) whose(q node.NameQuery) bool {
	return p.asks.submit("", func(ctx context.Context) {
		var found identity.UserID
		name, err := people.ParseName(q.Name)
		if err == nil {
			found, err = p.names.Lookup(ctx, name)
		}
		p.tell(func(e *node.Engine, t *node.Turn) { e.NameChecked(t, q, found, err) })
	})
}

func (p *performers) publish(put node.Put) bool {
	return p.puts.submit("", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, putWithin)
		defer cancel()
		stored, err := p.directory.Put(ctx, put.Key, put.Value)
		if err != nil {
			p.log.Debug("record not published", "err", err)
		}
		p.tell(func(e *node.Engine, t *node.Turn) { e.Published(t, put.Key, stored) })
	})
}

// connect dials a peer; the engine hears of it as of any connection.
func (p *performers) connect(peer dht.Peer) {
	p.contacts(peer)
	p.dial(peer)
}

func (p *performers) dial(peer dht.Peer) {
	info, err := p.peers.Info(peer)
	if err != nil {
		return
	}
	p.connects.submit("", func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, dialWithin)
		defer cancel()
		if err := p.host.Connect(ctx, info); err != nil {
			p.log.Debug("not connected", "err", err)
		}
	})
}

// bell wakes those who wait for events, and holds the newest signals for them:
// events that are kept nowhere else.
type bell struct {
	mu      sync.Mutex
	ch      chan struct{}
	signals []view.Notice // at most maxSignals
	heard   uint64        // signals in all; starts at 1, so that 0 can mean from now on
}

func newBell() *bell { return &bell{ch: make(chan struct{}), heard: 1} }

// wait returns a channel that is closed at the next ring.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *bell) ring(signals []view.Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.signals = append(b.signals, signals...)
	b.heard += uint64(len(signals))
	if more := len(b.signals) - maxSignals; more > 0 {
		b.signals = append([]view.Notice{}, b.signals[more:]...)
	}
	close(b.ch)
	b.ch = make(chan struct{})
}

// since returns the signals after a place among them, and the place after
// those; from 0 on there are none yet.
func (b *bell) since(at uint64) ([]view.Notice, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case at == api.NoSignals:
		return nil, at
	case at == 0 || at >= b.heard:
		return nil, b.heard
	}
	fresh := min(uint64(len(b.signals)), b.heard-at)
	return append([]view.Notice{}, b.signals[uint64(len(b.signals))-fresh:]...), b.heard
}
