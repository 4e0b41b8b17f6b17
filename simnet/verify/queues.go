package verify

import (
	"math"
	"time"

	"github.com/kith-im/kith/node/outbox"
	"github.com/kith-im/kith/simnet/model"
)

// queues are checks of the event queue, the generator and the distributions.
func queues() []Check {
	kad, ipfs := model.Presets["kad"], model.Presets["ipfs"]
	return []Check{
		{
			Name: "M/M/1 sojourn", Form: "1/(mu-lambda), lambda 0.7, mu 1", Source: "Kleinrock, Queueing Systems I, 1975", Control: "service of fixed length",
			run: func(scale int, seed uint64) finding {
				m, err := mean(20*scale, seed, func(s uint64) float64 { return sojourn(s, 0.7, func(d model.Dice) float64 { return d.Exp() }) })
				return finding{m, err, 1 / (1 - 0.7), 1 + 0.7/(2*(1-0.7))}
			},
		},
		{
			Name: "M/D/1 sojourn", Form: "1/mu + rho/(2 mu (1-rho)), rho 0.7", Source: "Pollaczek and Khinchine, in Kleinrock 1975", Control: "exponential service",
			run: func(scale int, seed uint64) finding {
				m, err := mean(20*scale, seed, func(s uint64) float64 { return sojourn(s, 0.7, func(model.Dice) float64 { return 1 }) })
				return finding{m, err, 1 + 0.7/(2*(1-0.7)), 1 / (1 - 0.7)}
			},
		},
		{
			Name: "Weibull mean", Form: "scale Gamma(1+1/shape), KAD sessions, minutes", Source: kad.Source, Control: "shape 1",
			run: func(scale int, seed uint64) finding {
				m, err := mean(50_000*scale, seed, func(s uint64) float64 { return minutes(kad.On, s) })
				return finding{m, err, kad.On.Moment(1), kad.On.Scale}
			},
		},
		{
			Name: "Weibull second moment", Form: "scale^2 Gamma(1+2/shape), KAD sessions, hours^2", Source: kad.Source, Control: "that of an exponential of this mean",
			run: func(scale int, seed uint64) finding {
				m, err := mean(100_000*scale, seed, func(s uint64) float64 { x := minutes(kad.On, s) / 60; return x * x })
				return finding{m, err, kad.On.Moment(2) / 3600, 2 * kad.On.Moment(1) * kad.On.Moment(1) / 3600}
			},
		},
		{
			Name: "IPFS sessions under 8 h", Form: "87.6 % published", Source: ipfs.Source, Control: "the exponential through 24 h",
			run: func(scale int, seed uint64) finding {
				m, err := mean(20_000*scale, seed, func(s uint64) float64 { return yes(minutes(ipfs.On, s) < 8*60) })
				return finding{m, err, 0.876, 1 - math.Pow(0.025, 8.0/24)}
			},
		},
		{
			Name: "IPFS sessions over 24 h", Form: "2.5 % published", Source: ipfs.Source, Control: "the exponential through 8 h",
			run: func(scale int, seed uint64) finding {
				m, err := mean(20_000*scale, seed, func(s uint64) float64 { return yes(minutes(ipfs.On, s) > 24*60) })
				return finding{m, err, 0.025, math.Pow(1-0.876, 24.0/8)}
			},
		},
		{
			Name: "retry", Form: "sum of ceiling/2 + floor^2/(2 ceiling) over 8 tries, seconds", Source: "full jitter below outbox.Ceiling", Control: "ceilings that do not double",
			run: func(scale int, seed uint64) finding {
				want, wrong := 0.0, 0.0
				for n := range 8 {
					want += meanWait(outbox.Ceiling(n+1, 0))
					wrong += meanWait(outbox.Ceiling(1, 0))
				}
				m, err := mean(2_000*scale, seed, waits)
				return finding{m, err, want, wrong}
			},
		},
	}
}

// minutes is one duration.
func minutes(w model.Weibull, seed uint64) float64 {
	return (float64(w.Draw(model.NewDice(seed))) - 0.5) / 60_000
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// waits is how long eight tries take, in seconds.
func waits(seed uint64) float64 {
	d := model.NewDice(seed)
	sum := 0.0
	for n := range 8 {
		sum += max(outbox.RetryFloor.Seconds(), d.Unit()*outbox.Ceiling(n+1, 0).Seconds())
	}
	return sum
}

func meanWait(ceiling time.Duration) float64 {
	c, f := ceiling.Seconds(), outbox.RetryFloor.Seconds()
	return c/2 + f*f/(2*c)
}

// Customers of one run of a queue: those at the beginning, who find it too empty, do not count.
const warm, counted = 2_000, 4_000

// sojourn is the mean time in a queue with one server, in order of arrival, driven by events.
func sojourn(seed uint64, rate float64, service func(model.Dice) float64) float64 {
	const unit = 1e6 // events count in whole numbers
	const arrives, leaves = 0, 1
	d := model.NewDice(seed)
	var q model.Queue
	var line []uint64 // times of arrival
	q.Push(model.Event{At: uint64(d.Exp() / rate * unit), What: arrives})
	sum := 0.0
	for n := 0; n < warm+counted; {
		e, _ := q.Pop()
		if e.What == arrives {
			line = append(line, e.At)
			q.Push(model.Event{At: e.At + uint64(d.Exp()/rate*unit), What: arrives})
			if len(line) > 1 {
				continue
			}
		} else {
			if n++; n > warm {
				sum += float64(e.At - line[0])
			}
			if line = line[1:]; len(line) == 0 {
				continue
			}
		}
		q.Push(model.Event{At: e.At + uint64(service(d)*unit), What: leaves})
	}
	return sum / counted / unit
}
