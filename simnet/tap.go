package simnet

import "time"

// Parcel is something that a link carries, or that the directory shows to everybody.
type Parcel struct {
	From, To string // names of hosts
	Kind     string // direct, deposit, receipt, mail, copy, set, record
	Bytes    []byte
}

// Fate is how often a parcel arrives, and how much later than it would: nothing in it means never.
type Fate []time.Duration

// inTime is the fate of what nobody meddles with.
var inTime = Fate{0}

// unanswered is how long a sender waits for an answer that was lost.
const unanswered = 20 * time.Second

// Tap shows fn everything that is carried, and lets it decide what becomes of envelopes and receipts. Mail on a collect
// stream is never lost, only late or doubled: a stream that loses is a link that is cut.
func (w *World) Tap(fn func(Parcel) Fate) { w.tap = fn }

// Watch shows fn everything that is carried, besides the tap.
func (w *World) Watch(fn func(Parcel)) { w.watch = fn }

// show lets the tap see what cannot get lost here.
func (w *World) show(p Parcel) Fate {
	if w.watch != nil {
		w.watch(p)
	}
	if w.tap == nil {
		return inTime
	}
	return w.tap(p)
}

// carry plans arrive for each time that a parcel comes, and lost once if it never does. way draws how long it takes.
func (w *World) carry(p Parcel, way func() time.Duration, arrive, lost func()) {
	fate := w.show(p)
	for _, late := range fate {
		w.after(way()+late, arrive)
	}
	if len(fate) == 0 && lost != nil {
		w.after(unanswered, lost)
	}
}
