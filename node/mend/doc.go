// Package mend holds the rules by which two devices find each other again when one of them has lost what it knew: when
// sessions are given up, which counters have not come and when they are asked for, and what the answer to that is. It
// changes rows of the store and nothing else (a device's row field by field: what its fields refer to stays); the engine and the random schedules of this package's tests act on it.
//
// Every body that a device seals for another one has the next counter of that pair. A counter is a block, the upper 32
// bits, and a number in it from 1, without gaps; a device that has lost its count begins the block of that second.
package mend

import "time"

// Times.
const (
	gapAge   = time.Minute         // before a gap counts, and how long no mail has come by then
	gapLate  = time.Hour           // ... or so long, whatever comes meanwhile
	askEvery = 10 * time.Minute    // before a gap is asked for again; doubles, up to askMax
	askMax   = 24 * time.Hour      //
	keepFor  = 31 * 24 * time.Hour // how long a gap is asked for, and what was sealed is known by its counter
	// retiredLife is how long a session that was given up still opens: as long as keys of skipped messages live.
	retiredLife = 32 * 24 * time.Hour
	// renewEvery is the least time between two new sessions with a device for want of an answer.
	renewEvery = time.Hour
	// silence is how long nothing may be acknowledged before a newer bundle of the device means that the sessions are lost.
	silence = 48 * time.Hour
	// ahead is how far in the future a block of counters may begin.
	ahead = 24 * time.Hour
)

// Limits.
const (
	MaxSessions = 5    // with a device, retired ones included
	MaxSpans    = 32   // of a question, and gaps kept of a device
	MaxNamed    = 1024 // counters that are looked up for an answer, and messages sent again, in an hour and for a device
	MaxAsks     = 16   // questions of a device that are answered in an hour
)
