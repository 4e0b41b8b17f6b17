package node_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/node"
)

// Whoever comes back with the recovery words stands above every account epoch before, without having to find its list:
// a second list of the first epoch would be a fork of one's own identity.
func TestRecoveryIsANewEpoch(t *testing.T) {
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	first, again := node.RecoveryEpoch(day), node.RecoveryEpoch(day.Add(2*time.Minute))
	if first < 2 || again <= first {
		t.Errorf("epochs %d, %d: neither above the first account nor rising", first, again)
	}
	for _, clock := range []time.Time{{}, time.Unix(0, 0), day.AddDate(9000, 0, 0)} {
		if e := node.RecoveryEpoch(clock); e < 2 {
			t.Errorf("clock at %v: epoch %d collides with the first account", clock, e)
		}
	}
}
