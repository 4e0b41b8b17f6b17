package acts

import "time"

// The windows of acts, both ends included, judged by what the contents say and never by when they arrive.
const (
	// EditWindow is how long after a message its author may edit it.
	EditWindow = 15 * time.Minute
	// UnsendWindow is how long after a message its author may take it back.
	UnsendWindow = 2 * time.Minute
	// RecoverFor is how long a message that its reader deleted can be had back.
	RecoverFor = 30 * 24 * time.Hour
)

// Counts and sizes.
const (
	// MaxEdits is how many edits of a message count.
	MaxEdits = 5
	// MaxEmoji is the size of a reaction, in bytes of UTF-8.
	MaxEmoji = 32
	// MaxUsers is of how many people a state keeps what they did: those with the least user ids.
	MaxUsers = 256
	// MaxBody is the size of what an edit shows.
	MaxBody = 4096
	// MaxState bounds a stored state, in bytes.
	MaxState = 10 << 20

	keptEdits   = 8 // of one person, also those that do not count: the earliest
	keptRefused = 5 // edits of other people, once the author is known
	version     = 1

	// splitCount is how many acts, other than edits, one part of a State has when it is split.
	splitCount = 16
)
