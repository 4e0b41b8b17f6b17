package node_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/people"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/view"
)

// world wires a few engines directly: no latency, a clock that the test moves, and hooks for whatever an attacker or a
// bad network does. What an engine wants done is done at once, after its commit, until nobody wants anything.
type world struct {
	t       testing.TB
	now     time.Time
	devices []*device
	relays  []*relay
	records map[string][]byte
	queue   []func()
	sent    []parcel // every envelope that left, in order

	// Hooks; nil: the network is honest.
	lose    func(p parcel) bool                // this copy does not arrive, and nobody is told
	lookup  func(d *device, key string) []byte // what the directory answers; nil function: the truth
	deaf    bool                               // no audit is answered
	audits  int                                // how many were asked
	puts    int                                // of records
	stock   bool                               // relays keep one-time bundles
	handOut []byte                             // what everybody is given who asks for one
	bundles [][]byte                           // what was answered to who asked for one
	dns     map[string]identity.UserID         // whose a name under a domain is
	noDNS   bool                               // it does not answer
	asked   []node.NameQuery                   // what it was asked
}

// parcel is one envelope on its way over a direct stream (relay nil) or into a box.
type parcel struct {
	from, to *device
	relay    *relay
	box      mailbox.ID
	envelope []byte
	pass     []byte
	at       time.Time
}

type device struct {
	w       *world
	name    string
	rng     io.Reader
	self    dht.Peer
	store   store.Store
	engine  *node.Engine
	config  node.Config
	links   map[string]bool
	up      bool
	notices []view.Notice
	signals []view.Notice
	last    *node.Effects // of the last turn
	skew    time.Duration
	drained time.Time   // when it last asked its relays for everything
	early   bool        // performs effects whether the turn was committed or not: what must never be
	failed  int         // turns that did not commit
	crash   func() bool // the process ends after this turn's commit, before its effects
}

// relay is the production rules on a store in memory.
type relay struct {
	w     *world
	stock *stock.Memory
	name  string
	key   ed25519.PrivateKey
	self  dht.Peer
	rules *mailbox.Relay
	store *mailbox.Memory
	up    bool
	lying bool // signs receipts and keeps nothing of what it signed for
	lost  map[mailbox.EnvelopeID]bool
	waits []wait                      // who wants to hear of room
	mute  bool                        // hands nothing out
	shirk bool                        // reserves, and does not sign
	leave time.Time                   // what its advert announces
	says  func(mailbox.Deposit) error // refuses deposits before the rules see them
}

// wait is a device that wants to hear when a box has room.
type wait struct {
	box mailbox.ID
	to  *device
}

var errAway = errors.New("unreachable")

func newWorld(t testing.TB) *world {
	return &world{t: t, now: time.Date(2031, 3, 1, 8, 0, 0, 0, time.UTC), records: map[string][]byte{}}
}

func seeded(name string) io.Reader {
	var seed [32]byte
	copy(seed[:], name)
	return rand.NewChaCha8(seed)
}

func (w *world) peer(name string, n int) (ed25519.PrivateKey, dht.Peer) {
	seed := make([]byte, 32)
	_, _ = io.ReadFull(seeded("host "+name), seed)
	key := signature.NewKey(seed)
	addr := []byte{4, 10, 0, byte(n >> 8), byte(n), 6, 0x10, 0}
	return key, dht.Peer{ID: dht.PeerFromKey(key.Public().(ed25519.PublicKey)), Addrs: [][]byte{addr}}
}

func (w *world) blank(name string) *device {
	d := &device{
		w: w, name: name, rng: seeded(name), store: store.NewMemory(), links: map[string]bool{},
		config: node.Config{Policy: election.LocalPolicy()},
	}
	_, d.self = w.peer(name, 1+len(w.devices))
	w.devices = append(w.devices, d)
	return d
}

