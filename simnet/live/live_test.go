package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
)

// always is nobody who is ever away.
var always = []model.Part{{Churn: model.Presets["always"], Share: 1}}

// playTown sets a town of three relays up and hands it over, in a bubble that has to end clean.
func playTown(t *testing.T, change func(*crowd.Config), fn func(ctx context.Context, town *Town)) {
	dir := folder(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := crowd.Default()
		cfg.Users, cfg.RelayCount, cfg.PerUser, cfg.People, cfg.Relays, cfg.Contacts = 2, 3, []float64{1}, always, always, 2
		cfg.Messages, cfg.Until, cfg.For = 0, "now", time.Hour
		change(&cfg)
		town, err := New(cfg, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer town.Close()
		for len(town.stages) > 0 {
			if !town.Step() {
				t.Fatal(town.Err())
			}
		}
		fn(t.Context(), town)
		if err := town.Err(); err != nil {
			t.Error(err)
		}
	})
}

func folder(t *testing.T) string {
	dir, remove, err := Folder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// arrived is how many messages have been shown.
func arrived(town *Town) int {
	town.mu.Lock()
	defer town.mu.Unlock()
	return int(town.tally.all.N())
}

func TestRealNodesTalkInVirtualTime(t *testing.T) {
	playTown(t, func(*crowd.Config) {}, func(ctx context.Context, town *Town) {
		ada, ben := town.users[0], town.users[1]
		says := func(want int) {
			t.Helper()
			rest(time.Minute)
			if n := arrived(town); n != want {
				t.Errorf("%d messages were shown, want %d", n, want)
			}
		}
		town.say(ctx, ben.devices[0], words{to: ada, length: 5})
		says(1)
		first := town.Result()
		if s, _ := first.Figure("delivery.there.seconds.max"); s.Value <= 0 || s.Value > 2 {
			t.Errorf("a message between two who are there took %v s", s.Value)
		}
		ada.devices[0].stop()
		town.say(ctx, ben.devices[0], words{to: ada, length: 20})
		says(1)
		ben.devices[0].stop()
		if err := ada.devices[0].start(ctx); err != nil {
			t.Fatal(err)
		}
		says(2) // although its author is away
		ada.devices[0].stop()
		if err := ben.devices[0].start(ctx); err != nil {
			t.Fatal(err)
		}
		for _, r := range town.relays {
			r.stop()
		}
		town.say(ctx, ben.devices[0], words{to: ada, length: 20})
		rest(time.Minute)
		ben.devices[0].stop()
		if err := ada.devices[0].start(ctx); err != nil {
			t.Fatal(err)
		}
		says(2) // the control: without relays nothing holds it
	})
}

// A group of three, one of whom links a device meanwhile and takes it off again. The control: before it is off, what is
// written reaches it.
func TestGroupsAndDevicesThatComeAndGo(t *testing.T) {
	change := func(cfg *crowd.Config) {
		cfg.Users, cfg.RelayCount, cfg.Groups, cfg.R, cfg.W, cfg.S = 3, 2, []crowd.Group{{Size: 3, Share: 1}}, 2, 1, 1
	}
	playTown(t, change, func(ctx context.Context, town *Town) {
		g := town.groups[0]
		author := g.members[0]
		says := func(want int) {
			t.Helper()
			town.say(ctx, author.devices[0], words{in: g, length: 20})
			rest(time.Minute)
			if n := arrived(town); n != want {
				t.Errorf("%d deliveries, want %d", n, want)
			}
		}
		says(2)
		town.addDevice(ctx, author)
		rest(time.Minute)
		if n := len(author.devices); n != 2 {
			t.Fatalf("%d devices", n)
		}
		says(5) // the new one, too
		town.removeDevices(ctx, 1)
		rest(time.Minute)
		says(7)
		town.stages, town.tally.drained, town.over = nil, true, true
		r := town.Result()
		for name, want := range map[string]float64{"removed.read.count": 0, "lost.count": 0, "dropped.count": 0, "devices.count": 4} {
			if v, ok := r.Figure(name); !ok || v.Value != want {
				t.Errorf("%s is %v, want %v", name, v.Value, want)
			}
		}
		if n := len(town.letters()); n != 1 {
			t.Errorf("%d messages were not for the device that was removed, want 1", n)
		}
	})
}

// letters are those that a device must not get.
func (t *Town) letters() (out []*letter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.tally.letters {
		if len(l.not) > 0 {
			out = append(out, l)
		}
	}
	return out
}
