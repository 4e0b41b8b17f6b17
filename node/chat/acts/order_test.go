package acts_test

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/chat/acts"
)

// owners says whose each of the five devices is: three people.
var owners = [5]int{1, 1, 2, 2, 3}

const (
	messages = 2  // of one conversation
	rounds   = 20 // orders of one history, for each device
)

// fact is one content of a conversation; of a delete or a read only its author's own devices hear.
type fact struct {
	Kind   string
	Target int
	By     int
	At     uint64
	ID     int
	On     bool
	Text   string
}

func (f fact) private() bool { return f.Kind == "delete" || f.Kind == "read" }

// way is how the facts come to one device: in this order, some not at first, some twice, and what a sibling knows in
// between.
type way struct {
	Order      []int
	Lost, Twin uint64 // bits by place in the order
	Learns     bool
}

type history struct {
	Facts []fact
	Ways  [][len(owners)]way
}

// times are few, so that acts tie, and near the edges of the windows.
var times = []time.Duration{
	-time.Millisecond, 0, time.Second, 2 * time.Second, 3 * time.Second, acts.UnsendWindow, acts.UnsendWindow + time.Millisecond,
	acts.EditWindow, acts.EditWindow + time.Millisecond,
}

func drawHistory(t *rapid.T) history {
	var h history
	for m := range messages {
		if rapid.IntRange(0, 9).Draw(t, "comes") > 0 {
			h.Facts = append(h.Facts, fact{Kind: "message", Target: m, By: m + 1, At: noon, ID: m})
		}
	}
	kinds := []string{"edit", "unsend", "react", "delete", "read"}
	if rapid.IntRange(0, 2).Draw(t, "storm") == 0 {
		kinds = []string{"edit"}
	}
	for i := range rapid.IntRange(0, 24).Draw(t, "acts") {
		f := fact{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Target: rapid.IntRange(0, messages-1).Draw(t, "target"), ID: 100 + i}
		if f.By = f.Target + 1; f.Kind != "unsend" {
			f.By = rapid.SampledFrom([]int{f.By, f.By, f.By, 1, 2, 3}).Draw(t, "by")
		}
		f.At = uint64(noon + rapid.SampledFrom(times).Draw(t, "at").Milliseconds())
		f.On = rapid.Bool().Draw(t, "on")
		f.Text = fmt.Sprint("text ", i)
		h.Facts = append(h.Facts, f)
	}
	places := make([]int, len(h.Facts))
	for i := range places {
		places[i] = i
	}
	for range rounds {
		var ways [len(owners)]way
		for d := range ways {
			ways[d] = way{
				Order: rapid.Permutation(places).Draw(t, "order"), Lost: rapid.Uint64().Draw(t, "lost"),
				Twin: rapid.Uint64().Draw(t, "twice"), Learns: rapid.Bool().Draw(t, "learns"),
			}
		}
		h.Ways = append(h.Ways, ways)
	}
	return h
}

// device reduces what comes to it. A rule that is broken changes facts as they arrive, or keeps them away.
type device struct {
	states [messages]acts.State
	breaks func(*device, fact) (fact, bool)
	came   int
}

func (d *device) take(f fact) {
	d.came++
	if d.breaks != nil {
		var ok bool
		if f, ok = d.breaks(d, f); !ok {
			return
		}
	}
	s, by, at := &d.states[f.Target], user(f.By), acts.Stamp{At: f.At, ID: stamp(0, f.ID).ID}
	switch f.Kind {
	case "message":
		s.Arrive(by, f.At)
	case "edit":
		s.Edit(by, at, []byte(f.Text))
	case "unsend":
		s.Unsend(by, at)
	case "react":
		s.React(by, at, map[bool]string{true: f.Text[5:], false: ""}[f.On])
	case "delete":
		s.Delete(f.At, f.On)
	case "read":
		s.Read(f.At)
	}
}

