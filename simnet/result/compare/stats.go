package compare

import "math"

// confidence of all intervals.
const confidence = 0.95

// Estimate is a mean over runs that differ in nothing but their seed, with Student's t interval. With one run the interval
// is that number: it says nothing.
type Estimate struct {
	N    int     `json:"n"` // runs
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`

	variance float64 // of the mean
}

// Mean estimates the mean of a figure.
func Mean(samples []float64) Estimate {
	e := estimate(samples)
	if e.N > 1 {
		half := studentQuantile(1-(1-confidence)/2, float64(e.N-1)) * math.Sqrt(e.variance)
		e.Low, e.High = e.Mean-half, e.Mean+half
	}
	return e
}

func estimate(samples []float64) Estimate {
	n := len(samples)
	if n == 0 {
		return Estimate{}
	}
	mean, squares := 0.0, 0.0
	for i, v := range samples { // Welford: numbers that are all alike have no variance
		d := v - mean
		mean += d / float64(i+1)
		squares += d * (v - mean)
	}
	e := Estimate{N: n, Mean: mean, Low: mean, High: mean}
	if n > 1 {
		e.variance = squares / float64(n-1) / float64(n)
	}
	return e
}

// welch is half of the interval of the difference of two means whose runs do not vary alike (Welch 1947), in which it
// lies with probability 1-alpha.
func welch(a, b Estimate, alpha float64) float64 {
	v := a.variance + b.variance
	if v == 0 {
		return 0
	}
	x, y := a.variance/v, b.variance/v
	freedom := 1 / (x*x/float64(a.N-1) + y*y/float64(b.N-1))
	return studentQuantile(1-alpha/2, freedom) * math.Sqrt(v)
}

// studentQuantile is the number below which Student's t lies with probability p, by bisection.
func studentQuantile(p, freedom float64) float64 {
	low, high := 0.0, 1.0
	for studentBelow(high, freedom) < p && high < 1e12 {
		high *= 2
	}
	for range 60 {
		if mid := (low + high) / 2; studentBelow(mid, freedom) < p {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// studentBelow is the probability that Student's t lies below t >= 0.
func studentBelow(t, freedom float64) float64 {
	return 1 - incompleteBeta(freedom/2, 0.5, freedom/(freedom+t*t))/2
}

// incompleteBeta is the regularized incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4).
func incompleteBeta(a, b, x float64) float64 {
	if x <= 0 || x >= 1 {
		return math.Max(0, math.Min(1, x))
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	if x < (a+1)/(a+b+2) {
		return front * betaFraction(a, b, x) / a
	}
	return 1 - front*betaFraction(b, a, 1-x)/b
}

func betaFraction(a, b, x float64) float64 {
	const tiny, enough = 1e-300, 1e-15
	away := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/away(1-(a+b)*x/(a+1))
	out := d
	for m := 1.0; m < 1000; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / away(1+even*d)
		c = away(1 + even/c)
		out *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / away(1+odd*d)
		c = away(1 + odd/c)
		out *= d * c
		if math.Abs(d*c-1) < enough {
			break
		}
	}
	return out
}

// Line is y = Offset + Slope x by least squares, with the interval of the slope.
type Line struct {
	Offset, Slope, Low, High float64
	Interval                 bool // three points or more
}

// Fit draws a line through points; false: they are not enough.
func Fit(points [][2]float64) (Line, bool) {
	n := float64(len(points))
	mx, my := 0.0, 0.0
	for _, p := range points {
		mx += p[0] / n
		my += p[1] / n
	}
	sxx, sxy := 0.0, 0.0
	for _, p := range points {
		sxx += (p[0] - mx) * (p[0] - mx)
		sxy += (p[0] - mx) * (p[1] - my)
	}
	if n < 2 || !(sxx > 0) {
		return Line{}, false
	}
	l := Line{Slope: sxy / sxx, Interval: n > 2}
	l.Offset, l.Low, l.High = my-l.Slope*mx, l.Slope, l.Slope
	if l.Interval {
		rest := 0.0
		for _, p := range points {
			d := p[1] - l.Offset - l.Slope*p[0]
			rest += d * d
		}
		half := studentQuantile(1-(1-confidence)/2, n-2) * math.Sqrt(rest/(n-2)/sxx)
		l.Low, l.High = l.Slope-half, l.Slope+half
	}
	return l, true
}
