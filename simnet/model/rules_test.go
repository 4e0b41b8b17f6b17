package model_test

import (
	"math"
	"strings"
	"testing"

	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
)

// frail is a population whose relays die often and whose people are away for days.
func frail(seed uint64) model.Config {
	c := small(300, 25, seed)
	c.PerRelay, c.Messages, c.Uneven = 10, 8, 0
	c.People = []model.Part{{Churn: model.Churn{Name: "test", On: model.Exponential(600), Off: model.Exponential(2 * 24 * 60)}, Share: 1}}
	c.Relays = []model.Part{{Churn: model.Presets["vps"], Share: 1, LifeDays: 15}}
	c.R, c.W, c.S = 2, 2, 5
	return c
}

// What relays lose comes from the author; with the authors gone it is lost, and repair is what keeps it few.
func TestRepairAndOutboxesKeepMail(t *testing.T) {
	with := run(t, frail(1)).Counts
	if with.Lost != 0 || with.Destroyed == 0 || with.Recovered == 0 {
		t.Errorf("with outboxes: %d lost, %d destroyed, %d recovered", with.Lost, with.Destroyed, with.Recovered)
	}
	c := frail(1)
	c.NoRepair = true
	without := run(t, c).Counts
	t.Logf("%d with, %d without", with.Destroyed, without.Destroyed)
	if without.Destroyed < 2*with.Destroyed || without.Copies != 0 {
		t.Errorf("control: without repair %d destroyed (%d copies), with it %d", without.Destroyed, without.Copies, with.Destroyed)
	}
	c.SendersDie = true
	if dead := run(t, c).Counts; dead.Lost == 0 {
		t.Error("control: nobody has an outbox, and nothing is lost")
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	for word, change := range map[string]func(*model.Config){
		"devices:":          func(c *model.Config) { c.Devices = 3 },
		"span: 0":           func(c *model.Config) { c.Days = 0 },
		"messages":          func(c *model.Config) { c.Messages = math.NaN() },
		"uneven":            func(c *model.Config) { c.Uneven = -1 },
		"contacts":          func(c *model.Config) { c.Contacts = 0 },
		"direct: ":          func(c *model.Config) { c.DirectPart = 1.1 },
		"devices_per_relay": func(c *model.Config) { c.PerRelay = 0 },
		"candidates":        func(c *model.Config) { c.Candidates = 65 },
		"w: 4, want 1 to 3": func(c *model.Config) { c.W = 4 },
		"r: 7 and s 2":      func(c *model.Config) { c.R = 7 },
		"device_classes":    func(c *model.Config) { c.People = c.People[1:] },
		"shape 0,":          func(c *model.Config) { c.Relays = []model.Part{{Share: 1}} },
		"2 members":         func(c *model.Config) { c.Groups = []model.Group{{Size: 2, Share: 1}} },
		"want 3 to 1024":    func(c *model.Config) { c.Groups = []model.Group{{Size: 1025, Share: 1}} },
		"people":            func(c *model.Config) { c.Devices, c.Groups = 100, []model.Group{{Size: 101, Share: 1}} },
		"1.5 of the":        func(c *model.Config) { c.HotShare, c.HotUsers, c.Groups = 0.5, 1, []model.Group{{Size: 3, Share: 1}} },
		"bandwidth":         func(c *model.Config) { c.Bandwidth = 5 },
		"devices_per_user":  func(c *model.Config) { c.PerUser = nil },
	} {
		c := model.Default()
		change(&c)
		if _, err := model.New(c); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestPresetsHaveSources(t *testing.T) {
	for _, name := range model.PresetNames() {
		if p := model.Presets[name]; p.Name != name || p.Source == "" || p.Share() <= 0 || p.Share() > 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// A group is who is next to each other: half of them have a message before nearly all, these before all; on a thin line the last
// waits for all bytes before its own, and a group of two sizes costs the mean of both.
func TestGroups(t *testing.T) {
	play := func(bandwidth float64, groups ...model.Group) model.Totals {
		c := small(300, 2, 1)
		c.Messages, c.Groups, c.Bandwidth, c.DirectPart = 10, groups, bandwidth, 1
		c.PerUser, c.People = []float64{1}, []model.Part{{Churn: model.Presets["always"], Share: 1}}
		return run(t, c)
	}
	free := play(0, model.Group{Size: 64, Share: 1})
	if free.Envelopes != 63 || free.Counts.Deliveries != 63*free.Counts.Messages || free.Half.N != free.Counts.Messages {
		t.Errorf("%g envelopes, %d groups for %d messages", free.Envelopes, free.Half.N, free.Counts.Messages)
	}
	if !(free.Half.P50 < free.Most.P50 && free.Most.P50 <= free.All.P50 && free.All.Max <= 0.18) {
		t.Errorf("half %g, most %g, all %g at most %g", free.Half.P50, free.Most.P50, free.All.P50, free.All.Max)
	}
	thin := play(10_000, model.Group{Size: 64, Share: 1})
	if least := thin.MessageBytes / 2 / 10_000; thin.All.Mean < least { // half of the bytes at most are acknowledgements
		t.Errorf("all have it after %g s, their bytes take %g s", thin.All.Mean, least)
	}
	if free.All.Max >= thin.All.Min {
		t.Errorf("control: without a limit it takes %g s", free.All.Max)
	}
	two := play(0, model.Group{Size: 3, Share: 0.5}, model.Group{Size: 64, Share: 0.5}).Envelopes
	if two < 30 || two > 35 {
		t.Errorf("%g envelopes, want 32.5", two)
	}
	if pairs := play(0); pairs.Envelopes != 1 || pairs.All.N != 0 {
		t.Errorf("control: without groups %g envelopes", pairs.Envelopes)
	}
}

// Percentiles lie at most a sixty-fourth too low.
func TestPercentiles(t *testing.T) {
	c := small(300, 2, 1)
	r := run(t, c)
	for _, s := range []result.Spread{r.Seconds, r.SecondsThere, r.SecondsAway, r.StoredBytes, r.PeakBytes, r.LookupHops} {
		if s.N == 0 || s.Min > s.P50 || s.P50 > s.P90 || s.P90 > s.P99 || s.P99 > s.P999 || s.P999 > s.Max || s.Mean < s.Min || s.Mean > s.Max {
			t.Errorf("%+v", s)
		}
	}
	if s := r.SecondsThere; s.P50 < 0.02 || s.Max > 1 {
		t.Errorf("who is there waits %+v", s)
	}
}
