package result

import (
	"fmt"
	"strconv"
)

const hoursOfDay = 24

// Daily is a series of hours as a heat map: a column for each day, a row for each hour of it. What is not a point an hour
// gives the mean of its points.
func Daily(s *Series) Map {
	m := Map{Name: s.Name, Unit: s.Unit, X: Axis{Name: "virtual day", Cells: []string{}}, Y: Axis{Name: "hour of the day", Unit: "UTC", Cells: []string{}}, Cells: [][]float64{}}
	days := 0
	if n := len(s.Points); n > 0 {
		days = min(int((s.Points[n-1][0]-1)/(hoursOfDay*3600))+1, maxSide)
	}
	for d := range days {
		m.X.Cells = append(m.X.Cells, strconv.Itoa(d+1))
	}
	sums, ns := make([]float64, days*hoursOfDay), make([]int, days*hoursOfDay)
	for _, p := range s.Points {
		// A point stands at the end of its hour.
		if i := int((p[0] - 1) / 3600); i >= 0 && i < len(sums) {
			sums[i] += p[1]
			ns[i]++
		}
	}
	for h := range hoursOfDay {
		m.Y.Cells = append(m.Y.Cells, fmt.Sprintf("%02d", h))
		row := make([]float64, days)
		for d := range row {
			if i := d*hoursOfDay + h; ns[i] > 0 {
				row[d] = sums[i] / float64(ns[i])
			}
		}
		m.Cells = append(m.Cells, row)
	}
	return m
}
