// Package api is the local control interface of a running node: HTTP/1.1 and JSON on a Unix socket, for the person's own
// programs and commands.
//
//	POST /v1/METHOD                  one request, one object
//	GET  /v1/events?since=CURSOR     events as lines of JSON, from the one after CURSOR, without end
//	GET  /v1/health                  whether the node answers
//
// One table (Methods) drives the server, the `kith api` command and docs/api.md.
//
// What it guarantees: every object has "v" and "type"; an error says what happened, its class and the next command; an
// event is on disk before it is shown, and shown in order, at least once, however often a reader comes back; a request
// is bounded in size and time before anything is allocated for it; reading never marks a message as read.
//
// What it does not: it does not authenticate. Whoever may open the socket (mode 0600 in a folder of mode 0700) is the
// person. There is no TCP.
package api

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Backend is the node behind the API. Only View is required: with it alone (a store opened read-only) the methods that
// read the store work, and the others answer that no node is running.
type Backend struct {
	// View runs fn in a read transaction, beside the engine's turns.
	View func(fn func(store.Tx) error) error
	// Now is the node's clock.
	Now func() time.Time

	// Do runs fn in a turn and returns after its commit.
	Do func(ctx context.Context, fn func(*node.Engine, *node.Turn) error) error
	// Events waits until there are events after a place, or ctx ends, and returns up to max of them in order, then what
	// signals there were, and the place after all those.
	Events func(ctx context.Context, at Place, max int) ([]view.Notice, Place, error)
	Net    func() Net
	Peers  func() []Peer
	// Ping measures a round trip to a peer: its id, or an address that ends in it.
	Ping func(ctx context.Context, peer string) (time.Duration, error)
	// Whose asks the DNS whose a name under a domain is.
	Whose func(ctx context.Context, name people.Name) (identity.UserID, error)
	// ReadBack asks the directory for our newest device list, before the next one is signed.
	ReadBack func(ctx context.Context) error
	Relay    func() Relay
	// SetRelay turns serving as a relay on or off, now and after the next start.
	SetRelay func(on bool) error
	// LimitRelay changes those limits that are not zero, now and after the next start.
	LimitRelay func(RelayLimits) error
	// DrainRelay has the relay leave within a time, and returns when that has begun; 0 calls it off.
	DrainRelay func(ctx context.Context, within time.Duration) error
	// ScrubRelay reads and checks everything that the relay stores.
	ScrubRelay func(ctx context.Context) (Scrub, error)

	// Files moves the files of messages.
	Files Files

	Version string
	Started time.Time
}

// Place is how far somebody has read: the cursor of the last event, and a count of signals, which are events that are
// kept nowhere. Signal 0 begins with the next one.
type Place struct{ Cursor, Signal uint64 }

// NoSignals is the Signal of who wants none.
const NoSignals = ^uint64(0)

// look runs fn in a read transaction. With an engine it runs on the engine's goroutine, since the views look at it; a
// turn that writes nothing costs no fsync.
func (b *Backend) look(ctx context.Context, fn func(tx store.Tx, e *node.Engine, now time.Time) error) error {
	if b.Do == nil {
		return b.View(func(tx store.Tx) error { return fn(tx, nil, b.Now()) })
	}
	return b.Do(ctx, func(e *node.Engine, t *node.Turn) error { return fn(t.Tx, e, t.Now) })
}

// changed waits until something happened after a cursor, or ctx ends.
func (b *Backend) changed(ctx context.Context, cursor uint64) error {
	_, _, err := b.Events(ctx, Place{Cursor: cursor, Signal: NoSignals}, 1)
	return err
}

// newest is the cursor of the newest event.
func newest(tx store.Tx) uint64 {
	key, _ := tx.Last(store.BucketEvents)
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}

func (b *Backend) newest() (cursor uint64, err error) {
	err = b.View(func(tx store.Tx) error {
		cursor = newest(tx)
		return nil
	})
	return cursor, err
}
