//go:build !crash

package faults

import (
	"testing"
	"time"
)

const campaignWithin = 5 * time.Minute

// campaignPlan is a short campaign; `make crash` runs a long one.
func campaignPlan(testing.TB) plan { return plan{seed: 1, cycles: 10, proofs: 1, rough: true} }
