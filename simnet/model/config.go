package model

import (
	"fmt"
	"math"
	"time"

	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/repair"
)

// Config is a population. Default gives one that makes sense; New checks it.
type Config struct {
	Devices int    `json:"devices"`
	Days    int    `json:"days"`
	Seed    uint64 `json:"seed"`

	PerUser    []float64 `json:"devices_per_user"` // share of the users with 1, 2, 3 … devices
	Messages   float64   `json:"messages_per_user_and_day"`
	Uneven     float64   `json:"uneven"`   // sigma of the log-normal by which people write more or less; 0: all alike
	NotHeld    bool      `json:"not_held"` // what people would write while no device of theirs is there they never write
	Contacts   int       `json:"contacts"`
	Flat       bool      `json:"flat"` // people write at all hours alike
	People     []Part    `json:"device_classes"`
	DirectPart float64   `json:"direct_part"` // of two devices that are there at once, how many reach each other
	Bandwidth  float64   `json:"bandwidth"`   // bytes a second that a device sends; 0: no limit

	HotShare float64 `json:"hot_share"` // of the messages go to few
	HotUsers int     `json:"hot_users"` // ... to so many
	Rush     Rush    `json:"rush"`
	Groups   []Group `json:"groups"`
	Faults   []Fault `json:"faults"`

	RelayCount int           `json:"relays"` // 0: by PerRelay
	PerRelay   int           `json:"devices_per_relay"`
	Relays     []Part        `json:"relay_classes"`
	Candidates int           `json:"candidates"` // relays that a device chooses from
	R          int           `json:"r"`          // members of a set, receipts that make custody, standbys
	W          int           `json:"w"`
	S          int           `json:"s"`
	NoRepair   bool          `json:"no_repair"`
	Silent     time.Duration `json:"silent"`      // how long a relay is silent before the first standby counts it as lost
	Visits     time.Duration `json:"visits"`      // how often relays visit each other
	Epoch      time.Duration `json:"epoch"`       // how often a device elects without a reason; 0: never
	SendersDie bool          `json:"senders_die"` // right after custody: what relays lose is lost
}

// Default is a population of people with phones, computers and a few boxes at home, on relays at homes and in data
// centres.
func Default() Config {
	p := election.DefaultPolicy()
	return Config{
		Devices: 10_000, Days: 30, Seed: 1,
		PerUser: []float64{0.6, 0.3, 0.1}, Messages: 43, Uneven: 1, Contacts: 24, DirectPart: 0.7,
		People: []Part{
			{Churn: Presets["phone"], Share: 0.3, LifeDays: 900},
			{Churn: Presets["desk"], Share: 0.4, LifeDays: 1500},
			{Churn: Presets["home"], Share: 0.3, LifeDays: 1500},
		},
		PerRelay: 100,
		Relays: []Part{
			{Churn: Presets["home"], Share: 0.6, LifeDays: 100},
			{Churn: Presets["vps"], Share: 0.3, LifeDays: 700},
			{Churn: Presets["kad"], Share: 0.1, LifeDays: 30},
		},
		Candidates: 16, R: p.R, W: p.W, S: p.S, Silent: repair.SilentFor, Visits: repair.Every,
	}
}

// policy is how devices elect.
func (c *Config) policy() election.Policy {
	p := election.DefaultPolicy()
	p.R, p.W, p.S = c.R, c.W, c.S
	return p
}

const (
	maxDevices = 20_000_000
	maxDays    = 400
	minute     = 60_000
	dayMillis  = 24 * 60 * minute
	forever    = 1 << 52 // milliseconds
	maxSeats   = 8       // of a box
)

// Refusal says that a value makes no sense, also beside others: it is that of a key, by its name in scenarios.
type Refusal struct {
	Key  string
	why  string
	args []any
}

// Refuse makes a refusal.
func Refuse(key, why string, args ...any) error { return &Refusal{key, why, args} }

func (r *Refusal) Error() string { return r.Key + ": " + r.Why(func(v any) any { return v }) }

// Why is what makes no sense. Its values are written as the caller writes them.
func (r *Refusal) Why(write func(any) any) string {
	args := make([]any, len(r.args))
	for i, a := range r.args {
		args[i] = write(a)
	}
	return fmt.Sprintf(r.why, args...)
}

// Check finds what makes no sense: a Refusal.
func (c *Config) Check() error {
	switch {
	case c.Devices < 10 || c.Devices > maxDevices:
		return Refuse("devices", "%d, want 10 to %d", c.Devices, maxDevices)
	case c.Days < 1 || c.Days > maxDays:
		return Refuse("span", "%d, want 1 to %d", c.Days, maxDays)
	case !(c.Messages >= 0 && c.Messages <= 10_000):
		return Refuse("messages", "%g a day, want 0 to 10000", c.Messages)
	case !(c.Uneven >= 0 && c.Uneven <= 3):
		return Refuse("uneven", "%g, want 0 to 3", c.Uneven)
	case c.Contacts < 2 || c.Contacts > 10_000:
		return Refuse("contacts", "%d, want 2 to 10000", c.Contacts)
	case !(c.DirectPart >= 0 && c.DirectPart <= 1):
		return Refuse("direct", "%g, want 0 to 1", c.DirectPart)
	case c.RelayCount < 0 || c.RelayCount > maxDevices:
		return Refuse("relays", "%d, want 1 to %d, or 0 for as many as the devices need", c.RelayCount, maxDevices)
	case c.PerRelay < 1:
		return Refuse("devices_per_relay", "%d, want at least 1", c.PerRelay)
	case c.Candidates < 1 || c.Candidates > 64:
		return Refuse("candidates", "%d, want 1 to 64", c.Candidates)
	case c.R < 1 || c.R+c.S > maxSeats:
		return Refuse("r", "%d and s %d, want at least 1, and at most %d together", c.R, c.S, maxSeats)
	case c.W < 1 || c.W > c.R:
		return Refuse("w", "%d, want 1 to %d, which is r", c.W, c.R)
	case c.S < 1:
		return Refuse("s", "%d, want at least 1", c.S)
	}
	if err := c.checkFaults(); err != nil {
		return err
	}
	if err := c.checkGroups(); err != nil {
		return err
	}
	if err := checkParts("device_classes", c.People); err != nil {
		return err
	}
	if err := checkParts("relay_classes", c.Relays); err != nil {
		return err
	}
	return checkShares("devices_per_user", c.PerUser)
}

func checkParts(what string, parts []Part) error {
	var shares []float64
	for _, p := range parts {
		for _, w := range []Weibull{p.Churn.On, p.Churn.Off} {
			if !(w.Shape >= 0.2 && w.Shape <= 20 && w.Scale > 0 && w.Scale <= 1e9) {
				return Refuse(what, "%s: shape %g, scale %g min", p.Churn.Name, w.Shape, w.Scale)
			}
		}
		if !(p.LifeDays >= 0) {
			return Refuse(what, "%s: a life of %g days", p.Churn.Name, p.LifeDays)
		}
		shares = append(shares, p.Share)
	}
	return checkShares(what, shares)
}

func checkShares(what string, shares []float64) error {
	sum := 0.0
	for _, s := range shares {
		if !(s >= 0) {
			return Refuse(what, "a share of %g", s)
		}
		sum += s
	}
	if len(shares) == 0 || len(shares) > 16 || math.Abs(sum-1) > 1e-6 {
		return Refuse(what, "shares add up to %g, want 1", sum)
	}
	return nil
}
