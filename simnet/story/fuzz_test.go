package story_test

import (
	"os"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/simnet/story"
)

// FuzzRead: a file that somebody hands in is a story or a sentence about what is wrong with it.
func FuzzRead(f *testing.F) {
	for _, name := range story.Names() {
		raw, err := os.ReadFile("stories/" + name + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("-- script --\nperson \"\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		s, err := story.Read("x.txtar", raw)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("refused without a word")
			}
			return
		}
		for _, l := range s.Script {
			if l.Verb == "" || l.Number < 1 {
				t.Fatalf("a line without a verb: %+v", l)
			}
		}
	})
}
