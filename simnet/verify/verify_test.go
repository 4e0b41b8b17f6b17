package verify_test

import (
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/kith-im/kith/simnet/verify"
)

// Closed forms hold within three standard errors, and their controls do not. VERIFY=n simulates n times as much and
// prints the table (make verify).
func TestClosedForms(t *testing.T) {
	scale, err := strconv.Atoi(os.Getenv("VERIFY"))
	if err != nil {
		scale = 1
	}
	checks := verify.Checks()
	if len(checks) < 12 {
		t.Errorf("%d checks", len(checks))
	}
	for _, c := range checks {
		o := c.Run(scale, 1)
		if err == nil || !o.OK() {
			t.Logf("%-26s got %.5g ± %.2g, want %.5g: z %+.2f; control %.5g: z %+.1f (%s)", o.Name, o.Got, o.Err, o.Want, o.Z, o.Wrong, o.WrongZ, o.Control)
		}
		if math.IsNaN(o.Z) || !o.OK() {
			t.Errorf("%s: %s: the simulation does not agree, or agrees with the control", o.Name, o.Form)
		}
	}
}