// person is a new user with a first device, up.
func (w *world) person(name string) *device {
	w.t.Helper()
	d := w.blank(name)
	var seed [32]byte
	copy(seed[:], "root of "+name)
	w.must(d.store.Update(func(tx store.Tx) error {
		return node.Create(d.turn(tx), node.CreateParams{Root: identity.NewRootFromSeed(seed), Name: name, DeviceName: name + "'s first"})
	}))
	d.start()
	return d
}

func (w *world) relay(name string) *relay {
	r := &relay{w: w, name: name, store: mailbox.NewMemory(), up: true, lost: map[mailbox.EnvelopeID]bool{}}
	r.key, r.self = w.peer(name, 200+len(w.relays))
	r.rules = mailbox.NewRelay(r.key, mailbox.Limits{NoWork: true})
	w.relays = append(w.relays, r)
	for _, d := range w.devices {
		d.meet(r)
	}
	w.settle()
	return r
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (d *device) time() time.Time { return d.w.now.Add(d.skew) }

func (d *device) turn(tx store.Tx) *node.Turn {
	d.last = &node.Effects{}
	return &node.Turn{Now: d.time(), Rand: d.rng, Tx: tx, Out: d.last}
}

// load reads the engine from its store, as after a crash.
func (d *device) load() error {
	d.engine = nil
	err := d.store.Update(func(tx store.Tx) error {
		t := d.turn(tx)
		e, err := node.Load(t, d.config)
		if err != nil {
			return err
		}
		e.SetHost(t, d.self)
		d.engine = e
		return nil
	})
	if err == nil {
		d.perform(d.last)
	}
	return err
}

// start brings a device up and connects it with everybody who is.
func (d *device) start() {
	d.w.t.Helper()
	for err := d.load(); err != nil; err = d.load() {
		if d.failed++; d.failed > 1000 {
			d.w.t.Fatal(err)
		}
	}
	d.up = true
	for _, r := range d.w.relays {
		d.meet(r)
	}
	for _, o := range d.w.devices {
		if o != d && o.up && (d.links[string(o.self.ID)] || o.links[string(d.self.ID)]) {
			d.meetDevice(o)
		}
	}
	d.w.settle()
}

// stop is also a crash: memory is gone, and only what was committed remains.
func (d *device) stop() {
	d.up, d.engine = false, nil
	for _, o := range d.w.devices {
		if o.up {
			o.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, d.self.ID) })
		}
	}
	d.w.settle()
}

func (d *device) meet(r *relay) {
	if !d.up || !r.up {
		return
	}
	raw, err := dht.SignAdvert(r.key, dht.Advert{
		Peer: r.self, Number: uint64(d.w.now.Unix()), Issued: d.w.now, NotAfter: d.w.now.Add(dht.MaxAdvertLife), MaxEnvelope: mailbox.MaxEnvelope, RetentionDays: 30,
		LeavingAt: r.leave,
	})
	d.w.must(err)
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, r.self.ID) })
	d.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, raw.Bytes(), election.SourceDHT) })
	d.w.queue = append(d.w.queue, d.collect)
}

func (d *device) meetDevice(o *device) {
	d.links[string(o.self.ID)], o.links[string(d.self.ID)] = true, true
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, o.self.ID) })
	o.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, d.self.ID) })
}

// do runs one turn and queues its effects; a turn that does not commit is a crash, as in the loop.
func (d *device) do(fn func(*node.Engine, *node.Turn) error) error {
	if d.engine == nil {
		return errAway
	}
	err := d.store.Update(func(tx store.Tx) error { return fn(d.engine, d.turn(tx)) })
	var p *view.Problem
	switch {
	case err == nil && d.crash != nil && d.crash():
		d.stop()
	case err == nil:
		d.perform(d.last)
	case !errors.As(err, &p):
		if d.early {
			d.perform(d.last)
		}
		for d.failed++; d.load() != nil; d.failed++ {
		}
	}
	return err
}

func (d *device) input(fn func(*node.Engine, *node.Turn)) {
	_ = d.do(func(e *node.Engine, t *node.Turn) error { fn(e, t); return nil })
}

