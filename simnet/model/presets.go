package model

import (
	"maps"
	"slices"
)

// Churn is how long somebody is there and away, in turn.
type Churn struct {
	Name   string  `json:"name"`
	On     Weibull `json:"on"`
	Off    Weibull `json:"off"`
	Source string  `json:"source"`
}

// Share is the part of the time that it is there.
func (c Churn) Share() float64 { return c.On.Moment(1) / (c.On.Moment(1) + c.Off.Moment(1)) }

// Part is so much of a population.
type Part struct {
	Churn Churn   `json:"churn"`
	Share float64 `json:"share"`
	// LifeDays is the mean life, exponential; 0: for ever. With its life ends its disk.
	LifeDays float64 `json:"life_days"`
}

const hour = 60.0

// Presets are the churns that have a name.
var Presets = map[string]Churn{
	"kad": {
		Name: "kad", On: Weibull{0.61511, 169.5385}, Off: Weibull{0.47648, 413.6765},
		Source: "Steiner, En-Najjary, Biersack: Long Term Study of Peer Behavior in the KAD DHT, IEEE/ACM ToN 17(5), 2009: Weibull fits of session and inter-session times over six months",
	},
	"ipfs": {
		Name: "ipfs", On: Weibull{0.5183, 1.934 * hour}, Off: Weibull{0.47648, 413.6765},
		Source: "sessions: the Weibull through the two points of Trautwein et al.: Design and Evaluation of IPFS, SIGCOMM 2022 (87.6 % under 8 h, 2.5 % over 24 h); away: as kad, for they give none",
	},
	"phone": {
		Name: "phone", On: Weibull{0.6, 1.0158}, Off: Weibull{0.6, 40.6},
		Source: "means of 1,000 WhatsApp users over nine months (onlinestatusmonitor.com, University of Erlangen, 2014): 23 visits and 35.15 minutes a day; the shape is assumed",
	},
	"desk": {
		Name: "desk", On: Weibull{1.5, 10 * hour}, Off: Weibull{1.5, 16.6 * hour},
		Source: "assumed: a computer that is on for nine hours and off for fifteen",
	},
	"home": {
		Name: "home", On: Weibull{0.7, 28.4 * hour}, Off: Weibull{0.7, 3.16 * hour},
		Source: "assumed: 90 % up, 36 h at a time",
	},
	"vps": {
		Name: "vps", On: Weibull{1, 30 * 24 * hour}, Off: Weibull{0.7, 34.1},
		Source: "assumed: 99.9 % up, a failure a month",
	},
	"never": {
		Name: "never", On: Weibull{1, 0.001}, Off: Weibull{1, 1e9}, Source: "never there: for checks against closed forms",
	},
	"always": {
		Name: "always", On: Weibull{1, 1e9}, Off: Weibull{1, 0.001}, Source: "never away: for checks against closed forms",
	},
}

// PresetNames are the names of the presets, sorted.
func PresetNames() []string { return slices.Sorted(maps.Keys(Presets)) }

// diurnal is how much people write in each hour of their day, with mean 1. Assumed: quiet from one to six, a plateau
// from noon to evening, as messengers report.
var diurnal = [24]float64{
	0.62, 0.33, 0.17, 0.11, 0.10, 0.16, 0.41, 0.83, 1.10, 1.22, 1.28, 1.32,
	1.38, 1.36, 1.32, 1.32, 1.36, 1.42, 1.50, 1.52, 1.55, 1.45, 1.26, 0.91,
}

// zones are time zones with the share of people who live there, roughly those of the world.
var zones = []struct {
	hours int
	share float64
}{{-8, 0.05}, {-5, 0.12}, {-3, 0.06}, {0, 0.10}, {1, 0.14}, {3, 0.11}, {5, 0.24}, {8, 0.18}}

// lengths of texts, in bytes, one of sixteen at random: assumed, most are short.
var lengths = [16]int{4, 8, 12, 18, 24, 30, 36, 44, 52, 64, 80, 100, 130, 180, 350, 900}
