package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/mailbox/boltbox"
	"github.com/kith-im/kith/mailbox/relay"
	"github.com/kith-im/kith/mailbox/relay/prekey"
	"github.com/kith-im/kith/mailbox/upkeep"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/host"
	"github.com/kith-im/kith/node/metrics"
	"github.com/kith-im/kith/node/view"
)

// role is this node as a relay: off, or a server over its own store. The
// relay's writes never pass the loop: a busy relay does not slow the person.
type role struct {
	host *host.Own
	key  ed25519.PrivateKey
	path string         // of the mail
	dir  string         // of the chunks
	blob *blobs.Server  // of the host
	give *prekey.Server // of the host
	gift string         // of the one-time bundles
	now  func() time.Time
	rand io.Reader
	log  *slog.Logger

	mu     sync.Mutex
	limits mailbox.Limits // zero fields: the defaults
	rate   relay.Rate     // zero: the default
	run    *serving       // nil: off

	near    atomic.Pointer[upkeep.Upkeep] // run's, for libp2p's callbacks, which must not wait for a role that changes
	drained atomic.Pointer[api.Drain]     // the drain that runs or ran last
}

// serving is a role that is on.
type serving struct {
	store  *boltbox.Store
	chunks *blobs.Keeper
	stock  *prekey.Keeper
	rules  *mailbox.Relay
	server *relay.Server
	client *relay.Client // with the relay's own host: its upkeep speaks for it
	upkeep *upkeep.Upkeep

	wg     sync.WaitGroup
	ctx    context.Context
	stop   context.CancelFunc
	beyond atomic.Int64 // damaged values that the last scrub found and that nobody else has
	before counts       // of those that served before, since the relay was turned on
	leave  func()       // ends the drain that runs and waits for it; nil: none does
}

// counts are what a relay did and does.
type counts struct {
	server relay.Stats
	upkeep upkeep.Stats
}

func (s *serving) counts() counts {
	return counts{s.server.Stats().Plus(s.before.server), s.upkeep.Stats().Plus(s.before.upkeep)}
}

// set turns the role on or off; it is idempotent.
func (r *role) set(on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on == (r.run != nil):
		return nil
	case on:
		return r.open()
	}
	err := errors.Join(r.close(), r.host.Serve(false))
	r.failDrain("the relay was turned off")
	return err
}

