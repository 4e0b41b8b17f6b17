package simnet

import (
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Device is one production engine with its store in memory.
type Device struct {
	w       *World
	name    string
	shortID string
	rng     io.Reader
	self    dht.Peer
	store   store.Store
	engine  *node.Engine // nil while the process is down
	config  node.Config
	skew    time.Duration
	up      bool
	away    bool // the process runs, without a network
	at      port
	links   links
	dials   map[string][]func(up bool) // peers that are being dialled: what waits for it
	sought  map[string]time.Time       // peers behind translators, when it dialled them last
	timer   time.Time                  // of the next tick that is planned, on the world's clock; zero: none
	knows   []*Relay                   // those whose adverts it asks for; nil: all
	looked  time.Time
	asked   map[*Relay]time.Time // for their adverts
	opens   bool                 // its streams are about to be opened
	opening bool                 // ... and are being opened
	drains  bool                 // they will be asked for everything anew
	turns   uint64
	Shown   []view.Message
	seen    map[string]int
	told    func(view.Notice)
	deaf    bool
}

// AddDevice makes a person with a first device, offline.
func (w *World) AddDevice(name string) (*Device, error) {
	d := w.blankDevice(name)
	seed := [32]byte{}
	if _, err := io.ReadFull(d.rng, seed[:]); err != nil {
		return nil, err
	}
	err := d.store.Update(func(tx store.Tx) error {
		return node.Create(d.turnOn(tx, &node.Effects{}), node.CreateParams{Root: identity.NewRootFromSeed(seed), Name: name, DeviceName: name})
	})
	return d, err
}

// blankDevice is a device without an identity.
func (w *World) blankDevice(name string) *Device {
	d := &Device{
		w: w, name: name, rng: w.entropy(name), store: w.newStore(), seen: map[string]int{},
		config: node.Config{Policy: w.policy, Events: 1}, // nobody asks for them
	}
	_, d.self = w.newPeer(d.rng, 0)
	w.hosts[string(d.self.ID)] = d
	w.devices = append(w.devices, d)
	return d
}

// LinkDevice adds a device to the person of old, which is online.
func (w *World) LinkDevice(name string, old *Device) (*Device, error) {
	var text string
	if err := old.Do(func(e *node.Engine, t *node.Turn) error {
		v, err := e.OfferDevice(t, 0)
		text = v.Text
		return err
	}); err != nil {
		return nil, err
	}
	d := w.blankDevice(name)
	l, err := node.NewLinker(d.time(), d.rng, text, name)
	if err != nil {
		return nil, err
	}
	var welcome, record, listed []byte
	out := &node.Effects{}
	err = errors.Join(
		old.Do(func(e *node.Engine, t *node.Turn) (err error) { welcome, err = e.LinkHello(t, l.Hello()); return err }),
		d.store.Update(func(tx store.Tx) (err error) { record, err = l.Welcome(d.turnOn(tx, out), welcome, d.self); return err }),
	)
	if err != nil {
		return nil, err
	}
	d.perform(out) // the record is published before the list names the device
	err = errors.Join(
		old.Do(func(e *node.Engine, t *node.Turn) (err error) { listed, err = e.LinkRecord(t, record); return err }),
		d.store.Update(func(tx store.Tx) error { return l.Finish(d.turnOn(tx, &node.Effects{}), listed) }),
	)
	return d, err
}

// Name is the device's name in the trace.
func (d *Device) Name() string   { return d.name }
func (d *Device) online() bool   { return d.up && !d.away }
func (d *Device) peer() dht.Peer { return d.self }

// Skew sets the device's clock off the world's.
func (d *Device) Skew(by time.Duration) { d.skew = by }

func (d *Device) time() time.Time { return d.w.now.Add(d.skew) }

func (d *Device) turnOn(tx store.Tx, out *node.Effects) *node.Turn {
	return &node.Turn{Now: d.time(), Rand: d.rng, Tx: tx, Out: out}
}

// Start loads the engine from its store and connects.
func (d *Device) Start() error {
	out := &node.Effects{}
	err := d.store.Update(func(tx store.Tx) error {
		t := d.turnOn(tx, out)
		e, err := node.Load(t, d.config)
		if err != nil {
			return err
		}
		d.engine = e
		e.SetHost(t, d.self)
		return nil
	})
	if err != nil {
		return err
	}
	d.up = true
	d.w.Log(d.name, "starts")
	d.perform(out)
	d.meet()
	d.plan()
	return nil
}

// Stop ends the process: memory is gone, the store stays. It is the same for a crash, because the store commits turns whole.
func (d *Device) Stop() {
	d.w.Log(d.name, "stops")
	d.up, d.engine, d.timer = false, nil, time.Time{}
	d.hangUp()
}

func (d *Device) hangUp() {
	for _, peer := range d.links.all() {
		d.w.disconnect(d, peer)
	}
}

// asleep reports whether nothing ticks: on a network who is away is a computer that sleeps. What would come of its ticks is
// tries that fail.
func (d *Device) asleep() bool { return d.away && d.w.net != nil }

// Leave takes the device off the network. Its process runs on; on a world with a network it sleeps, until Return.
func (d *Device) Leave() {
	if !d.away {
		d.w.Log(d.name, "goes away")
		d.away = true
		d.hangUp()
	}
}

// Return brings it back onto the network.
func (d *Device) Return() {
	if d.away {
		d.w.Log(d.name, "is back")
		d.away = false
		d.plan()
		d.meet()
	}
}

// Here reports whether the device runs and is on the network.
func (d *Device) Here() bool { return d.online() }

// Lose destroys the device's disk: the process is gone, and so is what nobody else has. It does not start again.
func (d *Device) Lose() {
	if d.up {
		d.Stop()
	}
	d.w.Log(d.name, "loses its disk")
	d.store = d.w.newStore()
}

// Do runs one turn, commits, and performs its effects. A turn that does not commit leaves the engine's memory ahead of
// its store, and is treated as the production loop treats it: as a crash.
func (d *Device) Do(fn func(*node.Engine, *node.Turn) error) error {
	if d.engine == nil {
		return errors.New("simnet: " + d.name + " is down")
	}
	out := d.w.effects()
	defer d.w.spend(out)
	d.turns++
	err := d.store.Update(func(tx store.Tx) error { return fn(d.engine, d.turnOn(tx, out)) })
	var p *view.Problem
	switch {
	case errors.As(err, &p):
		return err
	case err != nil:
		d.Stop()
		return errors.Join(err, d.Start())
	}
	d.perform(out)
	d.plan()
	return nil
}

// effects is where a turn puts its effects; spend takes it back. Turns within each other, of links that come up, have one each.
func (w *World) effects() *node.Effects {
	n := len(w.spare)
	if n == 0 {
		return &node.Effects{}
	}
	out := w.spare[n-1]
	w.spare = w.spare[:n-1]
	return out
}

func (w *World) spend(out *node.Effects) {
	*out = node.Effects{}
	w.spare = append(w.spare, out)
}

// input is a Do for an event that nobody waits for; it is lost while the device is down, or if the disk fails.
func (d *Device) input(fn func(*node.Engine, *node.Turn)) {
	if d.engine == nil {
		return
	}
	if err := d.Do(func(e *node.Engine, t *node.Turn) error { fn(e, t); return nil }); err != nil {
		d.w.Log(d.name, "turn failed: %v", err)
	}
}

// Wrap puts a store in front of the device's, to plant a fault.
func (d *Device) Wrap(with func(store.Store) store.Store) { d.store = with(d.store) }

// Up reports whether the process runs.
func (d *Device) Up() bool { return d.up }

// Turns is how often the engine was called.
func (d *Device) Turns() uint64 { return d.turns }

// ID is the device id, in hex.
func (d *Device) ID() string { return d.id() }

// Notices hands every notice of the device to fn, after its commit.
func (d *Device) Notices(fn func(view.Notice)) { d.told = fn }

// plan books the engine's next tick. One that is planned for an earlier time stays: it looks again.
func (d *Device) plan() {
	if d.engine == nil || d.asleep() {
		return
	}
	next := d.engine.Deadline()
	if next.IsZero() {
		return
	}
	at := next.Add(-d.skew)
	if at.Before(d.w.now) {
		at = d.w.now
	}
	if !d.timer.IsZero() && !d.timer.After(at) {
		return
	}
	d.timer = at
	d.w.at(at, func() { d.tick(at) })
}

// tick runs what is due, unless another tick has taken the place of the one that was planned for this time.
func (d *Device) tick(planned time.Time) {
	if d.engine == nil || !d.timer.Equal(planned) {
		return
	}
	if d.timer = (time.Time{}); d.asleep() {
		return
	}
	if next := d.engine.Deadline(); next.IsZero() || next.After(d.time()) {
		d.plan()
		return
	}
	d.input(func(e *node.Engine, t *node.Turn) { e.Tick(t) })
}

// reply brings an answer into the engine after a time.
func (d *Device) reply(wait time.Duration, fn func(*node.Engine, *node.Turn)) {
	d.w.after(wait, func() { d.input(fn) })
}

func (d *Device) perform(out *node.Effects) {
	for _, n := range out.Notices {
		d.note(n)
	}
	for _, n := range out.Signals {
		d.w.Log(d.name, "%s: %s writes %t", n.Type, n.Typing.From, n.Typing.On)
	}
	for _, a := range out.Acks {
		d.ack(a)
	}
	for _, x := range out.Directs {
		d.direct(x)
	}
	for _, x := range out.Deposits {
		d.deposit(x)
	}
	for _, x := range out.Audits {
		d.audit(x)
	}
	for _, x := range out.Awaits {
		d.await(x)
	}
	for _, key := range out.Lookups {
		d.find(key)
	}
	for _, p := range out.Puts {
		d.publish(p)
	}
	for _, p := range out.Connects {
		if h, ok := d.w.reach(d, p.ID); ok {
			d.dial(h)
		}
	}
	for _, x := range out.Prekeys {
		d.prekey(x)
	}
	for _, x := range out.Stocks {
		d.stock(x)
	}
	d.elect(out)
	if out.Watches && d.engine != nil {
		d.watchSoon()
	}
}

// note checks the invariants that a person would notice, and keeps the trace.
func (d *Device) note(n view.Notice) {
	if !d.w.quiet {
		d.describe(n)
	}
	if n.Type == "message" {
		if d.seen[n.ID]++; d.seen[n.ID] > 1 {
			d.w.fail("%s shows a message twice", d.name)
		}
		d.w.note(uint64(len(d.seen)))
	}
	if d.told != nil {
		d.told(n)
	}
}

func (d *Device) describe(n view.Notice) {
	switch {
	case n.Type == "message" && !n.Message.Mine:
		d.Shown = append(d.Shown, *n.Message)
		d.w.Log(d.name, "shows %q from %s", clip(n.Message.Text), n.Message.From)
	case n.Type == "message":
		d.w.Log(d.name, "has %q of its own for %s", clip(n.Message.Text), n.Message.With)
	case n.Type == "stage":
		d.w.Log(d.name, "%s for %s: custody %d/%d", n.Stage.Stage, d.w.deviceName(n.Stage.Device), n.Stage.Custody, n.Stage.Replicas)
	case n.Type == "contact":
		d.w.Log(d.name, "contact %s is %s (verified %t)", n.Contact.Handle, n.Contact.State, n.Contact.Verified)
	default:
		d.w.Log(d.name, "%s: %s", n.Type, n.Text)
	}
}

func clip(s string) string {
	if len(s) > 24 {
		return s[:24] + "…"
	}
	return s
}

// deviceName finds a device's name by its id, which is drawn from the seed and so the same in every run.
func (w *World) deviceName(id string) string {
	if w.named[id] == "" {
		for _, d := range w.devices {
			w.named[d.id()] = d.name
		}
		delete(w.named, "")
	}
	if name := w.named[id]; name != "" {
		return name
	}
	return "?"
}

// id is empty until the device has an identity, which it then keeps.
func (d *Device) id() string {
	if d.shortID != "" {
		return d.shortID
	}
	var v view.Identity
	if d.store.View(func(tx store.Tx) (err error) { v, err = node.Identity(tx); return err }) == nil {
		d.shortID = v.Device
	}
	return d.shortID
}

// View reads the device's store, whether its process is up or not. A store in memory does not fail.
func (d *Device) View(fn func(store.Tx) error) {
	if err := d.store.View(fn); err != nil {
		d.w.Log(d.name, "view: %v", err)
	}
}
