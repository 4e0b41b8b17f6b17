package simnet

import (
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/stock"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
)

// lookEvery is how often a device asks the relays that it knows for their adverts, as the production loop does.
const lookEvery = 10 * time.Hour

// Know names the relays that the device has heard of, instead of all. It comes before the device starts.
func (d *Device) Know(relays ...*Relay) { d.knows = relays }

// Hear has the device know one more relay, of which it hears when it looks next.
func (d *Device) Hear(r *Relay) {
	if d.knows != nil && !slices.Contains(d.knows, r) {
		d.knows = append(d.knows, r)
	}
}

// Forget puts another relay in the place of one that the device knew.
func (d *Device) Forget(old, next *Relay) {
	if i := slices.Index(d.knows, old); i >= 0 {
		d.knows[i] = next
	}
}

// meet connects a device that has come onto the network, or whose network has changed.
func (d *Device) meet() {
	if !d.online() {
		return
	}
	if d.knows == nil {
		for _, r := range d.w.relays {
			d.dial(r)
		}
		return
	}
	if d.looked.IsZero() || d.w.now.Sub(d.looked) >= lookEvery {
		d.look()
	}
	d.watch()
}

// look asks the relays that the device knows for their adverts.
func (d *Device) look() {
	at := d.w.now
	d.looked = at
	d.w.after(lookEvery, func() {
		if d.online() && d.looked.Equal(at) {
			d.look()
		}
	})
	for _, r := range d.knows {
		if _, ok := d.w.relayAt(d, r.self.ID); ok && d.asks(r) {
			wait := d.w.way(d, r, 0) + d.w.way(r, d, request)
			d.reply(wait, func(e *node.Engine, t *node.Turn) { e.Advertised(t, r.ad(), election.SourceDHT) })
		}
	}
}

// asks says whether it is time to ask a relay for its advert; without a network it is whenever a link comes up.
func (d *Device) asks(r *Relay) bool {
	if d.w.net == nil {
		return true
	}
	if last, asked := d.asked[r]; asked && d.w.now.Sub(last) < lookEvery {
		return false
	}
	if d.asked == nil {
		d.asked = map[*Relay]time.Time{}
	}
	d.asked[r] = d.w.now
	return true
}

func (d *Device) find(key string) {
	if d.w.net != nil && (!d.online() || d.w.blind(d)) {
		d.reply(d.refused(), func(e *node.Engine, t *node.Turn) { e.Looked(t, key, nil) })
		return
	}
	d.reply(d.w.lookup(d), func(e *node.Engine, t *node.Turn) { e.Looked(t, key, d.w.records[key]) })
}

func (d *Device) publish(p node.Put) {
	if d.w.net != nil && (!d.online() || d.w.blind(d)) {
		d.reply(d.refused(), func(e *node.Engine, t *node.Turn) { e.Published(t, p.Key, 0) })
		return
	}
	d.w.put(p)
	d.reply(d.w.lookup(d), func(e *node.Engine, t *node.Turn) { e.Published(t, p.Key, 1) })
}

func (d *Device) ack(a node.RelayAck) {
	r, ok := d.w.relayAt(d, a.Relay.ID)
	if !ok {
		return
	}
	d.w.after(d.w.way(d, r, request+len(a.IDs)*len(mailbox.EnvelopeID{})), func() { r.ack(a) })
}

func (d *Device) direct(x node.Direct) {
	h, ok := d.w.reach(d, x.Peer.ID)
	to, device := h.(*Device)
	fails := func() {
		d.reply(d.refused(), func(e *node.Engine, t *node.Turn) { e.DirectDone(t, x, false) })
	}
	if !ok || !device || !d.reaches(to) {
		fails()
		return
	}
	d.linked(to, func(up bool) {
		if !up {
			fails()
			return
		}
		d.w.carry(Parcel{d.name, to.name, "direct", x.Envelope}, func() time.Duration { return d.w.way(d, to, len(x.Envelope)) }, func() {
			if to.online() {
				to.input(func(e *node.Engine, t *node.Turn) { e.Received(t, d.self.ID, x.Envelope) })
			}
		}, nil)
		d.w.way(to, d, 0) // its transport acknowledges, which takes room on the links; nobody waits for it
		d.reply(0, func(e *node.Engine, t *node.Turn) { e.DirectDone(t, x, true) })
	})
}

