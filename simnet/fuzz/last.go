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
	for _, m := range w.p.Messages {
		w.strangers(m)
	}
	if slices.ContainsFunc(w.p.Devices(), func(d *story.Device) bool { return d.Removed || d.Lost }) {
		return // what nobody else has need not be anywhere else
	}
	for _, m := range w.p.Messages {
		w.members(m)
	}
	for _, m := range w.p.Messages {
		if m.TTL == 0 && w.p.World.Now().Sub(m.At) < 29*24*time.Hour {
			w.agree(m)
		}
	}
}

// strangers: nobody reads in a group what was written by somebody who knew that he is no member, unless he was one after all, of
// which others know.
func (w *watcher) strangers(m *story.Message) {
	for _, who := range m.Strange {
		for _, d := range who.Devices {
			others := slices.ContainsFunc(w.p.Devices(), func(o *story.Device) bool {
				in, _ := w.p.WasIn(o, m.To, who, m.At)
				return in && o.Owner != who
			})
			if d.Got(m.ID) && !others {
				w.p.Fail("%q is on %s, whose person %s knew to be no member", m.Text, d.Name(), m.From.Name())
			}
		}
	}
}

// members: all who are in a group agree who is, and have what one of them has of the time in which they are.
func (w *watcher) members(m *story.Message) {
	var in []*story.Device
	for _, d := range w.p.Devices() {
		if roster := w.p.Roster(d, m.To); len(roster) > 0 {
			if in = append(in, d); !slices.Equal(roster, w.p.Roster(in[0], m.To)) {
				w.p.Fail("%s and %s do not agree who is in %s", in[0].Name(), d.Name(), m.To)
			}
		}
	}
	if m.Changed || m.TTL > 0 || w.p.World.Now().Sub(m.At) > 29*24*time.Hour || !slices.ContainsFunc(in, func(d *story.Device) bool { return d.Shows(m.ID) != nil }) {
		return
	}
	for _, d := range in {
		if _, since := w.p.WasIn(d, m.To, d.Owner, m.At); since.Add(slack).Before(m.At) && d.Shows(m.ID) == nil {
			w.p.Fail("%q of %s in %s is not on %s, who is in it since %s before", m.Text, m.From.Name(), m.To, d.Name(), m.At.Sub(since))
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
