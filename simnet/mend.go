package simnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/mailbox/repair"
	"github.com/kith-im/kith/node"
)

// mending is a relay's part in repair: the production planner and visits.
type mending struct {
	planner *repair.Planner
	rng     io.Reader
	timer   uint64 // number of the newest wake-up planned
	offers  []offer
	drain   *repair.Drain
	known   []byte      // its own advert, as others see it for a while
	read    *dht.Advert // the same, for relays
	signed  time.Time
	changed []mailbox.ID // boxes since the planner last looked
	tidied  time.Time    // when the plan was last put in order
	stale   bool         // others than these may have changed, too
}

// offer is what a relay wants to be compared with.
type offer struct {
	from  []byte
	boxes []mailbox.ID
}

// boot begins a process: what the one before knew of other relays is gone.
func (r *Relay) boot() {
	r.planner, r.known, r.offers, r.changed, r.tidied, r.stale = repair.New(r.self.ID), nil, nil, nil, time.Time{}, true
	r.mendAt(r.time().Add(time.Second))
}

// mendAt plans the next wake-up.
func (r *Relay) mendAt(at time.Time) {
	if r.w.apart || r.lies || at.IsZero() { // who lies does not mend
		return
	}
	r.timer++
	mine := r.timer
	r.w.at(at.Add(-r.skew), func() {
		if r.up && r.timer == mine {
			r.mend()
		}
	})
}

// mend does the visits that are due.
func (r *Relay) mend() {
	if r.w.apart || r.lies {
		return
	}
	r.look()
	for _, o := range r.offers {
		r.planner.Offered(o.from, r.time(), o.boxes)
	}
	r.offers = nil
	for _, v := range r.planner.Due(r.time(), r.rng) {
		if r.w.net == nil {
			out, err := r.local().Visit(context.Background(), virtual{from: r}, v)
			r.visited(v, out, err)
		} else {
			r.travel(v)
		}
	}
	r.mendAt(r.planner.Deadline())
}

// travel is a visit over a network: what the other relay is asked it answers when the first question is there, and this one knows
// after a round trip for each.
func (r *Relay) travel(v repair.Visit) {
	planner := r.planner // a restart has another, and forgets the visit
	planner.Begin(v.Peer.ID)
	still := func() bool { return r.up && r.planner == planner }
	done := func(out repair.Outcome, err error) {
		if still() {
			r.visited(v, out, err)
			r.mendAt(planner.Deadline())
		}
	}
	o, err := virtual{from: r}.to(v.Peer)
	if err != nil {
		r.w.after(dialTimeout, func() { done(repair.Outcome{}, err) })
		return
	}
	leg := r.w.leg(&r.at, &o.at)
	r.w.after((dialLegs+1)*leg, func() {
		if still() {
			asked := 0
			out, err := r.local().Visit(context.Background(), virtual{r, &asked}, v)
			r.w.after(time.Duration(max(2*asked-1, 1))*leg, func() { done(out, err) })
		}
	})
}

// visited tells the planner what came of a visit.
func (r *Relay) visited(v repair.Visit, out repair.Outcome, err error) {
	if out.Absent > 0 { // it may have had newer sets
		for _, box := range slices.Concat(v.Compare, v.Show) {
			r.changes(box)
		}
	}
	if out.Adopted > 0 {
		r.w.Log(r.name, "takes %d copies over from %s", out.Adopted, r.w.relayName(v.Peer.ID))
	}
	if out.Proof == repair.Lied {
		r.w.Log(r.name, "catches %s lying", r.w.relayName(v.Peer.ID))
	}
	if err != nil {
		r.planner.Unreachable(v.Peer.ID, r.time(), r.rng)
	} else {
		r.planner.Visited(v.Peer.ID, r.time(), out)
	}
}

func (w *World) relayName(peer []byte) string {
	if h := w.hosts[string(peer)]; h != nil {
		return h.Name()
	}
	return "?"
}

func (r *Relay) local() *repair.Local {
	return &repair.Local{Store: r.store, Relay: r.rules, Now: func() time.Time { return r.time() }, Rand: r.rng, Adopted: r.changes}
}

