package prekeys_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/prekeys"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const (
	hour = time.Hour
	day  = 24 * hour
)

func TestOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		age    time.Duration // since the bundle was superseded; 0: current
		drain  time.Duration // began so long after that; negative: never
		up     time.Duration // since the start
		waited bool
		want   bool
	}{
		{"the current one", 0, 100 * day, 100 * day, false, false},
		{"drained late enough", 72 * hour, 48 * hour, day, false, true},
		{"too young", 72*hour - 1, 60 * hour, day, false, false},
		{"drained too early", 80 * hour, 48*hour - 1, day, false, false},
		{"never drained", 36 * day, -1, 6 * day, false, false},
		{"the cap", 37 * day, hour, day, false, true},
		{"the cap, one short", 37*day - 1, hour, day, false, false},
		{"the cap before the first drain", 60 * day, -1, 7*day - 1, false, false},
		{"the cap, with relays that never answer", 60 * day, -1, 7 * day, false, true},
		{"an envelope waits for it", 36 * day, 30 * day, 60 * day, true, false},
		// Anybody can seal one in the name of a device that is not listed yet, again and again.
		{"envelopes wait for it without end", 37 * day, 30 * day, 60 * day, true, true},
	} {
		now := start
		s := prekeys.Secret{Waited: c.waited}
		if c.age != 0 {
			s.Superseded = now.Add(-c.age)
		}
		d := prekeys.Drained{Start: now.Add(-c.up)}
		if c.drain >= 0 {
			d.Began = now.Add(-c.age + c.drain)
		}
		if got := s.Over(d, now); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// The clock may jump either way: what a wrong clock saw does not count as a drain after it is right again.
func TestDrainsAndClocks(t *testing.T) {
	box := [32]byte{1}
	watched := []prekeys.Watched{{Box: box, Relays: []string{"r"}}}
	d := prekeys.NewDrains(start.Add(365 * day))
	d.Done(prekeys.Place{Box: box, Relay: "r"}, start.Add(365*day))
	if !d.Of(watched, start.Add(365*day)).Began.Equal(start.Add(365 * day)) {
		t.Fatal("control: the drain counts under that clock")
	}
	got := d.Of(watched, start)
	if !got.Began.IsZero() {
		t.Error("a drain of the future counts")
	}
	if d.Of(watched, start.Add(8*day)).Start.After(start) {
		t.Error("the patience begins in the future")
	}
	if (prekeys.Secret{Superseded: start.Add(365 * day)}).Over(prekeys.Drained{Began: start, Start: start}, start) {
		t.Error("superseded in the future, and over")
	}
}

// Drains is compared with every event kept in a list and read from the definition.
func TestDrainsModel(t *testing.T) {
	type event struct {
		place prekeys.Place
		left  bool
		began time.Time
	}
	rapid.Check(t, func(rt *rapid.T) {
		d := prekeys.NewDrains(start)
		var log []event
		boxes := []prekeys.Watched{
			{Box: [32]byte{1}, Relays: []string{"a", "b", "c"}, Missing: rapid.IntRange(0, 2).Draw(rt, "missing")},
			{Box: [32]byte{2}, Relays: []string{"a"}},
		}
		now := start
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			now = now.Add(time.Duration(rapid.Int64Range(-30, 300).Draw(rt, "step")) * time.Hour)
			b := boxes[rapid.IntRange(0, 1).Draw(rt, "box")]
			e := event{place: prekeys.Place{Box: b.Box, Relay: rapid.SampledFrom(b.Relays).Draw(rt, "relay")}, began: now}
			if e.left = rapid.IntRange(0, 3).Draw(rt, "left") == 0; e.left {
				d.Left(e.place)
			} else {
				d.Done(e.place, now)
			}
			log = append(log, e)
		}
		// naive: of each place the last Done that no Left stands directly before
		last := func(p prekeys.Place) time.Time {
			var out time.Time
			spoilt := false
			for _, e := range log {
				switch {
				case e.place != p:
				case e.left:
					spoilt = true
				default:
					if !spoilt {
						out = e.began
					}
					spoilt = false
				}
			}
			if out.After(now) {
				return time.Time{}
			}
			return out
		}
		// a time counts if in every box at most Missing places were not drained at it or later
		counts := func(at time.Time) bool {
			for _, b := range boxes {
				late := 0
				for _, r := range b.Relays {
					if l := last(prekeys.Place{Box: b.Box, Relay: r}); l.IsZero() || l.Before(at) {
						late++
					}
				}
				if late > b.Missing {
					return false
				}
			}
			return true
		}
		got := d.Of(boxes, now).Began
		if !got.IsZero() && !counts(got) {
			rt.Fatalf("%v counts, and a box was not drained since", got)
		}
		if counts(got.Add(time.Nanosecond)) && got.Before(now) {
			rt.Fatalf("%v is earlier than it has to be", got)
		}
	})
}

// Over is compared with the sentence of the document, over all ages, drains and starts.
func TestOverModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hours := func(name string, limit int64) time.Duration {
			return time.Duration(rapid.Int64Range(-5, limit).Draw(rt, name)) * time.Hour
		}
		s := prekeys.Secret{Superseded: start, Waited: rapid.Bool().Draw(rt, "waited")}
		now, began := start.Add(hours("age", 1200)), start.Add(hours("drain", 1200))
		d := prekeys.Drained{Began: began, Start: now.Add(-hours("up", 400))}
		if rapid.Bool().Draw(rt, "never") {
			d.Began = time.Time{}
		}
		drained := !d.Began.IsZero()
		adaptive := !now.Before(start.Add(72*hour)) && drained && !d.Began.Before(start.Add(48*hour))
		limit := !now.Before(start.Add(888*hour)) && (drained || !now.Before(d.Start.Add(168*hour)))
		if got := s.Over(d, now); got != (adaptive && !s.Waited || limit) {
			rt.Fatalf("over %t: superseded %v ago, drained %v after, up %v", got, now.Sub(start), d.Began.Sub(start), now.Sub(d.Start))
		}
	})
}
