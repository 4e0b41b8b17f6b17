package simnet_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
	"github.com/kith-im/kith/simnet"
)

// schedule is one world with what a test wants to know of it.
type schedule struct {
	t      *testing.T
	seed   uint64
	w      *simnet.World
	relays []*simnet.Relay
	broken []string
}

func (s *schedule) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("seed %d: %v\n%s", s.seed, err, tail(s.w))
	}
}

func tail(w *simnet.World) string {
	lines := w.Trace()
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

func (s *schedule) befriend(a, b *simnet.Device) {
	var link string
	s.must(a.Do(func(e *node.Engine, t *node.Turn) error { v, err := e.CreateInvite(t, 0); link = v.Text; return err }))
	s.must(b.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err }))
	if !s.w.RunUntil(10*time.Minute, func() bool {
		x, y := contactOf(a, b.Name()), contactOf(b, a.Name())
		return x.State == "accepted" && y.State == "accepted"
	}) {
		s.t.Fatalf("seed %d: %s and %s do not get to know each other\n%s", s.seed, a.Name(), b.Name(), tail(s.w))
	}
}

func contactOf(d *simnet.Device, handle string) (found view.Contact) {
	d.View(func(tx store.Tx) error {
		all, err := node.Contacts(tx, nil)
		for _, c := range all {
			if c.Handle == handle {
				found = c
			}
		}
		return err
	})
	return found
}

func pick[T any](rng *rand.Rand, in []T) T { return in[rng.IntN(len(in))] }

// seeds is how many schedules a test plays: SEEDS in the environment, or a few.
func seeds(t *testing.T, few uint64) uint64 {
	v := os.Getenv("SEEDS")
	if v == "" {
		return few
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whoever writes first to somebody who is away begins with a one-time bundle of a relay, and without one where it has none.
func TestOneTimeBundles(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		s := &schedule{t: t, seed: 7, w: simnet.New(7)}
		r := s.w.AddRelay("relay")
		if keeps {
			r.KeepBundles()
		}
		a, err := s.w.AddDevice("alice")
		s.must(err)
		b, err := s.w.AddDevice("bob")
		s.must(err)
		s.must(a.Start())
		s.must(b.Start())
		s.w.Run(5 * time.Minute)
		var link string
		s.must(a.Do(func(e *node.Engine, t *node.Turn) error { v, err := e.CreateInvite(t, 0); link = v.Text; return err }))
		a.Leave()
		s.must(b.Do(func(e *node.Engine, t *node.Turn) error { _, err := e.Join(t, link, ""); return err }))
		s.w.Run(time.Hour)
		a.Return()
		if !s.w.RunUntil(10*time.Minute, func() bool { return contactOf(a, "bob").State == "accepted" }) {
			t.Errorf("a relay keeps bundles %t: bob is not known\n%s", keeps, tail(s.w))
		}
		if got := r.Bundles() > 0; got != keeps {
			t.Errorf("a relay keeps bundles %t, and handed out %d", keeps, r.Bundles())
		}
	}
}