func (r *role) open() error {
	store, err := boltbox.Open(r.path)
	if errors.Is(err, mailbox.ErrDamaged) {
		return fmt.Errorf("%s: move it aside and start again, the other relays of its mailboxes fill a new one: %w", relayFile, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", relayFile, err)
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(relayHeap)
	}
	if err = r.host.Serve(true); err == nil {
		err = r.serve(store)
	}
	if err != nil {
		return errors.Join(err, store.Close(), r.host.Serve(false))
	}
	return nil
}

// serve begins to answer from a store. A relay that was leaving goes on doing so.
func (r *role) serve(store *boltbox.Store) (err error) {
	s := &serving{store: store, rules: mailbox.NewRelay(r.key, r.limits), client: relay.NewClient(r.host, r.now)}
	s.upkeep = upkeep.New(upkeep.Config{
		Store: store, Relay: s.rules, Client: s.client, Now: r.now, Rand: r.rand, Log: r.log,
		Announce: func() error { return s.server.Announce() }, Scrub: s.scrub,
		Adopted: func(box mailbox.ID) { s.server.Arrived(box) }, Commits: func() int64 { return store.Stats().Commits },
	})
	s.server, err = relay.Serve(r.host, relay.Config{
		Store: store, Relay: s.rules, Rate: r.rate, Now: r.now, Rand: r.rand, Log: r.log,
		Gossip: s.upkeep.Gossip, Offered: s.upkeep.Offered,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("relay: %w", err), s.client.Close())
	}
	s.chunks = blobs.Keep(blobs.KeeperConfig{Dir: r.dir, Server: r.blob, Mail: store, Rules: s.rules, Now: r.now, Log: r.log})
	s.stock = prekey.Keep(prekey.KeeperConfig{Path: r.gift, Server: r.give, Mail: store, Rules: s.rules, Now: r.now, Log: r.log})
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.upkeep.Start()
	s.wg.Go(func() { r.heartbeat(s) })
	r.run = s
	r.near.Store(s.upkeep)
	var leaving time.Time
	if err := store.View(func(tx mailbox.Tx) error { leaving = tx.Leaving(); return nil }); err != nil {
		r.log.Warn("relay: whether it was leaving is not known", "err", err)
	}
	if left := leaving.Sub(r.now()); !leaving.IsZero() && left > 0 { // later it has left: it hands nothing over any more
		r.drainFor(left)
	}
	return nil
}

// halt ends what answers and leaves the store open.
func (r *role) halt() (*boltbox.Store, error) {
	s := r.run
	r.run = nil
	r.near.Store(nil)
	s.stop()
	err := errors.Join(s.stock.Close(), s.chunks.Close(), s.upkeep.Close(), s.server.Close(), s.client.Close())
	s.wg.Wait()
	return s.store, err
}

// close ends what answers before what it answers from. A store that does not
// close in time is left to the end of the process: all that was answered is on
// the disk.
func (r *role) close() error {
	store, err := r.halt()
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	late := time.NewTimer(storeWithin)
	defer late.Stop()
	select {
	case e := <-closed:
		return errors.Join(err, e)
	case <-late.C:
		return errors.Join(err, fmt.Errorf("%s: not closed within %v", relayFile, storeWithin))
	}
}

// limit changes those limits that are not zero. A relay that serves opens its
// streams again: whoever has one asks anew and is answered by the new limits.
func (r *role) limit(q api.RelayLimits) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.limits.MaxBytes, q.MaxBytes)
	change(&r.limits.MaxBoxes, q.MaxBoxes)
	change(&r.limits.BoxBytes, q.BoxBytes)
	change(&r.limits.BoxCount, q.BoxCount)
	change(&r.limits.PassBytes, q.PassBytes)
	change(&r.limits.PassCount, q.PassCount)
	change(&r.limits.BlobBytes, q.BlobBytes)
	change(&r.limits.BoxBlobBytes, q.BoxBlobBytes)
	rate := r.rateLocked()
	change(&rate.PerSecond, q.Rate)
	change(&rate.Burst, q.Burst)
	r.rate = rate
	if r.run == nil {
		return nil
	}
	was := r.run
	store, err := r.halt()
	if err == nil {
		err = r.serve(store)
	}
	if err != nil {
		return errors.Join(err, store.Close(), r.host.Serve(false))
	}
	r.run.before = was.counts()
	r.run.beyond.CompareAndSwap(0, was.beyond.Load())
	return nil
}

func change[T comparable](field *T, to T) {
	var zero T
	if to != zero {
		*field = to
	}
}

func (r *role) rateLocked() relay.Rate {
	if r.rate == (relay.Rate{}) {
		return relay.Rate{PerSecond: relay.RatePerSecond, Burst: relay.RateBurst}
	}
	return r.rate
}

// chosen are the limits that the person set; zero fields are the defaults.
func (r *role) chosen() (mailbox.Limits, relay.Rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits, r.rate
}

// drain has the relay leave within a time, and returns when that is on the disk;
// 0 calls it off.
func (r *role) drain(ctx context.Context, within time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.run
	if s == nil {
		return errNotRelay
	}
	if s.leave != nil {
		s.leave()
	}
	if within > 0 {
		if err := s.upkeep.Leave(ctx, r.now().Add(within)); err != nil {
			r.failDrain(err.Error())
			return err
		}
		r.drainFor(within)
		return nil
	}
	if err := s.upkeep.Stay(ctx); err != nil {
		return err
	}
	r.endDrain(drainCancelled, "")
	return nil
}

// failDrain shows a drain that ran, and was ended, as failed.
func (r *role) failDrain(why string) {
	if d := r.drained.Load(); d != nil && d.State == drainRunning {
		r.endDrain(drainFailed, why)
	}
}

// endDrain shows the last drain as ended. None runs.
func (r *role) endDrain(state, why string) {
	if d := r.drained.Load(); d != nil {
		over := *d
		over.State, over.Error = state, why
		r.drained.Store(&over)
	}
}

// States of a drain.
const (
	drainRunning    = "running"
	drainDone       = "done"
	drainIncomplete = "incomplete" // the time was over
	drainFailed     = "failed"
	drainCancelled  = "cancelled"
)