// later answers the engine in a turn of its own.
func (d *device) later(fn func(*node.Engine, *node.Turn)) {
	e := d.engine
	d.w.queue = append(d.w.queue, func() {
		if d.engine != nil && (e == d.engine || e == nil) {
			d.input(fn)
		}
	})
}

func (w *world) settle() {
	w.t.Helper()
	for n := 0; len(w.queue) > 0; n++ {
		next := w.queue[0]
		w.queue = w.queue[1:]
		next()
		if n > 100_000 {
			w.t.Fatal("the engines never come to rest")
		}
	}
}

// pass moves the clock; whatever falls due on the way happens at its time.
func (w *world) pass(by time.Duration) {
	w.t.Helper()
	end := w.now.Add(by)
	w.settle()
	spins := 0
	for {
		d, at := w.next()
		if d == nil || at.After(end) {
			w.now = end
			return
		}
		if spins++; at.After(w.now) {
			w.now, spins = at, 0
		}
		if spins > 500 {
			w.t.Fatalf("%s ticks without end at %v: deadline %v", d.name, w.now, d.engine.Deadline())
		}
		d.input(func(e *node.Engine, t *node.Turn) { e.Tick(t) })
		w.settle()
		if d.up && w.now.Sub(d.drained) >= 12*time.Hour {
			d.drain()
			w.settle()
		}
	}
}

func (w *world) next() (*device, time.Time) {
	var best *device
	var at time.Time
	for _, d := range w.devices {
		if d.engine == nil {
			continue
		}
		if due := d.engine.Deadline(); !due.IsZero() && (best == nil || due.Add(-d.skew).Before(at)) {
			best, at = d, due.Add(-d.skew)
		}
	}
	return best, at
}

func (w *world) deviceAt(peer []byte) *device {
	for _, d := range w.devices {
		if string(d.self.ID) == string(peer) {
			return d
		}
	}
	return nil
}

func (w *world) relayAt(peer []byte) *relay {
	for _, r := range w.relays {
		if string(r.self.ID) == string(peer) {
			return r
		}
	}
	return nil
}

func (d *device) perform(out *node.Effects) {
	d.notices = append(d.notices, out.Notices...)
	d.signals = append(d.signals, out.Signals...)
	for _, a := range out.Acks {
		d.w.queue = append(d.w.queue, func() { d.w.relayAt(a.Relay.ID).ack(a) })
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
		r := d.w.relayAt(x.Relay.ID)
		r.waits = append(r.waits, wait{x.Box, d})
	}
	for _, q := range out.Names {
		d.w.asked = append(d.w.asked, q)
		d.later(func(e *node.Engine, t *node.Turn) {
			found, ok := d.w.dns[q.Name]
			switch {
			case d.w.noDNS:
				e.NameChecked(t, q, found, people.ErrUnanswered)
			case !ok:
				e.NameChecked(t, q, found, people.ErrNoRecord)
			default:
				e.NameChecked(t, q, found, nil)
			}
		})
	}
	for _, key := range out.Lookups {
		d.later(func(e *node.Engine, t *node.Turn) {
			value := d.w.records[key]
			if d.w.lookup != nil {
				value = d.w.lookup(d, key)
			}
			e.Looked(t, key, value)
		})
	}
	d.w.puts += len(out.Puts)
	for _, p := range out.Puts {
		if dht.Newer(p.Key, d.w.records[p.Key], p.Value) == dht.VerdictNewer {
			d.w.records[p.Key] = p.Value
		}
		d.later(func(e *node.Engine, t *node.Turn) { e.Published(t, p.Key, 1) })
	}
	for _, x := range out.Prekeys {
		d.prekey(x)
	}
	for _, x := range out.Stocks {
		d.stock(x)
	}
	for _, x := range out.Reserves {
		d.later(func(e *node.Engine, t *node.Turn) {
			e.Reserved(t, x.Round, x.Relay.ID, d.w.relayAt(x.Relay.ID).reserve(x))
		})
	}
	for _, x := range out.Commits {
		d.later(func(e *node.Engine, t *node.Turn) {
			leases, err := d.w.relayAt(x.Relay.ID).commit(x)
			e.Committed(t, x.Round, x.Relay.ID, leases, err)
		})
	}
	for _, x := range out.Sets {
		if r := d.w.relayAt(x.Relay.ID); r.up {
			_ = r.do(func(tx mailbox.Tx) error { return r.rules.PutSet(tx, d.w.now, x.Set) })
		}
	}
	if out.Watches {
		d.w.queue = append(d.w.queue, d.collect)
	}
}

