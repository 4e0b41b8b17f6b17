package api

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/kith-im/kith/node"
)

// Backend is the node behind the API. Only Look is required: with it alone (a store opened read-only) the methods that
// read the store work, and the others answer that no node is running.
type Backend struct {
	// Look runs fn in a read transaction on the goroutine that owns the engine. e is nil when no engine runs.
	Look func(ctx context.Context, fn func(tx node.Tx, e *node.Engine, now time.Time) error) error

	// Do runs fn in a turn and returns after its commit.
	Do func(ctx context.Context, fn func(e *node.Engine, t *node.Turn) error) error
	// Changed returns a channel that is closed after the next commit that brought events.
	Changed func() <-chan struct{}
	State   func() State
	Peers   func() []Peer
	// Ping measures a round trip to a peer: its id, or an address that ends in it.
	Ping     func(ctx context.Context, peer string) ([]Ping, error)
	Netcheck func(ctx context.Context) ([]Check, error)
	Relay    func() Relay
	// SetRelay turns serving as a relay on or off, now and after the next start.
	SetRelay func(ctx context.Context, on bool) (Relay, error)

	version string
}

// view runs fn in a read transaction.
func (b *Backend) view(ctx context.Context, fn func(node.Tx) error) error {
	return b.Look(ctx, func(tx node.Tx, _ *node.Engine, _ time.Time) error { return fn(tx) })
}

// wait returns up to most events after since, as soon as there is one. The channel is taken before the look, so that no
// commit falls between.
func (b *Backend) wait(ctx context.Context, since uint64, most int) (list []node.Notice, err error) {
	for {
		changed := b.Changed()
		err := b.view(ctx, func(tx node.Tx) (err error) {
			list, err = node.Events(tx, since, most)
			return err
		})
		if err != nil || len(list) > 0 {
			return list, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// newest is the cursor of the newest event.
func newest(tx node.Tx) uint64 {
	key, _ := tx.Last(node.BucketEvents)
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

func (b *Backend) newest(ctx context.Context) (cursor uint64, err error) {
	err = b.view(ctx, func(tx node.Tx) error {
		cursor = newest(tx)
		return nil
	})
	return cursor, err
}
