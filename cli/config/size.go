package config

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as "4 GiB" or plainly as 4294967296.
type Size uint64

// units are powers of 1024, the largest first.
var units = []struct {
	name  string
	bytes uint64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

var errSize = errors.New("is a size such as \"4 GiB\" or \"512 MiB\"")

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	word, factor := strings.TrimSpace(string(text)), uint64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(word, u.name); ok {
			word, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return errSize
	}
	over, bytes := bits.Mul64(n, factor)
	if over != 0 || bytes > math.MaxInt64 {
		return errSize
	}
	*s = Size(bytes)
	return nil
}

// String is the size in the largest unit that needs no fraction.
func (s Size) String() string {
	for _, u := range units {
		if uint64(s) >= u.bytes && uint64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d %s", uint64(s)/u.bytes, u.name)
		}
	}
	return "0 B"
}

// MarshalText is for JSON: the answer of config show.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
