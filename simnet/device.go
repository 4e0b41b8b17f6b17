package simnet

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Device is one production engine with its store in memory.
type Device struct {
	w      *World
	name   string
	rng    io.Reader
	self   dht.Peer
	store  store.Store
	engine *node.Engine // nil while the process is down
	config node.Config
	skew   time.Duration
	up     bool
	links  []string // peer ids that are connected
	timer  uint64   // number of the newest tick planned
	Shown  []view.Message
	seen   map[string]int
	told   func(view.Notice)
	deaf   bool
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
		w: w, name: name, rng: w.entropy(name), store: store.NewMemory(), seen: map[string]int{},
		config: node.Config{Policy: election.LocalPolicy()},
	}
	_, d.self = w.newPeer(d.rng)
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
func (d *Device) online() bool   { return d.up }
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
	for _, r := range d.w.relays {
		d.connect(r)
	}
	d.plan()
	return nil
}

// Stop ends the process: memory is gone, the store stays. It is the same for a crash, because the store commits turns whole.
func (d *Device) Stop() {
	d.w.Log(d.name, "stops")
	d.up, d.engine = false, nil
	for _, peer := range slices.Clone(d.links) {
		d.w.disconnect(d, peer)
	}
}

// Do runs one turn, commits, and performs its effects. A turn that does not commit leaves the engine's memory ahead of
// its store, and is treated as the production loop treats it: as a crash.
func (d *Device) Do(fn func(*node.Engine, *node.Turn) error) error {
	if d.engine == nil {
		return errors.New("simnet: " + d.name + " is down")
	}
	out := &node.Effects{}
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

// ID is the device id, in hex.
func (d *Device) ID() string { return d.id() }

// Notices hands every notice of the device to fn, after its commit.
func (d *Device) Notices(fn func(view.Notice)) { d.told = fn }

// plan books the engine's next tick.
func (d *Device) plan() {
	if d.engine == nil {
		return
	}
	next := d.engine.Deadline()
	if next.IsZero() {
		return
	}
	d.timer++
	mine := d.timer
	d.w.at(next.Add(-d.skew), func() {
		if d.engine != nil && d.timer == mine {
			d.input(func(e *node.Engine, t *node.Turn) { e.Tick(t) })
		}
	})
}

// reply brings an answer of the network into the engine, after a latency.
func (d *Device) reply(fn func(*node.Engine, *node.Turn)) {
	d.w.after(d.w.latency(), func() { d.input(fn) })
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
		d.reply(func(e *node.Engine, t *node.Turn) { e.Looked(t, key, d.w.records[key]) })
	}
	for _, p := range out.Puts {
		d.w.put(p)
		d.reply(func(e *node.Engine, t *node.Turn) { e.Published(t, p.Key, 1) })
	}
	for _, p := range out.Connects {
		if h, ok := d.w.reach(d, p.ID); ok {
			d.connect(h)
		}
	}
	d.elect(out)
	if out.Watches && d.engine != nil {
		d.w.after(0, d.watch)
	}
}

// note checks the invariants that a person would notice, and keeps the trace.
func (d *Device) note(n view.Notice) {
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
	if n.Type == "message" {
		if d.seen[n.ID]++; d.seen[n.ID] > 1 {
			d.w.fail("%s shows a message twice", d.name)
		}
	}
	if d.told != nil {
		d.told(n)
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
	for _, d := range w.devices {
		if d.id() == id {
			return d.name
		}
	}
	return "?"
}

func (d *Device) id() string {
	var v view.Identity
	if d.store.View(func(tx store.Tx) (err error) { v, err = node.Identity(tx); return err }) != nil {
		return ""
	}
	return v.Device
}

func (d *Device) ack(a node.RelayAck) {
	r, ok := d.w.relayAt(d, a.Relay.ID)
	if !ok {
		return
	}
	d.w.after(d.w.latency(), func() { r.ack(a) })
}

func (d *Device) direct(x node.Direct) {
	h, ok := d.w.reach(d, x.Peer.ID)
	to, device := h.(*Device)
	if !ok || !device {
		d.reply(func(e *node.Engine, t *node.Turn) { e.DirectDone(t, x.Ref, false) })
		return
	}
	d.connect(to)
	d.w.carry(Parcel{d.name, to.name, "direct", x.Envelope}, func() {
		to.input(func(e *node.Engine, t *node.Turn) { e.Received(t, d.self.ID, x.Envelope) })
	}, nil)
	d.reply(func(e *node.Engine, t *node.Turn) { e.DirectDone(t, x.Ref, true) })
}

func (d *Device) deposit(x node.Deposit) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok {
		d.reply(func(e *node.Engine, t *node.Turn) { e.Deposited(t, x.Ref, x.Relay.ID, nil, errAway) })
		return
	}
	d.connect(r)
	answer := func(rec *mailbox.Receipt, err error) {
		d.input(func(e *node.Engine, t *node.Turn) { e.Deposited(t, x.Ref, x.Relay.ID, rec, err) })
	}
	silence := func() { answer(nil, errAway) }
	d.w.carry(Parcel{d.name, r.name, "deposit", x.Deposit.Envelope}, func() {
		rec, err := r.deposit(x.Deposit)
		d.w.carry(Parcel{r.name, d.name, "receipt", nil}, func() { answer(rec, err) }, silence)
	}, silence)
}

