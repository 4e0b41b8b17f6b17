package simnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node"
)

// wait is a device that wants to hear when a box has room.
type wait struct {
	box   mailbox.ID
	peer  string
	freed func(error)
}

// errAway is what a device learns of a relay that does not answer.
var errAway = errors.New("simnet: relay unreachable")

// Relay is the production rules of a relay on a store in memory.
type Relay struct {
	w       *World
	name    string
	self    dht.Peer
	key     ed25519.PrivateKey
	rules   *mailbox.Relay
	store   mailbox.Store
	stock   *stock.Memory // one-time bundles; nil: it keeps none
	gave    int           // of them
	up      bool
	at      port
	skew    time.Duration
	links   links
	adverts uint64
	watches map[mailbox.ID][]*Device
	clients clients
	lies    bool // signs for what it does not keep
	keeps   bool // keeps it, proves it, and hands nothing out
	forges  bool // hands out other bytes
	cuts    bool // says of its copies that they expire in three hours
	lost    map[mailbox.EnvelopeID]bool
	waits   []wait
	mending
	Stored    int    // deposits answered with a receipt
	Deposited uint64 // their bytes
	Repaired  uint64 // bytes of copies taken from other relays
}

// AddRelay makes a relay that is up.
func (w *World) AddRelay(name string) *Relay { return w.AddRelayIn(name, 0) }

// AddRelayIn makes a relay whose address is in a network of 2^16; 0: one for all of the world.
func (w *World) AddRelayIn(name string, network uint16) *Relay {
	r := &Relay{w: w, name: name, store: mailbox.NewMemory(), up: true, watches: map[mailbox.ID][]*Device{}, lost: map[mailbox.EnvelopeID]bool{}}
	r.key, r.self = w.newPeer(w.entropy(name), network)
	r.rules = mailbox.NewRelay(r.key, mailbox.Limits{NoWork: true}) // what a proof of work costs is CPU, which virtual time does not charge
	w.hosts[string(r.self.ID)] = r
	w.relays = append(w.relays, r)
	r.rng = w.entropy(name + " repair")
	r.tick()
	r.boot()
	return r
}

// KeepBundles makes the relay one that keeps one-time bundles.
func (r *Relay) KeepBundles() { r.stock = stock.NewMemory() }

// Bundles is how many one-time bundles it handed out.
func (r *Relay) Bundles() int { return r.gave }

// Name is the relay's name in the trace.
func (r *Relay) Name() string   { return r.name }
func (r *Relay) online() bool   { return r.up }
func (r *Relay) peer() dht.Peer { return r.self }

// Skew sets the relay's clock off the world's.
func (r *Relay) Skew(by time.Duration) { r.skew = by }

func (r *Relay) time() time.Time { return r.w.now.Add(r.skew) }

func (r *Relay) linkUp(peer []byte) { r.links.add(string(peer)) }

func (r *Relay) linkDown(peer []byte) {
	r.waits = slices.DeleteFunc(r.waits, func(w wait) bool {
		if w.peer == string(peer) {
			w.freed(errAway)
		}
		return w.peer == string(peer)
	})
	r.links.drop(string(peer))
	if d, ok := r.w.hosts[string(peer)].(*Device); ok {
		for _, box := range r.clients.boxes[d] {
			r.watches[box] = slices.DeleteFunc(r.watches[box], func(o *Device) bool { return o == d })
		}
		delete(r.clients.boxes, d)
	}
}

// clients are the devices whose mailboxes a relay has served.
type clients struct {
	all   []*Device
	known map[*Device]bool
	boxes map[*Device][]mailbox.ID // with a stream now
}

func (c *clients) watch(d *Device, box mailbox.ID) {
	if c.known == nil {
		c.known, c.boxes = map[*Device]bool{}, map[*Device][]mailbox.ID{}
	}
	if !c.known[d] {
		c.known[d] = true
		c.all = append(c.all, d)
	}
	c.boxes[d] = append(c.boxes[d], box)
}

