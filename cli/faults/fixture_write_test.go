//go:build fixture

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/view"
)

// TestWriteTheHomesOfThisBuild is `make fixture`: it writes the homes that later builds have to open. It refuses to
// write over homes that are there: they belong to the build that wrote them.
func TestWriteTheHomesOfThisBuild(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	into := filepath.Join("testdata", fmt.Sprintf("homes-v%d", boltstore.Version))
	if _, err := os.Stat(into); err == nil {
		t.Fatalf("%s is there already", into)
	}
	c, dir := &clock{}, folder(t)
	made := c.now()
	relay := newTimed(t, ctx, c, dir, "relay", true)
	alice := newTimed(t, ctx, c, dir, "alice", false, relay.Self())
	bob := newTimed(t, ctx, c, dir, "bob", false, relay.Self())
	befriend(t, ctx, alice, bob, 1)
	for _, n := range []*timed{alice, bob} {
		x := n.write(ctx, n.other(), "hello from "+n.name())
		check(t, asking(ctx, func() bool { return n.stage(x) == view.StageDelivered }))
	}
	bob.stop()
	x := alice.write(ctx, "bob", keptText)
	check(t, asking(ctx, func() bool { return alice.stage(x) == view.StageCustody }))
	for _, n := range []*timed{alice, relay} {
		n.stop()
	}
	for _, n := range []string{"alice", "bob", "relay"} {
		keepHome(t, filepath.Join(dir, n), filepath.Join(into, n))
	}
	check(t, os.WriteFile(filepath.Join(into, "made"), []byte(made.UTC().Format(time.RFC3339)+"\n"), 0o644))
}

// keepHome copies what makes a home, its databases without their free pages.
func keepHome(t *testing.T, from, to string) {
	t.Helper()
	check(t, os.MkdirAll(to, 0o755))
	for _, f := range []string{"vault.key", "host.key"} {
		raw, err := os.ReadFile(filepath.Join(from, f))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(to, f), raw, 0o644))
	}
	for _, f := range []string{"node.db", "relay.db"} {
		if _, err := os.Stat(filepath.Join(from, f)); err != nil {
			continue
		}
		src, err := bolt.Open(filepath.Join(from, f), 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
		check(t, err)
		dst, err := bolt.Open(filepath.Join(to, f), 0o644, &bolt.Options{Timeout: time.Second})
		check(t, err)
		check(t, bolt.Compact(dst, src, 0))
		check(t, dst.Close())
		check(t, src.Close())
	}
}
