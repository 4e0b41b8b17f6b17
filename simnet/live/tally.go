package live

import (
	"time"

	"github.com/kith-im/kith/simnet/result"
)

// tally is what was sent and shown. It is guarded by Town.mu.
type tally struct {
	letters  map[string]*letter // by message id
	count    int                // deliveries
	all      []float64          // seconds
	there    []float64          // of devices that were there when it was written
	later    []float64
	doubled  int
	drained  bool
	failed   error
	messages int

	sentBytes, relayBytes, packets int64 // before it began
}

// letter is one message on its way.
type letter struct {
	at   time.Time
	open map[*machine]bool // who has yet to show it: whether it was there
}

// sent begins to wait for a message on each device of the recipient and each other one of the author.
func (t *Town) sent(from *resident, to *user, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &letter{at: time.Now(), open: map[*machine]bool{}}
	for _, u := range []*user{to, from.of} {
		for _, d := range u.devices {
			if d != from {
				l.open[d.machine] = d.node != nil
			}
		}
	}
	t.tally.letters[id] = l
	t.tally.messages++
	t.tally.count += len(l.open)
}

// shown hears what a device shows.
func (t *Town) shown(m *machine, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.tally.letters[id]
	if l == nil {
		return
	}
	was, open := l.open[m]
	if !open {
		return
	}
	delete(l.open, m)
	took := time.Since(l.at).Seconds()
	t.tally.all = append(t.tally.all, took)
	if was {
		t.tally.there = append(t.tally.there, took)
	} else {
		t.tally.later = append(t.tally.later, took)
	}
}

// base notes what the set-up cost.
func (t *Town) base() { t.tally.sentBytes, t.tally.relayBytes, t.tally.packets = t.bytes() }

func (t *Town) bytes() (devices, relays, packets int64) {
	for _, d := range t.devices {
		devices += d.place.sent.Load() + d.got.Load()
		packets += d.packets.Load()
	}
	for _, r := range t.relays {
		relays += r.place.sent.Load() + r.got.Load()
		packets += r.packets.Load()
	}
	return devices, relays, packets
}

// Result implements result.Run.
func (t *Town) Result() *result.Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.tally
	value := func(name, unit, better string, v float64) result.Value {
		return result.Value{Name: name, Unit: unit, Better: better, Value: v}
	}
	r := &result.Result{Format: result.Format, Kind: "live", Crypto: "real", Seed: t.cfg.Seed}
	missing, share := s.count-len(s.all), 1.0
	if s.count > 0 {
		share = float64(len(s.all)) / float64(s.count)
	}
	r.Values = []result.Value{
		value("messages", "", "", float64(s.messages)),
		value("deliveries", "", "", float64(s.count)),
		value("delivery.share", "", result.Higher, share),
		value("pending.count", "", result.Lower, float64(missing)),
	}
	if s.drained {
		r.Values = append(r.Values, value("lost.count", "", result.Lower, float64(missing)))
	}
	if hours := time.Since(t.began).Hours(); len(t.stages) == 0 && hours > 0 {
		devices, relays, packets := t.bytes()
		r.Values = append(r.Values,
			value("device.bytes_hour", "B/h", result.Lower, float64(devices-s.sentBytes)/hours/float64(len(t.devices))),
			value("relay.bytes_hour", "B/h", result.Lower, float64(relays-s.relayBytes)/hours/float64(len(t.relays))),
			value("packets", "", "", float64(packets-s.packets)))
	}
	r.Spreads = []result.Spread{
		result.Of("delivery.seconds", "s", result.Lower, s.all),
		result.Of("delivery.there.seconds", "s", result.Lower, s.there),
		result.Of("delivery.away.seconds", "s", result.Lower, s.later),
	}
	return r
}