// Deafen makes every audit of the device come to nothing: what a test compares with.
func (d *Device) Deafen() { d.deaf = true }

func (d *Device) audit(x node.Audit) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok || d.deaf {
		d.reply(func(e *node.Engine, t *node.Turn) { e.Audited(t, x.Ref, x.Relay.ID, mailbox.Possession{}, errAway) })
		return
	}
	d.w.after(d.w.latency(), func() {
		p, err := r.possess(x)
		d.reply(func(e *node.Engine, t *node.Turn) { e.Audited(t, x.Ref, x.Relay.ID, p, err) })
	})
}

// await asks a relay to tell when a box has room; a relay that is away, or goes away, ends the wait.
func (d *Device) await(x node.Await) {
	freed := func(err error) {
		d.reply(func(e *node.Engine, t *node.Turn) { e.Freed(t, x.Relay.ID, x.Box, err) })
	}
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok {
		freed(errAway)
		return
	}
	d.connect(r)
	d.w.after(d.w.latency(), func() { r.await(x.Box, string(d.self.ID), freed) })
}

func (d *Device) elect(out *node.Effects) {
	for _, x := range out.Reserves {
		d.reply(func(e *node.Engine, t *node.Turn) { e.Reserved(t, x.Round, x.Relay.ID, d.w.reserve(d, x)) })
	}
	for _, x := range out.Commits {
		leases, err := d.w.commit(d, x)
		d.reply(func(e *node.Engine, t *node.Turn) { e.Committed(t, x.Round, x.Relay.ID, leases, err) })
	}
	for _, x := range out.Sets {
		if r, ok := d.w.relayAt(d, x.Relay.ID); ok {
			d.w.show(Parcel{d.name, r.name, "set", x.Set})
			d.w.after(d.w.latency(), func() { r.putSet(x.Set) })
		}
	}
}

// watch opens the collect streams that the engine wants at the relays that are up.
func (d *Device) watch() {
	if d.engine == nil {
		return
	}
	var watches []node.Watch
	if err := d.store.View(func(tx store.Tx) error { watches = d.engine.Watches(d.turnOn(tx, &node.Effects{})); return nil }); err != nil {
		d.w.fail("%s: watches: %v", d.name, err)
		return
	}
	for _, x := range watches {
		if r, ok := d.w.relayAt(d, x.Relay.ID); ok {
			d.connect(r)
			r.watch(x.Box, d)
		}
	}
}

// collected brings what a relay pushed into the engine.
func (d *Device) collected(r *Relay, box mailbox.ID, items []mailbox.Stored) {
	var in []node.Collected
	fate := inTime
	for _, s := range items {
		in = append(in, node.Collected{Box: box, ID: s.ID, Envelope: s.Envelope})
		if f := d.w.show(Parcel{r.name, d.name, "mail", s.Envelope}); len(f) > 0 {
			fate = f // of the page as a whole
		}
	}
	for _, late := range fate {
		d.w.after(d.w.latency()+late, func() { d.input(func(e *node.Engine, t *node.Turn) { e.Collected(t, r.self, in) }) })
	}
}

func (d *Device) linkUp(peer []byte) {
	d.links = append(d.links, string(peer))
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, peer) })
	if r, ok := d.w.relayAt(d, peer); ok {
		d.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, r.advert(), election.SourceDHT) })
		d.w.after(0, d.watch)
	}
}

func (d *Device) linkDown(peer []byte) {
	d.links = slices.DeleteFunc(d.links, func(p string) bool { return p == string(peer) })
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, peer) })
}

// connect makes a link, if there is none.
func (d *Device) connect(h host) {
	peer := h.peer().ID
	if !d.up || !h.online() || h == host(d) || d.w.parted(d, h) || slices.Contains(d.links, string(peer)) {
		return
	}
	d.links = append(d.links, string(peer)) // so that the turn below does not connect again
	h.linkUp(d.self.ID)
	d.links = d.links[:len(d.links)-1]
	d.linkUp(peer)
}

// disconnect ends the link of a host with a peer, on both sides.
func (w *World) disconnect(h host, peer string) {
	h.linkDown([]byte(peer))
	if o, ok := w.hosts[peer]; ok {
		o.linkDown(h.peer().ID)
	}
}

// View reads the device's store, whether its process is up or not. A store in memory does not fail.
func (d *Device) View(fn func(store.Tx) error) {
	if err := d.store.View(fn); err != nil {
		d.w.Log(d.name, "view: %v", err)
	}
}
