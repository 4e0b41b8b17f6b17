package model

import "github.com/kith-im/kith/simnet/result"

// stats are what a world counts.
type stats struct {
	Counts
	events uint64

	all, there, later result.Histogram // milliseconds
	stored            result.Histogram // bytes on a relay, at the end of each day
	online, pending   int
	at                uint64
	onlineArea        float64
	pendingArea       float64
	course            course
	groups            *groupTimes
}

// Counts of a whole run. Of every delivery exactly one thing becomes: it was There, Fetched, Recovered, Expired,
// Orphaned, Lost, or is Pending.
type Counts struct {
	Messages   uint64 `json:"messages"`
	Deliveries uint64 `json:"deliveries"` // one for each device of the recipient and each other one of the author
	There      uint64 `json:"there"`      // reached a device that was there
	Pushed     uint64 `json:"pushed"`     // ... of these through its relays, because no direct way was found
	Stored     uint64 `json:"stored"`     // came to relays because the device was away
	Custody    uint64 `json:"custody"`    // ... of these with as many receipts as make custody
	Waited     uint64 `json:"waited"`     // had no custody at the first try
	Fetched    uint64 `json:"fetched"`    // from relays
	Recovered  uint64 `json:"recovered"`  // from the author's outbox, because relays gave nothing
	Destroyed  uint64 `json:"destroyed"`  // in custody, and every copy was lost: gone without the author's outbox
	Lost       uint64 `json:"lost"`       // nobody has it any more, its author neither
	Expired    uint64 `json:"expired"`    // the device was away for longer than mail lives
	Orphaned   uint64 `json:"orphaned"`   // the device was replaced before it fetched
	Pending    uint64 `json:"pending"`    // at the end
	Held       uint64 `json:"held"`       // messages written when a device was there again
	Elections  uint64 `json:"elections"`
	Copies     uint64 `json:"copies"`   // made by repair
	Deaths     uint64 `json:"deaths"`   // of relays
	Replaced   uint64 `json:"replaced"` // devices
	Wakes      uint64 `json:"wakes"`    // of devices that are there: something comes, something is written, a mailbox is looked into
	Bytes      Bytes  `json:"bytes"`
}

// Bytes on the wire of everybody, with overheads that stand in for frames.
type Bytes struct {
	Direct  uint64 `json:"direct"`
	Deposit uint64 `json:"deposit"`
	Fetch   uint64 `json:"fetch"`
	Repair  uint64 `json:"repair"`
}

func newStats() stats {
	return stats{
		all: result.NewHistogram(), there: result.NewHistogram(), later: result.NewHistogram(), stored: result.NewHistogram(),
		course: newCourse(), groups: &groupTimes{result.NewHistogram(), result.NewHistogram(), result.NewHistogram()},
	}
}

// tally brings the averages over time to the present; it comes before every change.
func (s *stats) tally(now uint64) {
	if d := float64(now - s.at); d > 0 {
		s.onlineArea += d * float64(s.online)
		s.pendingArea += d * float64(s.pending)
		s.at = now
	}
}

func (s *stats) count(e entry, n int) {
	if e.size != ackSize {
		s.pending += n
	}
}

// sample looks at the relays at the end of a day.
func (w *World) sample() {
	w.stats.tally(w.now)
	for _, r := range w.slots {
		w.stats.stored.Add(w.loads[r].bytes)
	}
}

// Totals are what came of a run, with the words of the model.
type Totals struct {
	Config Config `json:"config"`
	Days   int    `json:"days_passed"`
	Users  int    `json:"users"`
	Relays int    `json:"relays"`
	Events uint64 `json:"events"`
	Counts Counts `json:"counts"`

	Seconds      result.Spread `json:"delivery_seconds"`
	SecondsThere result.Spread `json:"delivery_seconds_there"`
	SecondsAway  result.Spread `json:"delivery_seconds_away"`
	OnlineShare  float64       `json:"online_share"`
	MeanPending  float64       `json:"mean_pending_per_device"`

	StoredBytes     result.Spread `json:"stored_bytes_per_relay"` // at the end of each day
	PeakBytes       result.Spread `json:"peak_bytes_per_relay"`
	LostShare       float64       `json:"lost_share"`        // of what was in custody, the outboxes alive or not as they were
	SenderGoneShare float64       `json:"sender_gone_share"` // ... had every outbox been gone
	RepairPerStored float64       `json:"repair_per_deposited"`
	DeviceBytesHour float64       `json:"bytes_per_device_hour"`
	RelayBytesHour  float64       `json:"bytes_per_relay_hour"`
	WakesHour       float64       `json:"wakes_per_device_hour"` // of an hour in which it is there
	LookupHops      result.Spread `json:"lookup_hops"`

	// Of each message on average.
	Envelopes    float64 `json:"message_envelopes"`
	MessageBytes float64 `json:"message_bytes"`
	RelayBytes   float64 `json:"message_relay_bytes"`

	Half result.Spread `json:"group_half_seconds"` // until half of the members of a group who are there have a message
	Most result.Spread `json:"group_most_seconds"` // ... 99 of a hundred
	All  result.Spread `json:"group_all_seconds"`
}

// lookups is how many lookups give LookupHops, and bucket how many peers of a distance a node knows.
const lookups, bucket = 500, 20

