package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kith-im/kith/cli/child"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/relay"
)

// Bounds of a run.
const (
	MaxSenders = 4096
	MinBytes   = 64
	MaxBytes   = mailbox.MaxEnvelope
	// startWithin bounds the start of a relay and of its clients.
	startWithin = 60 * time.Second
	// lanesInAll is how many deposits are under way at once when they are pipelined.
	lanesInAll = 1024
)

// Load is what `kith bench relay` does.
type Load struct {
	Exe     string        // the kith binary, for the relay
	Folder  string        // where the relay keeps its files: the disk that is measured; empty: the temporary folder
	Senders int           // each deposits into a box of its own
	Hosts   int           // libp2p hosts that the senders share; at most Senders
	Bytes   int           // of an envelope
	For     time.Duration // of each of the two deposit phases
	Over    string        // TCP or QUIC
	Tell    func(Phase)   // hears each phase as it ends
}

// Phase is one part of a run.
type Phase struct {
	Name      string  `json:"phase"`
	PerSecond float64 `json:"per_s"`
	Latency
}

// The phases of Load.Run.
const (
	PhaseFsync    = "fsync"
	PhaseDeposit  = "deposit"
	PhasePipeline = "pipelined"
	PhaseDrain    = "drain"
)

// Result is what a run of Load found. Partial: it was interrupted, and holds what there was until then.
type Result struct {
	OK       bool    `json:"ok"`
	Partial  bool    `json:"partial"`
	Deposits float64 `json:"deposits_per_s"`
	Pipeline float64 `json:"pipelined_per_s"`
	Drain    float64 `json:"drain_per_s"`
	P50      float64 `json:"p50_ms"` // of a deposit, one at a time
	P99      float64 `json:"p99_ms"`
	FsyncP50 float64 `json:"fsync_p50_ms"`
	FsyncP99 float64 `json:"fsync_p99_ms"`
	Senders  int     `json:"senders"`
	Hosts    int     `json:"hosts"`
	Payload  int     `json:"payload_bytes"`
	Over     string  `json:"over"`
	CPU      float64 `json:"relay_cpu_us"`           // of the relay, for one deposit of those one at a time
	PipeCPU  float64 `json:"relay_cpu_pipelined_us"` // of those pipelined
	Resident int64   `json:"rss_bytes"`              // the most that the relay held, in memory
	Disk     float64 `json:"disk_bytes_per_payload"` // files of the relay / payload that it held
	Stored   int     `json:"stored"`                 // deposits with a receipt
	Drained  int     `json:"drained"`                // of them, fetched and acknowledged
	Lost     int     `json:"lost"`
	Doubled  int     `json:"doubled"`
	Why      string  `json:"why,omitempty"` // what did not hold
}

// Run starts the relay, loads it, and ends it. The result is valid also with an error.
func (l Load) Run(ctx context.Context) (Result, error) {
	r := Result{Senders: l.Senders, Hosts: l.Hosts, Payload: l.Bytes, Over: l.Over}
	folder, end, err := workshop(l.Folder)
	if err != nil {
		return r, err
	}
	err = l.play(ctx, folder, &r)
	if interrupted(ctx, err) {
		r.Partial, err = true, ctx.Err()
	}
	r.judge(err)
	return r, errors.Join(err, end())
}

// judge says whether the relay kept its word.
func (r *Result) judge(err error) {
	switch {
	case err != nil:
		r.Why = err.Error()
	case r.Lost > 0 || r.Doubled > 0:
		r.Why = fmt.Sprintf("%d lost, %d doubled", r.Lost, r.Doubled)
	}
	r.OK = r.Why == ""
}

// play is one run in a folder of its own.
func (l Load) play(ctx context.Context, folder string, r *Result) (err error) {
	disk, err := syncs(ctx, folder, l.Bytes)
	if err != nil {
		return fmt.Errorf("fsync: %w", err)
	}
	home := filepath.Join(folder, "relay")
	start, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	process, err := child.Start(start, l.Exe, home, settings)
	if err != nil {
		return err
	}
	defer process.End()
	senders, closeAll, err := l.senders(start, reachedBy(process.Self, l.Over))
	defer closeAll()
	if err != nil {
		return err
	}
	err = l.deposits(ctx, process.PID(), senders, r)
	r.Resident = peakOf(process.PID())
	if r.Stored > 0 {
		r.Disk = float64(int(1000*float64(sizeOf(home))/float64(r.Stored*l.Bytes))) / 1000
	}
	if err != nil {
		return err
	}
	if err := l.drain(ctx, senders, r); err != nil {
		return err
	}
	r.Resident = max(r.Resident, peakOf(process.PID()))
	more, err := syncs(ctx, folder, l.Bytes)
	if err != nil {
		return fmt.Errorf("fsync: %w", err)
	}
	fsync := latencyOf(append(disk, more...))
	r.FsyncP50, r.FsyncP99 = fsync.P50, fsync.P99
	l.Tell(Phase{Name: PhaseFsync, Latency: fsync})
	return nil
}

// deposits are the two phases that fill the boxes.
func (l Load) deposits(ctx context.Context, pid int, senders []*sender, r *Result) error {
	used := cpuOf(pid)
	phase, err := deposit(ctx, senders, 1, l.For)
	r.Deposits, r.P50, r.P99 = phase.PerSecond, phase.P50, phase.P99
	r.Stored += phase.N
	r.CPU = each(cpuOf(pid)-used, phase.N)
	phase.Name = PhaseDeposit
	l.Tell(phase)
	if err != nil {
		return err
	}
	used = cpuOf(pid)
	phase, err = deposit(ctx, senders, l.lanes(), l.For)
	r.Pipeline = phase.PerSecond
	r.Stored += phase.N
	r.PipeCPU = each(cpuOf(pid)-used, phase.N)
	phase.Name = PhasePipeline
	l.Tell(phase)
	return err
}

// each is a share in microseconds.
func each(d time.Duration, n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(d.Microseconds() / int64(n))
}

// lanes is how many deposits of one sender are under way when they are pipelined: more than its host's stream carries
// would only wait for each other.
func (l Load) lanes() int { return max(1, min(lanesInAll, l.Hosts*relay.MaxInFlight)/l.Senders) }

// drain is the phase that empties the boxes, and the proof that all was kept.
func (l Load) drain(ctx context.Context, senders []*sender, r *Result) error {
	phase, found, err := drain(ctx, senders)
	r.Drain = phase.PerSecond
	r.compare(senders, found)
	phase.Name = PhaseDrain
	l.Tell(phase)
	return err
}

// compare counts what a receipt was given for against what was fetched. Mail without a receipt promises nothing.
func (r *Result) compare(senders []*sender, found map[mailbox.EnvelopeID]int) {
	for _, s := range senders {
		for id := range s.stored {
			switch n := found[id]; n {
			case 0:
				r.Lost++
			default:
				r.Drained++
				r.Doubled += n - 1
			}
		}
	}
}
