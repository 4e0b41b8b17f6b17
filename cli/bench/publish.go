package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kith-im/kith/cli/child"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Bounds of a run of Publish.
const (
	MaxPublishers = 256
	MaxMessages   = 5000 // of one publisher: what a pass allows
	MaxRelays     = 7
	PhasePublish  = "publish"
	PhaseFetch    = "fetch"
)

// Publish is what `kith bench publish` does: many publish to one mailbox, which several relays hold, with their usual
// limits and rates. A message is in custody when W relays signed for it. With Kill, so many relays are killed for good
// when half of the messages are out.
type Publish struct {
	Exe, Folder, Over string
	Publishers        int
	Messages          int // of each publisher
	Bytes             int
	Relays, W, Kill   int
	Tell              func(Phase)
}

// Published is what came of it.
type Published struct {
	OK         bool    `json:"ok"`
	Partial    bool    `json:"partial"`
	Messages   int     `json:"messages"`
	Custody    int     `json:"custody"` // W receipts were checked
	Fetched    int     `json:"fetched"` // of these, from the relays that live
	Copies     int     `json:"copies"`  // fetched in all
	Lost       int     `json:"lost"`
	Doubled    int     `json:"doubled"` // the same message twice from one relay
	PerSecond  float64 `json:"messages_per_s"`
	P50        float64 `json:"p50_ms"` // from the first deposit to the W-th receipt
	P99        float64 `json:"p99_ms"`
	Publishers int     `json:"publishers"`
	Payload    int     `json:"payload_bytes"`
	Relays     int     `json:"relays"`
	W          int     `json:"w"`
	Killed     int     `json:"killed"`
	Over       string  `json:"over"`
	Why        string  `json:"why,omitempty"`
}

// Run starts the relays, publishes, fetches and ends them. The result is valid also with an error.
func (p Publish) Run(ctx context.Context) (Published, error) {
	r := Published{
		Messages: p.Publishers * p.Messages, Publishers: p.Publishers, Payload: p.Bytes, Relays: p.Relays, W: p.W, Over: p.Over,
	}
	folder, end, err := workshop(p.Folder)
	if err != nil {
		return r, err
	}
	err = p.play(ctx, folder, &r)
	if interrupted(ctx, err) {
		r.Partial, err = true, ctx.Err()
	}
	r.judge(err)
	return r, errors.Join(err, end())
}

func (r *Published) judge(err error) {
	switch {
	case err != nil:
		r.Why = err.Error()
	case r.Custody < r.Messages:
		r.Why = fmt.Sprintf("%d of %d messages got no custody", r.Messages-r.Custody, r.Messages)
	case r.Lost > 0 || r.Doubled > 0:
		r.Why = fmt.Sprintf("%d lost, %d doubled", r.Lost, r.Doubled)
	}
	r.OK = r.Why == ""
}

// fleet is the relays of a run.
type fleet struct {
	all  []*child.Relay
	kill atomic.Int32 // how many are still to be killed
	left atomic.Int32 // messages until then
	dead atomic.Int32
}

func (p Publish) start(ctx context.Context, folder string) (*fleet, error) {
	f := &fleet{all: make([]*child.Relay, p.Relays)}
	f.kill.Store(int32(p.Kill))
	f.left.Store(int32(p.Publishers * p.Messages / 2))
	errs := make([]error, p.Relays)
	var wg sync.WaitGroup
	for i := range f.all {
		wg.Go(func() {
			f.all[i], errs[i] = child.Start(ctx, p.Exe, filepath.Join(folder, fmt.Sprintf("relay%d", i+1)), "")
		})
	}
	wg.Wait()
	return f, errors.Join(errs...)
}

func (f *fleet) end() {
	var wg sync.WaitGroup
	for _, r := range f.all {
		if r != nil {
			wg.Go(r.End)
		}
	}
	wg.Wait()
}

// sent counts a message, and kills when it is time.
func (f *fleet) sent() {
	if f.left.Add(-1) != 0 {
		return
	}
	for i := range int(f.kill.Load()) {
		if f.all[i].Kill() == nil {
			f.dead.Add(1)
		}
	}
}

func (p Publish) play(ctx context.Context, folder string, r *Published) error {
	start, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	f, err := p.start(start, folder)
	defer f.end()
	if err != nil {
		return err
	}
	var at []dht.Peer
	for _, one := range f.all {
		at = append(at, reachedBy(one.Self, p.Over))
	}
	clients, closeAll, err := clients(p.Publishers+1, p.Over)
	defer closeAll()
	if err != nil {
		return err
	}
	owner, err := newSender(clients[p.Publishers], at[0], p.Bytes)
	if err != nil {
		return err
	}
	if err := owner.open(start, at); err != nil {
		return err
	}
	writers := make([]*publisher, p.Publishers)
	for i := range writers {
		if writers[i], err = newPublisher(clients[i], owner, at, i, p); err != nil {
			return err
		}
	}
	err = p.publish(ctx, f, writers, r)
	r.Killed = int(f.dead.Load())
	if err != nil {
		return err
	}
	return p.fetch(ctx, owner, at[r.Killed:], writers, r)
}

// publish lets all of them send all of theirs.
func (p Publish) publish(ctx context.Context, f *fleet, writers []*publisher, r *Published) error {
	var wg sync.WaitGroup
	begun := time.Now()
	for _, w := range writers {
		wg.Go(func() { w.run(ctx, p.Messages, f.sent) })
	}
	wg.Wait()
	took := time.Since(begun)
	var all []time.Duration
	var err error
	for _, w := range writers {
		all = append(all, w.took...)
		err = errors.Join(err, w.failed)
	}
	r.Custody = len(all)
	phase := Phase{Name: PhasePublish, PerSecond: perSecond(len(all), took), Latency: latencyOf(all)}
	r.PerSecond, r.P50, r.P99 = phase.PerSecond, phase.P50, phase.P99
	p.Tell(phase)
	return err
}

// fetch empties the mailbox at every relay that lives, as its owner.
func (p Publish) fetch(ctx context.Context, owner *sender, living []dht.Peer, writers []*publisher, r *Published) error {
	found := map[mailbox.EnvelopeID]int{}
	var acks []time.Duration
	begun := time.Now()
	for _, relay := range living {
		phase, ids, err := drain(ctx, []*sender{owner.at(relay)})
		if err != nil {
			return err
		}
		acks = append(acks, time.Duration(phase.Avg*float64(time.Millisecond)))
		for id, n := range ids {
			found[id]++
			r.Copies += n
			r.Doubled += n - 1
		}
	}
	for _, w := range writers {
		for id := range w.custody {
			if found[id] == 0 {
				r.Lost++
			} else {
				r.Fetched++
			}
		}
	}
	p.Tell(Phase{Name: PhaseFetch, PerSecond: perSecond(r.Copies, time.Since(begun)), Latency: latencyOf(acks)})
	return nil
}
