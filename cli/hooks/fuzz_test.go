package hooks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kith-im/kith/cli/hooks"
	"github.com/kith-im/kith/crypto/fuzztest"
)

// FuzzParse: a setting is words of its own text, and nothing is made up.
func FuzzParse(f *testing.F) {
	f.Add(`notify-send "a b" 'c d'e`)
	f.Add(`'`)
	f.Add(`"" x`)
	f.Fuzz(func(t *testing.T, line string) {
		defer fuzztest.Limit(t, len(line))()
		words, err := hooks.Parse(line)
		if err != nil {
			return
		}
		if slices.ContainsFunc(words, func(w string) bool { return strings.ContainsRune(w, 0) || len(w) > len(line) }) {
			t.Fatalf("%q became %q", line, words)
		}
	})
}
