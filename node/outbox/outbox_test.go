package outbox_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/outbox"
)

// What was written to a device a moment ago, or is about to be, is not written again because something else is heard of the device;
// what waits is tried. When a connection stands what waited for one has a little longer. The control: a device that has moved is
// written to again.
func TestWhatIsOnItsWayIsLeftAlone(t *testing.T) {
	now := time.Unix(1000, 0)
	const written, dialled, late, waits = 1, 2, 3, 4
	index := func() outbox.Index {
		o := outbox.New()
		for n, due := range map[uint64]time.Time{
			written: now.Add(time.Second), dialled: now.Add(time.Second), late: now.Add(time.Hour), waits: now.Add(time.Hour),
		} {
			o.Add(n, identity.DeviceID{1}, due)
		}
		o.Items[written].Direct = true
		o.Items[dialled].Direct, o.Items[dialled].Writes = true, true
		o.Items[late].Writes = true // the dial takes longer than its head start
		return o
	}
	for _, c := range []struct {
		name string
		do   func(*outbox.Index)
		due  map[uint64]time.Duration
		held []uint64 // would not be handed to the stream again
	}{
		{
			"wake", func(o *outbox.Index) { o.Wake(identity.DeviceID{1}, now) },
			map[uint64]time.Duration{written: time.Second, dialled: time.Second, late: 0, waits: 0},
			[]uint64{dialled, late},
		},
		{
			"link", func(o *outbox.Index) { o.Linked(identity.DeviceID{1}, now, time.Minute) },
			map[uint64]time.Duration{written: time.Second, dialled: time.Minute, late: time.Minute, waits: 0},
			nil,
		},
		{
			"a relay is back", func(o *outbox.Index) {
				for _, it := range o.Items {
					it.Away = map[string]bool{"relay": true}
				}
				o.RetryAway("relay", false, now)
			},
			map[uint64]time.Duration{written: 0, dialled: 0, late: 0, waits: 0},
			[]uint64{dialled, late},
		},
		{
			"control", func(o *outbox.Index) { o.RetryDevice(identity.DeviceID{1}, now) },
			map[uint64]time.Duration{written: 0, dialled: 0, late: 0, waits: 0},
			nil,
		},
	} {
		o := index()
		c.do(&o)
		held := map[uint64]bool{}
		for _, n := range c.held {
			held[n] = true
		}
		for n, want := range c.due {
			if got := o.At(n).Sub(now); got != want || o.Items[n].Writes != held[n] {
				t.Errorf("%s: delivery %d is due in %v, want %v; it is being written: %t", c.name, n, got, want, o.Items[n].Writes)
			}
		}
	}
}

// What was written to a device just now is left to its head start when the device becomes known better; what has waited since
// for something else is not.
func TestWhatWaitsForWordOfADeviceIsWoken(t *testing.T) {
	o, d, now := outbox.New(), identity.DeviceID{1}, time.Unix(1_900_000_000, 0)
	for n, c := range map[uint64]struct {
		direct bool
		due    time.Duration
		woken  bool
	}{1: {true, 5 * time.Second, false}, 2: {true, 720 * time.Hour, true}, 3: {false, time.Minute, true}} {
		o.Add(n, d, now.Add(c.due))
		o.Items[n].Direct = c.direct
		o.Wake(d, now)
		if woken := o.At(n).Equal(now); woken != c.woken {
			t.Errorf("%+v: woken %t", c, woken)
		}
		o.Remove(n)
	}
}
