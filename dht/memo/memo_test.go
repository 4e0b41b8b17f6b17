package memo

import (
	"bytes"
	"errors"
	"testing"
)

var errOdd = errors.New("odd")

// pair is a record that says its first byte.
type pair []byte

func (p pair) Is(raw []byte) bool { return bytes.Equal(p, raw) }

// Who remembers says the same as who does not: of the same bytes once, of all others what they say themselves, and not for
// ever.
func TestWhatIsRememberedIsOfItsBytes(t *testing.T) {
	m, parses := &Memo[pair]{}, 0
	get := func(b byte, want int) {
		t.Helper()
		parses = 0
		v, err := m.Of([]byte{b, 0}, func(raw []byte) (pair, error) {
			if parses++; raw[0]%2 != 0 {
				return nil, errOdd
			}
			return raw, nil
		})
		if b%2 == 0 && (!v.Is([]byte{b, 0}) || err != nil) || b%2 != 0 && !errors.Is(err, errOdd) || parses != want {
			t.Errorf("%d says %d after parsing %d times, want %d: %v", b, v, parses, want, err)
		}
		if n := len(m.recent) + len(m.older); n > 2*m.half {
			t.Fatalf("%d are remembered", n)
		}
	}
	for range 2 {
		get(2, 1) // nothing is remembered that nobody asked to
	}
	m.Remember(4)
	get(2, 1)
	for range 3 {
		get(2, 0)
		get(1, 1) // what does not parse is not remembered
	}
	for b := range byte(100) {
		get(4+2*(b%50), 1)
	}
	get(2, 1) // control: it is forgotten
	m.Remember(0)
	get(2, 1)
}
