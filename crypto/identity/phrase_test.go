package identity

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWordListIsBIP39English(t *testing.T) {
	const want = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
	sum := sha256.Sum256([]byte(english))
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Fatalf("SHA-256 of the word list is %s, want %s", got, want)
	}
	if len(words) != 2048 || !slices.IsSorted(words) {
		t.Fatalf("%d words, sorted %v", len(words), slices.IsSorted(words))
	}
}

func TestFourLettersNameAWord(t *testing.T) {
	seen := map[string]string{}
	for _, w := range words {
		short := w[:min(4, len(w))]
		if seen[short] != "" {
			t.Errorf("%q and %q begin alike", seen[short], w)
		}
		seen[short] = w
	}
}

// The 128-bit vectors that BIP39 publishes.
func TestPhrasesAreBIP39(t *testing.T) {
	for entropy, want := range map[string]Phrase{
		"00000000000000000000000000000000": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
		"7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f": "legal winner thank year wave sausage worth useful legal winner thank yellow",
		"80808080808080808080808080808080": "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
		"ffffffffffffffffffffffffffffffff": "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
		"77c2b00716cec7213839159e404db50d": "jelly better achieve collect unaware mountain thought cargo oxygen act hood bridge",
		"0460ef47585604c5660618db2e6a7e7f": "afford alter spike radar gate glance object seek swamp infant panel yellow",
		"eaebabb2383351fd31d703840b32e9e2": "turtle front uncle idea crush write shrug there lottery flower risk shell",
		"18ab19a9f54a9274f03e5209a2ac8a91": "board flee heavy tunnel powder denial science ski answer betray cargo cat",
	} {
		raw, err := hex.DecodeString(entropy)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := NewPhrase(bytes.NewReader(raw)); err != nil || got != want {
			t.Errorf("%s: %q, %v", entropy, got, err)
		}
	}
}

func TestParsePhraseForgivesCaseAndSpace(t *testing.T) {
	got, err := ParsePhrase("  Legal WINNER\tthank year wave sausage\n worth useful legal winner thank  yellow\r\n")
	if err != nil || got != "legal winner thank year wave sausage worth useful legal winner thank yellow" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestParsePhraseSaysWhatIsWrong(t *testing.T) {
	const eleven = "legal winner thank year wave sausage worth useful legal winner thank "
	for _, c := range []struct{ name, typed, want string }{
		{"nothing", "", "0 words, expected 12"},
		{"a word too few", eleven, "11 words, expected 12"},
		{"a word too many", eleven + "yellow yellow", "13 words, expected 12"},
		{"a misspelt word", strings.Replace(eleven, "sausage", "sausge", 1) + "yellow", `word 6 is not in the list (did you mean "sausage"?)`},
		{"an ending that is wrong", eleven + "yellows", `word 12 is not in the list (did you mean "yellow"?)`},
		{"two letters swapped", eleven + "yelolw", `word 12 is not in the list (did you mean "yellow"?)`},
		{"a letter mistaken at the start", eleven + "bellow", `word 12 is not in the list (did you mean "below" or "yellow"?)`},
		{"a letter that fits many", eleven + "xat", `word 12 is not in the list`},
		{"a word of another list", eleven + "ábaco", `word 12 is not in the list`},
		{"another last word", eleven + "zoo", "checksum is wrong"},
		{"two words swapped", "winner legal thank year wave sausage worth useful legal winner thank yellow", "checksum is wrong"},
		{"a book", strings.Repeat("zoo ", maxPhraseInput/4+1), "too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePhrase(c.typed)
			if !errors.Is(err, errPhrase) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…", err, c.want)
			}
			if errors.Is(err, ErrInvalid) {
				t.Error("a typed phrase deserves a reason, not ErrInvalid")
			}
		})
	}
}

// One of 16 phrases with a wrong word still has the right checksum: that is
// what 4 bits are worth, and the documents must not promise more.
func TestChecksumMissesOneMistakeInSixteen(t *testing.T) {
	typed := strings.Fields("legal winner thank year wave sausage worth useful legal winner thank yellow")
	missed := 0
	for _, w := range words {
		typed[4] = w
		if _, err := ParsePhrase(strings.Join(typed, " ")); err == nil {
			missed++
		}
	}
	if missed < 64 || missed > 256 {
		t.Errorf("%d of 2048 mistakes missed, expected about 128", missed)
	}
}

func TestEveryPhraseParsesToItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entropy := [phraseEntropy]byte(rapid.SliceOfN(rapid.Byte(), phraseEntropy, phraseEntropy).Draw(t, "entropy"))
		p := phraseOf(entropy)
		got, err := ParsePhrase(string(p))
		if err != nil || got != p {
			t.Fatalf("%q parses to %q, %v", p, got, err)
		}
	})
}

func TestNewPhraseDependsOnItsEntropyAlone(t *testing.T) {
	p, err := NewPhrase(entropy("one"))
	q, err2 := NewPhrase(entropy("one"))
	r, err3 := NewPhrase(entropy("two"))
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if p != q || p == r {
		t.Errorf("%q, %q, %q", p, q, r)
	}
}

// starved has fewer bytes than anyone needs.
func starved() io.Reader { return io.LimitReader(entropy("starved"), 5) }

func TestDrawingStopsWhenEntropyDoes(t *testing.T) {
	if p, err := NewPhrase(starved()); err == nil || p != "" {
		t.Errorf("phrase %q, %v", p, err)
	}
	if k, err := NewDeviceKeys(starved()); err == nil || k != nil {
		t.Errorf("device keys %v, %v", k, err)
	}
	for _, n := range []int64{5, 40} {
		r := io.LimitReader(entropy("starved"), n)
		if b, p, err := NewBundle(r, keysOf(t, "ann"), bundleFields(UserID{1})); err == nil || b != nil || p != nil {
			t.Errorf("bundle %v, prekey %v, %v", b, p, err)
		}
	}
}