func (d *device) direct(x node.Direct) {
	to := d.w.deviceAt(x.Peer.ID)
	p := parcel{from: d, to: to, envelope: x.Envelope, at: d.w.now}
	d.w.sent = append(d.w.sent, p)
	sent := to != nil && to.up && d.links[string(to.self.ID)]
	d.later(func(e *node.Engine, t *node.Turn) { e.DirectDone(t, x, sent) })
	if sent && (d.w.lose == nil || !d.w.lose(p)) {
		d.w.queue = append(d.w.queue, func() {
			to.input(func(e *node.Engine, t *node.Turn) { e.Received(t, d.self.ID, x.Envelope) })
		})
	}
}

func (d *device) deposit(x node.Deposit) {
	r := d.w.relayAt(x.Relay.ID)
	p := parcel{from: d, relay: r, box: x.Box, envelope: x.Envelope, pass: x.Pass, at: d.w.now}
	d.w.sent = append(d.w.sent, p)
	d.later(func(e *node.Engine, t *node.Turn) {
		rec, err := (*mailbox.Receipt)(nil), errAway
		if slices.ContainsFunc(x.Relay.Addrs, func(a []byte) bool { return string(a) == string(r.self.Addrs[0]) }) {
			rec, err = r.deposit(x.Deposit)
		}
		e.Deposited(t, x.Ref, x.Relay.ID, rec, err)
	})
	d.w.queue = append(d.w.queue, func() {
		for _, o := range d.w.devices {
			o.collectAt(r)
		}
	})
}

func (d *device) audit(x node.Audit) {
	d.w.audits++
	d.later(func(e *node.Engine, t *node.Turn) {
		p, err := d.w.relayAt(x.Relay.ID).possess(x)
		if d.w.deaf {
			err = errAway
		}
		e.Audited(t, x.Ref, x.Relay.ID, p, err)
	})
}

// collect fetches what every relay that is up holds for the device.
func (d *device) collect() {
	for _, r := range d.w.relays {
		d.collectAt(r)
	}
}

func (d *device) collectAt(r *relay) {
	if d.engine == nil || !r.up || r.mute {
		return
	}
	var watches []node.Watch
	d.w.must(d.store.View(func(tx store.Tx) error {
		watches = d.engine.Watches(&node.Turn{Now: d.time(), Tx: tx, Out: &node.Effects{}})
		return nil
	}))
	for _, x := range watches {
		if string(x.Relay.ID) != string(r.self.ID) {
			continue
		}
		var in []node.Collected
		for _, s := range r.items(x.Box) {
			p := parcel{to: d, relay: r, box: x.Box, envelope: s.Envelope, at: d.w.now}
			if d.w.lose == nil || !d.w.lose(p) {
				in = append(in, node.Collected{Box: x.Box, ID: s.ID, Envelope: s.Envelope})
			}
		}
		if len(in) > 0 {
			d.input(func(e *node.Engine, t *node.Turn) { e.Collected(t, r.self, in) })
		}
	}
}

// drain fetches everything anew, and says so, as the performers do twice a day.
func (d *device) drain() {
	began := d.time()
	d.drained = d.w.now
	d.collect()
	if d.engine == nil {
		return
	}
	d.input(func(e *node.Engine, t *node.Turn) {
		for _, x := range e.Watches(t) {
			if r := d.w.relayAt(x.Relay.ID); r != nil && r.up && !r.mute {
				e.Drained(t, x.Relay.ID, x.Box, began)
			}
		}
	})
}

