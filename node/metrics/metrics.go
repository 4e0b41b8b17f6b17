// Package metrics shows a relay's operator what the relay does, in the format of Prometheus, over HTTP.
//
// What it guarantees: a registry of its own, with the names of Names and nothing else; no metric has a label that names
// a peer, a box or a person; the page is served on a loopback address unless the operator says otherwise, and a request
// takes a bounded time and place.
//
// What it does not: it keeps nothing, authenticates nobody, and has no profiles.
package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Snapshot is a relay at one moment. Counters count since the relay began to serve.
type Snapshot struct {
	Enabled, Leaving, ClockBraked bool

	Accepted, Pushed, Acked int64
	Refused                 map[string]int64 // by reason, in the words of mailbox.Code

	Malformed, RateLimited, TimedOut, OverLimit, Failed int64

	Streams, Collectors, Awaits int64
	Boxes, Envelopes            int
	Bytes                       uint64
	LimitBytes                  uint64
	Over, LimitOver             uint64 // what boxes cost above their floors, and may: a relay is full by these
	LimitBoxes                  uint32

	ExpiryLag                                       time.Duration // since the oldest day still stored was over
	Deficit, Adopted, ProofsFailed, Damaged, Healed int64
	Spoilt, Commits                                 int64

	Bundles, BundlesDamaged int // one-time bundles

	Blobs Blobs
	Took  Latency
}

// Blobs are the relay's part in attachments; what is sent and refused counts the device's own files too.
type Blobs struct {
	Chunks            int
	Bytes, LimitBytes int64
	Received, Sent    int64 // chunks
	BytesIn, BytesOut int64
	Refused, Bad      int64
	Damaged, Expired  int64
}

// Latency is a histogram: Counts[i] took at most Bounds[i], and longer than the bound before; one count more has no bound.
type Latency struct {
	Bounds []time.Duration
	Counts []int64
	Sum    time.Duration
}

// metric makes the histogram as Prometheus counts, each bucket with those below it.
func (l Latency) metric(d *prometheus.Desc) prometheus.Metric {
	below := map[float64]uint64{}
	var n uint64
	for i, count := range l.Counts {
		n += uint64(count)
		if i < len(l.Bounds) {
			below[l.Bounds[i].Seconds()] = n
		}
	}
	return prometheus.MustNewConstHistogram(d, n, l.Sum.Seconds(), below)
}

// metric is one row of the table.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	read       func(Snapshot) float64
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

const prefix = "kith_relay_"

