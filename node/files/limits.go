package files

import "time"

const (
	// maxPicture is the largest picture that a preview is made of, in bytes of its file.
	maxPicture = 64 << 20
	// maxPixels is the largest picture that is decoded, and maxDecoded how much memory that may take, in bytes.
	maxPixels  = 40_000_000
	maxDecoded = 48 << 20
	// previewSide is the longer side of a preview, in pixels.
	previewSide = 320

	// sealWriters is how many chunks of one file are written at once while it is sealed.
	sealWriters = 3
	// width is how many chunks of one file are asked of one source at once.
	width = 3
	// sealChunks, largeChunks and smallChunks are how many chunks are held in memory while files are sealed, and for one
	// job; classJobs bounds the jobs: 27 MiB in all.
	sealChunks, largeChunks, smallChunks = 3, 4, 2
	// askMany is how many chunks one question names.
	askMany = 1024
	// chunkWithin bounds one chunk from one source, askWithin a question and its answer, and a chunk of no more bytes than
	// smallChunk.
	smallChunk  = 64 << 10
	chunkWithin = 2 * time.Minute
	askWithin   = 20 * time.Second
	// tellEvery is the least time between two signs of progress.
	tellEvery = 100 * time.Millisecond
	// maxNames is how many names are tried for a file.
	maxNames = 999
)

// classJobs is how many jobs of a class run at once.
var classJobs = map[class]int{{fetch: true}: 2, {fetch: true, small: true}: 5, {}: 1, {small: true}: 1}
