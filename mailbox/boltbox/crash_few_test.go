//go:build !crash

package boltbox

// kills is how often the crash test kills its child; `make crash` does it more
// often.
func kills() int { return 60 }