// Kill ends the relay's process; its store stays.
func (r *Relay) Kill() {
	r.w.Log(r.name, "is killed")
	r.up = false
	for _, peer := range r.links.all() {
		r.w.disconnect(r, peer)
	}
	clear(r.watches)
	clear(r.clients.boxes)
}

// Restart brings it back with its store, and connects the devices that are up.
func (r *Relay) Restart() {
	r.w.Log(r.name, "restarts")
	r.up = true
	r.boot()
	if r.w.net == nil {
		for _, d := range r.w.devices {
			d.connect(r)
		}
	}
	for _, d := range r.clients.all { // they have tried all the time
		if d.knows != nil && d.online() {
			r.w.after(reopen/10+time.Duration(r.w.rng.Int64N(int64(reopen))), d.watch)
		}
	}
	for _, o := range r.w.relays {
		o.back(r)
	}
}

// reopen is how long a device may take to see that a relay is back.
const reopen = time.Minute

// Wipe loses the relay's store: what a dead disk does.
func (r *Relay) Wipe() {
	r.w.Log(r.name, "loses its disk")
	r.store, r.stale = mailbox.NewMemory(), true
}

// Limit puts other limits in force, as after a restart with another configuration.
func (r *Relay) Limit(l mailbox.Limits) {
	l.NoWork = true
	r.rules = mailbox.NewRelay(r.key, l)
}

// Lie makes the relay sign receipts for what it does not keep.
func (r *Relay) Lie() { r.lies = true }

// Withhold makes the relay keep what it signs for, prove it, and hand nothing out.
func (r *Relay) Withhold() { r.keeps = true }

// Forge makes the relay hand out other bytes than it got.
func (r *Relay) Forge() { r.forges = true }

// CutCopies makes the relay tell others that what it hands them expires in three hours.
func (r *Relay) CutCopies() { r.cuts = true }

// Up reports whether the relay runs.
func (r *Relay) Up() bool { return r.up }

// tick runs the reaper every few minutes of virtual time.
func (r *Relay) tick() {
	for _, w := range slices.Clone(r.waits) { // a day of mail may have expired
		r.tellFreed(w.box)
	}
	if r.up {
		var swept mailbox.Swept
		if err := r.do(func(tx mailbox.Tx) (err error) { swept, err = r.rules.Tick(tx, r.time()); return err }); err != nil {
			r.w.fail("%s: tick: %v", r.name, err)
		}
		r.stale = r.stale || swept.Days > 0 || swept.Boxes > 0
	}
	r.w.after(time.Hour, r.tick)
}

func (r *Relay) do(fn func(mailbox.Tx) error) error { return r.store.Do(context.Background(), fn) }

func (r *Relay) advert() []byte {
	r.adverts++
	a, err := dht.SignAdvert(r.key, dht.Advert{
		Peer: r.self, Number: r.adverts, Issued: r.time(), NotAfter: r.time().Add(dht.MaxAdvertLife),
		MaxEnvelope: r.rules.Limits().MaxEnvelope, RetentionDays: 30, LeavingAt: r.leaving(),
	})
	if err != nil {
		r.w.fail("%s: advert: %v", r.name, err)
		return nil
	}
	return a.Bytes()
}

func (r *Relay) deposit(d mailbox.Deposit) (*mailbox.Receipt, error) {
	if !r.up {
		return nil, errAway
	}
	var rec *mailbox.Receipt
	err := r.do(func(tx mailbox.Tx) (err error) { rec, err = r.rules.Deposit(tx, r.time(), d); return err })
	if err != nil {
		return nil, err
	}
	if !r.w.quiet { // else the device does it alone
		if err := rec.Verify(r.self.ID, d.Box, mailbox.EnvelopeIDOf(d.Envelope)); err != nil {
			r.w.fail("%s: its own receipt does not verify", r.name)
		}
	}
	r.changes(d.Box)
	r.Stored++
	r.Deposited += uint64(len(d.Envelope))
	if r.lies {
		r.lost[mailbox.EnvelopeIDOf(d.Envelope)] = true
	}
	r.w.Log(r.name, "stores %d bytes", len(d.Envelope))
	for _, to := range slices.Clone(r.watches[d.Box]) {
		r.push(d.Box, to)
	}
	return rec, nil
}

