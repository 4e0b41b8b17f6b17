package mend

import "time"

// Times.
const (
	gapAge   = time.Minute      // before a gap counts, and how long no mail has come by then
	gapLate  = time.Hour        // ... or so long, whatever comes meanwhile
	askEvery = 10 * time.Minute // before a gap is asked for again; doubles, up to askMax
	askMax   = 24 * time.Hour
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
	MaxRuns     = 64   // of rows that follow each other, of a device: one for each time that a count began anew
	MaxNamed    = 1024 // counters that are looked up for an answer, and messages sent again, in an hour and for a device
	MaxAsks     = 16   // questions of a device that are answered in an hour
)