// drainFor begins to hand over what the relay that serves, and leaves, holds; r.mu is held.
func (r *role) drainFor(within time.Duration) {
	s := r.run
	d := &api.Drain{State: drainRunning, Until: r.now().Add(within)}
	r.drained.Store(d)
	ctx, cancel := context.WithTimeout(s.ctx, within)
	ended := make(chan struct{})
	s.leave = func() {
		cancel()
		<-ended
	}
	s.wg.Go(func() {
		defer close(ended)
		defer cancel()
		last := *d
		err := s.upkeep.Drain(ctx, func(p upkeep.Progress) {
			last.Boxes, last.Done = p.Boxes, p.Done
			now := last
			r.drained.CompareAndSwap(d, &now)
			d = &now
		})
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return // called off, or the node ends: then it goes on at the next start
		case err == nil:
			last.State = drainDone
		case errors.Is(err, context.DeadlineExceeded):
			last.State = drainIncomplete
		default:
			last.State, last.Error = drainFailed, err.Error()
		}
		r.drained.CompareAndSwap(d, &last)
		r.log.Info("relay: drained", "state", last.State, "boxes", last.Boxes, "handed over", last.Done)
	})
}

// scrub reads the store through, as upkeep wants it.
func (s *serving) scrub(ctx context.Context) (checked int, spoilt []upkeep.Spoilt, err error) {
	damage, err := s.store.Scrub(ctx, scrubRate)
	if err != nil {
		return 0, nil, err
	}
	for _, d := range damage {
		if d.Envelope != (mailbox.EnvelopeID{}) { // nothing else has a copy elsewhere
			spoilt = append(spoilt, upkeep.Spoilt{Box: d.Box, Envelope: d.Envelope})
		}
	}
	s.beyond.Store(int64(len(damage) - len(spoilt)))
	err = s.store.View(func(tx mailbox.Tx) error { checked = tx.Total().Count; return nil })
	return checked, spoilt, err
}

// check reads and checks everything stored, now.
func (r *role) check(ctx context.Context) (v api.Scrub, err error) {
	r.mu.Lock()
	s := r.run
	r.mu.Unlock()
	if s == nil {
		return v, errNotRelay
	}
	v.Checked, v.Damaged, v.Healed, err = s.upkeep.Scrub(ctx)
	return v, err
}

// met hears of adverts and connections that the node sees anyway.
func (r *role) met(a *dht.Advert) {
	if s := r.serving(); s != nil {
		s.upkeep.Met(a)
	}
}

func (r *role) connected(peer []byte) {
	if u := r.near.Load(); u != nil {
		u.Connected(peer)
	}
}

func (r *role) serving() *serving {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.run
}

// on reports whether the node serves as a relay.
func (r *role) on() bool { return r.serving() != nil }

// heartbeat writes a line now and then, so that the log alone says that the
// relay is alive and what it does.
func (r *role) heartbeat(s *serving) {
	t := time.NewTicker(heartbeatEvery)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
			r.beat()
		}
	}
}

func (r *role) beat() {
	m := r.snapshot()
	r.log.Info("relay serves", "boxes", m.Boxes, "envelopes", m.Envelopes, "bytes", m.Bytes, "deposits", m.Accepted,
		"chunks", m.Blobs.Chunks, "chunk_bytes", m.Blobs.Bytes, "bundles", m.Bundles, "pushed", m.Pushed, "acked", m.Acked, "streams", m.Streams, "collectors", m.Collectors,
		"deficit", m.Deficit, "adopted", m.Adopted, "damaged", m.Damaged, "healed", m.Healed,
		"clock_braked", m.ClockBraked, "leaving", m.Leaving)
}

