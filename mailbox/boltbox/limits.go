package boltbox

import "time"

const (
	// lockWait is how long Open waits for the lock of another process.
	lockWait = time.Second
	// checkWait is how long Check waits for it: a running node keeps it.
	checkWait = 100 * time.Millisecond
	// pageSize is the page of a new file, in bytes. Envelopes of 2 and 4 KiB
	// would waste half of a 4 KiB page.
	pageSize = 16 << 10
	// mapSize is the address space mapped at first, in bytes; growing it later
	// waits for readers.
	mapSize = 1 << 30
	// appendFill is how full a page of ascending keys becomes before it is split.
	appendFill = 1.0

	// maxGroup is how many transactions share a commit at most.
	maxGroup = 1024
	// maxGroupBytes is how many envelope bytes a commit takes on, about.
	maxGroupBytes = 4 << 20

	// residentStep is how many bytes of pages are read before the memory of the
	// mapping is given back. Up to four times as much is resident then: Linux
	// maps 64 KiB around each page of 16.
	residentStep = 16 << 20

	// diskReserve is how much room is kept for acks and other small writes, in
	// bytes: envelopes are refused before the disk is quite full.
	diskReserve = 8 << 20

	// compactAbove is the size from which a file is copied without its free
	// pages when it is opened, if they are more than half of it.
	compactAbove = 64 << 20

	// scrubStep is how many bytes of the file one read transaction of a scrub
	// reads, about. The index of a day is read in one.
	scrubStep = 1 << 20

	// maxNamed is how many damaged places a check or a scrub names.
	maxNamed = 1000

	// formatVersion 2 added passes, keys of boxes and the leaving time: rows of
	// version 1 are rows of version 2 without them.
	formatVersion = 2
	firstFormat   = 1
	checkSize     = 8
	seqSize       = 8
	entrySize     = 32 + 32 + 8 + 8 + 4 + 1
	admitSize     = 8
)
