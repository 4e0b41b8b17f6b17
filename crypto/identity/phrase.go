package identity

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// english is the BIP39 English word list: 2048 words in alphabetical order,
// one to a line.
//
//go:embed english.txt
var english string

var words = strings.Fields(english)

// rootSalt is fixed: the phrase alone must be enough to find the root again.
const rootSalt = "kith1 root"

// errPhrase is inside every error of ParsePhrase. Unlike ErrInvalid it comes
// with the reason: a person typed the phrase and has to find the mistake.
var errPhrase = errors.New("recovery phrase")

// Phrase is a recovery phrase: 12 words of the BIP39 English list, lower
// case, one space between, 128 bits of entropy and 4 of checksum. It is the
// most valuable secret there is; make one with NewPhrase or ParsePhrase only.
type Phrase string

// NewPhrase draws 16 bytes from rng.
func NewPhrase(rng io.Reader) (Phrase, error) {
	var entropy [phraseEntropy]byte
	if _, err := io.ReadFull(rng, entropy[:]); err != nil {
		return "", fmt.Errorf("identity: draw phrase: %w", err)
	}
	return phraseOf(entropy), nil
}

// ParsePhrase reads a phrase as a person types it: any case, any white space.
// Its errors say which word is wrong and what it may be, so show them to the
// person who typed and never log them.
func ParsePhrase(s string) (Phrase, error) {
	if len(s) > maxPhraseInput {
		return "", fmt.Errorf("%w: too long, it has %d words", errPhrase, phraseWords)
	}
	typed := strings.Fields(strings.ToLower(s))
	if len(typed) != phraseWords {
		return "", fmt.Errorf("%w: %d words, expected %d", errPhrase, len(typed), phraseWords)
	}
	var bits wordBits
	for i, w := range typed {
		index, ok := slices.BinarySearch(words, w)
		if !ok {
			return "", fmt.Errorf("%w: word %d is not in the list%s", errPhrase, i+1, suggestion(w))
		}
		bits.set(i, index)
	}
	entropy := [phraseEntropy]byte(bits[:phraseEntropy])
	if bits[phraseEntropy] != checksum(entropy) {
		return "", fmt.Errorf("%w: the checksum is wrong: a word is mistaken or two are swapped", errPhrase)
	}
	return phraseOf(entropy), nil
}

// Root stretches the phrase with Argon2id (3 passes, 64 MiB, 4 lanes, salt
// "kith1 root") and takes about 100 ms.
func (p Phrase) Root() *Root {
	seed := argon2.IDKey([]byte(p), []byte(rootSalt), rootArgonTime, rootArgonKiB, rootArgonThreads, 32)
	return NewRootFromSeed([32]byte(seed))
}

// wordBits is 132 bits, 11 to a word: the entropy, then 4 bits of checksum
// in the high half of the last byte.
type wordBits [phraseEntropy + 1]byte

func (b *wordBits) set(word, index int) {
	for i := range 11 {
		if index>>(10-i)&1 == 1 {
			at := word*11 + i
			b[at/8] |= 0x80 >> (at % 8)
		}
	}
}

func (b *wordBits) get(word int) (index int) {
	for i := range 11 {
		at := word*11 + i
		index = index<<1 | int(b[at/8]>>(7-at%8)&1)
	}
	return index
}

func phraseOf(entropy [phraseEntropy]byte) Phrase {
	var bits wordBits
	copy(bits[:], entropy[:])
	bits[phraseEntropy] = checksum(entropy)
	out := make([]string, phraseWords)
	for i := range out {
		out[i] = words[bits.get(i)]
	}
	return Phrase(strings.Join(out, " "))
}

// checksum is the first 4 bits of SHA-256 of the entropy, in the high bits.
func checksum(entropy [phraseEntropy]byte) byte {
	return sha256.Sum256(entropy[:])[0] & 0xf0
}

// suggestion names the words of the list that the typed one may be: those that
// begin with the same four letters, which are different for every word, or are
// one slip of a finger away.
func suggestion(typed string) string {
	const unique, most = 4, 3
	var near []string
	for _, w := range words {
		if len(typed) >= unique && strings.HasPrefix(w, typed[:unique]) || slip(typed, w) {
			near = append(near, strconv.Quote(w))
		}
	}
	if len(near) == 0 || len(near) > most {
		return ""
	}
	return " (did you mean " + strings.Join(near, " or ") + "?)"
}

// slip reports whether one letter was left out, added, mistaken or swapped with
// its neighbour.
func slip(a, b string) bool {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return max(len(a), len(b)) == 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}
