package model

import "github.com/kith-im/kith/simnet/result"

// What is kept of every hour.
const (
	deliveriesHour = iota
	onlineDevices
	pendingMail
	storedMean
	lostSoFar
)

const hourMillis = 60 * minute

// course is how it went, hour by hour.
type course struct {
	series            []result.Series
	next              uint64 // the end of this hour
	delivered         uint64 // before it
	online, pendingAt float64
}

func newCourse() course {
	return course{next: hourMillis, series: []result.Series{
		deliveriesHour: {Name: "deliveries.hour", Unit: "deliveries/h"},
		onlineDevices:  {Name: "online.devices", Unit: "devices"},
		pendingMail:    {Name: "pending", Unit: "deliveries"},
		storedMean:     {Name: "stored.relay.bytes", Unit: "B"},
		lostSoFar:      {Name: "lost", Unit: "deliveries"},
	}}
}

// most is the highest point of a series.
func (c *course) most(series int) float64 {
	most := 0.0
	for _, p := range c.series[series].Points {
		most = max(most, p[1])
	}
	return most
}

// hours ends the hours that end before the next event, at t. What is counted in an hour stands at its end.
func (w *World) hours(t uint64) {
	s, c := &w.stats, &w.stats.course
	for ; c.next <= t; c.next += hourMillis {
		s.tally(c.next)
		bytes := 0.0
		for _, r := range w.slots {
			bytes += float64(w.loads[r].bytes)
		}
		done := s.all.N()
		for i, v := range [...]float64{
			deliveriesHour: float64(done - c.delivered),
			onlineDevices:  (s.onlineArea - c.online) / hourMillis,
			pendingMail:    (s.pendingArea - c.pendingAt) / hourMillis,
			storedMean:     bytes / float64(max(len(w.slots), 1)),
			lostSoFar:      float64(s.Lost),
		} {
			c.series[i].Points = append(c.series[i].Points, [2]float64{float64(c.next) / 1000, v})
		}
		c.delivered, c.online, c.pendingAt = done, s.onlineArea, s.pendingArea
	}
}
