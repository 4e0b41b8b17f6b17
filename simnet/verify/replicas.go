package verify

import (
	"math"
	"time"

	"github.com/kith-im/kith/mailbox/repair"
	"github.com/kith-im/kith/simnet/model"
)

// Relays of these checks are always there until they die. Half of the devices write, the others never come: their mail
// waits, and nobody elects for them.
func durability(seed uint64, devices, r, s int, life float64) model.Config {
	c := plain(devices, waitDays, seed)
	c.Messages, c.PerRelay, c.SendersDie = 1, 1, true
	c.People = []model.Part{
		{Churn: model.Presets["always"], Share: 0.5},
		{Churn: model.Presets["never"], Share: 0.5},
	}
	c.Relays[0].LifeDays = life
	c.R, c.W, c.S = r, r, s
	return c
}

const waitDays = 29

// replicas are checks of what relays keep.
func replicas() []Check {
	return []Check{
		{
			Name: "all relays away", Form: "(1-a)^(R+S), a 0.75, R 2, S 1", Source: "independent replicas", Control: "members only",
			run: func(scale int, seed uint64) finding {
				m, err := mean(6*scale, seed, func(s uint64) float64 {
					c := turns(plain(300, 20, s), model.Exponential(120), model.Exponential(120))
					c.Relays = []model.Part{{Churn: model.Churn{Name: "check", On: model.Exponential(180), Off: model.Exponential(60)}, Share: 1}}
					c.PerRelay, c.R, c.W, c.S, c.Messages = 2, 2, 1, 1, 10
					n := play(c).Counts
					return float64(n.Waited) / float64(n.Stored)
				})
				return finding{m, err, math.Pow(0.25, 3), math.Pow(0.25, 2)}
			},
		},
		{
			Name: "loss without repair", Form: "(1-exp(-t/life))^3 for mail that waits t, up to 29 d; life 30 d", Source: "independent exponential lives", Control: "R 2",
			run: func(scale int, seed uint64) finding {
				m, err := mean(8*scale, seed, func(s uint64) float64 {
					c := durability(s, 400, 3, 1, 30)
					c.NoRepair = true
					n := play(c).Counts
					return float64(n.Destroyed) / float64(n.Custody)
				})
				return finding{m, err, LostWithoutRepair(3, 3, 1, 30, waitDays), LostWithoutRepair(2, 2, 1, 30, waitDays)}
			},
		},
		{
			Name: "loss with repair", Form: "1-exp(-2 t p/life), p = 1-exp(-window/life), R 2, life 60 d", Source: "two replicas and a repair of fixed length: Gibson and Patterson's MTTDL, 1993", Control: "a window of twice the length",
			run: func(scale int, seed uint64) finding {
				m, err := mean(10*scale, seed, func(s uint64) float64 {
					n := play(durability(s, 2000, 2, 6, 60)).Counts
					return float64(n.Destroyed) / float64(n.Custody)
				})
				return finding{m, err, lostInWindow(60, waitDays, 1, repair.SilentFor, repair.Every), lostInWindow(60, waitDays, 2, repair.SilentFor, repair.Every)}
			},
		},
	}
}

// LostWithoutRepair is the share of mail in custody of which every copy is gone after so many days, if relays are always
// there until they die, nobody elects anew and mail is written all the time. A message has a copy at each of the first r of
// r+s relays that are left, and custody where these are at least w: it was written rather early than late.
func LostWithoutRepair(r, w, s int, life, days float64) float64 {
	lost, written := 0.0, 0.0
	for i := range steps {
		t := (float64(i) + 0.5) / steps * days
		q, gone := math.Exp(-t/life), 1-math.Exp(-(days-t)/life)
		ways := 1.0 // of k of r+s being left
		for k := range r + s + 1 {
			if k >= w {
				custody := ways * math.Pow(q, float64(k)) * math.Pow(1-q, float64(r+s-k))
				written += custody
				lost += custody * math.Pow(gone, float64(min(k, r)))
			}
			ways *= float64(r+s-k) / float64(k+1)
		}
	}
	return lost / written
}

// LostWithRepair is the same with repair, for two members and standbys enough.
func LostWithRepair(life, days float64, silent, visits time.Duration) float64 {
	return lostInWindow(life, days, 1, silent, visits)
}

// lostInWindow is the share where a standby copies once a death was noticed: gone is what loses its other copy before that.
// The first standby waits until a relay was silent for long enough and half a round of visits. Each standby that is dead already is passed
// over, for a step of patience: as many as come, in a row of relays of which a part d is dead, before the third alive.
func lostInWindow(life, days, times float64, silent, visits time.Duration) float64 {
	lost, sum := 0.0, 0.0
	for i := range steps { // backwards: sum is what comes after a message was written
		t := days - (float64(i)+0.5)/steps*days
		d := 1 - math.Exp(-t/life)
		window := silent.Hours() + visits.Hours()/2 + 3*d/(1-d)*repair.StepFor.Hours()
		sum += 2 / life * (1 - math.Exp(-times*window/24/life)) * days / steps
		lost += 1 - math.Exp(-sum)
	}
	return lost / steps
}

const steps = 10_000