func (d *Device) deposit(x node.Deposit) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok {
		d.reply(d.refused(), func(e *node.Engine, t *node.Turn) { e.Deposited(t, x.Ref, x.Relay.ID, nil, errAway) })
		return
	}
	answer := func(rec *mailbox.Receipt, err error) {
		d.input(func(e *node.Engine, t *node.Turn) { e.Deposited(t, x.Ref, x.Relay.ID, rec, err) })
	}
	silence := func() { answer(nil, errAway) }
	there := func() time.Duration { return d.w.way(d, r, len(x.Deposit.Envelope)) }
	back := func() time.Duration { return d.w.way(r, d, request) }
	d.linked(r, func(up bool) {
		if !up {
			silence()
			return
		}
		d.w.carry(Parcel{d.name, r.name, "deposit", x.Deposit.Envelope}, there, func() {
			rec, err := r.deposit(x.Deposit)
			d.w.carry(Parcel{r.name, d.name, "receipt", nil}, back, func() { answer(rec, err) }, silence)
		}, silence)
	})
}

// Deafen makes every audit of the device come to nothing: what a test compares with.
func (d *Device) Deafen() { d.deaf = true }

func (d *Device) audit(x node.Audit) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok || d.deaf {
		d.reply(d.refused(), func(e *node.Engine, t *node.Turn) { e.Audited(t, x.Ref, x.Relay.ID, mailbox.Possession{}, errAway) })
		return
	}
	d.w.after(d.w.way(d, r, request), func() {
		p, err := r.possess(x)
		d.reply(d.w.way(r, d, request), func(e *node.Engine, t *node.Turn) { e.Audited(t, x.Ref, x.Relay.ID, p, err) })
	})
}

// await asks a relay to tell when a box has room; a relay that is away, or goes away, ends the wait.
func (d *Device) await(x node.Await) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	freed := func(err error) {
		wait := d.refused
		if r != nil {
			wait = func() time.Duration { return d.w.way(r, d, 0) }
		}
		d.reply(wait(), func(e *node.Engine, t *node.Turn) { e.Freed(t, x.Relay.ID, x.Box, err) })
	}
	if !ok {
		freed(errAway)
		return
	}
	d.linked(r, func(bool) { // r knows who is not connected
		d.w.after(d.w.way(d, r, request), func() { r.await(x.Box, string(d.self.ID), freed) })
	})
}

// prekey asks for a one-time bundle.
func (d *Device) prekey(x node.PrekeyAsk) {
	answer := func(wait time.Duration, bundle []byte) {
		d.reply(wait, func(e *node.Engine, t *node.Turn) { e.Prekey(t, x.Device, bundle) })
	}
	if h, ok := d.w.reach(d, x.From.ID); ok && x.Live {
		to := h.(*Device)
		d.w.after(d.w.way(d, to, 0), func() {
			var bundle []byte
			to.input(func(e *node.Engine, t *node.Turn) { bundle = e.OneTime(t) })
			answer(d.w.way(to, d, stock.BundleSize), bundle)
		})
		return
	}
	r, ok := d.w.relayAt(d, x.From.ID)
	if !ok || r.stock == nil {
		answer(d.refused(), nil)
		return
	}
	d.w.after(d.w.way(d, r, 0), func() {
		bundle, _ := r.stock.Take(x.ID, r.time())
		if bundle != nil {
			r.gave++
		}
		answer(d.w.way(r, d, stock.BundleSize), bundle)
	})
}

// stock leaves one-time bundles at a relay.
func (d *Device) stock(x node.Stock) {
	r, ok := d.w.relayAt(d, x.Relay.ID)
	if !ok || r.stock == nil {
		return
	}
	offer, held := stock.Sign(x.Key, r.self.ID, x.Bundles), 0
	err := r.do(func(tx mailbox.Tx) error {
		items, err := stock.Admit(tx, r.rules, offer, r.time())
		if err == nil {
			held, err = r.stock.Put(offer.Box(), items, r.time())
		}
		return err
	})
	if err == nil {
		d.reply(d.w.way(d, r, len(offer.Bundles))+d.w.way(r, d, 0), func(e *node.Engine, t *node.Turn) { e.Stocked(t, r.self.ID, held) })
	}
}