// live gives a device its facts its own way: what was lost is repaired in the end. It returns what the device knew
// halfway.
func (d *device) live(h history, w way, owner int, sibling [messages]acts.State) [messages]acts.State {
	var lost []fact
	var half [messages]acts.State
	for i, n := range w.Order {
		f := h.Facts[n]
		if f.private() && f.By != owner {
			continue
		}
		if w.Lost>>i&1 == 1 {
			lost = append(lost, f)
		} else {
			d.take(f)
		}
		if w.Twin>>i&1 == 1 {
			d.take(f)
		}
		if i == len(w.Order)/2 {
			half = d.states
			for m := range d.states {
				if w.Learns {
					d.states[m].Merge(sibling[m])
				}
			}
		}
	}
	for _, f := range lost {
		d.take(f)
	}
	return half
}

// told says what every device of a person has to show of a message: the rules once more, over all facts at once.
func told(h history, owner, target int) acts.Shown {
	var out acts.Shown
	var mine []fact
	for _, f := range h.Facts {
		if f.Target == target && (!f.private() || f.By == owner) {
			mine = append(mine, f)
		}
		out.Here = out.Here || f.Target == target && f.Kind == "message"
	}
	slices.SortFunc(mine, func(a, b fact) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) })
	author, seen, others, unsent := target+1, 0, 0, false
	last := map[int]fact{}
	for _, f := range mine {
		after := int64(f.At) - noon
		switch {
		case f.Kind == "edit" && f.By != author:
			others++
		case f.Kind == "edit":
			if seen++; seen > 8 {
				continue
			}
			if after >= 0 && after <= acts.EditWindow.Milliseconds() && len(out.Edits) < 5 {
				out.Edits = append(out.Edits, acts.Edit{Stamp: acts.Stamp{At: f.At, ID: stamp(0, f.ID).ID}, Body: []byte(f.Text)})
			} else {
				out.Refused++
			}
		case f.Kind == "unsend" && !unsent:
			unsent, out.Unsent = true, after <= acts.UnsendWindow.Milliseconds()
		case f.Kind == "react":
			last[f.By] = f
		case f.Kind == "delete":
			out.Deleted = f.On || f.At == out.DeletedAt && out.Deleted
			out.DeletedAt = f.At
		case f.Kind == "read" && out.Read == 0:
			out.Read = f.At
		}
	}
	out.Refused = min(out.Refused+others, 5)
	for _, f := range last {
		if f.On {
			out.Reactions = append(out.Reactions, acts.Reaction{Stamp: acts.Stamp{At: f.At, ID: stamp(0, f.ID).ID}, User: user(f.By), Emoji: f.Text[5:]})
		}
	}
	slices.SortFunc(out.Reactions, func(a, b acts.Reaction) int {
		return cmp.Or(cmp.Compare(a.At, b.At), bytes.Compare(a.ID[:], b.ID[:]))
	})
	if out.Unsent = out.Unsent && out.Here; out.Unsent || !out.Here {
		out.Edits, out.Refused, out.Reactions = nil, 0, nil
	}
	return out
}

// run lives a history in all its orders; the error is the first device that shows something else than it has to.
func run(h history, breaks func(*device, fact) (fact, bool)) error {
	for _, ways := range h.Ways {
		var half [messages]acts.State
		var before *device
		for n, w := range ways {
			d := &device{breaks: breaks}
			if n == 0 || owners[n] != owners[n-1] {
				half, before = [messages]acts.State{}, nil
			}
			half = d.live(h, w, owners[n], half)
			for m := range messages {
				if want, got := told(h, owners[n], m), d.states[m].Show(); !reflect.DeepEqual(got, want) {
					return fmt.Errorf("device %d shows message %d as\n%+v, not\n%+v", n, m, got, want)
				}
				raw := d.states[m].Marshal()
				if again, err := acts.Parse(raw); err != nil || !reflect.DeepEqual(again.Show(), d.states[m].Show()) {
					return fmt.Errorf("device %d does not read back message %d: %w", n, m, err)
				}
				if before != nil && !bytes.Equal(raw, before.states[m].Marshal()) {
					return fmt.Errorf("devices %d and %d of one person keep message %d differently", n-1, n, m)
				}
			}
			before = d
		}
	}
	return nil
}

