package live

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kith-im/kith/simnet/story"
)

// The same scripts hold with libp2p, the directory and bbolt. The control is one that does not. STORIES names others,
// which take longer: all but those in which the network is cut can be played.
func TestStoriesHoldWithRealNodes(t *testing.T) {
	names := "first-steps"
	if v := os.Getenv("STORIES"); v != "" {
		names = v
	}
	for _, name := range strings.Fields(names) {
		s, err := story.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		broken, trace := tell(t, s)
		if len(broken) > 0 {
			t.Errorf("%s: %s\n%s", name, strings.Join(broken, "\n"), trace)
		} else {
			t.Logf("%s holds", name)
		}
	}
	script, err := story.Parse("x", "relays r1\npeople alice bob\nknow alice bob\nstop bob\nsend alice bob hi\nwait 1m\nexpect alice stage hi delivered")
	if err != nil {
		t.Fatal(err)
	}
	if broken, trace := tell(t, story.Story{Seed: 1, Script: script}); len(broken) != 1 {
		t.Errorf("control: %q\n%s", broken, trace)
	}
}

func tell(t *testing.T, s story.Story) (broken []string, trace string) {
	dir := folder(t)
	synctest.Test(t, func(*testing.T) {
		tale := Tell(s, dir)
		defer tale.Close()
		for tale.Next() {
		}
		broken, trace = tale.Broken(), strings.Join(tale.Trace(), "\n")
	})
	return broken, trace
}
