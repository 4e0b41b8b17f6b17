package scenario

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/model"
	"github.com/kith-im/kith/simnet/result"
	"github.com/kith-im/kith/simnet/story"
	"github.com/kith-im/kith/simnet/verify"
)

// Start begins to play.
func (s *Scenario) Start() (result.Run, error) {
	run, err := s.config.start()
	if err != nil {
		return nil, s.impossible(err)
	}
	return run, s.checkFigures(run.Result())
}

// impossible is what a simulation refuses, with the line of the key that it names.
func (s *Scenario) impossible(err error) error {
	r, ok := errors.AsType[*model.Refusal](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return s.bad(err.Error())
	}
	return s.bad(r.Key+": "+r.Why(func(v any) any {
		if d, ok := v.(time.Duration); ok {
			return spanText(d)
		}
		return v
	}), r.Key)
}

func (c *config) start() (result.Run, error) {
	switch c.kind {
	case KindStory:
		s, err := story.Load(c.story)
		if err != nil {
			return nil, err
		}
		return s.Start(c.seed), nil
	case KindLookup:
		return &lookup{c: c, result: result.Result{Format: result.Format, Kind: KindLookup, Crypto: "none", Seed: c.seed}}, nil
	}
	if c.kind == KindWorld {
		d := c.town()
		return crowd.New(d)
	}
	m, err := c.population()
	if err != nil {
		return nil, err
	}
	w, err := model.New(m)
	if err != nil || !c.closedForm {
		return w, err
	}
	return withForm{w, m}, nil
}

// population is the model's own configuration.
func (c *config) population() (model.Config, error) {
	m := c.model
	m.Seed = c.seed
	m.Faults, m.Groups, m.Bandwidth = nil, c.crowd.Groups, c.crowd.Bandwidth
	for _, f := range c.faults {
		m.Faults = append(m.Faults, model.Fault{Kind: f.kind, Share: f.share, At: f.at, For: f.for_})
	}
	m.Relays = c.relays()
	return m, m.Check()
}

// relays are the classes of relays with the lives that they have.
func (c *config) relays() []model.Part {
	out := slices.Clone(c.model.Relays)
	for i := range out {
		if c.relayLife > 0 {
			out[i].LifeDays = c.relayLife.Hours() / 24
		}
	}
	return out
}

// town is the configuration of a population of engines.
func (c *config) town() crowd.Config {
	d, m := c.crowd, &c.model
	d.Seed = c.seed
	d.PerUser, d.Messages, d.Uneven, d.Contacts, d.Flat, d.HotShare, d.Rush = m.PerUser, m.Messages, m.Uneven, m.Contacts, m.Flat, m.HotShare, m.Rush
	d.People, d.RelayCount, d.Relays, d.Candidates, d.R, d.W, d.S, d.NoRepair = m.People, m.RelayCount, c.relays(), m.Candidates, m.R, m.W, m.S, m.NoRepair
	for i, f := range c.faults {
		d.Faults = append(d.Faults, crowd.Fault{At: f.at, For: f.for_, Kind: f.kind, Share: f.share, Name: fmt.Sprint(i)})
	}
	return d
}

// Crowd is the configuration of a scenario of kind world: others play it with other hosts.
func (s *Scenario) Crowd() (crowd.Config, error) {
	if s.config.kind != KindWorld {
		return crowd.Config{}, s.bad("kind: "+KindWorld+" is what can be played by hosts, not "+s.config.kind, "kind")
	}
	return s.config.town(), nil
}

// withForm is a population whose loss is known from a closed form, too.
type withForm struct {
	*model.World
	c model.Config
}

func (w withForm) Result() *result.Result {
	r := w.World.Result()
	want := 0.0
	switch {
	case w.c.NoRepair:
		want = verify.LostWithoutRepair(w.c.R, w.c.W, w.c.S, w.c.Relays[0].LifeDays, float64(w.c.Days))
	case w.c.R == 2:
		want = verify.LostWithRepair(w.c.Relays[0].LifeDays, float64(w.c.Days), w.c.Silent, w.c.Visits)
	}
	r.Values = append(r.Values, result.Value{Name: "closed_form.share", Value: want})
	ratio := result.Value{Name: "closed_form.ratio"} // of what was simulated to it
	if v, ok := r.Figure("destroyed.share"); ok && want > 0 {
		ratio.Value = v.Value / want
	}
	r.Values = append(r.Values, ratio)
	return r
}

// lookup walks through networks of several sizes.
type lookup struct {
	c      *config
	done   int
	result result.Result
}

func (l *lookup) Step() bool {
	if l.done < len(l.c.nodes) {
		n := l.c.nodes[l.done]
		s := model.Hops(n, l.c.bucket, l.c.walks, l.c.seed)
		s.Name = fmt.Sprintf("lookup.hops.%d", n)
		l.result.Spreads = append(l.result.Spreads, s)
		l.done++
	}
	return l.done < len(l.c.nodes)
}

func (l *lookup) Progress() string {
	return fmt.Sprintf("network %d of %d", l.done, len(l.c.nodes))
}

// Result has each size, and by how many hops a network of ten times the size is wider: the slope of a straight line
// through the means.
func (l *lookup) Result() *result.Result {
	r := l.result
	r.Partial = l.done < len(l.c.nodes)
	var n, sx, sy, sxx, sxy, most float64
	for i, s := range r.Spreads {
		x, y := math.Log10(float64(l.c.nodes[i])), s.Mean
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
		most = max(most, s.Max)
	}
	slope := 0.0
	if d := n*sxx - sx*sx; d > 0 {
		slope = (n*sxy - sx*sy) / d
	}
	r.Values = []result.Value{
		{Name: "lookup.hops.tenfold", Unit: "hops", Better: result.Lower, Value: slope},
		{Name: "lookup.hops.most", Unit: "hops", Better: result.Lower, Value: most},
	}
	r.Spreads = append([]result.Spread(nil), r.Spreads...)
	for _, size := range l.c.nodes[l.done:] {
		r.Spreads = append(r.Spreads, result.Spread{Name: fmt.Sprintf("lookup.hops.%d", size), Unit: "hops", Better: result.Lower})
	}
	return &r
}
