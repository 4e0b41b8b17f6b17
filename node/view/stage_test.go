package view

import "testing"

func TestAPersonHasReadWhatOneDeviceHasShown(t *testing.T) {
	for _, c := range []struct {
		devices []Stage
		want    Stage
	}{
		{[]Stage{StageDelivered}, StageDelivered},
		{[]Stage{StageRead, StageQueued}, StageRead},
		{[]Stage{StageDelivered, StageCustody}, StageCustody},
		{[]Stage{StageDelivered, StageExpired}, StageExpired},
		{[]Stage{StageDelivered, StageDropped}, StageDelivered}, // removed while it was on its way
		{[]Stage{StageDropped}, StageDropped},
	} {
		if got := Together(c.devices); got != c.want {
			t.Errorf("%v: %s, want %s", c.devices, got, c.want)
		}
	}
}
