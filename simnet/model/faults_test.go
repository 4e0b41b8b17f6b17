package model_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/mailbox/repair"
	"github.com/kith-im/kith/simnet/model"
)

const day = 24 * time.Hour

// quiet is a population in which nothing happens but what a test says.
func quiet(days int, faults ...model.Fault) model.Config {
	c := small(300, days, 7)
	c.PerUser, c.Messages, c.Uneven, c.Flat = []float64{1}, 10, 0, true
	c.People = []model.Part{{Churn: model.Presets["always"], Share: 1}}
	c.Relays = []model.Part{{Churn: model.Presets["always"], Share: 1}}
	c.Faults = faults
	return c
}

// After 29.9 days everything is there; after 30.1 what was written in the first 2.4 hours is gone, and nothing else.
func TestMailLivesForThirtyDays(t *testing.T) {
	away := func(d time.Duration) model.Counts {
		return run(t, quiet(34, model.Fault{Kind: model.DevicesAway, Share: 0.5, At: day, For: d})).Counts
	}
	if n := away(29*day + 216*time.Minute*6); n.Expired != 0 || n.Pending != 0 || n.Lost != 0 || n.Fetched == 0 {
		t.Errorf("29.9 days: %+v", n)
	}
	n := away(30*day + 144*time.Minute)
	// Half of the people write ten a day each, half of it to those who are away.
	want := 150 * 10 * 0.1 / 2
	if math.Abs(float64(n.Expired)-want) > 5*math.Sqrt(want) || n.Pending != 0 || n.Lost != 0 {
		t.Errorf("30.1 days: %d expired, want about %.0f; %+v", n.Expired, want, n)
	}
}

// What relays swallow comes from outboxes, and is lost without them.
func TestRelaysThatGiveNothing(t *testing.T) {
	faults := []model.Fault{{Kind: model.DevicesAway, Share: 0.5, At: day, For: 3 * day}, {Kind: model.RelaysWithhold, Share: 1}}
	if n := run(t, quiet(6, faults...)).Counts; n.Recovered == 0 || n.Fetched != 0 || n.Lost != 0 || n.Pending != 0 {
		t.Errorf("all withhold: %+v", n)
	}
	c := quiet(6, faults...)
	c.SendersDie = true
	if n := run(t, c).Counts; n.Lost == 0 || n.Recovered != 0 {
		t.Errorf("all withhold, no outbox: %+v", n)
	}
	if n := run(t, quiet(6, faults[0])).Counts; n.Recovered != 0 || n.Fetched == 0 {
		t.Errorf("control, none withholds: %+v", n)
	}
}

func TestRelaysDieAndGoAway(t *testing.T) {
	absence := model.Fault{Kind: model.DevicesAway, Share: 0.5, At: day, For: 5 * day}
	if n := run(t, quiet(9, absence, model.Fault{Kind: model.RelaysDie, Share: 1, At: 3 * day})).Counts; n.Deaths != 8 || n.Destroyed == 0 || n.Lost != 0 || n.Recovered == 0 {
		t.Errorf("all die: %+v", n)
	}
	if n := run(t, quiet(9, absence, model.Fault{Kind: model.RelaysAway, Share: 1, At: 3 * day, For: 6 * time.Hour})).Counts; n.Waited == 0 || n.Destroyed != 0 || n.Lost != 0 || n.Pending != 0 {
		t.Errorf("all are away: %+v", n)
	}
	if n := run(t, quiet(9, absence)).Counts; n.Deaths != 0 || n.Waited != 0 || n.Destroyed != 0 {
		t.Errorf("control: %+v", n)
	}
}

// In a rush as many more messages are written as it says; by the clock of each zone it takes a day to go round the world.
func TestRush(t *testing.T) {
	for _, local := range []bool{false, true} {
		c := quiet(3)
		c.Rush = model.Rush{At: 36 * time.Hour, For: time.Hour, Factor: 10, Local: local}
		n := run(t, c).Counts
		want := 300.0 * 10 * (3 + 9.0/24)
		if math.Abs(float64(n.Messages)-want) > 5*math.Sqrt(want) {
			t.Errorf("local %t: %d messages, want about %.0f", local, n.Messages, want)
		}
	}
}

func TestFewGetMuch(t *testing.T) {
	share := func(hot float64) float64 {
		c := quiet(4, model.Fault{Kind: model.DevicesAway, Share: 1, At: time.Millisecond, For: day})
		c.HotShare, c.HotUsers = hot, 3
		return run(t, c).PeakBytes.Max
	}
	if share(0.9) <= share(0) {
		t.Error("relays of those who get nearly everything hold no more than others")
	}
}

// Devices that elect without a reason keep their relays, unless these are worse than others; mail follows.
func TestEpochs(t *testing.T) {
	c := small(300, 20, 7)
	without := run(t, c).Counts
	c.Epoch = 5 * day
	with := run(t, c).Counts
	if with.Elections < without.Elections+300*3 || with.Lost != 0 {
		t.Errorf("%d elections without epochs, %d with; %+v", without.Elections, with.Elections, with)
	}
}

// Without a change of ours the model waits as long as production does.
func TestPatienceIsThatOfRepair(t *testing.T) {
	if c := model.Default(); c.Silent != repair.SilentFor || c.Visits != repair.Every {
		t.Errorf("silent for %v, visits every %v", c.Silent, c.Visits)
	}
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	for word, change := range map[string]func(*model.Config){
		"is none":        func(c *model.Config) { c.Faults = []model.Fault{{Kind: "flood", Share: 1}} },
		"0.share: 0":     func(c *model.Config) { c.Faults = []model.Fault{{Kind: model.RelaysDie}} },
		"0.for: is miss": func(c *model.Config) { c.Faults = []model.Fault{{Kind: model.DevicesAway, Share: 1}} },
		"die lasts":      func(c *model.Config) { c.Faults = []model.Fault{{Kind: model.RelaysDie, Share: 1, For: day}} },
		"rush_at: ":      func(c *model.Config) { c.Rush = model.Rush{At: -1, For: 1} },
		"rush_factor":    func(c *model.Config) { c.Rush = model.Rush{For: day, Factor: math.NaN()} },
		"hot_users is":   func(c *model.Config) { c.HotShare = 0.5 },
		"hot_share: 2":   func(c *model.Config) { c.HotShare = 2 },
		"epoch":          func(c *model.Config) { c.Epoch = time.Second },
		"visits: ":       func(c *model.Config) { c.Visits = 0 },
		"relays: -1":     func(c *model.Config) { c.RelayCount = -1 },
		"are 65, at":     func(c *model.Config) { c.Faults = make([]model.Fault, 65) },
	} {
		c := model.Default()
		change(&c)
		if _, err := model.New(c); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}
