package stock

const (
	// Most is how many bundles a relay holds for a box.
	Most = 32
	// Total is how many it holds in all.
	Total = 1 << 16
	// BundleSize is the size of every bundle, in bytes.
	BundleSize = 1415
)
