//go:build race && !crash

package boltbox

// What `make race` does of the campaigns: enough to meet every goroutine.

// kills is how often the crash test kills its child.
func kills() int { return 20 }

// flips is how many flipped bits have to be found.
func flips() int { return 40 }

// images is how many crash images are opened.
func images() int { return 60 }
