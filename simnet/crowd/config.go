// Package crowd is a population of production engines in virtual time: people with their devices and relays, who come and go, write
// to each other, and have faults happen to them. It says what was lost, doubled, shown late, or read by whom it was not for, and how
// long what arrived took.
//
// One seed gives one result, byte for byte. What the population does, and how fast, is drawn from simnet/model; what the network
// does from simnet.
package crowd

import (
	"fmt"
	"slices"
	"time"

	"github.com/kith-im/kith/mailbox/election"
	roster "github.com/kith-im/kith/node/group"
	"github.com/kith-im/kith/simnet"
	"github.com/kith-im/kith/simnet/model"
)

// Config is a population and what happens to it. Default gives one that makes sense; New checks it.
type Config struct {
	Users int
	For   time.Duration // of virtual time, after the population has been set up
	Seed  uint64

	PerUser  []float64 // share of the users with 1, 2, 3 … devices
	Messages float64   // that a user writes a day, on average
	Uneven   float64   // sigma of the log-normal by which people write more or less; 0: all alike
	Contacts int       // people whom everybody knows
	Flat     bool      // people write at all hours alike
	HotShare float64   // of the messages that go to one person, whom everybody knows
	Rush     model.Rush
	Groups   []Group
	People   []model.Part // classes of devices; their lives are not played

	RelayCount int
	Relays     []model.Part // classes of relays; one that dies is followed by another
	Candidates int          // relays that a device has heard of
	R, W, S    int          // members of a set, receipts that make custody, standbys
	NoRepair   bool

	Links     string        // near: 20 to 60 ms between all; world: eight regions
	Loss      float64       // share of the packets
	Bandwidth float64       // bytes a second that a device sends; it gets five times, a relay sends and gets ten times as much; 0: no limit
	NAT       float64       // share of the devices behind translators
	Punch     float64       // share of the pairs of these that reach each other
	Skew      time.Duration // standard deviation of clocks
	Directory int           // nodes that serve the directory; 0: the relays, and the devices that are behind no translator

	Faults []Fault
	Until  string // drain: at the end everybody comes back and has a day; now: it ends at once
	Trace  bool   // keep what happened, line by line
}

// Group is a conversation of many, with its share of the messages.
type Group = model.Group

// Fault is something that happens at a time.
type Fault struct {
	At, For time.Duration
	Kind    string
	Share   float64 // of those whom it can happen to
	Name    string  // for the trace
}

// Kinds of faults, with what they do.
var Kinds = map[string]string{
	"relays-die":        "relays are gone, with their disks",
	"relays-away":       "relays are away for a while",
	"relays-lose-disk":  "relays come back empty",
	"relays-delete":     "relays sign for mail and keep nothing",
	"relays-withhold":   "relays keep mail and prove it, and hand nothing out to devices",
	"relays-forge":      "relays hand out other bytes than they got",
	"relays-blocked":    "no device reaches these relays for a while",
	"sybils":            "so many more relays, of one owner in one network, who delete what they sign for",
	"partition":         "the network is in two for a while, so many on the smaller side",
	"bootstrap-blocked": "devices reach no directory for a while",
	"devices-away":      "devices are away for a while",
	"devices-crash":     "processes of devices end and start again, after a while",
	"devices-lose-disk": "devices are gone, with their disks",
	"device-removed":    "people with several devices remove one",
	"device-added":      "people add a device",
}

