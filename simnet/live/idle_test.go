package live

import (
	"context"
	"testing"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
)

// What a device sends and gets in an hour in which nobody does anything is little more than what keeps its connections alive: 26 kB
// for each of three relays that hold its mail, by TCP, and 35 kB, by QUIC, for one by which it is in the directory, and one contact.
// Nobody restarts, either: the control is what a start costs.
func TestAnIdleDeviceIsQuiet(t *testing.T) {
	const most = 170_000
	playTown(t, func(*crowd.Config) {}, func(ctx context.Context, town *Town) {
		d := town.devices[0]
		during := func(d *resident, hours int, what func()) int64 {
			before := d.sent.Load() + d.got.Load()
			what()
			return (d.sent.Load() + d.got.Load() - before) / int64(hours)
		}
		if n := during(d, 3, func() { rest(3 * time.Hour) }); n > most {
			t.Errorf("%d bytes in an idle hour, want at most %d", n, most)
		}
		n := during(d, 1, func() {
			d.stop()
			if err := d.start(ctx); err != nil {
				t.Fatal(err)
			}
			rest(time.Minute)
		})
		if n < most/5 {
			t.Errorf("control: a start costs %d bytes in its first minute", n)
		}
	})
}

// Who is always there is not back at once because "always" is longer than a duration can be.
func TestAlwaysDoesNotOverflow(t *testing.T) {
	if d := millis(1 << 62); d < 24*365*time.Hour {
		t.Errorf("%v", d)
	}
	if d := millis(1500); d != 1500*time.Millisecond {
		t.Errorf("control: %v", d)
	}
}