// Five devices of three people, each with an order, losses and copies of its own, show what the contents say: 10,000
// orders in a hundred histories.
func TestOrderDoesNotMatter(t *testing.T) {
	orders := 0
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.Custom(drawHistory).Draw(rt, "history")
		if err := run(h, nil); err != nil {
			rt.Fatal(err)
		}
		orders += len(h.Ways) * len(owners)
	})
	t.Logf("%d orders", orders)
	if orders < 10_000 {
		t.Errorf("only %d orders", orders)
	}
}

// controls each take one rule away, as an implementation without it would behave.
var controls = map[string]func(*device, fact) (fact, bool){
	"windows count from the arrival": func(d *device, f fact) (fact, bool) {
		if f.Kind == "edit" || f.Kind == "unsend" {
			f.At = uint64(noon + int64(d.came)*time.Minute.Milliseconds())
		}
		return f, true
	},
	"there is no window": func(_ *device, f fact) (fact, bool) {
		if f.Kind == "edit" || f.Kind == "unsend" {
			f.At = min(max(f.At, noon), uint64(noon+acts.UnsendWindow.Milliseconds()))
		}
		return f, true
	},
	"ties go to whoever arrives": func(_ *device, f fact) (fact, bool) {
		if f.Kind == "react" {
			f.ID = 0
		}
		return f, true
	},
	"the last reaction to arrive wins": func(d *device, f fact) (fact, bool) {
		if f.Kind == "react" {
			f.At = uint64(noon + d.came)
		}
		return f, true
	},
	"anybody edits": func(d *device, f fact) (fact, bool) {
		if f.Kind == "edit" {
			f.By = f.Target + 1
		}
		return f, true
	},
	"the first edits to arrive count": func(d *device, f fact) (fact, bool) {
		return f, f.Kind != "edit" || len(d.states[f.Target].Show().Edits) < acts.MaxEdits
	},
	"a copy counts again": func(d *device, f fact) (fact, bool) {
		f.ID += 1000 * d.came
		return f, true
	},
	"what comes before its message is lost": func(d *device, f fact) (fact, bool) {
		return f, f.Kind == "message" || d.states[f.Target].Show().Here
	},
	"taking back does not undo an edit": func(d *device, f fact) (fact, bool) {
		return f, f.Kind != "unsend" || len(d.states[f.Target].Show().Edits) == 0
	},
	"the last delete to arrive wins": func(d *device, f fact) (fact, bool) {
		if f.Kind == "delete" {
			f.At = uint64(noon + d.came)
		}
		return f, true
	},
	"the first read to arrive counts": func(d *device, f fact) (fact, bool) {
		return f, f.Kind != "read" || d.states[f.Target].Show().Read == 0
	},
}

func TestEachRuleIsNeeded(t *testing.T) {
	histories := rapid.Custom(drawHistory)
	for name, breaks := range controls {
		caught := 0
		for seed := 1; caught == 0 && seed < 200; seed++ {
			if run(histories.Example(seed), breaks) != nil {
				caught = seed
			}
		}
		if caught == 0 {
			t.Errorf("%s: nobody sees it", name)
		}
		t.Logf("%s: seen in history %d", name, caught)
	}
}

// Merging is commutative, associative and idempotent, whatever the states.
func TestMergeIsAJoin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.Custom(drawHistory).Draw(rt, "history")
		var part [3]acts.State
		for _, f := range h.Facts {
			d := &device{}
			if d.take(f); f.Target == 0 {
				part[rapid.IntRange(0, 2).Draw(rt, "part")].Merge(d.states[0])
			}
		}
		join := func(a acts.State, more ...acts.State) string {
			for _, b := range more {
				a.Merge(b)
			}
			return string(a.Marshal())
		}
		if rapid.IntRange(0, 4).Draw(rt, "over") == 0 {
			part[1].Erase()
		}
		bc := part[1]
		bc.Merge(part[2])
		all := join(part[0], part[1], part[2])
		if all != join(part[0], bc) || all != join(part[2], part[1], part[0]) || all != join(part[1], part[0], part[2], part[0], bc) {
			rt.Fatal("another order of merging, another state")
		}
	})
}
