package boltfile

const (
	fileMode = 0o600

	// minPage and maxPage bound the size of a page, in bytes.
	minPage = 1 << 10
	maxPage = 1 << 16
	// maxDepth is how many pages lie between the root and a row, buckets in
	// buckets included; bbolt's trees have four or five.
	maxDepth = 64

	// maxNamed is how many damaged places Scan names.
	maxNamed = 1000

	// copyStep is how many bytes one transaction of Compact copies.
	copyStep = 16 << 20
	// freshSuffix names the file that is being built beside another.
	freshSuffix = ".new"

	// unknownRoom stands for a file system that does not say how much it has.
	unknownRoom = 1 << 62

	// wholeFile is the place of damage that is not one page's.
	wholeFile = "file"
)