// Totals sums up what has passed so far.
func (w *World) Totals() Totals {
	s := &w.stats
	s.tally(w.now)
	c := s.Counts
	c.There, c.Fetched, c.Pending = s.there.N(), s.later.N()-c.Recovered, uint64(s.pending)
	peaks := result.NewHistogram()
	for i := range w.loads {
		peaks.Add(w.loads[i].peak)
	}
	const low = result.Lower
	r := Totals{
		Config: w.cfg, Days: w.day, Users: len(w.users), Relays: len(w.slots), Events: s.events, Counts: c,
		Seconds:      s.all.Spread("delivery.seconds", "s", low, 1e-3),
		SecondsThere: s.there.Spread("delivery.there.seconds", "s", low, 1e-3),
		SecondsAway:  s.later.Spread("delivery.away.seconds", "s", low, 1e-3),
		StoredBytes:  s.stored.Spread("stored.bytes", "B", low, 1),
		PeakBytes:    peaks.Spread("peak.bytes", "B", low, 1),
		LostShare:    part(c.Lost, c.Custody), SenderGoneShare: part(c.Destroyed, c.Custody),
		RepairPerStored: part(c.Bytes.Repair, c.Bytes.Deposit),
		LookupHops:      Hops(w.cfg.Devices, bucket, lookups, w.cfg.Seed),
		Envelopes:       part(c.Deliveries, c.Messages),
		MessageBytes:    part(c.Bytes.Direct+c.Bytes.Deposit+c.Bytes.Fetch+c.Bytes.Repair, c.Messages),
		RelayBytes:      part(c.Bytes.Deposit+c.Bytes.Fetch+2*c.Bytes.Repair, c.Messages),
		Half:            s.groups.half.Spread("group.half.seconds", "s", low, 1e-3),
		Most:            s.groups.most.Spread("group.most.seconds", "s", low, 1e-3),
		All:             s.groups.all.Spread("group.all.seconds", "s", low, 1e-3),
	}
	if w.now > 0 {
		hours := float64(w.now) / (60 * minute)
		r.OnlineShare = s.onlineArea / float64(w.now) / float64(len(w.devices))
		r.MeanPending = s.pendingArea / float64(w.now) / float64(len(w.devices))
		r.DeviceBytesHour = float64(c.Bytes.Direct*2+c.Bytes.Deposit+c.Bytes.Fetch) / hours / float64(len(w.devices))
		r.WakesHour = float64(c.Wakes) / max(s.onlineArea/(60*minute), 1)
		r.RelayBytesHour = float64(c.Bytes.Deposit+c.Bytes.Fetch+c.Bytes.Repair*2) / hours / float64(len(w.slots))
	}
	return r
}

func part(a, b uint64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// Result sums it up in the words of all simulations.
func (w *World) Result() *result.Result {
	t := w.Totals()
	c := t.Counts
	r := &result.Result{Format: result.Format, Kind: "model", Crypto: "none", Seed: w.cfg.Seed, Partial: w.day < w.cfg.Days}
	count := func(name, better string, n uint64) {
		r.Values = append(r.Values, result.Value{Name: name, Better: better, Value: float64(n)})
	}
	share := func(name, unit, better string, v float64) {
		r.Values = append(r.Values, result.Value{Name: name, Unit: unit, Better: better, Value: v})
	}
	const lower, higher = result.Lower, result.Higher
	count("lost.count", lower, c.Lost)
	share("lost.share", "", lower, t.LostShare)
	count("destroyed.count", lower, c.Destroyed)
	share("destroyed.share", "", lower, t.SenderGoneShare)
	count("expired.count", lower, c.Expired)
	count("orphaned.count", "", c.Orphaned)
	count("pending.count", "", c.Pending)
	share("pending.mean", "", lower, t.MeanPending)
	share("custody.share", "", higher, part(c.Custody, c.Stored))
	count("waited.count", lower, c.Waited)
	count("messages.count", "", c.Messages)
	count("deliveries.count", "", c.Deliveries)
	count("there.count", "", c.There)
	count("fetched.count", "", c.Fetched)
	count("recovered.count", lower, c.Recovered)
	share("online.share", "", "", t.OnlineShare)
	count("users.count", "", uint64(t.Users))
	count("relays.count", "", uint64(t.Relays))
	count("relay.deaths.count", "", c.Deaths)
	count("replaced.count", "", c.Replaced)
	count("elections.count", lower, c.Elections)
	count("copies.count", lower, c.Copies)
	share("repair.per_stored", "", lower, t.RepairPerStored)
	share("device.bytes_hour", "B/h", lower, t.DeviceBytesHour)
	share("device.wakes_hour", "", lower, t.WakesHour)
	share("relay.bytes_hour", "B/h", lower, t.RelayBytesHour)
	share("message.envelopes", "", lower, t.Envelopes)
	share("message.bytes", "B", lower, t.MessageBytes)
	share("message.relay_bytes", "B", lower, t.RelayBytes)
	share("deliveries.hour_peak", "", "", w.stats.course.most(deliveriesHour))
	count("events.count", "", t.Events)
	r.Spreads = []result.Spread{t.Seconds, t.SecondsThere, t.SecondsAway, t.StoredBytes, t.PeakBytes, t.LookupHops}
	if len(w.cfg.Groups) > 0 {
		r.Spreads = append(r.Spreads, t.Half, t.Most, t.All)
	}
	r.Series = w.stats.course.series
	r.Maps = []result.Map{result.Daily(&r.Series[deliveriesHour])}
	return r
}
