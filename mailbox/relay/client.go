package relay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// ErrReply says that a relay answered with something that does not verify or
// does not fit the question. It is one opaque error on purpose.
var ErrReply = errors.New("relay: invalid reply")

// Client asks relays. It holds one request stream and, while a Collect runs,
// one collect stream per relay. All methods may be called concurrently.
type Client struct{}

var errSketch = errors.New("relay: not built yet")

// NewClient returns a client that dials with h.
func NewClient(h host.Host, now func() time.Time) *Client { return &Client{} }

// Close ends all held streams.
func (c *Client) Close() error { return nil }

// Deposit leaves one envelope and returns the verified custody receipt.
// A refusal is a *mailbox.Refusal (errors.As).
func (c *Client) Deposit(ctx context.Context, relay dht.Peer, d mailbox.Deposit) (mailbox.Receipt, error) {
	return mailbox.Receipt{}, errSketch
}

// Advert asks the relay for its own signed advert.
func (c *Client) Advert(ctx context.Context, relay dht.Peer) (*dht.Advert, error) {
	return nil, errSketch
}

// Reserve asks the relay to keep room for boxes, given by their private keys,
// until they commit.
func (c *Client) Reserve(ctx context.Context, relay dht.Peer, boxes []ed25519.PrivateKey) error {
	return errSketch
}

// Commit shows set cores, core i signed with key i, and returns this relay's
// verified leases in the same order.
func (c *Client) Commit(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey, cores []dht.SetCore) ([]dht.Lease, error) {
	return nil, errSketch
}

// PutSet stores a signed set record (or its sealed outer copy) at the relay.
func (c *Client) PutSet(ctx context.Context, relay dht.Peer, raw []byte) error { return errSketch }

// GetSet asks for the newest set record that the relay has for a box.
func (c *Client) GetSet(ctx context.Context, relay dht.Peer, box mailbox.ID) ([]byte, error) {
	return nil, errSketch
}

// Collect holds a stream: the backlog of every box, then live push. It returns
// when the stream ends, ctx ends or each returns an error. each is called from
// one goroutine; its return gives the relay credit for more. The first call
// with no items for a box says that its backlog is drained.
func (c *Client) Collect(ctx context.Context, relay dht.Peer, keys []ed25519.PrivateKey,
	each func(box mailbox.ID, items []mailbox.Stored) error) error {
	return errSketch
}

// Ack tells the relay, signed by the box key, to forget envelopes. It returns
// after the relay's commit.
func (c *Client) Ack(ctx context.Context, relay dht.Peer, key ed25519.PrivateKey, ids []mailbox.EnvelopeID) error {
	return errSketch
}
