package strict_test

import (
	"strings"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/node/strict"
)

const text = `# a file
relays = 4
[expect]
"lost.count" = "== 0"
[[fault]]
at = "1 d"
[[fault]]
at = "2 d"
kind = "x"
[a.b]
c = 1
`

func TestLinesAreFound(t *testing.T) {
	for key, want := range map[string]int{
		"relays": 2, "expect": 3, "expect.lost.count": 4, "fault.0.at": 6, "fault.1": 7, "fault.1.at": 8, "fault.1.kind": 9, "a.b.c": 11, "a": 10, "rel": 0, "fault.2.at": 0,
	} {
		if got := strict.Line(text, key); got != want {
			t.Errorf("%s stands in line %d, want %d", key, got, want)
		}
	}
}

func TestTheNearestNameIsNamed(t *testing.T) {
	known := []string{"relays", "relay_life", "devices", "hooks.on_message"}
	for name, want := range map[string]string{
		"relay": "relays", "rleays": "relays", "device": "devices", "on_message": "hooks.on_message", "Relays": "relays", "weather": "", "": "",
		strings.Repeat("r", 1000): "",
	} {
		if got := strict.Near(name, known); got != want {
			t.Errorf("%.20q is near %q, want %q", name, got, want)
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	for bad, want := range map[string]string{
		"a = 1\na = 2":            "f.toml:2: ",
		"a = ":                    "f.toml:1: ",
		strings.Repeat("#", 1001): "f.toml: longer than 1000 bytes",
		"a = \"x":                 "f.toml:1: ",
		"b = [1\nc = 2\n":         "f.toml:",
	} {
		var v map[string]any
		_, err := strict.Decode("f.toml", bad, 1000, &v)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: %v, want %s", bad, err, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add(text, "fault.1.at")
	f.Fuzz(func(t *testing.T, text, key string) {
		defer fuzztest.Limit(t, len(text)+len(key))()
		if n := strict.Line(text, key); n < 0 || n > strings.Count(text, "\n")+1 {
			t.Errorf("line %d", n)
		}
	})
}
