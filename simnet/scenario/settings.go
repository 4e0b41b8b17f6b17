package scenario

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/story"
)

// Kinds of scenarios: what plays them.
const (
	KindModel  = "model"  // a population, without keys and wire
	KindWorld  = "world"  // a population of production engines
	KindLookup = "lookup" // walks through the directory
	KindStory  = "story"  // a few production engines, line by line
)

var kinds = []string{KindModel, KindWorld, KindLookup, KindStory}

// config is every value of a scenario. The words that several kinds share stand in the model's.
type config struct {
	name, question, kind string
	seed                 uint64
	model                model.Config
	crowd                crowd.Config  // without what stands in model
	relayLife            time.Duration // of all classes; 0: of each its own
	closedForm           bool
	nodes                []int
	bucket, walks        int
	story                string
	faults               []fault
}

// fault is a table [[fault]].
type fault struct {
	kind     string
	at, for_ time.Duration
	share    float64
}

func newConfig(kind string) *config {
	c := &config{
		kind: kind, seed: 1, model: model.Default(), crowd: crowd.Default(),
		nodes: []int{100, 1000, 10_000, 100_000, 1_000_000}, bucket: 20, walks: 2000,
	}
	if m, d := &c.model, &c.crowd; kind == KindWorld {
		m.PerUser, m.Messages, m.Uneven, m.Contacts, m.Flat, m.HotShare, m.Rush = d.PerUser, d.Messages, d.Uneven, d.Contacts, d.Flat, d.HotShare, d.Rush
		m.People, m.RelayCount, m.Relays, m.Candidates, m.R, m.W, m.S, m.NoRepair = d.People, d.RelayCount, d.Relays, d.Candidates, d.R, d.W, d.S, d.NoRepair
	}
	return c
}

// setting is one key: which kinds have it, and where its value lies.
type setting struct {
	name  string
	kinds []string
	at    func(c *config) field
}

var (
	every   = kinds
	both    = []string{KindModel, KindWorld}
	masses  = []string{KindModel}
	engines = []string{KindWorld}
)

const (
	most     = 10_000_000
	longest  = 400 * 24 * time.Hour
	shortest = time.Minute
)

// settings are all keys in the order of a resolved scenario.
var settings = []setting{
	{"name", every, func(c *config) field { return word{&c.name, nil} }},
	{"question", every, func(c *config) field { return word{&c.question, nil} }},
	{"kind", every, func(c *config) field { return word{&c.kind, kinds} }},
	{"seed", every, func(c *config) field { return seedOf{&c.seed} }},
	{"crypto", []string{KindWorld, KindStory}, func(*config) field { return built{} }},
	{"span", masses, func(c *config) field { return days{&c.model.Days} }},
	{"span", engines, func(c *config) field { return span{&c.crowd.For, time.Hour, longest} }},
	{"until", engines, func(c *config) field { return word{&c.crowd.Until, []string{"drain", "now"}} }},
	{"trace", engines, func(c *config) field { return flag{&c.crowd.Trace} }},
	{"users", engines, func(c *config) field { return whole{&c.crowd.Users, 2, 100_000} }},
	{"devices", masses, func(c *config) field { return whole{&c.model.Devices, 10, most} }},
	{"devices_per_user", both, func(c *config) field { return shares{&c.model.PerUser} }},
	{"device_classes", both, func(c *config) field { return parts{&c.model.People} }},
	{"direct", masses, func(c *config) field { return share{&c.model.DirectPart} }},
	{"messages", both, func(c *config) field { return perDay{&c.model.Messages} }},
	{"uneven", both, func(c *config) field { return number{&c.model.Uneven, 0, 3} }},
	{"flat", both, func(c *config) field { return flag{&c.model.Flat} }},
	{"held", masses, func(c *config) field { return unset{&c.model.NotHeld} }},
	{"contacts", both, func(c *config) field { return whole{&c.model.Contacts, 1, 10_000} }},
	{"hot_share", both, func(c *config) field { return share{&c.model.HotShare} }},
	{"hot_users", masses, func(c *config) field { return whole{&c.model.HotUsers, 0, 1 << 20} }},
	{"rush_factor", both, func(c *config) field { return number{&c.model.Rush.Factor, 0, 1000} }},
	{"rush_at", both, func(c *config) field { return span{&c.model.Rush.At, 0, longest} }},
	{"rush_for", both, func(c *config) field { return span{&c.model.Rush.For, 0, longest} }},
	{"rush_local", both, func(c *config) field { return flag{&c.model.Rush.Local} }},
	{"groups", both, func(c *config) field { return groups{&c.crowd.Groups} }},
	{"links", engines, func(c *config) field { return word{&c.crowd.Links, []string{"near", "world"}} }},
	{"loss", engines, func(c *config) field { return share{&c.crowd.Loss} }},
	{"bandwidth", both, func(c *config) field { return perSecond{&c.crowd.Bandwidth} }},
	{"nat", engines, func(c *config) field { return share{&c.crowd.NAT} }},
	{"punch", engines, func(c *config) field { return share{&c.crowd.Punch} }},
	{"directory", engines, func(c *config) field { return whole{&c.crowd.Directory, 0, 100_000_000} }},
	{"skew", engines, func(c *config) field { return span{&c.crowd.Skew, 0, time.Hour} }},
	{"relays", both, func(c *config) field { return whole{&c.model.RelayCount, 0, most} }},
	{"devices_per_relay", masses, func(c *config) field { return whole{&c.model.PerRelay, 1, most} }},
	{"relay_classes", both, func(c *config) field { return parts{&c.model.Relays} }},
	{"relay_life", both, func(c *config) field { return span{&c.relayLife, 0, 10_000 * 24 * time.Hour} }},
	{"candidates", both, func(c *config) field { return whole{&c.model.Candidates, 1, 64} }},
	{"r", both, func(c *config) field { return whole{&c.model.R, 1, 7} }},
	{"w", both, func(c *config) field { return whole{&c.model.W, 1, 7} }},
	{"s", both, func(c *config) field { return whole{&c.model.S, 0, 7} }},
	{"repair", both, func(c *config) field { return unset{&c.model.NoRepair} }},
	{"silent", masses, func(c *config) field { return span{&c.model.Silent, shortest, longest} }},
	{"visits", masses, func(c *config) field { return span{&c.model.Visits, shortest, longest} }},
	{"epoch", masses, func(c *config) field { return span{&c.model.Epoch, 0, longest} }},
	{"senders_die", masses, func(c *config) field { return flag{&c.model.SendersDie} }},
	{"closed_form", masses, func(c *config) field { return flag{&c.closedForm} }},
	{"story", []string{KindStory}, func(c *config) field { return word{&c.story, story.Names()} }},
	{"nodes", []string{KindLookup}, func(c *config) field { return wholes{&c.nodes, 2, most} }},
	{"known", []string{KindLookup}, func(c *config) field { return whole{&c.bucket, 1, 256} }},
	{"walks", []string{KindLookup}, func(c *config) field { return whole{&c.walks, 1, 1_000_000} }},
}

