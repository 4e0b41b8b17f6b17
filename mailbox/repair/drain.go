package repair

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// Drain is the handover of a relay that leaves: every box with content has to be
// proved in full by as many other relays of its set as the set has members, if there are
// so many. A box that no other relay holds is never handed over.
type Drain struct {
	boxes map[mailbox.ID]*handed
	order []mailbox.ID
}

// handed is how far the handover of one box is.
type handed struct {
	sum    [32]byte
	need   int
	others []dht.Peer
	proved map[string]bool // by peer id, of what sum stands for
}

// Drain updates d (nil: a new one) to the boxes that hold something now. A box
// whose content has changed has to be proved anew.
func (p *Planner) Drain(d *Drain, sum func(mailbox.ID) [32]byte) *Drain {
	next := &Drain{boxes: map[mailbox.ID]*handed{}}
	for id, x := range p.boxes {
		if !x.content {
			continue
		}
		h := &handed{sum: sum(id), need: max(1, min(x.replicas(), len(x.others))), proved: map[string]bool{}}
		var old map[string]bool
		if d != nil && d.boxes[id] != nil && d.boxes[id].sum == h.sum {
			old = d.boxes[id].proved
		}
		for _, o := range x.others {
			h.others = append(h.others, o.Peer)
			if old[string(o.ID)] { // a new set may name others
				h.proved[string(o.ID)] = true
			}
		}
		next.boxes[id] = h
		next.order = append(next.order, id)
	}
	slices.SortFunc(next.order, func(a, b mailbox.ID) int { return bytes.Compare(a[:], b[:]) })
	return next
}

// Asks are the relays to go to, with the boxes that each has not proved yet.
func (d *Drain) Asks() []Visit {
	var out []Visit
	at := map[string]int{}
	for _, id := range d.order {
		h := d.boxes[id]
		if h.done() {
			continue
		}
		for _, o := range h.others {
			if h.proved[string(o.ID)] {
				continue
			}
			i, known := at[string(o.ID)]
			if !known {
				i = len(out)
				at[string(o.ID)] = i
				out = append(out, Visit{Peer: o})
			}
			out[i].Offer = append(out[i].Offer, id)
		}
	}
	return out
}

// Proved notes which boxes a relay has proved in full.
func (d *Drain) Proved(relay []byte, boxes []mailbox.ID) {
	for _, id := range boxes {
		if h := d.boxes[id]; h != nil {
			h.proved[string(relay)] = true
		}
	}
}

// Progress counts the boxes and those that are handed over.
func (d *Drain) Progress() (boxes, done int) {
	for _, h := range d.boxes {
		if h.done() {
			done++
		}
	}
	return len(d.boxes), done
}

func (h *handed) done() bool { return len(h.proved) >= h.need }

// HandOver offers boxes to a relay and returns those of which it proves to have
// everything, or to have had it acknowledged.
func (l *Local) HandOver(ctx context.Context, w Wire, v Visit) (proved []mailbox.ID, err error) {
	t := &talk{Local: l, ctx: ctx, w: w, with: v.Peer}
	for run := range slices.Chunk(v.Offer, mailbox.MaxCompare) {
		if err := passOver(w.Offer(ctx, v.Peer, run)); err != nil {
			return proved, fmt.Errorf("hand over: %w", err)
		}
		for _, box := range run {
			all, err := t.provesAll(box)
			if err != nil {
				return proved, fmt.Errorf("hand over: %w", err)
			}
			if all {
				proved = append(proved, box)
			}
		}
	}
	return proved, nil
}

// provesAll asks for proofs of every live envelope of a box, a run at a time.
func (t *talk) provesAll(box mailbox.ID) (bool, error) {
	ids, err := t.held(box)
	if err != nil {
		return false, err
	}
	for run := range slices.Chunk(ids, mailbox.MaxPossess) {
		samples, err := t.bodies(box, run)
		if err != nil {
			return false, err
		}
		if t.out.Proof = Proved; len(samples) > 0 {
			t.out.Proof = Untested
			err = t.test(t.with, box, samples, false)
		}
		if err != nil || t.out.Proof != Proved {
			return false, err
		}
	}
	return true, nil
}
