package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/pb"
)

// ErrClosed says that the client was closed.
var ErrClosed = errors.New("relay: client closed")

// Client asks relays. It holds one request stream per relay, opened by the
// first question and again by the next one after it broke, and one collect
// stream per running Collect. All methods may be called concurrently.
type Client struct {
	open  func(ctx context.Context, relay dht.Peer) (stream, error)
	now   func() time.Time
	times deadlines
	late  time.Duration // answerWithin
	roots roots

	mu       sync.Mutex
	each     map[string]*entry // by peer id
	watching map[*watcher]struct{}
	closed   bool
	done     chan struct{}
	wg       sync.WaitGroup
}

// entry is the place of one relay's link; whoever holds the turn may open it.
type entry struct {
	turn  chan struct{}
	link  *link
	users int // calls that look for a link here
}

// NewClient returns a client that dials with h; now is its clock for reading
// times in answers (nil: time.Now).
func NewClient(h host.Host, now func() time.Time) *Client {
	if now == nil {
		now = time.Now
	}
	return &Client{
		open:     func(ctx context.Context, relay dht.Peer) (stream, error) { return frame.Open(ctx, h, relay, Protocol) },
		now:      now,
		times:    deadlines{firstFrameWithin, bodyWithin, writeWithin},
		late:     answerWithin,
		each:     make(map[string]*entry),
		watching: make(map[*watcher]struct{}),
		done:     make(chan struct{}),
	}
}

// Close ends all held streams and waits for their readers.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	for _, e := range c.each {
		if e.link != nil {
			e.link.fail(ErrClosed)
		}
	}
	for w := range c.watching {
		w.end()
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// ask puts one request to a relay and returns its answer; a refusal is the
// error.
func (c *Client) ask(ctx context.Context, relay dht.Peer, ask *pb.Ask) (*pb.Answer, error) {
	l, err := c.link(ctx, relay)
	if err != nil {
		return nil, err
	}
	a, err := l.ask(ctx, ask, c.late)
	if err != nil {
		return nil, err
	}
	if r := a.GetRefusal(); r != nil {
		return nil, refusalOf(r)
	}
	return a, nil
}

// link is the living link to a relay, opened if there is none.
func (c *Client) link(ctx context.Context, relay dht.Peer) (*link, error) {
	e, l, err := c.entry(relay)
	if err != nil {
		return nil, err
	}
	defer c.leave(relay, e)
	if l != nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.done:
		return nil, ErrClosed
	}
	defer func() { <-e.turn }()
	if l := c.living(e); l != nil {
		return l, nil
	}
	st, err := c.open(ctx, relay)
	if err != nil {
		return nil, err
	}
	return c.keep(relay, e, newLink(st, c.times))
}

// leave ends a use of an entry. One that has no link is forgotten: others name
// relays to us that do not exist, and there is no end of them.
func (c *Client) leave(relay dht.Peer, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users--; e.users == 0 && (e.link == nil || !e.link.alive()) {
		delete(c.each, string(relay.ID))
	}
}

func (c *Client) living(e *entry) *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.link != nil && e.link.alive() {
		return e.link
	}
	return nil
}

// entry finds the place of a relay and its link if that lives. The place is
// used until leave.
func (c *Client) entry(relay dht.Peer) (*entry, *link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	e := c.each[string(relay.ID)]
	if e == nil {
		e = &entry{turn: make(chan struct{}, 1)}
		c.each[string(relay.ID)] = e
	}
	e.users++
	if e.link != nil && e.link.alive() {
		return e, e.link, nil
	}
	return e, nil, nil
}

// keep makes l the link of an entry and starts its reader.
func (c *Client) keep(relay dht.Peer, e *entry, l *link) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.fail(ErrClosed)
		return nil, ErrClosed
	}
	e.link = l
	e.users++ // its reader
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		l.run()
		c.leave(relay, e)
	}()
	return l, nil
}

// Deposit leaves one envelope and returns the receipt, verified against the
// relay's key, the box and the envelope. A refusal is a *mailbox.Refusal
// (errors.As); its Set, if any, is a newer record signed by the box.
func (c *Client) Deposit(ctx context.Context, relay dht.Peer, d mailbox.Deposit) (mailbox.Receipt, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Deposit{Deposit: depositFrame(d)}})
	if refusal, ok := errors.AsType[*mailbox.Refusal](err); ok {
		err = checkRefusal(refusal, d)
	}
	if err != nil {
		return mailbox.Receipt{}, fmt.Errorf("deposit: %w", err)
	}
	r, err := c.roots.checkReceipt(a.GetReceipt(), relay, d)
	if err != nil {
		return mailbox.Receipt{}, fmt.Errorf("deposit: %w", err)
	}
	return r, nil
}

