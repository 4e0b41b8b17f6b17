package model

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// Dice are where all chance comes from: one sequence, drawn from directly or through rand's distributions.
type Dice struct {
	*source
	dist *rand.Rand
}

// source is splitmix64 (Steele, Lea, Flood 2014): 64 bits of state, and small enough to be inlined.
type source uint64

// Uint64 is the next number.
func (s *source) Uint64() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// NewDice begins a sequence.
func NewDice(seed uint64) Dice {
	s := source(mix(seed, 0x6b697468))
	return Dice{&s, rand.New(&s)}
}

// Unit is a number in [0, 1).
func (d Dice) Unit() float64 { return float64(d.Uint64()>>11) / (1 << 53) }

// Exp draws from the exponential distribution of mean 1.
func (d Dice) Exp() float64 { return d.dist.ExpFloat64() }

// Normal draws from the normal distribution (Box and Muller).
func (d Dice) Normal() float64 { return math.Sqrt(2*d.Exp()) * math.Cos(2*math.Pi*d.Unit()) }

// Pick draws one of n by weights that add up to 1.
func (d Dice) Pick(n int, weight func(int) float64) int {
	x := d.Unit()
	for i := range n {
		if x -= weight(i); x < 0 {
			return i
		}
	}
	return n - 1
}

// Below is a number below n.
func (d Dice) Below(n int) int {
	high, _ := bits.Mul64(d.Uint64(), uint64(n))
	return int(high)
}

// Weibull is a distribution of durations. Shape 1 is the exponential; below 1 the long ones last.
type Weibull struct {
	Shape float64 `json:"shape"`
	Scale float64 `json:"scale_minutes"`
}

// Exponential is the Weibull of shape 1 with a mean in minutes.
func Exponential(mean float64) Weibull { return Weibull{1, mean} }

// Moment is E[X^n], in minutes^n.
func (w Weibull) Moment(n int) float64 {
	return math.Pow(w.Scale, float64(n)) * math.Gamma(1+float64(n)/w.Shape)
}

// Beyond is the share of durations that are longer than so many minutes.
func (w Weibull) Beyond(minutes float64) float64 {
	return math.Exp(-math.Pow(minutes/w.Scale, w.Shape))
}

// Draw is a duration in milliseconds, at least one.
func (w Weibull) Draw(d Dice) uint64 { return w.millis(d.Exp()) }

func (w Weibull) millis(e float64) uint64 {
	if w.Shape != 1 {
		e = math.Pow(e, 1/w.Shape)
	}
	return uint64(math.Min(w.Scale*e*60_000, forever)) + 1
}

// Rest is what is left, at a random moment, of the duration in which the moment falls: a uniform part of one drawn by
// length. Of a Weibull that is scale × G^(1/shape), where G has the gamma distribution of 1 + 1/shape.
func (w Weibull) Rest(d Dice) uint64 {
	return uint64(float64(w.millis(d.gamma(1+1/w.Shape)))*d.Unit()) + 1
}

// gamma draws from the gamma distribution of a shape of at least 1 (Marsaglia and Tsang 2000).
func (d Dice) gamma(shape float64) float64 {
	a := shape - 1.0/3
	c := 1 / math.Sqrt(9*a)
	for {
		x := d.dist.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-d.Unit()) < x*x/2+a*(1-v+math.Log(v)) {
			return a * v
		}
	}
}

// mix is a hash of two numbers: what belongs to a device without being kept.
func mix(a, b uint64) uint64 {
	s := source(a*0x9e3779b97f4a7c15 + b)
	return s.Uint64()
}
