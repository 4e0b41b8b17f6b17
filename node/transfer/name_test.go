package transfer

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kith-im/kith/crypto/fuzztest"
)

func TestNamesOfOthersAreHarmless(t *testing.T) {
	for name, want := range map[string]string{
		"photo.jpg":                          "photo.jpg",
		"Mülltonne 3.tar.gz":                 "Mülltonne 3.tar.gz",
		"../../etc/passwd":                   "passwd",
		`..\..\windows\system32\cmd.exe`:     "cmd.exe",
		"/etc/shadow":                        "shadow",
		"C:evil.txt":                         "C_evil.txt",
		".bashrc":                            "bashrc",
		"...":                                "file",
		"..":                                 "file",
		"":                                   "file",
		"a/":                                 "file",
		"-rf":                                "_rf",
		"~":                                  "_",
		"photo\u202egpj.exe":                 "photogpj.exe",
		"a\x00b\x1b[31m\nc":                  "ab[31m c",
		"photo.jpg                     .exe": "photo.jpg.exe",
		"CON":                                "_CON",
		"nul.txt":                            "_nul.txt",
		"com1.tar.gz":                        "_com1.tar.gz",
		"comet.txt":                          "comet.txt",
		"x. . .":                             "x",
		"a\u200bb\u3164c":                    "abc",
		"one\u2215two":                       "one_two",
		"\xff\xfe":                           "file",
		strings.Repeat("ä", 500) + ".jpeg":   strings.Repeat("ä", 57) + ".jpeg",
		strings.Repeat("x", 10<<20):          strings.Repeat("x", MaxName),
	} {
		if got := SafeName(name); got != want {
			t.Errorf("%.40q: %q, want %q", name, got, want)
		}
	}
}

func TestNumberedKeepsTheEnding(t *testing.T) {
	if a, b, c := Numbered("a.txt", 1), Numbered("a.txt", 2), Numbered("Makefile", 3); a != "a.txt" || b != "a (2).txt" || c != "Makefile (3)" {
		t.Error(a, b, c)
	}
}

func TestTypesAreTokens(t *testing.T) {
	for name, want := range map[string]string{
		"image/JPEG": "image/jpeg", "text/html; charset=x": "application/octet-stream", "": "application/octet-stream",
		"a/b/c": "application/octet-stream", "image/svg+xml": "image/svg+xml", "x/\u202e": "application/octet-stream",
	} {
		if got := SafeType(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, s := range []string{"a.txt", "../x", "con.txt", "\u202etxt.exe", "a.b.c", strings.Repeat("é.", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzztest.Limit(t, len(s))()
		name := SafeName(s)
		switch {
		case name == "" || name == "." || name == ".." || len(name) > MaxName+1 || !utf8.ValidString(name):
			t.Fatalf("%q: %q", s, name)
		case strings.ContainsAny(name, "/\\:*?\"<>|\x00") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-"):
			t.Fatalf("%q: %q", s, name)
		case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
			t.Fatalf("%q: %q", s, name)
		case reserved(name) || strings.HasSuffix(name, " ") || strings.HasSuffix(name, "."):
			t.Fatalf("%q: %q", s, name)
		case SafeName(name) != name:
			t.Fatalf("%q: %q, then %q", s, name, SafeName(name))
		}
	})
}
