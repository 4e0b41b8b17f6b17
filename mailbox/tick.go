package mailbox

import (
	"slices"
	"time"
)

// Swept counts what a Tick removed.
type Swept struct {
	Days      int    // day buckets dropped
	Envelopes int    // live envelopes among what they held
	Bytes     uint64 // bytes of these
	Boxes     int    // boxes forgotten
	Braked    bool   // the clock jumped: nothing is deleted until it is believed
}

// Tick advances the relay's persisted clock and removes what is over: whole
// days of envelopes, and boxes without lease and content. Call it every
// TickEvery and after each start.
//
// Trusted follows now while it advances by at most an hour between two ticks.
// A longer jump forward, a wrong clock or a long sleep, is held: nothing is
// deleted until now has run evenly for a day, or other clocks agree
// (ConfirmClock). A jump back changes nothing; Trusted waits.
func (r *Relay) Tick(tx Tx, now time.Time) (Swept, error) {
	old := tx.Clock()
	c := old.advance(milli(now))
	if c != old {
		if err := tx.SetClock(c); err != nil {
			return Swept{}, err
		}
	}
	return r.sweep(tx, c)
}

// ConfirmClock takes the clocks of other relays, at least three. If their
// median stands within an hour of now, now is trusted at once, also if that
// moves the relay's clock back. If it does not, a brake that holds goes on
// holding for another day: even running proves nothing against others' clocks.
// It says whether now is trusted.
func (r *Relay) ConfirmClock(tx Tx, now time.Time, others []time.Time) (bool, error) {
	if len(others) < clockWitnesses {
		return false, nil
	}
	sorted := slices.Clone(others)
	slices.SortFunc(sorted, time.Time.Compare)
	if sorted[len(sorted)/2].Sub(now).Abs() <= clockStep {
		return true, tx.SetClock(Clock{Trusted: milli(now)})
	}
	if c := tx.Clock(); !c.Held.IsZero() {
		return false, tx.SetClock(Clock{Trusted: c.Trusted, Held: milli(now), Last: milli(now)})
	}
	return false, nil
}

func (c Clock) advance(now time.Time) Clock {
	ahead := now.Sub(c.Trusted)
	switch {
	case c.Trusted.IsZero() || ahead > 0 && ahead <= clockStep:
		return Clock{Trusted: now}
	case ahead <= 0:
		return Clock{Trusted: c.Trusted}
	case c.Held.IsZero() || now.Before(c.Last) || now.Sub(c.Last) > clockStep:
		return Clock{Trusted: c.Trusted, Held: now, Last: now}
	case now.Sub(c.Held) >= clockHold:
		return Clock{Trusted: now}
	default:
		return Clock{Trusted: c.Trusted, Held: c.Held, Last: now}
	}
}

func (r *Relay) sweep(tx Tx, c Clock) (Swept, error) {
	s := Swept{Braked: !c.Held.IsZero()}
	today := DayOf(c.Trusted.UnixMilli())
	for _, day := range tx.Days() {
		if day >= today {
			break
		}
		gone, err := tx.DropDay(day)
		if err != nil {
			return s, err
		}
		s.Days++
		s.Envelopes += gone.Count
		s.Bytes += gone.Bytes
	}
	var over []ID
	tx.EachBox(func(id ID, b Box) bool {
		if used := tx.Usage(id); !b.held(c.Trusted) && used.Count == 0 && used.Tombs == 0 {
			over = append(over, id)
		}
		return true
	})
	for _, id := range over {
		if err := tx.DropBox(id); err != nil {
			return s, err
		}
	}
	s.Boxes = len(over)
	return s, nil
}
