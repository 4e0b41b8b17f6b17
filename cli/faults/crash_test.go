package faults

import (
	"context"
	"testing"
)

// TestWhatIsQueuedIsShownOnceWhateverIsKilled is the campaign: SIGKILL of sender, relays and recipients at random moments
// of real traffic. `make crash` runs it long.
func TestWhatIsQueuedIsShownOnceWhateverIsKilled(t *testing.T) {
	p := campaignPlan(t)
	ctx, cancel := context.WithTimeout(t.Context(), campaignWithin)
	defer cancel()
	v := newCampaign(t, ctx, p).run(ctx)
	t.Log(v)
	if !v.clean() || v.Delivered != v.Pairs || v.Sent == 0 || v.Custody == 0 || v.Kills < p.cycles {
		t.Errorf("not clean: %+v", v)
	}
}