// Advert asks the relay for its own signed advert; one that is over is
// ErrReply.
func (c *Client) Advert(ctx context.Context, relay dht.Peer) (*dht.Advert, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Advert{Advert: &pb.Advert{}}})
	if err != nil {
		return nil, fmt.Errorf("advert: %w", err)
	}
	advert, err := checkAdvert(a.GetAdvert(), relay, c.now())
	if err != nil {
		return nil, fmt.Errorf("advert: %w", err)
	}
	return advert, nil
}

// Reserve asks the relay to keep room for boxes, given by their private keys,
// until they commit; at most MaxBoxesPerAsk.
func (c *Client) Reserve(ctx context.Context, relay dht.Peer, boxes []ed25519.PrivateKey) error {
	m := &pb.Reserve{}
	for _, key := range boxes {
		m.Boxes = append(m.Boxes, &pb.Room{
			Key: publicOf(key),
			Sig: mailbox.SignRequest(key, relay.ID, mailbox.VerbReserve, nil),
		})
	}
	return c.confirm(ctx, relay, "reserve", &pb.Ask{What: &pb.Ask_Reserve{Reserve: m}})
}

// Commit shows set cores, core i signed with key i, and returns this relay's
// leases in the same order, each verified and bound to the relay's place in
// its core; at most MaxBoxesPerAsk.
func (c *Client) Commit(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey, cores []dht.SetCore) ([]dht.Lease, error) {
	if len(keys) != len(cores) {
		return nil, errors.New("commit: as many keys as cores are needed")
	}
	m := &pb.Commit{}
	for i, core := range cores {
		signed, err := dht.SignSetCore(keys[i], core)
		if err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
		m.Signed = append(m.Signed, signed)
	}
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Commit{Commit: m}})
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	leases, err := checkLeases(a.GetLeases(), relay, cores)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return leases, nil
}

// PutSet hands the relay a signed set record, which it serves to senders.
func (c *Client) PutSet(ctx context.Context, relay dht.Peer, raw []byte) error {
	return c.confirm(ctx, relay, "set", &pb.Ask{What: &pb.Ask_PutSet{PutSet: &pb.PutSet{Record: raw}}})
}

// GetSet asks for the newest set record that the relay has for a box. What it
// returns was signed by the box; whether it is newer than what the caller
// knows, the caller decides (dht.Newer). dht.ErrNotFound: the relay has none.
func (c *Client) GetSet(ctx context.Context, relay dht.Peer, box mailbox.ID) ([]byte, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_GetSet{GetSet: &pb.GetSet{Box: box[:]}}})
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	if _, ok := a.What.(*pb.Answer_Set); !ok {
		return nil, fmt.Errorf("set: %w", ErrReply)
	}
	raw, err := checkSet(a.GetSet(), box)
	if err != nil {
		return nil, fmt.Errorf("set: %w", err)
	}
	return raw, nil
}

// Ack tells the relay, signed by the box key, to forget envelopes. It returns
// after the relay's commit. Any number of ids: they go in runs of
// mailbox.MaxAckIDs, and an error leaves the later runs unsent.
func (c *Client) Ack(ctx context.Context, relay dht.Peer, key ed25519.PrivateKey, ids []mailbox.EnvelopeID) error {
	for len(ids) > 0 {
		run := ids[:min(len(ids), mailbox.MaxAckIDs)]
		ids = ids[len(run):]
		packed := mailbox.AckContent(run)
		m := &pb.Ack{
			Key: publicOf(key), Ids: packed,
			Sig: mailbox.SignRequest(key, relay.ID, mailbox.VerbAck, packed),
		}
		if err := c.confirm(ctx, relay, "ack", &pb.Ask{What: &pb.Ask_Ack{Ack: m}}); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks what is answered with done.
func (c *Client) confirm(ctx context.Context, relay dht.Peer, act string, ask *pb.Ask) error {
	a, err := c.ask(ctx, relay, ask)
	if err == nil && a.GetDone() == nil {
		err = ErrReply
	}
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	return nil
}

// Compare asks a co-member which of the boxes it holds as their sums say; at
// most mailbox.MaxCompare. The answers are in the order of the question.
func (c *Client) Compare(ctx context.Context, relay dht.Peer, sums []mailbox.BoxSum) ([]mailbox.Comparison, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Compare{Compare: &pb.Compare{Sums: packSums(sums)}}})
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	out, err := checkCompared(a.GetCompared(), len(sums))
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	return out, nil
}

