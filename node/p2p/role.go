package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kith-im/kith/node/host"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/relay"
)

// role is this node as a relay: off, or a server over its own store. The
// relay's writes never pass the loop: a busy relay does not slow the person.
type role struct {
	host   host.Host
	key    ed25519.PrivateKey
	path   string
	limits mailbox.Limits
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
	err := errors.Join(r.server.Close(), r.store.Close())
	r.server, r.store = nil, nil
	return err
}

func (r *role) open() error {
	store, err := boltbox.Open(r.path)
	if err != nil {
		return fmt.Errorf("%s: %w", relayFile, err)
	}
	server, err := relay.Serve(r.host, relay.Config{
		Store: store, Relay: mailbox.NewRelay(r.key, r.limits), Now: r.now, Rand: r.rand, Log: r.log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("relay: %w", err), store.Close())
	}
	r.store, r.server = store, server
	return nil
}

// stats reports whether the role is on, and its counters.
func (r *role) stats() (on bool, s relay.Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return false, s
	}
	return true, r.server.Stats()
}
