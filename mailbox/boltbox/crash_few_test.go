//go:build !crash && !race

package boltbox

// What `make test` does of the campaigns; `make crash` does more.

// kills is how often the crash test kills its child.
func kills() int { return 60 }

// flips is how many flipped bits have to be found.
func flips() int { return 200 }

// images is how many crash images are opened.
func images() int { return 300 }