// Digest asks a co-member for one page of what it holds of a box, by ascending
// arrival number there, after a number; more says that a page follows.
func (c *Client) Digest(ctx context.Context, relay dht.Peer, box mailbox.ID, after uint64) ([]mailbox.Held, bool, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Digest{Digest: &pb.Digest{Box: box[:], After: after}}})
	if err != nil {
		return nil, false, fmt.Errorf("digest: %w", err)
	}
	page, err := checkDigested(a.GetDigested(), after)
	if err != nil {
		return nil, false, fmt.Errorf("digest: %w", err)
	}
	return page, a.GetDigested().GetMore(), nil
}

// Copies asks a co-member for envelopes of a box; at most mailbox.MaxCopies.
// What comes may be fewer, in any order; each hashes to one of ids, once.
func (c *Client) Copies(ctx context.Context, relay dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) ([]mailbox.Copy, error) {
	m := &pb.Copies{Box: box[:], Ids: packIDs(ids)}
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Copies{Copies: m}})
	if err != nil {
		return nil, fmt.Errorf("copies: %w", err)
	}
	out, err := checkCopied(a.GetCopied(), ids)
	if err != nil {
		return nil, fmt.Errorf("copies: %w", err)
	}
	return out, nil
}

// Possess asks a relay to prove that it holds envelopes of a box; at most
// mailbox.MaxPossess. The answers are in the order of ids; whether a proof is
// right says mailbox.ProofOf.
func (c *Client) Possess(ctx context.Context, relay dht.Peer, box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) ([]mailbox.Possession, error) {
	m := &pb.Possess{Box: box[:], Nonce: nonce[:], Ids: packIDs(ids)}
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Possess{Possess: m}})
	if err != nil {
		return nil, fmt.Errorf("possess: %w", err)
	}
	out, err := checkPossessed(a.GetPossessed(), len(ids))
	if err != nil {
		return nil, fmt.Errorf("possess: %w", err)
	}
	return out, nil
}

// Await returns nil when the box may have room again, which may take hours;
// ctx alone ends the wait. Waits for one box of one relay share a question.
func (c *Client) Await(ctx context.Context, relay dht.Peer, box mailbox.ID) error {
	l, err := c.link(ctx, relay)
	if err != nil {
		return fmt.Errorf("await: %w", err)
	}
	a, err := l.await(ctx, box)
	if err != nil {
		return fmt.Errorf("await: %w", err)
	}
	if r := a.GetRefusal(); r != nil {
		return fmt.Errorf("await: %w", refusalOf(r))
	}
	if a.GetDone() == nil {
		return fmt.Errorf("await: %w", ErrReply)
	}
	return nil
}

// Clock asks a relay what time it is, in whole milliseconds.
func (c *Client) Clock(ctx context.Context, relay dht.Peer) (time.Time, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Clock{Clock: &pb.Clock{}}})
	if err != nil {
		return time.Time{}, fmt.Errorf("clock: %w", err)
	}
	if _, ok := a.What.(*pb.Answer_Clock); !ok {
		return time.Time{}, fmt.Errorf("clock: %w", ErrReply)
	}
	return time.UnixMilli(int64(a.GetClock())).UTC(), nil
}

// Gossip asks a relay for adverts of others: each signed by the relay that it
// names and not over; the relay's own and what is over are left out.
func (c *Client) Gossip(ctx context.Context, relay dht.Peer) ([]*dht.Advert, error) {
	a, err := c.ask(ctx, relay, &pb.Ask{What: &pb.Ask_Gossip{Gossip: &pb.Gossip{}}})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	adverts, err := checkAdverts(a.GetAdverts(), relay, c.now())
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return adverts, nil
}

// Offer asks a co-member to compare boxes with this relay soon; at most
// MaxCompare.
func (c *Client) Offer(ctx context.Context, relay dht.Peer, boxes []mailbox.ID) error {
	return c.confirm(ctx, relay, "offer", &pb.Ask{What: &pb.Ask_Offer{Offer: &pb.Offer{Boxes: packIDs(boxes)}}})
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }
