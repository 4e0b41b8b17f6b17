package upkeep

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/repair"
)

// Client is the way to other relays; relay.Client is one.
type Client interface {
	repair.Wire
	// Clock asks another relay for its time.
	Clock(ctx context.Context, relay dht.Peer) (time.Time, error)
}

// Config of an Upkeep. Store, Relay and Client must be set; zero Now is
// time.Now, zero Rand the system's. Log, Scrub and Announce may be nil.
type Config struct {
	Store    mailbox.Store // View and Do must allow concurrent callers
	Relay    *mailbox.Relay
	Client   Client
	Now      func() time.Time
	Rand     io.Reader
	Log      *slog.Logger
	Announce func() error // tells whoever collects that the advert has changed
	// Adopted hears of each box that got copies, after their commit; nil: nobody does.
	Adopted func(mailbox.ID)
	// Scrub reads every stored value once and returns the envelopes that are
	// spoilt, and how many it checked.
	Scrub func(ctx context.Context) (checked int, spoilt []Spoilt, err error)
	// Commits counts the changes of the store that can be seen: while it stays, the boxes are rarely gone through.
	// nil: nobody counts.
	Commits func() int64
}

// Spoilt is an envelope whose stored bytes are damaged.
type Spoilt struct {
	Box      mailbox.ID
	Envelope mailbox.EnvelopeID
}

// Stats count since the start, except Deficit, Lost, Took, Damaged, Unhealed and Braked.
type Stats struct {
	Rounds, Failed int64 // visits, and those that failed
	Compared       int64 // boxes
	Adopted        int64 // copies stored
	Refused        int64 // copies that this relay's quotas or rules refused
	Deficit        int64 // boxes x members that are lost or lacked something when last compared
	Lost           int64 // relays that count as lost
	Took           int64 // boxes that this relay took over as a standby
	ProofsFailed   int64
	Damaged        int64 // envelopes that the last scrub found spoilt
	Unhealed       int64 // of these, that no other relay could put back
	Healed         int64
	ScrubbedAt     time.Time
	Braked         bool // the clock jumped and is not believed yet
}

// Plus is s with the counters of an upkeep before added, and its last scrub as long
// as there was none since.
func (s Stats) Plus(before Stats) Stats {
	s.Rounds, s.Failed, s.Compared = s.Rounds+before.Rounds, s.Failed+before.Failed, s.Compared+before.Compared
	s.Adopted, s.Refused = s.Adopted+before.Adopted, s.Refused+before.Refused
	s.ProofsFailed, s.Healed = s.ProofsFailed+before.ProofsFailed, s.Healed+before.Healed
	if s.ScrubbedAt.IsZero() {
		s.ScrubbedAt, s.Damaged, s.Unhealed = before.ScrubbedAt, before.Damaged, before.Unhealed
	}
	return s
}

// Upkeep is the upkeep of one relay.
type Upkeep struct {
	cfg   Config
	local repair.Local
	met   *met

	mu      sync.Mutex // what follows; held for moments, or while a drain sums up
	planner *repair.Planner
	lanes   [repair.Grades]lane
	offers  []offer
	stats   Stats

	scrubbing sync.Mutex
	looking   sync.Mutex // from the first box to Sweep
	wake      chan struct{}
	ctx       context.Context
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

// offer is what a relay wants to be compared with.
type offer struct {
	from  []byte
	boxes []mailbox.ID
}

// New returns an Upkeep that does nothing before Start.
func New(cfg Config) *Upkeep {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Rand = &shared{r: cfg.Rand}
	u := &Upkeep{
		cfg:     cfg,
		local:   repair.Local{Store: cfg.Store, Relay: cfg.Relay, Now: cfg.Now, Rand: cfg.Rand, Adopted: cfg.Adopted},
		met:     newMet(cfg.Relay.Peer()),
		planner: repair.New(cfg.Relay.Peer()),
		wake:    make(chan struct{}, 1),
	}
	u.ctx, u.stop = context.WithCancel(context.Background())
	return u
}

// shared lets the rounds and a drain draw from one source.
type shared struct {
	mu sync.Mutex
	r  io.Reader
}

func (s *shared) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return io.ReadFull(s.r, p)
}

// Start begins the rounds. Call it once.
func (u *Upkeep) Start() {
	u.wg.Add(1)
	go u.run()
}

// Close ends the rounds and waits for them. A Drain or Scrub of somebody else
// is ended too, but not waited for: its caller has to, before the store closes.
func (u *Upkeep) Close() error {
	u.stop()
	u.wg.Wait()
	return nil
}

// Stats returns the counters.
func (u *Upkeep) Stats() Stats {
	var braked bool
	_ = u.cfg.Store.View(func(tx mailbox.Tx) error { braked = !tx.Clock().Held.IsZero(); return nil })
	u.mu.Lock()
	defer u.mu.Unlock()
	s, now := u.stats, u.planner.Status(u.cfg.Now())
	s.Deficit, s.Lost, s.Took, s.Braked = int64(now.Deficit), int64(now.Lost), int64(now.Took), braked
	return s
}

// Offered hears that another relay asks to be compared with; it is the
// Config.Offered of the relay's server.
func (u *Upkeep) Offered(from []byte, boxes []mailbox.ID) {
	u.mu.Lock()
	if len(u.offers) < maxOffers {
		u.offers = append(u.offers, offer{from, boxes})
	}
	u.mu.Unlock()
	u.nudge()
}

// Connected hears that a node is connected. If it is a relay of our boxes it is
// visited soon: it may have been away, and may have lost what it had.
func (u *Upkeep) Connected(peer []byte) {
	u.mu.Lock()
	hurried := u.planner.Back(peer, u.cfg.Now())
	u.mu.Unlock()
	if hurried {
		u.nudge()
	}
}

// Met remembers a relay's advert, if it is fresh.
func (u *Upkeep) Met(a *dht.Advert) { u.met.add(a, u.cfg.Now()) }

// Gossip is at most MaxGossip fresh adverts of relays that this one has met; it
// is the Config.Gossip of the relay's server.
func (u *Upkeep) Gossip() [][]byte { return u.met.some(u.cfg.Now(), MaxGossip, u.cfg.Rand) }

func (u *Upkeep) nudge() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// times are when what happens rarely is due, and what the store was like when its boxes were gone through.
type times struct {
	look, clock, scrub time.Time
	seen               time.Time
	commits            int64
	boxes              int
}

// run is the goroutine of the rounds.
func (u *Upkeep) run() {
	defer u.wg.Done()
	at := times{scrub: u.cfg.Now().Add(scrubFirst)}
	for u.ctx.Err() == nil {
		now := u.cfg.Now()
		u.rare(&at, now)
		u.begin(now)
		u.wait(at)
	}
}

// lane has the visits to relays of one grade.
type lane struct {
	waiting []repair.Visit
	running int
}

// begin starts the visits that are due, a few of each grade at a time: those who
// stall keep only their like waiting.
func (u *Upkeep) begin(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, v := range u.planner.Due(now, u.cfg.Rand) {
		u.planner.Begin(v.Peer.ID)
		u.lanes[v.Grade].waiting = append(u.lanes[v.Grade].waiting, v)
	}
	for i := range u.lanes {
		for l := &u.lanes[i]; len(l.waiting) > 0 && l.running < visitsAtOnce; {
			v := l.waiting[0]
			l.waiting = l.waiting[1:]
			l.running++
			u.wg.Go(func() { u.visit(v, l); u.nudge() })
		}
	}
}

// rare does what is due besides visits.
func (u *Upkeep) rare(at *times, now time.Time) {
	u.mu.Lock()
	offers := u.offers
	u.offers = nil
	u.mu.Unlock()
	// A clock that was set back must not keep anything waiting.
	if !now.Before(at.look) || at.look.Sub(now) > 2*poll {
		u.glance(at, now)
		at.look = now.Add(min(poll, lookEvery+time.Duration(at.boxes)*lookBox))
	}
	u.heed(offers, now)
	if !now.Before(at.clock) || at.clock.Sub(now) > clockEvery {
		u.askClocks()
		at.clock = now.Add(clockEvery)
	}
	if u.cfg.Scrub != nil && (!now.Before(at.scrub) || at.scrub.Sub(now) > scrubEvery) {
		at.scrub = now.Add(scrubEvery)
		u.wg.Go(u.daily)
	}
}

// glance goes through the boxes if the store has changed since the last time, and after lookAnyway.
func (u *Upkeep) glance(at *times, now time.Time) {
	commits := int64(-1)
	if u.cfg.Commits != nil {
		commits = u.cfg.Commits()
	}
	if passed := now.Sub(at.seen); commits >= 0 && commits == at.commits && passed >= 0 && passed < lookAnyway {
		return
	}
	boxes, err := u.look()
	if at.boxes = boxes; err == nil { // who could not look looks again soon
		at.seen, at.commits = now, commits
	}
}

// daily is a scrub that nobody asked for: it may take long, and visits go on.
func (u *Upkeep) daily() {
	if _, _, _, err := u.Scrub(u.ctx); err != nil && u.ctx.Err() == nil {
		u.cfg.Log.Warn("relay: scrub", "err", err)
	}
}

// heed notes offers. It looks at the boxes that they name, which may be new, and
// at no others: an offer costs its sender next to nothing.
func (u *Upkeep) heed(offers []offer, now time.Time) {
	for _, o := range offers {
		_ = u.lookAt(o.boxes)
		u.mu.Lock()
		u.planner.Offered(o.from, now, o.boxes)
		u.mu.Unlock()
	}
}

// wait sleeps until something is due or an offer comes.
func (u *Upkeep) wait(at times) {
	now := u.cfg.Now()
	u.mu.Lock()
	next := u.planner.Deadline()
	u.mu.Unlock()
	d := min(poll, at.look.Sub(now))
	if !next.IsZero() {
		d = min(d, next.Sub(now))
	}
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
	case <-u.wake:
	case <-u.ctx.Done():
	}
}

// look goes through the boxes of the store and counts them.
func (u *Upkeep) look() (boxes int, err error) {
	u.looking.Lock()
	defer u.looking.Unlock()
	var ids []mailbox.ID
	err = u.cfg.Store.View(func(tx mailbox.Tx) error {
		ids = ids[:0]
		tx.EachBox(func(box mailbox.ID, _ mailbox.Box) bool { ids = append(ids, box); return true })
		return nil
	})
	for run := range slices.Chunk(ids, lookRun) {
		if err == nil && u.ctx.Err() == nil {
			err = u.lookAt(run)
		}
	}
	switch {
	case u.ctx.Err() != nil:
	case err != nil:
		u.cfg.Log.Warn("relay: boxes", "err", err)
	default:
		u.mu.Lock()
		u.planner.Sweep()
		u.mu.Unlock()
	}
	return len(ids), err
}

func (u *Upkeep) lookAt(boxes []mailbox.ID) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.cfg.Now()
	return u.cfg.Store.View(func(tx mailbox.Tx) error {
		for _, box := range boxes {
			u.planner.Look(tx, now, box)
		}
		return nil
	})
}

// visit does one visit and notes what came of it.
func (u *Upkeep) visit(v repair.Visit, l *lane) {
	within := visitWithin
	if v.Grade == repair.Slow {
		within = slowWithin
	}
	ctx, cancel := context.WithTimeout(u.ctx, within)
	out, err := u.local.Visit(ctx, u.cfg.Client, v)
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	cancel()
	now := u.cfg.Now()
	if out.Advert != nil {
		u.met.add(out.Advert, now)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l.running--
	if u.ctx.Err() != nil {
		return
	}
	u.note(out)
	switch {
	case err == nil || late && out.Compared > 0:
		out.Late = late
		u.planner.Visited(v.Peer.ID, now, out)
	default:
		u.stats.Failed++
		u.planner.Unreachable(v.Peer.ID, now, u.cfg.Rand)
	}
	if err != nil {
		u.cfg.Log.Debug("relay: visit", "err", err)
	}
	if out.Adopted > 0 || out.Proof == repair.Lied {
		u.cfg.Log.Info("relay: repair", "adopted", out.Adopted, "lied", out.Proof == repair.Lied)
	}
}

func (u *Upkeep) note(out repair.Outcome) {
	u.stats.Rounds++
	u.stats.Compared += int64(out.Compared)
	u.stats.Adopted += int64(out.Adopted)
	u.stats.Refused += int64(out.Refused)
	if out.Proof == repair.Lied || out.Proof == repair.Lacks {
		u.stats.ProofsFailed++
	}
}