// watch hands a device what comes into a box from now on; false: it does so already.
func (r *Relay) watch(box mailbox.ID, d *Device) bool {
	if slices.Contains(r.watches[box], d) {
		return false
	}
	r.watches[box] = append(r.watches[box], d)
	r.clients.watch(d, box)
	return true
}

// push hands over what a box holds, and says when it is there.
func (r *Relay) push(box mailbox.ID, d *Device) time.Duration {
	if items := r.items(box); len(items) > 0 {
		return d.collected(r, box, items)
	}
	return 0
}

// items reads what a box holds now.
func (r *Relay) items(box mailbox.ID) []mailbox.Stored {
	var out []mailbox.Stored
	after, more := uint64(0), true
	for more {
		err := r.store.View(func(tx mailbox.Tx) error {
			items, m, err := r.rules.Show(tx, r.time(), box, after, 0, 1<<20) // nobody changes what lies in memory
			out, more = append(out, items...), m
			return err
		})
		if err != nil {
			r.w.fail("%s: fetch: %v", r.name, err)
			return nil
		}
		if len(out) > 0 {
			after = out[len(out)-1].Seq
		}
	}
	if r.keeps {
		return nil
	}
	out = slices.DeleteFunc(out, func(s mailbox.Stored) bool { return r.lost[s.ID] })
	if r.forges {
		for i := range out {
			out[i].Envelope = bytes.Clone(out[i].Envelope)
			out[i].Envelope[len(out[i].Envelope)/2] ^= 1
		}
	}
	return out
}

func (r *Relay) ack(a node.RelayAck) {
	if !r.up {
		return
	}
	sig := mailbox.SignRequest(a.Key, r.self.ID, mailbox.VerbAck, mailbox.AckContent(a.IDs))
	pub := a.Key.Public().(ed25519.PublicKey)
	if err := r.do(func(tx mailbox.Tx) error { return r.rules.Ack(tx, r.time(), pub, a.IDs, sig) }); err != nil {
		r.w.fail("%s: ack: %v", r.name, err)
	}
	r.changes(mailbox.IDOf(pub))
	r.tellFreed(mailbox.IDOf(pub))
}

// changes has the relay look at a box when it next wakes up.
func (r *Relay) changes(box mailbox.ID) {
	if r.w.net != nil && !r.w.apart && !r.lies && !slices.Contains(r.changed, box) {
		r.changed = append(r.changed, box)
	}
}

// possess proves what the relay holds.
func (r *Relay) possess(x node.Audit) (mailbox.Possession, error) {
	if !r.up {
		return mailbox.Possession{}, errAway
	}
	proofs, err := r.prove(x.Box, x.Nonce, []mailbox.EnvelopeID{x.Envelope})
	if err != nil {
		return mailbox.Possession{}, err
	}
	return proofs[0], nil
}

// hasRoom asks the rules.
func (r *Relay) hasRoom(box mailbox.ID) (room bool) {
	_ = r.store.View(func(tx mailbox.Tx) error { room, _ = r.rules.Room(tx, r.time(), box); return nil })
	return room
}

// await tells once when a box may have room; the device has to be connected.
func (r *Relay) await(box mailbox.ID, peer string, freed func(error)) {
	if !r.up || !r.links.has(peer) {
		freed(errAway)
		return
	}
	if r.hasRoom(box) {
		freed(nil)
		return
	}
	r.waits = append(r.waits, wait{box: box, peer: peer, freed: freed})
}

// tellFreed answers the waits for a box that has room.
func (r *Relay) tellFreed(box mailbox.ID) {
	if !r.hasRoom(box) {
		return
	}
	r.waits = slices.DeleteFunc(r.waits, func(w wait) bool {
		if w.box == box {
			w.freed(nil)
		}
		return w.box == box
	})
}

