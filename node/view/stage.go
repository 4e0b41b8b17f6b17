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

// Together is how far a message is with one person, of the stages at each of its devices: read as soon as one has shown
// it, otherwise the least. What a device was too late for does not count, unless there is nothing else.
func Together(devices []Stage) Stage {
	devices = slices.DeleteFunc(slices.Clone(devices), func(s Stage) bool { return s == StageDropped })
	switch {
	case len(devices) == 0:
		return StageDropped
	case slices.Contains(devices, StageRead):
		return StageRead
	}
	return Least(devices)
}

// Least is the stage that is furthest behind.
func Least(all []Stage) Stage {
	return slices.MinFunc(all, func(a, b Stage) int { return Rank(a) - Rank(b) })
}
