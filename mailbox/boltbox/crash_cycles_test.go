//go:build crash

package boltbox

import (
	"os"
	"strconv"
)

// kills is how often `make crash` kills a child.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("KITH_CRASH_CYCLES")); err == nil && n > 0 {
		return n
	}
	return 200
}
