package upkeep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/repair"
)

// Progress is how far a drain is.
type Progress struct {
	Boxes int // with content
	Done  int // that enough other relays have proved to hold in full
	Left  int
}

// Drain hands over what a relay that leaves holds: it offers it to the other
// relays of each box until as many as the set has members prove to have
// everything, or ctx ends. Deposits and collects go on meanwhile. told hears each
// pass. The relay goes on leaving afterwards, until Stay.
func (u *Upkeep) Drain(ctx context.Context, told func(Progress)) error {
	ctx, cancel := u.during(ctx)
	defer cancel()
	var d *repair.Drain
	failed := map[string]time.Time{}
	for pause := drainFirst; ; pause = min(2*pause, drainEvery) {
		_, _ = u.look() // what it cannot see now is looked at by the next round
		var err error
		if d, err = u.pass(ctx, d, failed); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		if ctx.Err() == nil {
			boxes, done := d.Progress()
			told(Progress{Boxes: boxes, Done: done, Left: boxes - done})
			if done == boxes {
				return nil
			}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			boxes, done := d.Progress()
			return fmt.Errorf("drain: %d of %d boxes are not handed over: %w", boxes-done, boxes, ctx.Err())
		}
	}
}

// Leave says that the relay serves until a time of its own clock, and keeps that over
// a restart: it takes no new boxes from now on, and says so in its advert.
func (u *Upkeep) Leave(ctx context.Context, at time.Time) error {
	if err := u.leave(ctx, at); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// Stay takes a Leave back: the relay takes boxes again.
func (u *Upkeep) Stay(ctx context.Context) error {
	if err := u.leave(ctx, time.Time{}); err != nil {
		return fmt.Errorf("stay: %w", err)
	}
	return nil
}

// leave sets when the relay leaves and lets whoever collects know.
func (u *Upkeep) leave(ctx context.Context, at time.Time) error {
	err := u.cfg.Store.Do(ctx, func(tx mailbox.Tx) error { return u.cfg.Relay.Leave(tx, u.cfg.Now(), at) })
	if err == nil && u.cfg.Announce != nil {
		err = u.cfg.Announce()
	}
	return err
}

// pass offers what is left and asks for proofs, a few relays at a time. Who proved
// nothing and failed is left out for a while. Its error is one of the store.
func (u *Upkeep) pass(ctx context.Context, d *repair.Drain, failed map[string]time.Time) (*repair.Drain, error) {
	d, err := u.left(d)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // of d and failed
	var wg sync.WaitGroup
	places := make(chan struct{}, drainsAtOnce)
	for _, v := range d.Asks() {
		mu.Lock()
		at := failed[string(v.Peer.ID)]
		mu.Unlock()
		if !at.IsZero() && u.cfg.Now().Sub(at) < drainAgain || ctx.Err() != nil {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			proved, err := u.handOver(ctx, v)
			mu.Lock()
			defer mu.Unlock()
			if d.Proved(v.Peer.ID, proved); err != nil && len(proved) == 0 {
				failed[string(v.Peer.ID)] = u.cfg.Now()
			}
		})
	}
	wg.Wait()
	return d, nil
}

// left brings a drain up to what the store holds now.
func (u *Upkeep) left(d *repair.Drain) (next *repair.Drain, err error) {
	now := u.cfg.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	next = u.planner.Drain(d, func(box mailbox.ID) (sum [32]byte) {
		err = errors.Join(err, u.cfg.Store.View(func(tx mailbox.Tx) error {
			sum = u.cfg.Relay.Sum(tx, now, box)
			return nil
		}))
		return sum
	})
	return next, err
}

// handOver gives one relay some time: any number of them may stall.
func (u *Upkeep) handOver(ctx context.Context, v repair.Visit) ([]mailbox.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, visitWithin)
	defer cancel()
	proved, err := u.local.HandOver(ctx, u.cfg.Client, v)
	if err != nil {
		u.cfg.Log.Debug("relay: drain", "err", err)
	}
	return proved, err
}
