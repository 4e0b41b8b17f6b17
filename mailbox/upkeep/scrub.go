package upkeep

import (
	"context"
	"errors"
	"fmt"

	"github.com/kith-im/kith/mailbox"
)

// Scrub reads the store through and heals spoilt envelopes with copies of
// co-members. It also runs by itself once a day.
func (u *Upkeep) Scrub(ctx context.Context) (checked, damaged, healed int, err error) {
	if u.cfg.Scrub == nil {
		return 0, 0, 0, nil
	}
	ctx, cancel := u.during(ctx)
	defer cancel()
	u.scrubbing.Lock()
	defer u.scrubbing.Unlock()
	checked, spoilt, err := u.cfg.Scrub(ctx)
	if err != nil {
		return checked, len(spoilt), 0, fmt.Errorf("scrub: %w", err)
	}
	away := map[string]bool{} // peers that did not answer
	for _, s := range spoilt[:min(len(spoilt), maxSpoilt)] {
		ok, err := u.heal(ctx, s, away)
		if err != nil {
			return checked, len(spoilt), healed, fmt.Errorf("scrub: %w", err)
		}
		if ok {
			healed++
		}
	}
	u.mu.Lock()
	u.stats.Damaged, u.stats.Unhealed, u.stats.ScrubbedAt = int64(len(spoilt)), int64(len(spoilt)-healed), u.cfg.Now()
	u.stats.Healed += int64(healed)
	u.mu.Unlock()
	if len(spoilt) > 0 {
		u.cfg.Log.Warn("relay: the store had spoilt envelopes", "spoilt", len(spoilt), "healed", healed)
	}
	return checked, len(spoilt), healed, nil
}

// heal asks the other relays of a box, one after the other, for an envelope. One
// that did not answer is not asked again.
func (u *Upkeep) heal(ctx context.Context, s Spoilt, away map[string]bool) (healed bool, err error) {
	u.mu.Lock()
	others := u.planner.Others(s.Box)
	u.mu.Unlock()
	for _, peer := range others {
		if away[string(peer.ID)] {
			continue
		}
		copies, err := u.cfg.Client.Copies(ctx, peer, s.Box, []mailbox.EnvelopeID{s.Envelope})
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if _, refused := errors.AsType[*mailbox.Refusal](err); err != nil && !refused {
			away[string(peer.ID)] = true
		}
		if err != nil || len(copies) != 1 || mailbox.EnvelopeIDOf(copies[0].Envelope) != s.Envelope {
			continue
		}
		err = u.cfg.Store.Do(ctx, func(tx mailbox.Tx) (err error) {
			healed, err = u.cfg.Relay.Mend(tx, s.Box, copies[0].Envelope)
			return err
		})
		return healed, err
	}
	return false, nil
}

// during is ctx, ended by Close too.
func (u *Upkeep) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