// tidyEvery is how often a relay on a network puts its plan in order; it goes through all boxes for that if mail has expired.
const tidyEvery = time.Hour

// look goes through the boxes, those that may have changed if it can know them.
func (r *Relay) look() {
	changed := r.changed
	r.changed = r.changed[:0]
	tidy := r.tidied.IsZero() || r.w.now.Sub(r.tidied) >= tidyEvery
	if tidy {
		r.tidied = r.w.now
		slices.SortFunc(changed, func(a, b mailbox.ID) int { return bytes.Compare(a[:], b[:]) })
	}
	all := r.w.net == nil || tidy && r.stale
	_ = r.store.View(func(tx mailbox.Tx) error {
		if all {
			tx.EachBox(func(box mailbox.ID, _ mailbox.Box) bool { r.planner.Look(tx, r.time(), box); return true })
			return nil
		}
		for _, box := range changed {
			r.planner.Look(tx, r.time(), box)
		}
		return nil
	})
	switch {
	case all:
		r.planner.Sweep()
		r.stale = false
	case tidy:
		r.planner.Tidy()
	}
}

// back hears that a relay is connected again.
func (r *Relay) back(o *Relay) {
	if r != o && r.up && !r.w.parted(r, o) && r.planner.Back(o.self.ID, r.time()) {
		r.mendAt(r.planner.Deadline())
	}
}

// ad is the relay's advert; it signs one an hour.
func (r *Relay) ad() []byte {
	if r.known == nil || r.w.now.Sub(r.signed) > time.Hour {
		r.known, r.read, r.signed = r.advert(), nil, r.w.now
	}
	return r.known
}

func (r *Relay) leaving() (at time.Time) {
	_ = r.store.View(func(tx mailbox.Tx) error { at = tx.Leaving(); return nil })
	return at
}

// Drain lets the relay leave, by its operator's wish; Drained says when it may go.
func (r *Relay) Drain() {
	r.w.Log(r.name, "is drained")
	err := r.do(func(tx mailbox.Tx) error { return r.rules.Leave(tx, r.time(), r.time().Add(7*24*time.Hour)) })
	if err != nil {
		r.w.fail("%s: leave: %v", r.name, err)
	}
	r.known = nil
	for _, peer := range r.links.all() {
		if d, ok := r.w.hosts[peer].(*Device); ok {
			d.reply(r.w.way(r, d, request), func(e *node.Engine, t *node.Turn) { e.Advertised(t, r.ad(), election.SourceDHT) })
		}
	}
	r.pass()
}

// pass offers what is left and asks for proofs, until there is nothing left.
func (r *Relay) pass() {
	if !r.up || r.Drained() {
		return
	}
	r.look()
	_ = r.store.View(func(tx mailbox.Tx) error {
		r.drain = r.planner.Drain(r.drain, func(box mailbox.ID) [32]byte { return r.rules.Sum(tx, r.time(), box) })
		return nil
	})
	for _, v := range r.drain.Asks() {
		if proved, err := r.local().HandOver(context.Background(), virtual{from: r}, v); err == nil {
			r.drain.Proved(v.Peer.ID, proved)
		}
	}
	r.w.after(time.Minute, r.pass)
}

// Drained says whether enough other relays have proved to hold everything.
func (r *Relay) Drained() bool {
	if r.drain == nil {
		return false
	}
	boxes, done := r.drain.Progress()
	return boxes == done
}

// prove is the answer to a question for possession; a liar has only what it did not lose.
func (r *Relay) prove(box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) (out []mailbox.Possession, err error) {
	err = r.store.View(func(tx mailbox.Tx) (err error) {
		out, err = r.rules.Possess(tx, r.time(), box, nonce, ids)
		return err
	})
	for i, id := range ids {
		if r.lost[id] && err == nil {
			out[i] = mailbox.Possession{}
		}
	}
	return out, err
}

// virtual is the way from a relay to the others.
type virtual struct {
	from  *Relay
	asked *int // questions; nil: nobody counts
}