func (d *Device) elect(out *node.Effects) {
	for _, x := range out.Reserves {
		d.reply(d.ask(x.Relay, len(x.Boxes)), func(e *node.Engine, t *node.Turn) { e.Reserved(t, x.Round, x.Relay.ID, d.w.reserve(d, x)) })
	}
	var cores [][]byte
	for i, x := range out.Commits {
		if i == 0 || x.Round != out.Commits[i-1].Round { // every relay gets the same
			cores = d.signCores(x)
		}
		leases, err := d.w.commit(d, x.Relay, cores)
		d.reply(d.ask(x.Relay, len(x.Cores)), func(e *node.Engine, t *node.Turn) { e.Committed(t, x.Round, x.Relay.ID, leases, err) })
	}
	for _, x := range out.Sets {
		if r, ok := d.w.relayAt(d, x.Relay.ID); ok {
			d.w.show(Parcel{d.name, r.name, "set", x.Set})
			d.w.after(d.w.way(d, r, len(x.Set)), func() { r.putSet(x.Set) })
		}
	}
}

// signCores signs what a round has its relays countersign.
func (d *Device) signCores(x node.Commit) [][]byte {
	out := make([][]byte, len(x.Cores))
	for i, core := range x.Cores {
		signed, err := dht.SignSetCore(x.Keys[i], core)
		if err != nil {
			d.w.fail("%s: a core of its own: %v", d.name, err)
		}
		out[i] = signed
	}
	return out
}

// ask is how long a relay takes to answer so many questions.
func (d *Device) ask(relay dht.Peer, n int) time.Duration {
	r, ok := d.w.relayAt(d, relay.ID)
	if !ok || d.w.net == nil {
		return d.refused()
	}
	return d.w.way(d, r, n*request) + d.w.way(r, d, n*request)
}

// watchSoon reconciles the collect streams, once for all that happens at this moment.
func (d *Device) watchSoon() {
	if !d.opens {
		d.opens = true
		d.w.after(0, func() { d.opens = false; d.watch() })
	}
}

// watch opens the collect streams that the engine wants at the relays that are up.
func (d *Device) watch() {
	if d.engine == nil || !d.online() {
		return
	}
	var watches []node.Watch
	if err := d.store.View(func(tx store.Tx) error { watches = d.engine.Watches(d.turnOn(tx, &node.Effects{})); return nil }); err != nil {
		d.w.fail("%s: watches: %v", d.name, err)
		return
	}
	boxes := map[*Relay][]mailbox.ID{}
	var relays []*Relay
	for _, x := range watches {
		if r, ok := d.w.relayAt(d, x.Relay.ID); ok && !slices.Contains(r.watches[x.Box], d) {
			if boxes[r] == nil {
				relays = append(relays, r)
			}
			boxes[r] = append(boxes[r], x.Box)
		}
	}
	d.opening = d.w.net != nil // the links that come up here need no second look
	for _, r := range relays {
		d.linked(r, func(up bool) { d.open(r, boxes[r], up) })
	}
	d.opening = false
	d.drainAgain()
}

// open begins the collect streams of boxes at one relay, which travel together.
func (d *Device) open(r *Relay, boxes []mailbox.ID, up bool) {
	begin := func() {
		if !d.links.has(string(r.self.ID)) {
			return
		}
		boxes = slices.DeleteFunc(boxes, func(box mailbox.ID) bool { return !r.watch(box, d) })
		d.drain(r, boxes)
	}
	switch {
	case up && d.w.net == nil:
		begin()
	case up:
		d.w.after(d.w.way(d, r, len(boxes)*request), begin)
	}
}

// drain asks a relay for all that boxes hold, and tells the engine when it is here.
func (d *Device) drain(r *Relay, boxes []mailbox.ID) {
	began, here := d.time(), time.Duration(0)
	for _, box := range boxes {
		here = max(here, r.push(box, d))
	}
	d.w.after(here, func() {
		boxes = slices.DeleteFunc(boxes, func(box mailbox.ID) bool { return !slices.Contains(r.watches[box], d) })
		if d.online() && len(boxes) > 0 {
			d.input(func(e *node.Engine, t *node.Turn) {
				for _, box := range boxes {
					e.Drained(t, r.self.ID, box, began)
				}
			})
		}
	})
}

// drainEvery is how often collect streams are replaced.
const drainEvery = 11 * time.Hour

