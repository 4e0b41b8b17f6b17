package result_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/kith-im/kith/simnet/result"
)

// undocumented are the keys of result.json that the documentation does not name.
func undocumented(docs string) (out []string) {
	_, docs, _ = strings.Cut(docs, "\n## result.json\n")
	docs, _, _ = strings.Cut(docs, "\n## ")
	for _, v := range []any{result.Result{}, result.Parameter{}, result.Check{}, result.Value{}, result.Spread{}, result.Map{}, result.Axis{}} {
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "-" && !strings.Contains(docs, "`"+name+"`") {
				out = append(out, name)
			}
		}
	}
	return out
}

func TestEveryKeyIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/simulation.md")
	if err != nil {
		t.Fatal(err)
	}
	if missing := undocumented(string(raw)); len(missing) > 0 {
		t.Errorf("docs/simulation.md does not say what these are: %q", missing)
	}
	if missing := undocumented(strings.ReplaceAll(string(raw), "`p999`", "")); len(missing) != 1 {
		t.Errorf("control: without p999 there lack %q", missing)
	}
}
