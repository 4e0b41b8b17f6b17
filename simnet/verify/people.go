package verify

import (
	"math"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/simnet/model"
)

// plain is a population without what would blur a formula: one device a user, everybody writes alike at all hours, relays
// are always there, nobody dies.
func plain(devices, days int, seed uint64) model.Config {
	c := model.Default()
	c.Devices, c.Days, c.Seed = devices, days, seed
	c.PerUser, c.Uneven, c.Flat, c.DirectPart = []float64{1}, 0, true, 1
	c.People = []model.Part{{Churn: model.Presets["always"], Share: 1}}
	c.Relays = []model.Part{{Churn: model.Presets["always"], Share: 1}}
	return c
}

// turns has everybody come and go.
func turns(c model.Config, on, off model.Weibull) model.Config {
	c.People = []model.Part{{Churn: model.Churn{Name: "check", On: on, Off: off}, Share: 1}}
	return c
}

// play lets a population live.
func play(c model.Config) model.Totals {
	w, err := model.New(c)
	if err != nil {
		panic("verify: " + err.Error())
	}
	for w.Step() {
	}
	return w.Totals()
}

// people are checks of sessions, messages and mailboxes.
func people() []Check {
	kad := model.Presets["kad"]
	off := model.Weibull{Shape: 0.7, Scale: 100}
	return []Check{
		{
			Name: "share of time online", Form: "E[on]/(E[on]+E[off]), KAD", Source: "renewal theory; " + kad.Source, Control: "by the scales instead of the means",
			run: func(scale int, seed uint64) finding {
				m, err := mean(6*scale, seed, func(s uint64) float64 {
					c := turns(plain(200, 20, s), kad.On, kad.Off)
					c.Messages = 0
					return play(c).OnlineShare
				})
				return finding{m, err, kad.Share(), kad.On.Scale / (kad.On.Scale + kad.Off.Scale)}
			},
		},
		{
			Name: "wait of who is away", Form: "E[off^2]/(2 E[off]), minutes", Source: "residual life: Cox, Renewal Theory, 1962", Control: "E[off]/2",
			run: func(scale int, seed uint64) finding {
				m, err := mean(6*scale, seed, func(s uint64) float64 {
					return play(turns(plain(20, 200, s), model.Exponential(120), off)).SecondsAway.Mean / 60
				})
				return finding{m, err, off.Moment(2) / (2 * off.Moment(1)), off.Moment(1) / 2}
			},
		},
		{
			Name: "Little's law", Form: "L = lambda W: mail in a box = arrivals an hour x mean wait", Source: "Little, Operations Research 9(3), 1961", Control: "arrivals of those who are there too",
			run: func(scale int, seed uint64) finding {
				wait, lambda := off.Moment(2)/(2*off.Moment(1))/60, 43.0/24
				away := off.Moment(1) / (off.Moment(1) + 120)
				m, err := mean(6*scale, seed, func(s uint64) float64 {
					return play(turns(plain(20, 200, s), model.Exponential(120), off)).MeanPending
				})
				return finding{m, err, lambda * away * wait, lambda * wait}
			},
		},
		{
			Name: "expiry", Form: "exp(-30 d/E[off]) of mail for those away 10 d on average", Source: "an exponential absence has no memory", Control: "mail that lives 25 d",
			run: func(scale int, seed uint64) finding {
				life := mailbox.MaxTTL.Hours() / 24
				const days = 400
				m, err := mean(8*scale, seed, func(s uint64) float64 {
					c := turns(plain(50, days, s), model.Exponential(10*24*60), model.Exponential(10*24*60))
					c.Messages = 2
					n := play(c).Counts
					return float64(n.Expired) / float64(n.Stored) * days / (days - life)
				})
				return finding{m, err, math.Exp(-life / 10), math.Exp(-25.0 / 10)}
			},
		},
	}
}

// traffic are checks of what people write.
func traffic() []Check {
	return []Check{
		{
			Name: "messages written", Form: "users x rate x days", Source: "Poisson process with a daily rhythm", Control: "an hour of the day is missing",
			run: func(scale int, seed uint64) finding {
				m, err := mean(4*scale, seed, func(s uint64) float64 {
					c := plain(400, 4, s)
					c.Flat = false
					return float64(play(c).Counts.Messages)
				})
				return finding{m, err, 400 * 43 * 4, 400 * 43 * 4 * 23.0 / 24}
			},
		},
		{
			Name: "fan-out", Form: "2 E[devices] - 1 deliveries a message, 1.7 devices a user", Source: "one for each device of the recipient and each other one of the author", Control: "the author's own device too",
			run: func(scale int, seed uint64) finding {
				m, err := fanOut(scale, seed)
				return finding{m, err, 2*1.7 - 1, 2 * 1.7}
			},
		},
		{
			Name: "fan-out of a group", Form: "8 E[devices] - 1 deliveries a message to 8 members, 1.7 devices a user", Source: "one for each device of each member but the author's own", Control: "the author's own device too",
			run: func(scale int, seed uint64) finding {
				m, err := fanOut(scale, seed, model.Group{Size: 8, Share: 1})
				return finding{m, err, 8*1.7 - 1, 8 * 1.7}
			},
		},
		{
			Name: "last of a group", Form: "sum of 1-F(x)^15, F the time of one delivery, milliseconds", Source: "maximum of 15 that are independent and alike", Control: "a group of twice as many",
			run: func(scale int, seed uint64) finding {
				m, err := mean(6*scale, seed, func(s uint64) float64 {
					c := plain(200, 2, s)
					c.Groups = []model.Group{{Size: 16, Share: 1}}
					return play(c).All.Mean * 1000
				})
				return finding{m, err, lastOf(15), lastOf(31)}
			},
		},
	}
}

// lastOf is the mean time until the last of n has what is sent to all at once, in milliseconds: each takes a trip of 20 to 59, or, one of
// four, three of them.
func lastOf(n float64) (sum float64) {
	for x := range 3 * 60 {
		one, three := float64(min(max(x-19, 0), 40))/40, float64(min(max(x/3-19, 0), 40))/40
		sum += 1 - math.Pow(0.75*one+0.25*three, n)
	}
	return sum
}

// fanOut is how many deliveries a message is, to one person or to groups, of users with 1.7 devices.
func fanOut(scale int, seed uint64, groups ...model.Group) (m, err float64) {
	return mean(10*scale, seed, func(s uint64) float64 {
		c := plain(2000, 1, s)
		c.PerUser, c.Messages, c.Groups = []float64{0.5, 0.3, 0.2}, 10, groups
		n := play(c).Counts
		return float64(n.Deliveries) / float64(n.Messages)
	})
}
