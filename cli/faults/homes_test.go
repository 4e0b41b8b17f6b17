package faults

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

// keptText waits at the relay of the fixture for Bob.
const keptText = "kept for you"

// TestHomesOfEarlierBuildsOpen: whoever updates finds his messages, what waited for him at a relay that updated too, and
// writes on. The homes are those that `make fixture` of each build left.
func TestHomesOfEarlierBuildsOpen(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("testdata/homes-v*")
	check(t, err)
	if len(all) == 0 {
		t.Fatal("no homes")
	}
	for _, homes := range all {
		t.Run(filepath.Base(homes), func(t *testing.T) { openEarlier(t, homes) })
	}
}

func openEarlier(t *testing.T, homes string) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	dir, c := folder(t), madeAt(t, homes)
	open := func(name string, relay bool, peers ...*timed) *timed {
		copyHome(t, filepath.Join(homes, name), filepath.Join(dir, name))
		n := &timed{t: t, clock: c, c: timedConfig(c, filepath.Join(dir, name), relay)}
		for _, p := range peers {
			n.c.Bootstrap = append(n.c.Bootstrap, p.Self())
		}
		n.start(ctx)
		t.Cleanup(n.stop)
		return n
	}
	relay := open("relay", true)
	bob := open("bob", false, relay)
	want := []string{"hello from alice", "hello from bob", keptText}
	check(t, asking(ctx, func() bool { return slices.Equal(bob.texts("alice"), want) }))
	alice := open("alice", false, relay)
	if got := alice.texts("bob"); !slices.Equal(got, want) {
		t.Errorf("Alice has %q", got)
	}
	for _, n := range []*timed{alice, bob} {
		x := n.write(ctx, n.other(), "one more from "+n.name())
		check(t, asking(ctx, func() bool { return n.stage(x) == view.StageDelivered }))
	}
	want = append(want, "one more from alice", "one more from bob")
	if got := bob.texts("alice"); !slices.Equal(got, want) {
		t.Errorf("Bob has %q", got)
	}
}

// madeAt is a clock that stands an hour after the homes were made: what waits in them is not over.
func madeAt(t *testing.T, homes string) *clock {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(homes, "made"))
	check(t, err)
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(raw)))
	check(t, err)
	return &clock{off: time.Until(at.Add(time.Hour))}
}

// TestHomesOfEarlierBuildsStartToday: the same homes under the commands and the daemon, at today's date.
func TestHomesOfEarlierBuildsStartToday(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("testdata/homes-v*")
	check(t, err)
	for _, homes := range all {
		t.Run(filepath.Base(homes), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
			defer cancel()
			c := &cast{t: t, dir: folder(t), news: newNews()}
			t.Cleanup(c.end)
			c.alice = newDevice(t, c.dir, "alice", c.news)
			copyHome(t, filepath.Join(homes, "alice"), c.alice.home)
			c.alice.listens(t)
			if said := c.alice.must(t, ctx, 0, "read", "bob", "--peek"); !strings.Contains(said, "hello from bob") {
				t.Errorf("without a daemon: %q", said)
			}
			check(t, c.alice.start(ctx))
			var m api.Messages
			check(t, c.alice.call(ctx, "messages", api.MessagesRequest{Chat: "bob"}, &m))
			if len(m.Messages) != 3 {
				t.Errorf("%d messages", len(m.Messages))
			}
			c.alice.must(t, ctx, 0, "send", "bob", "still here", "--wait", "queued")
			check(t, c.alice.stop())
		})
	}
}
