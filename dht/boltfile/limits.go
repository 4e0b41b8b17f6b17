package boltfile

const (
	fileMode = 0o600

	// minPage and maxPage bound the size of a page, in bytes.
	minPage = 1 << 10
	maxPage = 1 << 16
	// maxDepth is how many pages lie between the root and a row, buckets in
	// buckets included; bbolt's trees have four or five.
	maxDepth = 64

	// wholeFile is the place of damage that is not one page's.
	wholeFile = "file"
)
