package blobs

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/kith-im/kith/mailbox"
)

// KeeperConfig is all that a Keeper needs. Log may be nil.
type KeeperConfig struct {
	Dir    string  // of the store
	Server *Server // which serves it
	Mail   mailbox.Store
	Rules  *mailbox.Relay // over Mail; its limits are the store's
	Now    func() time.Time
	Log    *slog.Logger
}

// Keeper is a relay's part in attachments: a store for the boxes that the relay
// leases, whose chunks go by the relay's own persisted clock. A clock that
// jumps deletes nothing before the relay's rules believe it.
type Keeper struct {
	c      KeeperConfig
	store  *Store // nil: it does not open
	broken string // why
	wg     sync.WaitGroup
	stop   context.CancelFunc
}

// KeeperStats are what a relay shows of its part.
type KeeperStats struct {
	Stats
	MaxBytes, BoxBytes int64  // the limits in force
	Broken             string // why nothing is kept; empty: it is
}

// Keep opens the store and begins to serve it. If it does not open, the relay
// keeps no attachments, which their senders have, and serves mail all the same.
func Keep(c KeeperConfig) *Keeper {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := c.Rules.Limits()
	store, err := Open(c.Dir, Options{MaxBytes: int64(l.BlobBytes), OwnerBytes: int64(l.BoxBlobBytes), Log: c.Log})
	k := &Keeper{c: c, store: store}
	if err != nil {
		k.broken = fmt.Sprintf("no attachments are kept: move %s aside and start again: %v", filepath.Base(c.Dir), err)
		c.Log.Error("relay: " + k.broken)
		return k
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.wg.Go(func() { k.run(ctx) })
	c.Server.Keep(store, k.admit)
	return k
}

// Close ends serving and closes the store.
func (k *Keeper) Close() error {
	if k.store == nil {
		return nil
	}
	k.c.Server.Keep(nil, nil)
	k.stop()
	k.wg.Wait()
	return k.store.Close()
}

// Stats are the store's counters and limits.
func (k *Keeper) Stats() KeeperStats {
	l := k.c.Rules.Limits()
	s := KeeperStats{MaxBytes: int64(l.BlobBytes), BoxBytes: int64(l.BoxBlobBytes), Broken: k.broken}
	if k.store != nil {
		s.Stats = k.store.Stats()
	}
	return s
}

// admit lets those boxes put that the relay leases.
func (k *Keeper) admit(box mailbox.ID) (now time.Time, err error) {
	err = k.c.Mail.View(func(tx mailbox.Tx) (err error) {
		now, err = k.c.Rules.Leased(tx, k.c.Now(), box)
		return err
	})
	return now, err
}

// run drops what is over, now and after each tick of the relay, and reads all
// chunks through once a day.
func (k *Keeper) run(ctx context.Context) {
	t := time.NewTicker(mailbox.TickEvery)
	defer t.Stop()
	for ticks := 1; ; ticks++ {
		if err := k.expire(); err != nil {
			k.c.Log.Warn("relay: expire chunks", "err", err)
		}
		if ticks%scrubTicks == 0 {
			if _, _, err := k.store.Scrub(ctx, scrubRate); err != nil && ctx.Err() == nil {
				k.c.Log.Warn("relay: read chunks through", "err", err)
			}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// expire goes by the clock that the relay's rules trust, whatever it is now.
func (k *Keeper) expire() error {
	var trusted time.Time
	err := k.c.Mail.View(func(tx mailbox.Tx) error {
		trusted = tx.Clock().Trusted
		return nil
	})
	if err != nil || trusted.IsZero() {
		return err
	}
	if _, err := k.store.Expire(trusted); err != nil {
		return fmt.Errorf("chunks: %w", err)
	}
	return nil
}
