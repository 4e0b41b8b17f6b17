//go:build crash

package faults

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const campaignWithin = 25 * time.Minute

// campaignPlan is as long as CYCLES of `make crash` says. KITH_CRASH_SEED repeats the choices of a run; what the
// machine does in between it cannot repeat.
func campaignPlan(t testing.TB) plan {
	p := plan{seed: rand.Uint64N(1_000_000), cycles: 200, proofs: 8, rough: true}
	if n, err := strconv.Atoi(os.Getenv("KITH_CRASH_CYCLES")); err == nil && n > 0 {
		p.cycles, p.proofs = n, 1+n/25
	}
	if n, err := strconv.ParseUint(os.Getenv("KITH_CRASH_SEED"), 10, 64); err == nil {
		p.seed = n
	}
	t.Logf("seed %d (KITH_CRASH_SEED=%d repeats the choices)", p.seed, p.seed)
	return p
}
