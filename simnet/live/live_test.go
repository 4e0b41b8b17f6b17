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
	dir := t.TempDir()
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
		town.say(ctx, ben.devices[0], words{ada, 5})
		says(1)
		first := town.Result()
		if s, _ := first.Figure("delivery.there.seconds.max"); s.Value <= 0 || s.Value > 2 {
			t.Errorf("a message between two who are there took %v s", s.Value)
		}
		ada.devices[0].stop()
		town.say(ctx, ben.devices[0], words{ada, 20})
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
		town.say(ctx, ben.devices[0], words{ada, 20})
		rest(time.Minute)
		ben.devices[0].stop()
		if err := ada.devices[0].start(ctx); err != nil {
			t.Fatal(err)
		}
		says(2) // the control: without relays nothing holds it
	})
}