// snapshot is the role as the metrics show it.
func (r *role) snapshot() metrics.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.run
	if s == nil {
		return metrics.Snapshot{}
	}
	l, did, b := s.rules.Limits(), s.counts(), s.store.Stats()
	n, u := did.server, did.upkeep
	m := metrics.Snapshot{
		Enabled: true, ClockBraked: u.Braked,
		Accepted: n.Deposits, Pushed: n.Pushed, Acked: n.Acked, Refused: map[string]int64{},
		Malformed: n.Malformed, RateLimited: n.RateLimited, TimedOut: n.TimedOut, OverLimit: n.OverLimits, Failed: n.Failed,
		Streams: n.Streams, Collectors: n.Collectors, Awaits: n.Awaits, LimitBytes: l.MaxBytes, LimitBoxes: l.MaxBoxes,
		Deficit: u.Deficit, Adopted: u.Adopted, ProofsFailed: u.ProofsFailed, Damaged: b.Damaged, Healed: u.Healed,
		Spoilt: u.Unhealed + s.beyond.Load(), Commits: b.Commits,
		Took: metrics.Latency{Bounds: relay.LatencyBounds(), Counts: n.Took.Counts[:], Sum: n.Took.Sum},
	}
	m.Bundles, m.BundlesDamaged = s.stock.Counts()
	k, f := s.chunks.Stats(), r.blob.Stats()
	m.Blobs = metrics.Blobs{
		Chunks: k.Chunks, Bytes: k.Bytes, LimitBytes: k.MaxBytes, Damaged: k.Damaged, Expired: k.Expired,
		Received: f.Received, Sent: f.Sent, BytesIn: f.BytesIn, BytesOut: f.BytesOut, Refused: f.Refused, Bad: f.Bad,
	}
	for code, count := range n.RefusedBy {
		m.Refused[code.String()] = count
	}
	if err := s.store.View(func(tx mailbox.Tx) error {
		used := tx.Total()
		m.Over, m.LimitOver = used.Over, l.MaxOver(used)
		m.Boxes, m.Envelopes, m.Bytes, m.Leaving = used.Boxes, used.Count, used.Bytes, !tx.Leaving().IsZero()
		if days := tx.Days(); len(days) > 0 {
			over := time.Unix(0, 0).Add(time.Duration(days[0]+1) * 24 * time.Hour)
			m.ExpiryLag = max(r.now().Sub(over), 0)
		}
		return nil
	}); err != nil {
		r.log.Warn("relay: its store does not answer", "err", err)
	}
	return m
}

// status is the role as the local API shows it.
func (r *role) status() api.Relay {
	m := r.snapshot()
	r.mu.Lock()
	defer r.mu.Unlock()
	rate, limits := r.rateLocked(), mailbox.NewRelay(r.key, r.limits).Limits()
	v := api.Relay{
		Enabled: m.Enabled, Deposits: m.Accepted, RefusedBy: m.Refused, Pushed: m.Pushed, Acked: m.Acked,
		RateLimited: m.RateLimited, Streams: m.Streams, Collectors: m.Collectors, Awaits: m.Awaits,
		Boxes: m.Boxes, Envelopes: m.Envelopes, Bytes: m.Bytes, Over: m.Over, MaxOver: m.LimitOver, ClockBraked: m.ClockBraked,
		Deficit: m.Deficit, Adopted: m.Adopted, ProofsFailed: m.ProofsFailed, Damaged: m.Damaged, Healed: m.Healed,
		Limits: api.RelayLimits{
			MaxBytes: limits.MaxBytes, MaxBoxes: limits.MaxBoxes, BoxBytes: limits.BoxBytes, BoxCount: limits.BoxCount,
			PassBytes: limits.PassBytes, PassCount: limits.PassCount, Rate: rate.PerSecond, Burst: rate.Burst,
			BlobBytes: limits.BlobBytes, BoxBlobBytes: limits.BoxBlobBytes,
		},
		Blobs: api.RelayBlobs{
			Chunks: m.Blobs.Chunks, Bytes: m.Blobs.Bytes, Received: m.Blobs.Received, Sent: m.Blobs.Sent,
			Refused: m.Blobs.Refused, Damaged: m.Blobs.Damaged, Expired: m.Blobs.Expired,
		},
		Bundles: m.Bundles, BadBundles: m.BundlesDamaged, Drain: r.drained.Load(),
	}
	if v.RefusedBy == nil {
		v.RefusedBy = map[string]int64{}
	}
	if r.run == nil {
		return v
	}
	did := r.run.counts()
	v.Detail = r.run.chunks.Stats().Broken
	v.Refused, v.Scrubbed = did.server.Refused, did.upkeep.ScrubbedAt
	if err := r.run.store.View(func(tx mailbox.Tx) error { v.Leaving = tx.Leaving(); return nil }); err != nil {
		v.Detail = err.Error()
	}
	return v
}

// errNotRelay answers what only a relay can do.
var errNotRelay = &view.Problem{Class: view.ErrRefused, Message: "this node does not serve as a relay", Hint: "kith relay enable"}
