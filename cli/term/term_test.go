package term_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kith-im/kith/cli/term"
	"github.com/kith-im/kith/crypto/fuzztest"
)

// harmless reports the first character of s that may move a cursor, change direction, or be invisible.
func harmless(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("broken UTF-8")
	}
	for _, r := range s {
		if r == '\u200c' || r == '\u200d' {
			continue
		}
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r >= 0xe0000 && r <= 0xe0fff {
			return fmt.Errorf("%U", r)
		}
	}
	return nil
}

func TestCleanTable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                      "plain",
		"Grüße, 世界 👩\u200d👩":         "Grüße, 世界 👩\u200d👩",
		"\x1b[31mred\x1b[0m":         "\ufffd[31mred\ufffd[0m",
		"two\nlines":                 "two lines",
		"back\b\b\bspace\a\x00":      "back\ufffd\ufffd\ufffdspace\ufffd\ufffd",
		"\u009b31m":                  "\ufffd31m",
		"abc\u202edcba":              "abcdcba",
		"\u2066iso\u2069":            "iso",
		"zero\u200bwidth\ufeff":      "zerowidth",
		"tag\U000e0041\U000e007f":    "tag",
		"broken \xff":                "broken \ufffd",
		"next\u2028line\u0085x":      "next line x",
		"a" + zalgo(30):              "a" + zalgo(8),
		"no\u00a0break":              "no break",
		"\x7f":                       "\ufffd",
		"soft\u00adhyphen":           "softhyphen",
		"persian \u0646\u200c\u0645": "persian \u0646\u200c\u0645",
	} {
		if got := term.Clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func zalgo(n int) string { return strings.Repeat("\u0301", n) }

func FuzzCleanIsHarmless(f *testing.F) {
	for _, s := range []string{"", "text", "\x1b]0;title\a", "\u202e", "\xff\xfe", "a\r\nb", "\u009b2J", "{\"a\":\"\u202e\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fuzztest.Bounded(t, len(s), fuzztest.Share, func() { term.Clean(s); term.Lines(s, "  ") })
		clean := term.Clean(s)
		if err := harmless(clean); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if again := term.Clean(clean); again != clean {
			t.Errorf("%q: cleaning twice gives %q", clean, again)
		}
		lines := term.Lines(s, "  ")
		for i, l := range strings.Split(lines, "\n") {
			if err := harmless(l); err != nil {
				t.Errorf("%q: %v", s, err)
			}
			if i > 0 && !strings.HasPrefix(l, "  ") {
				t.Errorf("%q: line %d is not indented", s, i)
			}
		}
		var out bytes.Buffer
		w := term.New(&out, false)
		w.Printf("%s %v %s\n", s, errors.New(s), term.In(term.Red, s))
		w.Table([][]any{{s, s}, {term.In(term.Bold, s), s}})
		fmt.Fprint(w, s)
		for _, l := range strings.Split(out.String(), "\n") {
			if err := harmless(l); err != nil {
				t.Errorf("%q printed: %v", s, err)
			}
		}
	})
}

func FuzzCleanJSONMeansTheSame(f *testing.F) {
	f.Add("\u202e\x1b[2J\U000e0041\u00a0 é")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		raw, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		var clean []byte
		fuzztest.Bounded(t, len(raw), fuzztest.Share, func() { clean = term.CleanJSON(raw) })
		if err := harmless(string(clean)); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		var back map[string]string
		if err := json.Unmarshal(clean, &back); err != nil || back["text"] != s {
			t.Errorf("%q came back as %q, %v", s, back["text"], err)
		}
	})
}

// TestHarmlessSeesAnUncleanText is the control of the fuzz targets' judge.
func TestHarmlessSeesAnUncleanText(t *testing.T) {
	for _, s := range []string{"\x1b[2J", "\u202e", "\u009b", "\xff", "\u2028", "\ufeff"} {
		if harmless(s) == nil {
			t.Errorf("%q passes", s)
		}
	}
}

func TestColoursAreOursOnly(t *testing.T) {
	var out bytes.Buffer
	term.New(&out, true).Printf("%s", term.In(term.Red, "a\x1b[2Jb"))
	if got, want := out.String(), "\x1b[31ma\ufffd[2Jb\x1b[0m"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestQRFitsATerminal(t *testing.T) {
	link := "KITH:" + strings.Repeat("A", 140)
	code, err := term.QR(link)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Count(code, "\n")
	if rows > term.MaxQRRows {
		t.Errorf("%d rows", rows)
	}
	t.Logf("%d characters: %d rows", len(link), rows)
	if _, err := term.QR(strings.Repeat("a", 500)); !errors.Is(err, term.ErrTooLong) {
		t.Errorf("500 bytes: %v", err)
	}
}
