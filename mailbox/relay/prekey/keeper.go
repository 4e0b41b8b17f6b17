package prekey

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
)

// KeeperConfig is all that a Keeper needs. Mail's rules say who leases a box.
type KeeperConfig struct {
	Path   string // of the stock
	Server *Server
	Mail   mailbox.Store
	Rules  *mailbox.Relay
	Now    func() time.Time
	Log    *slog.Logger
}

// Keeper is a relay's part in one-time bundles.
type Keeper struct {
	c     KeeperConfig
	store *Store // nil: it does not open
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

// Keep opens the stock and begins to serve it. If it does not open the relay
// has none, and serves mail all the same.
func Keep(c KeeperConfig) *Keeper {
	k := &Keeper{c: c}
	store, err := Open(c.Path)
	if err != nil {
		c.Log.Warn("relay: no one-time bundles are kept", "err", err)
		return k
	}
	if _, damaged := store.Counts(); damaged > 0 {
		c.Log.Warn("relay: damaged one-time bundles were dropped", "bundles", damaged)
	}
	k.store = store
	c.Server.keep(&relay{stock: store, mail: c.Mail, rules: c.Rules, now: c.Now})
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.wg.Go(func() { k.run(ctx) })
	return k
}

// run forgets what is not fresh any more, after each tick of the relay.
func (k *Keeper) run(ctx context.Context) {
	t := time.NewTicker(mailbox.TickEvery)
	defer t.Stop()
	for {
		if err := k.store.Sweep(k.c.Now()); err != nil {
			k.c.Log.Warn("relay: forget one-time bundles", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Counts are those of the stock; it has nothing if it did not open.
func (k *Keeper) Counts() (held, damaged int) {
	if k.store == nil {
		return 0, 0
	}
	return k.store.Counts()
}

// Close ends serving and closes the stock.
func (k *Keeper) Close() error {
	if k.store == nil {
		return nil
	}
	k.c.Server.keep(nil)
	k.stop()
	k.wg.Wait()
	return k.store.Close()
}

// relay is what a relay has for its boxes.
type relay struct {
	stock stock.Store
	mail  mailbox.Store
	rules *mailbox.Relay
	now   func() time.Time
}