// drainAgain asks for everything anew later, once for all streams.
func (d *Device) drainAgain() {
	if d.drains {
		return
	}
	d.drains = true
	d.w.after(drainEvery, func() {
		d.drains = false
		if !d.online() {
			return
		}
		for _, peer := range d.links.all() {
			if r, ok := d.w.hosts[peer].(*Relay); ok {
				d.drain(r, slices.Clone(r.clients.boxes[d]))
			}
		}
		d.drainAgain()
	})
}

// collected brings what a relay pushed into the engine, and says when it is there.
func (d *Device) collected(r *Relay, box mailbox.ID, items []mailbox.Stored) (here time.Duration) {
	var in []node.Collected
	fate, size := inTime, 0
	for _, s := range items {
		in = append(in, node.Collected{Box: box, ID: s.ID, Envelope: s.Envelope})
		size += len(s.Envelope) + frame
		if f := d.w.show(Parcel{r.name, d.name, "mail", s.Envelope}); len(f) > 0 {
			fate = f // of the page as a whole
		}
	}
	for _, late := range fate {
		wait := d.w.way(r, d, size) + late
		here = max(here, wait)
		d.w.after(wait, func() {
			if d.online() {
				d.input(func(e *node.Engine, t *node.Turn) { e.Collected(t, r.self, in) })
			}
		})
	}
	return here
}

func (d *Device) linkUp(peer []byte) {
	d.links.add(string(peer))
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerUp(t, peer) })
	if r, ok := d.w.relayAt(d, peer); ok {
		if d.asks(r) {
			d.input(func(e *node.Engine, t *node.Turn) { e.Advertised(t, r.ad(), election.SourceDHT) })
		}
		if !d.opening {
			d.watchSoon()
		}
	}
}

func (d *Device) linkDown(peer []byte) {
	d.links.drop(string(peer))
	d.input(func(e *node.Engine, t *node.Turn) { e.PeerDown(t, peer) })
}

// reaches says whether a dial gets to a host now. A translator lets in only whom its host has sent something just before: of two
// that are behind translators the second to dial gets through, if theirs can be punched at all.
func (d *Device) reaches(h host) bool {
	peer := string(h.peer().ID)
	if d.w.net == nil || !h.port().NAT || d.links.has(peer) {
		return true
	}
	to, device := h.(*Device)
	if !device || !d.at.NAT || !Chance(d.w.seed, d.w.net.Punch, d.name, to.name) {
		return false
	}
	if d.sought == nil {
		d.sought = map[string]time.Time{}
	}
	d.sought[peer] = d.w.now
	at, sought := to.sought[string(d.self.ID)]
	return sought && d.w.now.Sub(at) < mapping
}

// linked does what needs a link to a host: now, if one stands, else when it has been dialled; up says whether it stands then.
// Without a network it takes no time.
func (d *Device) linked(h host, do func(up bool)) {
	peer := string(h.peer().ID)
	if d.w.net == nil || d.links.has(peer) {
		d.connect(h)
		do(true)
		return
	}
	waiting, dialled := d.dials[peer]
	if d.dials == nil {
		d.dials = map[string][]func(bool){}
	}
	if d.dials[peer] = append(waiting, do); dialled {
		return
	}
	quiet := d.opening
	d.w.after(dialLegs*d.w.leg(&d.at, h.port()), func() {
		waiting := d.dials[peer]
		delete(d.dials, peer)
		d.opening = quiet
		d.connect(h)
		d.opening = false
		for _, do := range waiting {
			do(d.links.has(peer))
		}
	})
}

// dial makes a link to a host that can be reached.
func (d *Device) dial(h host) {
	if d.reaches(h) {
		d.linked(h, func(bool) {})
	}
}

// connect has a link stand, if there is none.
func (d *Device) connect(h host) {
	peer := h.peer().ID
	if !d.online() || !h.online() || h == host(d) || d.w.parted(d, h) || d.links.has(string(peer)) {
		return
	}
	d.links.add(string(peer)) // so that the turn below does not connect again
	h.linkUp(d.self.ID)
	d.linkUp(peer)
}

// disconnect ends the link of a host with a peer, on both sides.
func (w *World) disconnect(h host, peer string) {
	h.linkDown([]byte(peer))
	if o, ok := w.hosts[peer]; ok {
		o.linkDown(h.peer().ID)
	}
}
