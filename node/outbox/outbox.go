// Package outbox is the index, in memory, of the deliveries on their way: when each is due, and where it stands in its
// attempt; and of the keys that are asked of the directory, or put there ([Wants]). It holds nothing that is not derived from
// rows; the engine rebuilds it when it loads.
package outbox

import (
	"maps"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

// Index is every delivery on its way. Make one with New.
type Index struct {
	Items map[uint64]*Item
	Acks  map[identity.DeviceID]uint64 // the acknowledgement to a device that is not sealed yet

	due      Due
	byDevice map[identity.DeviceID][]uint64 // ascending
}

// Item is where one delivery stands in its attempt.
type Item struct {
	Device identity.DeviceID
	Direct bool            // this attempt has tried the direct way
	Writes bool            // it waits to be written to the device's stream, which may have to be made
	Asked  map[string]bool // relays whose answer is on its way
	Failed map[string]bool // relays that could not be reached in this attempt
	Away   map[string]bool // relays that could not be reached when they were last asked
	Bare   map[string]bool // relays that did not accept our pass in this attempt
	Moved  int             // newer sets followed at once in this attempt
	Busy   int             // writes refused in a row while the connection stood
	Sent   time.Time       // when it was written to a stream, until its row says so
}

// New returns an empty index.
func New() Index {
	return Index{
		Items: map[uint64]*Item{}, Acks: map[identity.DeviceID]uint64{}, due: NewDue(), byDevice: map[identity.DeviceID][]uint64{},
	}
}

// Add indexes delivery n, due at a time; zero: it waits for an event.
func (o *Index) Add(n uint64, d identity.DeviceID, at time.Time) {
	o.Items[n] = &Item{
		Device: d, Asked: map[string]bool{}, Failed: map[string]bool{}, Away: map[string]bool{}, Bare: map[string]bool{},
	}
	o.byDevice[d] = append(o.byDevice[d], n)
	o.Schedule(n, at)
}

// Schedule sets when a delivery is due; one that is not indexed stays so.
func (o *Index) Schedule(n uint64, at time.Time) {
	if o.Items[n] != nil {
		o.due.Set(n, at)
	}
}

// At is when a delivery is due; zero: it waits for an event.
func (o *Index) At(n uint64) time.Time { return o.due.At(n) }

// Remove forgets a delivery.
func (o *Index) Remove(n uint64) {
	it := o.Items[n]
	if it == nil {
		return
	}
	delete(o.Items, n)
	o.due.Set(n, time.Time{})
	rest := slices.DeleteFunc(o.byDevice[it.Device], func(m uint64) bool { return m == n })
	if len(rest) == 0 {
		delete(o.byDevice, it.Device)
	} else {
		o.byDevice[it.Device] = rest
	}
	if o.Acks[it.Device] == n {
		delete(o.Acks, it.Device)
	}
}

// Waiting counts the deliveries to a device.
func (o *Index) Waiting(d identity.DeviceID) int { return len(o.byDevice[d]) }

// OfDevice lists the deliveries to a device, oldest first.
func (o *Index) OfDevice(d identity.DeviceID) []uint64 { return slices.Clone(o.byDevice[d]) }

// All are the deliveries, in the order in which they were made.
func (o *Index) All() []uint64 { return slices.Sorted(maps.Keys(o.Items)) }

// RetryDevice starts a new attempt of everything for a device, which may be somewhere else now.
func (o *Index) RetryDevice(d identity.DeviceID, now time.Time) {
	for _, n := range o.byDevice[d] {
		o.Items[n].Writes = false
		o.Restart(n, now)
	}
}

// maxHeadStart is longer than any head start: what is due later waits for something else.
const maxHeadStart = 10 * time.Second

// Wake starts a new attempt of everything for a device that is where it was. What it may be about to acknowledge has its head start.
func (o *Index) Wake(d identity.DeviceID, now time.Time) {
	for _, n := range o.byDevice[d] {
		it, at := o.Items[n], o.due.At(n)
		if !it.Direct || !at.After(now) || at.After(now.Add(maxHeadStart)) {
			o.Restart(n, now)
		}
	}
}

// Linked is Wake once a connection stands. What waited for one is written now, or else tried again after grace: somebody else may have
// made the connection, while the dial for it goes on.
func (o *Index) Linked(d identity.DeviceID, now time.Time, grace time.Duration) {
	o.Wake(d, now)
	for _, n := range o.byDevice[d] {
		if it := o.Items[n]; it.Writes {
			it.Direct, it.Writes = false, false
			o.Schedule(n, now.Add(grace))
		}
	}
}

// GiveUpDirect ends the head start of what was tried directly: relays get a copy now.
func (o *Index) GiveUpDirect(d identity.DeviceID, now time.Time) {
	for _, n := range o.byDevice[d] {
		if o.Items[n].Direct && o.due.At(n).After(now) {
			o.Schedule(n, now)
		}
	}
}

// RetryAway starts a new attempt of what relays could not be reached for: for this relay, or, with no connection at all
// before, for any.
func (o *Index) RetryAway(relay string, anyRelay bool, now time.Time) {
	for n, it := range o.Items {
		if len(it.Away) > 0 && (anyRelay || it.Away[relay]) {
			clear(it.Away)
			o.Restart(n, now)
		}
	}
}

// Renew begins the first attempt of a delivery that was sealed anew: of this envelope nothing was written to a stream.
func (o *Index) Renew(n uint64, now time.Time) {
	if it := o.Items[n]; it != nil {
		it.Sent, it.Writes = time.Time{}, false
	}
	o.Restart(n, now)
}

// Restart begins a new attempt of one delivery, with what may still be written to a stream left to be.
func (o *Index) Restart(n uint64, now time.Time) {
	if it := o.Items[n]; it != nil {
		it.Direct, it.Busy = false, 0
		clear(it.Failed)
		clear(it.Bare)
		o.Schedule(n, now)
	}
}

// Deadline is when the next delivery is due; zero: never.
func (o *Index) Deadline() time.Time { return o.due.Next() }

// TakeDue removes what is due from the schedule and returns it, by number.
func (o *Index) TakeDue(now time.Time) []uint64 { return o.due.Take(now) }
