package cli

import (
	"slices"
	"testing"
)

func TestATextNamesWhoStandsInItAsAWord(t *testing.T) {
	people := []string{"bob", "carol-ann", "jörg", "al"}
	for text, want := range map[string][]string{
		"@bob: look":                 {"bob"},
		"(@Bob, @carol-ann.) @jörg!": {"bob", "carol-ann", "jörg"},
		"bob, carol-ann":             nil,
		"mail al@bob.example":        nil,
		"@bobby and @albert":         nil,
		"@al":                        {"al"},
	} {
		if got := named(text, people); !slices.Equal(got, want) {
			t.Errorf("%q names %q, want %q", text, got, want)
		}
	}
}
