package live

import (
	"time"

	"github.com/kith-im/kith/simnet/model"
)

// Config is what is played; see crowd.Config.
type Config struct {
	Users      int
	For        time.Duration
	Seed       uint64
	PerUser    []float64
	Messages   float64
	Uneven     float64
	Contacts   int
	Flat       bool
	People     []model.Part
	RelayCount int
	Relays     []model.Part
	Links      string
	Loss       float64
	NAT, Punch float64
	Skew       time.Duration
	Until      string
}

// Default is a small town for a day.
func Default() Config {
	m := model.Default()
	return Config{
		Users: 20, For: 24 * time.Hour, Seed: 1,
		PerUser: m.PerUser, Messages: m.Messages, Uneven: m.Uneven, Contacts: 6, People: m.People,
		RelayCount: 6, Relays: m.Relays,
		Links: "world", Loss: 0.005, NAT: 0.9, Punch: 0.7, Skew: 5 * time.Second, Until: "drain",
	}
}