// KindNames are the kinds of faults, sorted.
func KindNames() []string {
	var out []string
	for k := range Kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Default is a small town for a week.
func Default() Config {
	m, p := model.Default(), election.DefaultPolicy()
	return Config{
		Users: 100, For: 7 * 24 * time.Hour, Seed: 1,
		PerUser: m.PerUser, Messages: m.Messages, Uneven: m.Uneven, Contacts: 6, People: m.People,
		RelayCount: 20, Relays: m.Relays, Candidates: 16, R: p.R, W: p.W, S: p.S,
		Links: "world", Loss: 0.005, NAT: 0.9, Punch: 0.7, Skew: 5 * time.Second, Until: "drain",
	}
}

// Records is how many sets of relays a process remembers (dht.Remember) that plays so many people: eight of each device, in two
// versions, of one and a half devices each. Its devices would have a copy each otherwise.
func Records(people int) int { return max(1<<13, people*8*2*3/2) }

// MaxPerUser is how many devices a user may have.
const MaxPerUser = 8

const (
	maxUsers  = 100_000
	maxRelays = 10_000
	maxFor    = 400 * 24 * time.Hour
)

// Check finds what makes no sense.
func (c *Config) Check() error {
	switch {
	case c.Users < 2 || c.Users > maxUsers:
		return model.Refuse("users", "%d, want 2 to %d", c.Users, maxUsers)
	case c.For < time.Hour || c.For > maxFor:
		return model.Refuse("span", "%v, want %v to %v", c.For, time.Hour, maxFor)
	case len(c.PerUser) > MaxPerUser:
		return model.Refuse("devices_per_user", "at most %d", MaxPerUser)
	case !(c.Messages >= 0 && c.Messages <= 10_000):
		return model.Refuse("messages", "%g a day, want 0 to 10000", c.Messages)
	case !(c.Uneven >= 0 && c.Uneven <= 3):
		return model.Refuse("uneven", "%g, want 0 to 3", c.Uneven)
	case c.Contacts < 1 || c.Contacts > 60:
		return model.Refuse("contacts", "%d, want 1 to 60", c.Contacts)
	case c.RelayCount < 1 || c.RelayCount > maxRelays:
		return model.Refuse("relays", "%d, want 1 to %d", c.RelayCount, maxRelays)
	case c.Candidates < 1 || c.Candidates > 64:
		return model.Refuse("candidates", "%d, want 1 to 64", c.Candidates)
	case c.R < 1 || c.S < 0 || c.R+c.S > 8:
		return model.Refuse("r", "%d and s %d, want at least 1 and 0, and at most 8 together", c.R, c.S)
	case c.W < 1 || c.W > c.R:
		return model.Refuse("w", "%d, want 1 to %d, which is r", c.W, c.R)
	case c.Links != "near" && c.Links != "world":
		return model.Refuse("links", "%q, want near or world", c.Links)
	case c.Until != "drain" && c.Until != "now":
		return model.Refuse("until", "%q, want drain or now", c.Until)
	case !(c.Bandwidth == 0 || c.Bandwidth >= 1000):
		return model.Refuse("bandwidth", "%g bytes a second, want 0 or at least 1000", c.Bandwidth)
	case c.Skew < 0 || c.Skew > time.Hour:
		return model.Refuse("skew", "%v, want 0 to %v", c.Skew, time.Hour)
	case c.Rush.For > 0 && c.Rush.At >= c.For:
		return model.Refuse("rush_at", "%v, in a run of %v", c.Rush.At, c.For)
	case c.Directory < 0 || c.Directory > 100_000_000:
		return model.Refuse("directory", "%d nodes, want 0 to 10^8", c.Directory)
	case c.Loss > 0.5:
		return model.Refuse("loss", "%g, want at most 0.5", c.Loss)
	}
	for _, s := range []struct {
		name  string
		value float64
	}{{"hot_share", c.HotShare}, {"loss", c.Loss}, {"nat", c.NAT}, {"punch", c.Punch}} {
		if !(s.value >= 0 && s.value <= 1) {
			return model.Refuse(s.name, "%g, want 0 to 1", s.value)
		}
	}
	if err := c.checkGroups(); err != nil {
		return err
	}
	if err := c.checkFaults(); err != nil {
		return err
	}
	m := model.Default() // what means the same is checked in the same place
	m.PerUser, m.People, m.Relays, m.Rush, m.Days = c.PerUser, c.People, c.Relays, c.Rush, int(maxFor.Hours()/24)
	return m.Check()
}

// directory is how many nodes serve the directory.
func (c *Config) directory() int {
	if c.Directory > 0 {
		return c.Directory
	}
	devices := 0.0
	for i, share := range c.PerUser {
		devices += share * float64((i+1)*c.Users)
	}
	return max(c.RelayCount+int(devices*(1-c.NAT)), 2)
}

// Behind says whether a device is behind a translator.
func (c *Config) Behind(device string) bool {
	return simnet.Chance(c.Seed, c.NAT, device, "translator")
}

func (c *Config) checkGroups() error {
	sum := c.HotShare
	for _, g := range c.Groups {
		switch {
		case g.Size > roster.MaxMembers:
			return model.Refuse("groups", "%d members, and an engine takes at most %d: kith sim run group-sizes has larger ones", g.Size, roster.MaxMembers)
		case g.Size < 3 || g.Size > c.Users:
			return model.Refuse("groups", "%d members, want 3 to %d, which is all users", g.Size, c.Users)
		case !(g.Share >= 0):
			return model.Refuse("groups", "a share of %g", g.Share)
		}
		sum += g.Share
	}
	if sum > 1 {
		return model.Refuse("groups", "they and the hot share have %g of the messages together, want at most 1", sum)
	}
	return nil
}

func (c *Config) checkFaults() error {
	parts := 0
	for i, f := range c.Faults {
		key := fmt.Sprintf("fault.%d.", i)
		switch {
		case Kinds[f.Kind] == "":
			return model.Refuse(key+"kind", "there is no %q", f.Kind)
		case f.At < 0 || f.At >= c.For || f.For < 0:
			return model.Refuse(key+"at", "%s at %v for %v, in a run of %v", f.Kind, f.At, f.For, c.For)
		case !(f.Share >= 0 && (f.Share <= 1 || f.Kind == "sybils" && f.Share <= 100)):
			return model.Refuse(key+"share", "%g of %s", f.Share, f.Kind)
		case f.Kind == "partition" || f.Kind == "relays-blocked" || f.Kind == "bootstrap-blocked":
			parts++
		}
	}
	if parts > 8 {
		return model.Refuse("fault", "%d cuts, want at most 8", parts)
	}
	return nil
}