// table is every metric but the refusals, which have a label, and the histogram.
var table = []metric{
	{"enabled", "1 while this node serves as a relay.", prometheus.GaugeValue, func(s Snapshot) float64 { return b2f(s.Enabled) }},
	{"leaving", "1 while the relay drains.", prometheus.GaugeValue, func(s Snapshot) float64 { return b2f(s.Leaving) }},
	{"deposits_accepted_total", "Envelopes taken into custody.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Accepted) }},
	{"pushed_total", "Envelopes sent on collect streams.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Pushed) }},
	{"acked_total", "Envelopes acknowledged by their owners.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Acked) }},
	{"malformed_total", "Streams closed for a frame that breaks the rules.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Malformed) }},
	{"rate_limited_total", "Requests over the rate of a peer or of its address.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.RateLimited) }},
	{"timeouts_total", "Streams closed by a deadline.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.TimedOut) }},
	{"over_limit_total", "Streams refused or closed by a count.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.OverLimit) }},
	{"failed_total", "Requests that the store could not serve.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Failed) }},
	{"streams", "Streams open now.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Streams) }},
	{"collectors", "Streams on which somebody collects now.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Collectors) }},
	{"awaits", "Senders that wait for room now.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Awaits) }},
	{"boxes", "Boxes reserved or leased.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Boxes) }},
	{"envelopes", "Envelopes stored.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Envelopes) }},
	{"bytes", "Bytes of the envelopes stored.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Bytes) }},
	{"limit_bytes", "Bytes that the relay takes at most.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.LimitBytes) }},
	{"over_bytes", "What boxes cost above the 64 KiB that each is sure of.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Over) }},
	{"limit_over_bytes", "What boxes may cost above that: then the relay is full.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.LimitOver) }},
	{"limit_boxes", "Boxes that the relay takes at most.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.LimitBoxes) }},
	{"expiry_lag_seconds", "Since the oldest day still stored was over; 0 if none is.", prometheus.GaugeValue, func(s Snapshot) float64 { return s.ExpiryLag.Seconds() }},
	{"clock_braked", "1 while the clock is not believed and nothing is deleted.", prometheus.GaugeValue, func(s Snapshot) float64 { return b2f(s.ClockBraked) }},
	{"replication_deficit", "Copies of boxes that other relays of their sets lack, in part or whole, as far as they were compared.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Deficit) }},
	{"adopted_total", "Envelopes taken over from other relays.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Adopted) }},
	{"proofs_failed_total", "Other relays that could not prove what they claim to hold.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.ProofsFailed) }},
	{"spoilt", "Stored values that the last look through the store found damaged and nobody put back.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Spoilt) }},
	{"damaged_total", "Times that a stored value failed its check.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Damaged) }},
	{"healed_total", "Damaged envelopes put back from another relay.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Healed) }},
	{"blob_chunks", "Chunks of attachments stored.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Blobs.Chunks) }},
	{"blob_bytes", "Bytes of the chunks stored.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Blobs.Bytes) }},
	{"limit_blob_bytes", "Bytes of chunks that the relay takes at most.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Blobs.LimitBytes) }},
	{"blob_received_total", "Chunks taken from others.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Received) }},
	{"blob_received_bytes_total", "Bytes of the chunks taken.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.BytesIn) }},
	{"blob_sent_total", "Chunks given to others.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Sent) }},
	{"blob_sent_bytes_total", "Bytes of the chunks given.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.BytesOut) }},
	{"blob_refused_total", "Questions about chunks refused: no lease, full, too often.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Refused) }},
	{"blob_malformed_total", "Streams of chunks closed for what breaks the rules, and chunks that were others than announced.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Bad) }},
	{"blob_damaged_total", "Stored chunks found damaged, and dropped.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Damaged) }},
	{"blob_expired_total", "Chunks dropped because their time was over.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Blobs.Expired) }},
	{"bundles", "One-time bundles held, for who begins a session while their device is away.", prometheus.GaugeValue, func(s Snapshot) float64 { return float64(s.Bundles) }},
	{"bundles_damaged_total", "One-time bundles found damaged, and dropped.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.BundlesDamaged) }},
	{"store_commits_total", "Transactions that the store made durable.", prometheus.CounterValue, func(s Snapshot) float64 { return float64(s.Commits) }},
}

const (
	refusedName = prefix + "deposits_refused_total"
	tookName    = prefix + "deposit_seconds"
)

// Names lists every metric, as a dashboard may name it.
func Names() []string {
	out := []string{refusedName, tookName + "_bucket", tookName + "_sum", tookName + "_count"}
	for _, m := range table {
		out = append(out, prefix+m.name)
	}
	slices.Sort(out)
	return out
}

// Metrics are those of one relay.
type Metrics struct {
	read     func() Snapshot
	registry *prometheus.Registry
	took     *prometheus.Desc
	refused  *prometheus.Desc
	descs    []*prometheus.Desc // as table
}

// New makes a registry that asks read for each page.
func New(read func() Snapshot) *Metrics {
	m := &Metrics{
		read: read, registry: prometheus.NewRegistry(),
		took:    prometheus.NewDesc(tookName, "From a deposit's frame to its answer, the commit included.", nil, nil),
		refused: prometheus.NewDesc(refusedName, "Requests refused, by reason.", []string{"reason"}, nil),
	}
	for _, row := range table {
		m.descs = append(m.descs, prometheus.NewDesc(prefix+row.name, row.help, nil, nil))
	}
	m.registry.MustRegister(collector{m})
	return m
}

// collector makes one page out of one snapshot.
type collector struct{ *Metrics }

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.refused
	out <- c.took
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	for i, row := range table {
		out <- prometheus.MustNewConstMetric(c.descs[i], row.kind, row.read(s))
	}
	out <- s.Took.metric(c.took)
	for reason, n := range s.Refused {
		out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(n), reason)
	}
}