func (v virtual) to(p dht.Peer) (*Relay, error) {
	if v.asked != nil {
		*v.asked++
	}
	r, ok := v.from.w.relayAt(v.from, p.ID)
	if !ok {
		return nil, errAway
	}
	return r, nil
}

// view asks another relay's rules.
func (v virtual) view(p dht.Peer, fn func(r *Relay, tx mailbox.Tx) error) error {
	r, err := v.to(p)
	if err != nil {
		return err
	}
	return r.store.View(func(tx mailbox.Tx) error { return fn(r, tx) })
}

func (v virtual) Compare(_ context.Context, p dht.Peer, sums []mailbox.BoxSum) (out []mailbox.Comparison, err error) {
	err = v.view(p, func(r *Relay, tx mailbox.Tx) error {
		out = r.rules.Compare(tx, r.time(), v.from.self.ID, sums)
		return nil
	})
	return out, err
}

func (v virtual) Digest(_ context.Context, p dht.Peer, box mailbox.ID, after uint64) (page []mailbox.Held, more bool, err error) {
	err = v.view(p, func(r *Relay, tx mailbox.Tx) (err error) {
		page, more, err = r.rules.Digest(tx, r.time(), v.from.self.ID, box, after)
		return err
	})
	return page, more, err
}

func (v virtual) Copies(_ context.Context, p dht.Peer, box mailbox.ID, ids []mailbox.EnvelopeID) (out []mailbox.Copy, err error) {
	err = v.view(p, func(r *Relay, tx mailbox.Tx) error {
		var there []mailbox.EnvelopeID
		for _, id := range ids {
			if !r.lost[id] {
				there = append(there, id)
			}
		}
		out, err = r.rules.Copies(tx, r.time(), v.from.self.ID, box, there)
		for i := range out {
			r.w.show(Parcel{r.name, v.from.name, "copy", out[i].Envelope})
			v.from.Repaired += uint64(len(out[i].Envelope))
			r.at.Sent += uint64(len(out[i].Envelope) + frame)
			v.from.at.Got += uint64(len(out[i].Envelope) + frame)
			if r.cuts {
				out[i].Expires = r.time().Add(3 * time.Hour)
			}
		}
		return err
	})
	return out, err
}

func (v virtual) Possess(_ context.Context, p dht.Peer, box mailbox.ID, nonce [32]byte, ids []mailbox.EnvelopeID) ([]mailbox.Possession, error) {
	r, err := v.to(p)
	if err != nil {
		return nil, err
	}
	return r.prove(box, nonce, ids)
}

// Advert is a relay's own, which others read and leave as it is.
func (v virtual) Advert(_ context.Context, p dht.Peer) (*dht.Advert, error) {
	r, err := v.to(p)
	if err != nil {
		return nil, err
	}
	if raw := r.ad(); r.read == nil {
		r.read, err = dht.ParseAdvert(raw)
	}
	return r.read, err
}

func (v virtual) Offer(_ context.Context, p dht.Peer, boxes []mailbox.ID) error {
	r, err := v.to(p)
	if err != nil {
		return err
	}
	r.offers = append(r.offers, offer{v.from.self.ID, boxes})
	r.mendAt(r.time().Add(time.Second))
	return nil
}

func (v virtual) GetSet(_ context.Context, p dht.Peer, box mailbox.ID) (raw []byte, err error) {
	err = v.view(p, func(r *Relay, tx mailbox.Tx) error {
		raw, err = r.rules.GetSet(tx, r.time(), box)
		return err
	})
	if refusal, is := errors.AsType[*mailbox.Refusal](err); is && refusal.Code == mailbox.NotMine {
		return nil, dht.ErrNotFound
	}
	return raw, err
}

func (v virtual) PutSet(_ context.Context, p dht.Peer, raw []byte) error {
	r, err := v.to(p)
	if err != nil {
		return err
	}
	err = r.do(func(tx mailbox.Tx) error { return r.rules.PutSet(tx, r.time(), raw) })
	if rec, bad := dht.ParseSetRecord(raw); bad == nil {
		r.changes(rec.BoxID())
	}
	return err
}
