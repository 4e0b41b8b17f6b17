package fuzz

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet/story"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// hexID is a message id as people see it.
func hexID(b []byte) string { return hexOf(b[:min(len(b), 16)]) }

// privacy: a removed device reads nothing that was written by somebody who knew, and nothing is shown after its time.
func (w *watcher) privacy() {
	now := w.p.World.Now()
	for _, d := range w.p.Devices() {
		if !d.Up() {
			delete(w.since, d)
		} else if w.since[d].IsZero() {
			w.since[d] = now
		}
	}
	for _, m := range w.p.Messages {
		for _, d := range m.Not {
			if d.Got(m.ID) {
				w.p.Fail("%q is on %s, which %s knew was removed", m.Text, d.Name(), m.From.Name())
			}
		}
		if m.TTL == 0 {
			continue
		}
		for _, d := range w.p.Devices() {
			if v := d.Shows(m.ID); v != nil && d.Up() && !v.Expires.IsZero() && min(now.Sub(v.Expires), now.Sub(w.since[d])) > slack {
				w.p.Fail("%s shows %q, whose time was over at %s", d.Name(), m.Text, v.Expires.Format(time.TimeOnly))
			}
		}
	}
}

// waiting reports whether relays hold something that still has to arrive.
func (w *watcher) waiting() bool {
	return slices.ContainsFunc(w.pairs, func(x *pair) bool { return !x.over && len(x.holders) > 0 })
}

// missing reports whether something has to arrive that has not.
func (w *watcher) missing() bool { return slices.ContainsFunc(w.pairs, w.due) }

// due: the author's device lives, or relays took what it left.
func (w *watcher) due(x *pair) bool {
	if x.over {
		return false
	}
	return !x.m.From.Lost || x.stage == view.StageCustody && !x.lost && len(x.holders) > 0
}

// last is what has to hold when everybody was there for long enough: everything has arrived, and everybody sees the same.
func (w *watcher) last() {
	for _, x := range w.pairs {
		if w.due(x) {
			w.p.Fail("%q of %s is not on %s (%s)", x.m.Text, x.m.From.Name(), x.to.Name(), x.stage)
		}
	}
	if slices.ContainsFunc(w.p.Devices(), func(d *story.Device) bool { return d.Removed || d.Lost }) {
		return // what nobody else has need not be anywhere else
	}
	for _, m := range w.p.Messages {
		if m.TTL == 0 && w.p.World.Now().Sub(m.At) < 29*24*time.Hour {
			w.agree(m)
		}
	}
}

// agree compares what devices show of a message.
func (w *watcher) agree(m *story.Message) {
	first, on := "", ""
	for _, d := range w.p.Devices() {
		words := story.Look(d, m.ID)
		switch {
		case words == "":
		case first == "":
			first, on = words, d.Name()
		case words != first:
			w.p.Fail("%s shows %s, %s shows %s", on, first, d.Name(), words)
		}
	}
}
