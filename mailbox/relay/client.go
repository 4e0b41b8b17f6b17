package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
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
	turn chan struct{}
	link *link
}

// NewClient returns a client that dials with h; now is its clock for reading
// times in answers (nil: time.Now).
func NewClient(h host.Host, now func() time.Time) *Client {
	if now == nil {
		now = time.Now
	}
	return &Client{
		open:     func(ctx context.Context, relay dht.Peer) (stream, error) { return openStream(ctx, h, relay) },
		now:      now,
		times:    deadlines{firstFrameWithin, bodyWithin, writeWithin},
		late:     answerWithin,
		each:     make(map[string]*entry),
		watching: make(map[*watcher]struct{}),
		done:     make(chan struct{}),
	}
}

// openStream dials where needed and opens a stream.
func openStream(ctx context.Context, h host.Host, relay dht.Peer) (stream, error) {
	id, err := peer.IDFromBytes(relay.ID)
	if err != nil {
		return nil, fmt.Errorf("relay: peer id: %w", err)
	}
	var addrs []ma.Multiaddr
	for _, raw := range relay.Addrs {
		if a, err := ma.NewMultiaddrBytes(raw); err == nil {
			addrs = append(addrs, a)
		}
	}
	h.Peerstore().AddAddrs(id, addrs, peerstore.TempAddrTTL)
	st, err := h.NewStream(ctx, id, Protocol)
	if err != nil {
		return nil, fmt.Errorf("relay: open: %w", err)
	}
	return st, nil
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
	if err != nil || l != nil {
		return l, err
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
	if _, l, err := c.entry(relay); err != nil || l != nil {
		return l, err
	}
	st, err := c.open(ctx, relay)
	if err != nil {
		return nil, err
	}
	return c.keep(e, newLink(st, c.times))
}

// entry finds the place of a relay and its link if that lives.
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
	if e.link != nil && e.link.alive() {
		return e, e.link, nil
	}
	return e, nil, nil
}

// keep makes l the link of an entry and starts its reader.
func (c *Client) keep(e *entry, l *link) (*link, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.fail(ErrClosed)
		return nil, ErrClosed
	}
	e.link = l
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		l.run()
	}()
	return l, nil
}
