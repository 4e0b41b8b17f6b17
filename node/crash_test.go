package node_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

var errDisk = errors.New("disk")

// flaky is a store whose transactions fail at random after they ran, as a full or a dying disk makes them.
type flaky struct {
	store.Store
	rng   *rand.Rand
	oneIn int  // 0: never
	once  bool // the next one
	hits  int
}

func (f *flaky) Update(fn func(store.Tx) error) error {
	return f.Store.Update(func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if f.once {
			f.once = false
			return errDisk
		}
		if f.oneIn > 0 && f.rng.IntN(f.oneIn) == 0 {
			f.hits++
			return errDisk
		}
		return nil
	})
}

// A turn that does not commit has not happened: its effects are dropped, the engine is loaded again, and nothing is
// lost, shown twice, or encrypted twice under one key.
func TestFailingStore(t *testing.T) {
	hits := 0
	for seed := range uint64(4) {
		w, a, b := pair(t, "r1", "r2", "r3")
		b2 := b.link("bob-2")
		b2.meetDevice(a)
		w.pass(time.Minute)
		w.sent = nil
		stores := []*flaky{}
		for _, d := range []*device{a, b, b2} {
			f := &flaky{Store: d.store, rng: rand.New(rand.NewPCG(seed, uint64(len(stores)))), oneIn: 5}
			d.store = f
			stores = append(stores, f)
		}
		rng := rand.New(rand.NewPCG(seed, 99))
		var fromA, fromB []string
		for i := range 12 {
			from, to, all := a, b, &fromA
			if rng.IntN(2) == 0 {
				from, to, all = b, a, &fromB
			}
			if _, err := from.trySend(to, text(i)); err == nil {
				*all = append(*all, text(i))
			}
			switch rng.IntN(4) {
			case 0:
				b2.stop()
				b2.start()
			case 1:
				w.pass(time.Duration(rng.IntN(5000)) * time.Millisecond)
			}
		}
		w.pass(2 * time.Hour)
		for _, f := range stores {
			hits += f.hits
			f.oneIn = 0
		}
		w.pass(24 * time.Hour)
		for _, d := range []*device{a, b, b2} {
			with := a
			if d == a {
				with = b
			}
			got := d.texts(with)
			if len(got) != len(fromA)+len(fromB) {
				t.Errorf("seed %d: %s has %d messages, %d were sent", seed, d.name, len(got), len(fromA)+len(fromB))
			}
			wantTexts(t, d, with, got...)
		}
		if keyTwice(w) {
			t.Error("two envelopes under one message key")
		}
	}
	if hits < 20 {
		t.Errorf("control: only %d transactions failed", hits)
	}
}

// keyTwice reports whether two different envelopes carry one tag: a tag belongs to one message key.
func keyTwice(w *world) bool {
	seen := map[string]string{}
	for _, p := range w.sent {
		if len(p.envelope) == 0 || p.envelope[0] != 1 {
			continue
		}
		tag := string(p.envelope[1:9])
		if old, ok := seen[tag]; ok && old != string(p.envelope) {
			return true
		}
		seen[tag] = string(p.envelope)
	}
	return false
}

// The control: with effects before the commit, a failing disk does use a key twice.
func TestEffectsBeforeTheCommit(t *testing.T) {
	w, a, b := pair(t)
	a.send(b, "so that the session stands")
	w.pass(time.Minute)
	w.sent = nil
	a.early = true
	f := &flaky{Store: a.store, rng: rand.New(rand.NewPCG(1, 1)), once: true}
	a.store = f
	_, _ = a.trySend(b, "one")
	a.send(b, "two")
	if !keyTwice(w) {
		t.Error("no key was used twice: the check sees nothing")
	}
}

// A crash at any moment between two turns loses nothing after Send returned, and reuses no key.
func TestCrashBetweenTurns(t *testing.T) {
	for at := 0; at < 45; at += 3 {
		w, a, b := pair(t, "r1", "r2", "r3")
		w.sent = nil
		turns := 0
		for _, d := range []*device{a, b} {
			d.crash = func() bool { turns++; return turns == at }
		}
		id, err := a.trySend(b, "hello")
		if err != nil {
			continue
		}
		w.pass(time.Minute)
		for _, d := range []*device{a, b} {
			d.crash = nil
			if d.engine == nil {
				d.start()
			}
		}
		a.meetDevice(b)
		w.pass(10 * time.Minute)
		wantTexts(t, b, a, "hello")
		if s := a.stage(id); s != view.StageDelivered {
			t.Errorf("crash at turn %d: %s", at, s)
		}
		if keyTwice(w) {
			t.Error("two envelopes under one message key")
		}
	}
}

// All devices show a conversation in one order, whatever order it came in, and whatever their clocks say.
func TestOneOrder(t *testing.T) {
	w, a, b := pair(t, "r1", "r2", "r3")
	a2, b2 := a.link("alice-2"), b.link("bob-2")
	all := []*device{a, a2, b, b2}
	for _, x := range all {
		for _, y := range all {
			if x != y {
				x.meetDevice(y)
			}
		}
	}
	w.pass(10 * time.Minute)
	a.skew, b.skew, b2.skew = 9*time.Minute, -7*time.Minute, 20*time.Second
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range 40 {
		from := all[rng.IntN(len(all))]
		if from.engine == nil {
			from.start()
		}
		to := b
		if from == b || from == b2 {
			to = a
		}
		from.send(to, text(i))
		switch rng.IntN(3) {
		case 0:
			w.pass(time.Duration(rng.IntN(20)) * time.Second)
		case 1:
			if d := all[rng.IntN(len(all))]; d.engine != nil {
				d.stop()
			}
		}
	}
	for _, d := range all {
		if d.engine == nil {
			d.start()
		}
	}
	w.pass(2 * time.Hour)
	want := a.texts(b)
	if len(want) != 40 {
		t.Fatalf("%d messages", len(want))
	}
	wantTexts(t, a2, b, want...)
	wantTexts(t, b, a, want...)
	wantTexts(t, b2, a, want...)
	// An answer stands after what it answers, also when the other's clock is ahead.
	a.send(b, "question")
	w.pass(time.Second)
	b.send(a, "answer")
	w.pass(time.Second)
	for _, d := range all {
		with := b
		if d == b || d == b2 {
			with = a
		}
		got := d.texts(with)
		if got[len(got)-2] != "question" || got[len(got)-1] != "answer" {
			t.Errorf("%s: %q", d.name, got[len(got)-2:])
		}
	}
}