func (r *relay) do(fn func(mailbox.Tx) error) error { return r.store.Do(context.Background(), fn) }

func (r *relay) items(box mailbox.ID) []mailbox.Stored {
	var out []mailbox.Stored
	_ = r.store.View(func(tx mailbox.Tx) (err error) {
		out, _, err = r.rules.Fetch(tx, r.w.now, box, 0, 0, 1<<24)
		return err
	})
	return slices.DeleteFunc(out, func(s mailbox.Stored) bool { return r.lost[s.ID] })
}

func (r *relay) held() int {
	n := 0
	_ = r.store.View(func(tx mailbox.Tx) error { n = tx.Total().Count; return nil })
	return n
}

func (r *relay) deposit(d mailbox.Deposit) (*mailbox.Receipt, error) {
	if !r.up {
		return nil, errAway
	}
	if r.says != nil {
		if err := r.says(d); err != nil {
			return nil, err
		}
	}
	var rec *mailbox.Receipt
	err := r.do(func(tx mailbox.Tx) (err error) { rec, err = r.rules.Deposit(tx, r.w.now, d); return err })
	if err != nil {
		return nil, err
	}
	if r.lying {
		r.lost[mailbox.EnvelopeIDOf(d.Envelope)] = true
	}
	return rec, nil
}

// possess proves what the relay holds; a liar has what it signed for thrown away.
func (r *relay) possess(x node.Audit) (p mailbox.Possession, err error) {
	if !r.up {
		return p, errAway
	}
	var all []mailbox.Possession
	err = r.store.View(func(tx mailbox.Tx) (err error) {
		all, err = r.rules.Possess(tx, r.w.now, x.Box, x.Nonce, []mailbox.EnvelopeID{x.Envelope})
		return err
	})
	if err != nil || r.lost[x.Envelope] {
		return p, err
	}
	return all[0], nil
}

// free tells whoever waits for room in a box of the relay.
func (r *relay) free(box mailbox.ID) {
	all := r.waits
	r.waits = nil
	for _, w := range all {
		if w.box != box {
			r.waits = append(r.waits, w)
			continue
		}
		w.to.later(func(e *node.Engine, t *node.Turn) { e.Freed(t, r.self.ID, box, nil) })
	}
}

func (r *relay) ack(a node.RelayAck) {
	if !r.up {
		return
	}
	sig := mailbox.SignRequest(a.Key, r.self.ID, mailbox.VerbAck, mailbox.AckContent(a.IDs))
	_ = r.do(func(tx mailbox.Tx) error {
		return r.rules.Ack(tx, r.w.now, a.Key.Public().(ed25519.PublicKey), a.IDs, sig)
	})
	r.free(mailbox.IDOf(a.Key.Public().(ed25519.PublicKey)))
}

func (r *relay) reserve(x node.Reserve) error {
	if !r.up {
		return errAway
	}
	for _, key := range x.Boxes {
		sig := mailbox.SignRequest(key, r.self.ID, mailbox.VerbReserve, nil)
		if err := r.do(func(tx mailbox.Tx) error {
			return r.rules.Reserve(tx, r.w.now, key.Public().(ed25519.PublicKey), sig)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *relay) commit(x node.Commit) ([]dht.Lease, error) {
	if !r.up {
		return nil, errAway
	}
	if r.shirk {
		return nil, &mailbox.Refusal{Code: mailbox.Full}
	}
	var out []dht.Lease
	for i, core := range x.Cores {
		signed, err := dht.SignSetCore(x.Keys[i], core)
		if err != nil {
			return nil, err
		}
		var lease dht.Lease
		if err := r.do(func(tx mailbox.Tx) (err error) { lease, err = r.rules.Commit(tx, r.w.now, signed); return err }); err != nil {
			return nil, err
		}
		out = append(out, lease)
	}
	return out, nil
}

// What people do and see.

func (d *device) invite() string {
	d.w.t.Helper()
	var v view.Invite
	d.w.must(d.do(func(e *node.Engine, t *node.Turn) (err error) { v, err = e.CreateInvite(t, 0); return err }))
	return v.Text
}

func (d *device) join(text string) error {
	err := d.do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, text, ""); return err })
	d.w.settle()
	return err
}

