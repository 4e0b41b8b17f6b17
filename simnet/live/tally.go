package live

import (
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/simnet/result"
)

// tally is what was sent and shown. It is guarded by Town.mu.
type tally struct {
	letters                        map[string]*letter // by message id
	messages, deliveries, custody  int
	doubled, late, dropped, deaths int
	removedRead                    int
	drained                        bool
	failed                         error
	all, there, away               result.Histogram

	base, end totals
}

// letter is one message.
type letter struct {
	at   time.Time
	from *machine
	due  map[*machine]*due
	not  []*machine // that it must not reach: the author knew that they were removed
}

// due is a device that a message is for.
type due struct{ there, custody, shown bool }

// totals are sums over all hosts.
type totals struct {
	at                      time.Time
	devices, relays, packet int64
}

// slack is how much later than its end a message may be shown, for clocks differ.
const slack = 10 * time.Minute

func newTally() tally {
	return tally{
		letters: map[string]*letter{}, all: result.NewHistogram(), there: result.NewHistogram(), away: result.NewHistogram(),
	}
}

// sent begins to wait for a message on each device of the recipients and each other one of the author.
func (t *Town) sent(from *resident, w words, id string, not []*machine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &letter{at: time.Now(), from: from.machine, due: map[*machine]*due{}, not: not}
	for _, u := range w.people(from.of) {
		for _, d := range u.devices {
			if d != from && !d.gone {
				l.due[d.machine] = &due{there: d.node != nil}
			}
		}
	}
	t.tally.letters[id] = l
	t.tally.messages++
	t.tally.deliveries += len(l.due)
}

// shown hears what a device shows.
func (t *Town) shown(m *machine, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, s := t.tally.letters[id], &t.tally
	if l != nil && slices.Contains(l.not, m) {
		s.removedRead++
	}
	if l == nil || l.from == m || l.due[m] == nil {
		return
	}
	d := l.due[m]
	if d.shown {
		s.doubled++
		return
	}
	d.shown = true
	took := time.Since(l.at)
	if took > mailbox.MaxTTL+slack {
		s.late++
	}
	ms := uint64(max(took.Milliseconds(), 0))
	s.all.Add(ms)
	if d.there {
		s.there.Add(ms)
	} else {
		s.away.Add(ms)
	}
}

func (t *Town) inCustody(id, device string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.tally.letters[id]
	if l == nil {
		return
	}
	for m, d := range l.due {
		if m.id == device && !d.custody {
			d.custody = true
			t.tally.custody++
		}
	}
}

// forget takes a device that is gone off everything that is due.
func (t *Town) forget(m *machine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.tally.letters {
		if d := l.due[m]; d != nil && !d.shown {
			delete(l.due, m)
			t.tally.dropped++
		}
	}
}

// finish ends what counts, but for what is still to arrive.
func (t *Town) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.drained, t.tally.end = true, t.totals()
}

func (t *Town) totals() totals {
	sum := totals{at: time.Now()}
	for _, d := range t.devices {
		sum.devices += d.place.sent.Load() + d.got.Load()
		sum.packet += d.packets.Load()
	}
	for _, r := range t.relays {
		sum.relays += r.place.sent.Load() + r.got.Load()
		sum.packet += r.packets.Load()
	}
	return sum
}

// Result implements result.Run. Its figures have the names that crowd gives them.
func (t *Town) Result() *result.Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.tally
	r := &result.Result{Format: result.Format, Kind: "live", Crypto: agree.Kind, Seed: t.cfg.Seed, Partial: !t.over}
	add := func(name, unit, better string, v float64) {
		r.Values = append(r.Values, result.Value{Name: name, Unit: unit, Better: better, Value: v})
	}
	lost, orphaned, dropped, unfinished := t.missing()
	broken := 0
	if t.err != nil || s.failed != nil {
		broken = 1
	}
	for _, c := range []struct {
		name, better string
		n            int
	}{
		{"lost.count", result.Lower, lost},
		{"doubled.count", result.Lower, s.doubled},
		{"late.count", result.Lower, s.late},
		{"removed.read.count", result.Lower, s.removedRead},
		{"broken.count", result.Lower, broken},
		{"orphaned.count", "", orphaned},
		{"dropped.count", "", s.dropped + dropped},
		{"pending.count", "", unfinished},
		{"messages.count", "", s.messages},
		{"deliveries.count", "", s.deliveries},
		{"users.count", "", len(t.users)},
		{"devices.count", "", len(t.devices)},
		{"relays.count", "", len(t.relays)},
		{"relay.deaths.count", "", s.deaths},
	} {
		add(c.name, "", c.better, float64(c.n))
	}
	add("custody.share", "", result.Higher, float64(s.custody)/float64(max(s.deliveries, 1)))
	end := s.end
	if !s.drained {
		end = t.totals()
	}
	hours := end.at.Sub(s.base.at).Hours()
	if s.base.at.IsZero() || hours <= 0 { // before the beginning: the names are there, nothing has cost anything
		hours, end = 1, s.base
	}
	add("device.bytes_hour", "B/h", result.Lower, float64(end.devices-s.base.devices)/hours/float64(max(len(t.devices), 1)))
	add("relay.bytes_hour", "B/h", result.Lower, float64(end.relays-s.base.relays)/hours/float64(max(len(t.relays), 1)))
	add("packets.hour", "1/h", "", float64(end.packet-s.base.packet)/hours)
	r.Spreads = []result.Spread{
		s.all.Spread("delivery.seconds", "s", result.Lower, 1e-3), s.there.Spread("delivery.there.seconds", "s", result.Lower, 1e-3),
		s.away.Spread("delivery.away.seconds", "s", result.Lower, 1e-3),
	}
	return r
}

// missing says what became of what was not shown: lost, if everybody was back; gone with its author, if no relay had it; not
// believed any more, if its author was removed.
func (t *Town) missing() (lost, orphaned, dropped, unfinished int) {
	who := map[*machine]*resident{}
	for _, d := range t.devices {
		who[d.machine] = d
	}
	for _, l := range t.tally.letters {
		for _, d := range l.due {
			switch from := who[l.from]; {
			case d.shown:
			case from.removed:
				dropped++
			case from.gone && !d.custody:
				orphaned++
			case t.over && t.tally.drained:
				lost++
			default:
				unfinished++
			}
		}
	}
	return lost, orphaned, dropped, unfinished
}