// faultKeys are the keys of a table [[fault]], of each kind with the faults that it knows.
var faultKeys = []struct {
	name string
	at   func(c *config, f *fault) field
}{
	{"kind", func(c *config, f *fault) field { return word{&f.kind, faultKinds(c.kind)} }},
	{"at", func(_ *config, f *fault) field { return span{&f.at, 0, longest} }},
	{"for", func(_ *config, f *fault) field { return span{&f.for_, 0, longest} }},
	{"share", func(_ *config, f *fault) field { return share{&f.share} }},
}

func faultKinds(kind string) []string {
	switch kind {
	case KindModel:
		return model.FaultKinds()
	case KindWorld:
		return crowd.KindNames()
	}
	return nil
}

const maxFaults = 64

// find is the field of a key, or why there is none. A fault is made when its first key is set.
func (c *config) find(name string) (field, string) {
	if rest, ok := strings.CutPrefix(name, "fault."); ok {
		return c.findFault(rest)
	}
	var of []string
	for _, s := range settings {
		if s.name != name {
			continue
		}
		if slices.Contains(s.kinds, c.kind) {
			return s.at(c), ""
		}
		of = append(of, s.kinds...)
	}
	if of != nil {
		return nil, strconv.Quote(name) + " is a key of kind " + strings.Join(of, " and ") + ", and this is a scenario of kind " + c.kind
	}
	return nil, unknown("key", name, keyNames(c.kind))
}

func (c *config) findFault(rest string) (field, string) {
	number, name, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > len(c.faults) || n >= maxFaults || faultKinds(c.kind) == nil {
		return nil, "there is no fault " + strconv.Quote(number) + " in a scenario of kind " + c.kind
	}
	for _, k := range faultKeys {
		if k.name == name {
			if n == len(c.faults) {
				c.faults = append(c.faults, fault{share: 1})
			}
			return k.at(c, &c.faults[n]), ""
		}
	}
	var known []string
	for _, k := range faultKeys {
		known = append(known, k.name)
	}
	return nil, unknown("key of a fault", name, known)
}

// keyNames are the keys of a kind.
func keyNames(kind string) (out []string) {
	for _, s := range settings {
		if slices.Contains(s.kinds, kind) {
			out = append(out, s.name)
		}
	}
	return append(out, "fault", "expect", "sweep")
}

// Keys are all keys of scenarios and all kinds of faults.
func Keys() (out []string) {
	for _, s := range settings {
		out = append(out, s.name)
	}
	for _, k := range kinds {
		out = append(out, faultKinds(k)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
