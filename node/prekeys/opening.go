package prekeys

import (
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// Opening is a session that is about to begin: what its device may have for it
// is asked for, and waited for a short while.
type Opening struct {
	until  time.Time
	looks  bool
	asks   bool
	bundle *identity.Bundle
}

// Openings are those of all devices.
type Openings map[identity.DeviceID]*Opening

// Of returns the opening with a device; nothing was asked for it if it is new.
func (os Openings) Of(device identity.DeviceID, now time.Time) (o *Opening, isNew bool) {
	o = os[device]
	if o == nil || now.Sub(o.until) >= openingLife {
		o, isNew = &Opening{until: now}, true
		os[device] = o
	}
	return o, isNew
}

// Look waits for the answer to a lookup of the device's record.
func (o *Opening) Look(now time.Time) { o.looks = true; o.wait(now.Add(lookPatience)) }

// Ask waits for a one-time bundle.
func (o *Opening) Ask(now time.Time) { o.asks = true; o.wait(now.Add(askPatience)) }

func (o *Opening) wait(until time.Time) {
	if until.After(o.until) {
		o.until = until
	}
}

// Until is when the session begins at the latest; zero: now.
func (os Openings) Until(device identity.DeviceID, now time.Time) time.Time {
	if o := os[device]; o != nil && o.until.After(now) {
		return o.until
	}
	return time.Time{}
}

// Looked is the end of a lookup; true: the session can begin now.
func (os Openings) Looked(device identity.DeviceID, now time.Time) bool {
	o := os[device]
	if o == nil || !o.looks {
		return false
	}
	o.looks = false
	return o.done(now)
}

// Came is the answer to who asked for a bundle, or that there is none; true: the
// session can begin now.
func (os Openings) Came(device identity.DeviceID, raw []byte, now time.Time) bool {
	o := os[device]
	if o == nil || !o.asks {
		return false
	}
	o.asks = false
	if b, err := identity.ParseBundle(raw); err == nil {
		o.bundle = b
	}
	return o.done(now)
}

func (o *Opening) done(now time.Time) bool {
	if o.looks || o.asks || !o.until.After(now) {
		return false
	}
	o.until = now
	return true
}

// Take ends an opening and returns the bundle to begin with: the one-time bundle
// that came, if the device signed it for its user, marked it as for one sender,
// and it is fresh, not of the future, and of no older generation; else the one that all may use.
func (os Openings) Take(known *identity.Bundle, list *identity.DeviceList, now time.Time) *identity.Bundle {
	o := os[known.Device()]
	delete(os, known.Device())
	if o == nil || o.bundle == nil || list == nil {
		return known
	}
	if b := o.bundle; b.OneTime() && b.Device() == known.Device() && b.Generation() >= known.Generation() &&
		b.Fresh(now) && b.Usable(now) && identity.Claims(list, b) == nil {
		return b
	}
	return known
}
