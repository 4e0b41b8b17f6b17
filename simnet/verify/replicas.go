package verify

import (
	"math"

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
		{Churn: model.Churn{Name: "never", On: model.Exponential(0.001), Off: model.Exponential(1e9)}, Share: 0.5},
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
				return finding{m, err, lostBy(3, 30), lostBy(2, 30)}
			},
		},
		{
			Name: "loss with repair", Form: "1-exp(-2 t p/life), p = 1-exp(-window/life), R 2, life 60 d", Source: "two replicas and a repair of fixed length: Gibson and Patterson's MTTDL, 1993", Control: "a window of twice the length",
			run: func(scale int, seed uint64) finding {
				m, err := mean(10*scale, seed, func(s uint64) float64 {
					n := play(durability(s, 2000, 2, 6, 60)).Counts
					return float64(n.Destroyed) / float64(n.Custody)
				})
				return finding{m, err, lostInWindow(60, 1), lostInWindow(60, 2)}
			},
		},
	}
}

// lostBy is the share of mail of which every one of r copies is gone at the end. It was written while at least r of r+1
// relays were left, for else there was no custody: rather early than late.
func lostBy(r int, life float64) float64 {
	lost, written := 0.0, 0.0
	for i := range steps {
		t := (float64(i) + 0.5) / steps * waitDays
		q := math.Exp(-t / life)
		custody := math.Pow(q, float64(r+1)) + float64(r+1)*math.Pow(q, float64(r))*(1-q)
		written += custody
		lost += custody * math.Pow(1-math.Exp(-(waitDays-t)/life), float64(r))
	}
	return lost / written
}

// lostInWindow is the share where a standby copies once a death was noticed: gone is what loses its other copy before that.
// The first standby waits for repair.Patience(0) and half a round of visits. Each standby that is dead already is passed
// over, for a step of patience: as many as come, in a row of relays of which a part d is dead, before the third alive.
func lostInWindow(life, times float64) float64 {
	lost, sum := 0.0, 0.0
	for i := range steps { // backwards: sum is what comes after a message was written
		t := waitDays - (float64(i)+0.5)/steps*waitDays
		d := 1 - math.Exp(-t/life)
		window := repair.Patience(0).Hours() + repair.Every.Hours()/2 + 3*d/(1-d)*repair.StepFor.Hours()
		sum += 2 / life * (1 - math.Exp(-times*window/24/life)) * waitDays / steps
		lost += 1 - math.Exp(-sum)
	}
	return lost / steps
}

const steps = 10_000
