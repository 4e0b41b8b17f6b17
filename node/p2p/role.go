package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/host"
)

// role is this node as a relay: off, or a server over its own store. The
// relay's writes never pass the loop: a busy relay does not slow the person.
type role struct {
	host   *host.Own
	key    ed25519.PrivateKey
	path   string
	limits mailbox.Limits
	rate   relay.Rate
	now    func() time.Time
	rand   io.Reader
	log    *slog.Logger

	mu     sync.Mutex
	store  *boltbox.Store
	server *relay.Server
}

// set turns the role on or off; it is idempotent.
func (r *role) set(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on == (r.server != nil):
		return nil
	case on:
		return r.open()
	}
	return r.close()
}

func (r *role) open() error {
	store, err := boltbox.Open(r.path)
	if err != nil {
		return fmt.Errorf("%s: %w", relayFile, err)
	}
	r.store = store
	if err := errors.Join(r.serve(), r.host.Serve(true)); err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

// serve begins to answer over the store that is open.
func (r *role) serve() (err error) {
	r.server, err = relay.Serve(r.host, relay.Config{
		Store: r.store, Relay: mailbox.NewRelay(r.key, r.limits), Rate: r.rate, Now: r.now, Rand: r.rand, Log: r.log,
	})
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// close ends what answers before what it answers from.
func (r *role) close() error {
	var err error
	if r.server != nil {
		err = r.server.Close()
	}
	err = errors.Join(err, r.store.Close(), r.host.Serve(false))
	r.server, r.store = nil, nil
	return err
}

// limit changes those limits that are not zero. A relay that serves opens its
// streams again: whoever has one asks anew and is answered by the new limits.
func (r *role) limit(q api.RelayLimits) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.limits.MaxBytes, q.MaxBytes)
	change(&r.limits.MaxBoxes, q.MaxBoxes)
	change(&r.limits.BoxBytes, q.BoxBytes)
	change(&r.limits.BoxCount, q.BoxCount)
	rate := r.rateLocked()
	change(&rate.PerSecond, q.Rate)
	change(&rate.Burst, q.Burst)
	r.rate = rate
	if r.server == nil {
		return nil
	}
	if err := r.server.Close(); err != nil {
		return err
	}
	r.server = nil
	if err := r.serve(); err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

func change[T comparable](field *T, to T) {
	var zero T
	if to != zero {
		*field = to
	}
}

func (r *role) rateLocked() relay.Rate {
	if r.rate == (relay.Rate{}) {
		return relay.Rate{PerSecond: relay.RatePerSecond, Burst: relay.RateBurst}
	}
	return r.rate
}

// on reports whether the node serves as a relay.
func (r *role) on() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server != nil
}

// status is the role as the local API shows it.
func (r *role) status() api.Relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	rate, limits := r.rateLocked(), mailbox.NewRelay(r.key, r.limits).Limits()
	v := api.Relay{Enabled: r.server != nil, RefusedBy: map[string]int64{}, Limits: api.RelayLimits{
		MaxBytes: limits.MaxBytes, MaxBoxes: limits.MaxBoxes, BoxBytes: limits.BoxBytes, BoxCount: limits.BoxCount,
		Rate: rate.PerSecond, Burst: rate.Burst,
	}}
	if r.server == nil {
		return v
	}
	s := r.server.Stats()
	v.Deposits, v.Refused, v.Pushed, v.Acked = s.Deposits, s.Refused, s.Pushed, s.Acked
	v.RateLimited, v.Streams, v.Collectors = s.RateLimited, s.Streams, s.Collectors
	v.Damaged = r.store.Stats().Damaged
	if err := r.store.View(func(tx mailbox.Tx) error {
		used := tx.Total()
		v.Boxes, v.Envelopes, v.Bytes = used.Boxes, used.Count, used.Bytes
		v.ClockBraked = !tx.Clock().Held.IsZero()
		return nil
	}); err != nil {
		v.Detail = err.Error()
	}
	return v
}

// chosen are the limits that the person set; zero fields are the defaults.
func (r *role) chosen() (mailbox.Limits, relay.Rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits, r.rate
}

// errNotRelay answers what only a relay can do.
var errNotRelay = &node.Problem{Class: node.ErrRefused, Message: "this node does not serve as a relay", Hint: "kith relay enable"}
