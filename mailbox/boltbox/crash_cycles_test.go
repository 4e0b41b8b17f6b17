//go:build crash

package boltbox

import (
	"os"
	"strconv"
)

// The campaigns of `make crash`. kills is how often a child is killed.
func kills() int { return campaign("KITH_CRASH_CYCLES", 200) }

// flips is how many flipped bits have to be found.
func flips() int { return campaign("KITH_CRASH_FLIPS", 2000) }

// images is how many crash images are opened.
func images() int { return campaign("KITH_CRASH_IMAGES", 10_000) }

func campaign(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return usual
}
