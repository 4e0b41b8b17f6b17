package group

import (
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// Limits of questions about logs.
const (
	// MaxHeads is how many of the newest entries are told, or asked for, at once.
	MaxHeads = 64
	maxAsks  = 256
	askAfter = 2 * time.Second  // what is lacking may come by itself
	askEvery = 10 * time.Second // between two questions to one device
)

// Ask is a question to a device: what it knows of a group's log that we lack.
type Ask struct {
	Group  ID
	Device identity.DeviceID
	User   identity.UserID
	Want   [][16]byte // entries that it knows, the short parts of their hashes
}

// Asks are the questions about logs that are to be asked, and those that were answered. They live in memory: whoever
// names what we lack again after a restart is asked again.
type Asks struct {
	open map[askKey]*openAsk
	told map[askKey]time.Time
}

type askKey struct {
	group  ID
	device identity.DeviceID
}

type openAsk struct {
	Ask
	due   time.Time // zero: asked, and no reason to ask again yet
	asked time.Time
}

// NewAsks is without any.
func NewAsks() *Asks { return &Asks{open: map[askKey]*openAsk{}, told: map[askKey]time.Time{}} }

// Lack plans to ask a device, after a moment in which what is wanted may come by itself.
func (a *Asks) Lack(now time.Time, x Ask) {
	if len(x.Want) == 0 {
		return
	}
	key := askKey{x.Group, x.Device}
	q := a.open[key]
	if q == nil {
		if a.forget(now); len(a.open) >= maxAsks {
			return
		}
		q = &openAsk{Ask: Ask{Group: x.Group, Device: x.Device, User: x.User}}
		a.open[key] = q
	}
	for _, w := range x.Want {
		if !slices.Contains(q.Want, w) && len(q.Want) < MaxHeads {
			q.Want = append(q.Want, w)
		}
	}
	if q.due.IsZero() {
		q.due = now.Add(askAfter)
		if next := q.asked.Add(askEvery); !q.asked.IsZero() && next.After(q.due) {
			q.due = next
		}
	}
}

func (a *Asks) forget(now time.Time) {
	for key, q := range a.open {
		if q.due.IsZero() && now.Sub(q.asked) > askEvery {
			delete(a.open, key)
		}
	}
}

// Next is when Due has something; zero: not at all.
func (a *Asks) Next() (next time.Time) {
	for _, q := range a.open {
		if !q.due.IsZero() && (next.IsZero() || q.due.Before(next)) {
			next = q.due
		}
	}
	return next
}

// Due takes the questions whose time has come, in order of the devices.
func (a *Asks) Due(now time.Time) (out []Ask) {
	for _, q := range a.open {
		if !q.due.IsZero() && !q.due.After(now) {
			out = append(out, q.Ask)
			q.due, q.Want = time.Time{}, nil
		}
	}
	slices.SortFunc(out, func(x, y Ask) int {
		if c := slices.Compare(x.Device[:], y.Device[:]); c != 0 {
			return c
		}
		return slices.Compare(x.Group[:], y.Group[:])
	})
	return out
}

// Asked notes that a question was asked.
func (a *Asks) Asked(now time.Time, x Ask) {
	if q := a.open[askKey{x.Group, x.Device}]; q != nil {
		q.asked = now
	}
}

// Answer reports whether a device that asks is to be answered, which it is not too often, and notes that it was.
func (a *Asks) Answer(now time.Time, in ID, device identity.DeviceID) bool {
	key := askKey{in, device}
	if last, told := a.told[key]; told && now.Sub(last) < askEvery/2 {
		return false
	}
	if len(a.told) >= maxAsks {
		clear(a.told)
	}
	a.told[key] = now
	return true
}
