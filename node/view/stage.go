package view

import "slices"

// stages as they are stored; the order is the order of progress.
var stages = []Stage{StageWaiting, StageQueued, StageFull, StageCustody, StageDelivered, StageRead, StageExpired, StageDropped}

// Number is how a stage is stored.
func (s Stage) Number() uint32 { return uint32(slices.Index(stages, s)) }

// StageOf is the stage of a stored number.
func StageOf(n uint32) Stage {
	if int(n) >= len(stages) {
		return StageQueued
	}
	return stages[n]
}

// Rank orders stages for the least: an expired delivery is worse than any that is still on its way.
func Rank(s Stage) int {
	if s == StageExpired {
		return -1
	}
	return slices.Index(stages, s)
}