// befriend makes two devices' people contacts and connects the devices.
func (w *world) befriend(a, b *device) {
	w.t.Helper()
	a.meetDevice(b)
	w.must(b.join(a.invite()))
	w.pass(2 * time.Second)
	for _, x := range [][2]*device{{a, b}, {b, a}} {
		if c := x[0].contact(x[1].user()); c.State != "accepted" || !c.Verified {
			w.t.Fatalf("%s sees %s as %+v", x[0].name, x[1].name, c)
		}
	}
}

// link adds a device to d's person.
func (d *device) link(name string) *device {
	w := d.w
	w.t.Helper()
	n, err := d.tryLink(name)
	w.must(err)
	n.start()
	n.meetDevice(d)
	w.settle()
	return n
}

func (d *device) tryLink(name string) (*device, error) {
	var text string
	if err := d.do(func(e *node.Engine, t *node.Turn) error { v, err := e.OfferDevice(t, 0); text = v.Text; return err }); err != nil {
		return nil, err
	}
	n := d.w.blank(name)
	l, err := node.NewLinker(n.time(), n.rng, text, name)
	if err != nil {
		return nil, err
	}
	var welcome, record, listed []byte
	steps := []func() error{
		func() error {
			return d.do(func(e *node.Engine, t *node.Turn) (err error) { welcome, err = e.LinkHello(t, l.Hello()); return err })
		},
		func() error {
			return n.store.Update(func(tx store.Tx) (err error) { record, err = l.Welcome(n.turn(tx), welcome, n.self); return err })
		},
		func() error { n.perform(n.last); return nil },
		func() error {
			return d.do(func(e *node.Engine, t *node.Turn) (err error) { listed, err = e.LinkRecord(t, record); return err })
		},
		func() error { return n.store.Update(func(tx store.Tx) error { return l.Finish(n.turn(tx), listed) }) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (d *device) send(to *device, text string) string {
	d.w.t.Helper()
	id, err := d.trySend(to, text)
	d.w.must(err)
	return id
}

func (d *device) trySend(to *device, text string) (string, error) {
	var v view.Message
	err := d.do(func(e *node.Engine, t *node.Turn) (err error) {
		v, err = e.Send(t, node.SendRequest{To: to.user(), Text: text})
		return err
	})
	d.w.settle()
	return v.ID, err
}

func (d *device) identity() (v view.Identity) {
	_ = d.store.View(func(tx store.Tx) (err error) { v, err = node.Identity(tx); return err })
	return v
}

func (d *device) user() string { return d.identity().User }
func (d *device) id() string   { return d.identity().Device }

func (d *device) contact(user string) (found view.Contact) {
	d.w.must(d.store.View(func(tx store.Tx) error {
		all, err := node.Contacts(tx, d.engine)
		for _, c := range all {
			if c.User == user {
				found = c
			}
		}
		return err
	}))
	return found
}

// texts are what the conversation with a person shows, in order.
func (d *device) texts(with *device) []string {
	var out []string
	_ = d.store.View(func(tx store.Tx) error {
		all, err := talk.Messages(tx, with.user(), 0)
		for _, m := range all {
			out = append(out, m.Text)
		}
		return err
	})
	return out
}

func (d *device) stage(id string) view.Stage { return d.status(id).Stage }

func (d *device) status(id string) (s view.Status) {
	d.w.t.Helper()
	d.w.must(d.store.View(func(tx store.Tx) (err error) { s, err = talk.Status(tx, id); return err }))
	return s
}

func (d *device) warned(part string) bool {
	return slices.ContainsFunc(d.notices, func(n view.Notice) bool {
		return (n.Type == "warning" || n.Type == "identity") && contains(n.Text, part)
	})
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

func wantTexts(t *testing.T, d, with *device, want ...string) {
	t.Helper()
	if got := d.texts(with); !slices.Equal(got, want) {
		t.Errorf("%s sees %q with %s, want %q", d.name, got, with.name, want)
	}
	shown := map[string]int{}
	for _, n := range d.notices {
		if n.Type == "message" {
			if shown[n.ID]++; shown[n.ID] > 1 {
				t.Errorf("%s is told of %q twice", d.name, n.Message.Text)
			}
		}
	}
}

// rows counts the pairs of a bucket.
func (d *device) rows(b store.Bucket) (n int) {
	_ = d.store.View(func(tx store.Tx) error { tx.Scan(b, nil, func(_, _ []byte) bool { n++; return true }); return nil })
	return n
}

func count[T any](in []T, ok func(T) bool) (n int) {
	for _, v := range in {
		if ok(v) {
			n++
		}
	}
	return n
}

func text(i int) string { return fmt.Sprintf("text %d", i) }

func listOf(raw []byte) (*identity.DeviceList, error) { return identity.ParseDeviceList(raw) }

// dump is everything in the store, for comparison.
func (d *device) dump() string {
	h := sha256.New()
	_ = d.store.View(func(tx store.Tx) error {
		for _, b := range store.Buckets() {
			tx.Scan(b, nil, func(k, v []byte) bool { fmt.Fprintf(h, "%d|%x|%x\n", b, k, v); return true })
		}
		return nil
	})
	return string(h.Sum(nil))
}

// outbox prints what is on its way, for failures.
func (d *device) outbox() string {
	out := ""
	_ = d.store.View(func(tx store.Tx) error {
		tx.Scan(store.BucketOutbox, nil, func(_, v []byte) bool {
			row := &pb.Delivery{}
			_ = proto.Unmarshal(v, row)
			to := "?"
			for _, o := range d.w.devices {
				if o.id() == fmt.Sprintf("%x", row.Device) {
					to = o.name
				}
			}
			out += fmt.Sprintf("  to %s kind %d stage %d sealed %t steps", to, row.Kind, row.Stage, len(row.Envelope) > 0)
			for _, s := range row.Steps {
				out += " " + s.What
			}
			out += "\n"
			return true
		})
		return nil
	})
	return out
}

// traced reports whether something was tried for a message.
func (d *device) traced(id, what string) bool {
	var steps []view.Step
	d.w.must(d.store.View(func(tx store.Tx) (err error) { steps, err = talk.Trace(tx, id); return err }))
	return slices.ContainsFunc(steps, func(s view.Step) bool { return s.What == what })
}

// list0 is the list of a person who is not in the world.
func (w *world) list0(name string) *identity.DeviceList {
	w.t.Helper()
	keys, err := identity.NewDeviceKeys(seeded(name))
	w.must(err)
	var seed [32]byte
	copy(seed[:], name)
	l, err := identity.NewRootFromSeed(seed).Account(1).SignList(identity.ListFields{
		Seq: 1, Issued: w.now, NotAfter: w.now.Add(14 * 24 * time.Hour), Devices: []identity.Device{keys.Public(identity.FlagAdmin, 1)},
	})
	w.must(err)
	return l
}

// adopt writes a contact into d's store, as if they had met.
func (d *device) adopt(l *identity.DeviceList, name string) {
	d.w.t.Helper()
	user := l.User()
	raw, err := proto.Marshal(&pb.Contact{User: user[:], Handle: name, Name: name, State: 3, Verified: true, List: l.Bytes(), Chat: 1000})
	d.w.must(err)
	d.w.must(d.store.Update(func(tx store.Tx) error { tx.Put(store.BucketContacts, user[:dht.UserPrefix], raw); return nil }))
}