// Wrap puts a store in front of the relay's, to plant a fault.
func (r *Relay) Wrap(with func(mailbox.Store) mailbox.Store) { r.store = with(r.store) }

// Holds reports whether the relay could hand out an envelope of a box.
func (r *Relay) Holds(box mailbox.ID, id mailbox.EnvelopeID) (holds bool) {
	_ = r.store.View(func(tx mailbox.Tx) error {
		e, found := tx.Find(box, id)
		holds = found && !e.Buried && !r.lost[id]
		return nil
	})
	return holds
}

// Took reports whether the device of a box has acknowledged an envelope to the relay.
func (r *Relay) Took(box mailbox.ID, id mailbox.EnvelopeID) (took bool) {
	_ = r.store.View(func(tx mailbox.Tx) error {
		e, found := tx.Find(box, id)
		took = found && e.Buried
		return nil
	})
	return took
}

// Stores is how many bytes of mail the relay holds.
func (r *Relay) Stores() (n uint64) {
	_ = r.store.View(func(tx mailbox.Tx) error { n = tx.Total().Bytes; return nil })
	return n
}

// Set is the newest list of the relays of a box that the relay knows; nil: it knows none.
func (r *Relay) Set(box mailbox.ID) (set *dht.SetRecord) {
	_ = r.store.View(func(tx mailbox.Tx) error {
		raw, err := r.rules.GetSet(tx, r.w.now, box)
		if err == nil {
			set, err = dht.ParseSetRecord(raw)
		}
		return err
	})
	return set
}

// PeerID is the relay's peer id, as devices name it.
func (r *Relay) PeerID() string { return string(r.self.ID) }

// Held counts the live envelopes of all boxes.
func (r *Relay) Held() int {
	n := 0
	_ = r.store.View(func(tx mailbox.Tx) error { n = tx.Total().Count; return nil })
	return n
}

func (r *Relay) putSet(raw []byte) {
	if !r.up {
		return
	}
	if err := r.do(func(tx mailbox.Tx) error { return r.rules.PutSet(tx, r.time(), raw) }); err != nil {
		r.w.Log(r.name, "set refused: %v", err)
	} else if rec, err := dht.ParseSetRecord(raw); err == nil {
		r.changes(rec.BoxID())
	}
	r.mendAt(r.time().Add(time.Second))
}

func (w *World) relayAt(from host, peer []byte) (*Relay, bool) {
	h, ok := w.reach(from, peer)
	r, relay := h.(*Relay)
	return r, ok && relay
}

func (w *World) reserve(from host, x node.Reserve) error {
	r, ok := w.relayAt(from, x.Relay.ID)
	if !ok {
		return errAway
	}
	for _, key := range x.Boxes {
		sig := mailbox.SignRequest(key, r.self.ID, mailbox.VerbReserve, nil)
		pub := key.Public().(ed25519.PublicKey)
		if err := r.do(func(tx mailbox.Tx) error { return r.rules.Reserve(tx, r.time(), pub, sig) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) commit(from host, relay dht.Peer, cores [][]byte) ([]dht.Lease, error) {
	r, ok := w.relayAt(from, relay.ID)
	if !ok {
		return nil, errAway
	}
	var out []dht.Lease
	for _, signed := range cores {
		var lease dht.Lease
		if err := r.do(func(tx mailbox.Tx) (err error) { lease, err = r.rules.Commit(tx, r.time(), signed); return err }); err != nil {
			return nil, err
		}
		out = append(out, lease)
	}
	return out, nil
}

// put stores a record if it is valid and newer than what is there: the directory, without its network.
func (w *World) put(p node.Put) {
	w.show(Parcel{Kind: "record", Bytes: p.Value})
	if dht.Validate(p.Key, p.Value, w.now) != nil {
		w.fail("an engine publishes an invalid record")
		return
	}
	if v := dht.Newer(p.Key, w.records[p.Key], p.Value); v == dht.VerdictNewer {
		w.records[p.Key] = p.Value
	}
}
