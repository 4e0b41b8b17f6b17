package prekeys

import (
	"slices"
	"time"
)

// Secret is what decides the life of a bundle's secret half.
type Secret struct {
	Superseded time.Time // zero: its bundle is the current one. Of a one-time bundle its freshness mark
	OneTime    bool
	Used       time.Time // first flight to a one-time bundle; zero: none
	Waited     bool      // an envelope that we hold and cannot open yet needs it: up to the cap
}

// Drained is when everything was last fetched that waited for us.
type Drained struct {
	Began time.Time // of the drain; zero: there was none since the start
	Start time.Time // of the process
}

// Over says whether a secret goes at now.
func (s Secret) Over(d Drained, now time.Time) bool {
	age, limit := now.Sub(s.Superseded), Cap
	if s.OneTime {
		limit -= fresh // it was of no use before the mark already
	}
	switch {
	case s.Superseded.IsZero() || s.Waited && age < limit: // anybody can have an envelope wait, again and again
		return false
	case s.OneTime && !s.Used.IsZero() && now.Sub(s.Used) >= Keep:
		return true
	case age >= limit:
		return !d.Began.IsZero() || now.Sub(d.Start) >= Patience
	}
	return age >= Keep && !d.Began.IsZero() && d.Began.Sub(s.Superseded) >= Settle
}

// Place is one box at one of the relays that may hold mail of it.
type Place struct {
	Box   [32]byte
	Relay string
}

// Watched is a box that is collected from.
type Watched struct {
	Box    [32]byte
	Relays []string
	// Missing is how many of its relays need not be drained: one fewer than have
	// to sign before a sender counts on them. Any so many hold one that was.
	Missing int
}

// Drains remembers when the last complete drain of each place began. It lives
// as long as the process: after a start everything is fetched anew.
type Drains struct {
	start time.Time
	began map[Place]time.Time
	left  map[Place]bool
}

// NewDrains begins with nothing drained.
func NewDrains(start time.Time) *Drains {
	return &Drains{start: start, began: map[Place]time.Time{}, left: map[Place]bool{}}
}

// Left notes that an envelope had to stay at a relay: this drain of the place
// is not complete.
func (d *Drains) Left(p Place) { d.left[p] = true }

// Done notes that everything a place held at a time has been handed over.
func (d *Drains) Done(p Place, began time.Time) {
	if !d.left[p] {
		d.began[p] = began
	}
	delete(d.left, p)
}

// Of says when the last drain of all boxes began: the earliest that counts.
// What is not watched any more is forgotten.
func (d *Drains) Of(boxes []Watched, now time.Time) Drained {
	out := Drained{Began: now, Start: d.start}
	if d.start.After(now) { // the clock was wrong
		d.start = now
	}
	kept := map[Place]time.Time{}
	for _, b := range boxes {
		begins := make([]time.Time, 0, len(b.Relays))
		for _, r := range b.Relays {
			p := Place{b.Box, r}
			began, ok := d.began[p]
			if !ok || began.After(now) { // before the clock was set back
				begins = append(begins, time.Time{})
				continue
			}
			kept[p] = began
			begins = append(begins, began)
		}
		slices.SortFunc(begins, time.Time.Compare)
		if i := min(b.Missing, len(begins)-1); i >= 0 && begins[i].Before(out.Began) {
			out.Began = begins[i]
		}
	}
	d.began = kept
	return out
}
