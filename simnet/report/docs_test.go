package report_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/simnet/crowd"
	"github.com/kith-im/kith/simnet/result"
)

// TestEveryFigureOfWorldsIsDocumented is that of populations for the other kind.
func TestEveryFigureOfWorldsIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	_, docs, _ := strings.Cut(string(raw), "\n## Figures of worlds\n")
	docs, _, _ = strings.Cut(docs, "\n## ")
	c := crowd.Default()
	c.Users, c.RelayCount, c.For = 2, 5, time.Hour
	w, err := crowd.New(c)
	if err != nil {
		t.Fatal(err)
	}
	missing := func(docs string, r *result.Result) (out []string) {
		for _, v := range r.Values {
			if !strings.Contains(docs, "`"+v.Name+"`") {
				out = append(out, v.Name)
			}
		}
		for _, s := range r.Spreads {
			if !strings.Contains(docs, "`"+s.Name+"`") {
				out = append(out, s.Name)
			}
		}
		return out
	}
	if lack := missing(docs, w.Result()); len(lack) > 0 {
		t.Errorf("docs/simulation.md does not say what these are: %q", lack)
	}
	if lack := missing(strings.ReplaceAll(docs, "`late.count`", ""), w.Result()); len(lack) != 1 {
		t.Errorf("control: without late.count there lack %q", lack)
	}
}
