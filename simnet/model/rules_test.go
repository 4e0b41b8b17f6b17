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
		"days":              func(c *model.Config) { c.Days = 0 },
		"messages":          func(c *model.Config) { c.Messages = math.NaN() },
		"uneven":            func(c *model.Config) { c.Uneven = -1 },
		"contacts":          func(c *model.Config) { c.Contacts = 0 },
		"direct part":       func(c *model.Config) { c.DirectPart = 1.1 },
		"devices per relay": func(c *model.Config) { c.PerRelay = 0 },
		"candidates":        func(c *model.Config) { c.Candidates = 65 },
		"R 3, W 4":          func(c *model.Config) { c.W = 4 },
		"R 7, W 2, S 2":     func(c *model.Config) { c.R = 7 },
		"device classes":    func(c *model.Config) { c.People = c.People[1:] },
		"shape 0,":          func(c *model.Config) { c.Relays = []model.Part{{Share: 1}} },
		"devices per user":  func(c *model.Config) { c.PerUser = nil },
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
