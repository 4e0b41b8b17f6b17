package upkeep

import (
	"context"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// askClocks holds a braked clock against those of other relays, co-members
// first. Fewer than three answers change nothing: then the clock has to run
// evenly for a day.
func (u *Upkeep) askClocks() {
	braked := false
	err := u.cfg.Store.View(func(tx mailbox.Tx) error { braked = !tx.Clock().Held.IsZero(); return nil })
	if err != nil || !braked {
		return
	}
	ctx, cancel := context.WithTimeout(u.ctx, clockWithin)
	defer cancel()
	var answers []time.Time
	var at []time.Time
	for _, peer := range u.witnesses() {
		theirs, err := u.cfg.Client.Clock(ctx, peer)
		if err != nil {
			continue
		}
		answers, at = append(answers, theirs), append(at, u.cfg.Now())
	}
	if len(answers) < witnesses {
		return
	}
	now := u.cfg.Now()
	for i := range answers { // as if all had been asked now
		answers[i] = answers[i].Add(now.Sub(at[i]))
	}
	confirmed := false
	err = u.cfg.Store.Do(u.ctx, func(tx mailbox.Tx) (err error) {
		confirmed, err = u.cfg.Relay.ConfirmClock(tx, now, answers)
		return err
	})
	if err != nil {
		u.cfg.Log.Warn("relay: clock", "err", err)
		return
	}
	u.cfg.Log.Info("relay: clock asked of others", "answers", len(answers), "confirmed", confirmed)
}

// witnesses are the relays whose clocks are asked: those of our sets, then any
// that we have met.
func (u *Upkeep) witnesses() []dht.Peer {
	u.mu.Lock()
	out := u.planner.Peers(maxWitnesses, u.cfg.Rand)
	u.mu.Unlock()
	known := map[string]bool{}
	for _, p := range out {
		known[string(p.ID)] = true
	}
	for _, a := range u.met.any(u.cfg.Now(), MaxMet, u.cfg.Rand) {
		if len(out) < maxWitnesses && !known[string(a.Peer.ID)] {
			out = append(out, a.Peer)
		}
	}
	return out
}
